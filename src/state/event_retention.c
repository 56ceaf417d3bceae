/* Engine events of updates that ended long ago go away (--event-retention). What the history shows of an update, its result and
 * the number of its changes among it, stays. */
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "db/queries_retention.h"
#include "state/state.h"

/* Looked at so often; removed in steps that hold the writer only briefly. */
#define LOOK_EVERY_US (10 * US_PER_MINUTE)
/* Batches; one may have a megabyte. */
#define STEP 100
/* Between two steps. */
#define PAUSE_US (100 * US_PER_MS)

struct looking {
	struct arena *a;
	struct events_old_in in;
	struct events_old_row *rows;
	size_t count;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	return q_events_old(c, l->a, &l->in, &l->rows, &l->count, e);
}

static int remove_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	int rc = 0;
	for (size_t i = 0; rc >= 0 && i < l->count; i++)
		rc = q_events_remove(c, &(struct events_remove_in){ l->rows[i].update_id, l->rows[i].id }, e);
	return rc < 0 ? rc : 0;
}

int state_event_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	/* The ticker asks every room whenever anybody pokes it. Of the ticker's thread alone. */
	static int64_t look_at_us;
	_cleanup_arena_ struct arena a;
	char before[ID_SIZE];
	int64_t before_us = now_us - app->options.event_retention_us;
	arena_init(&a, 0);
	*ret_next_us = INT64_MAX;
	if (app->options.event_retention_us <= 0)
		return 0;
	*ret_next_us = look_at_us;
	if (now_us < look_at_us)
		return 0;
	id_floor(before, before_us);
	struct looking l = { .a = &a, .in = { .before_id = before, .before_us = before_us, .n = STEP } };
	int rc = db_read(app->db, look_fn, &l, e);
	if (rc == 0 && l.count > 0)
		rc = db_write(app->db, remove_fn, &l, e);
	if (rc < 0)
		return rc;
	if (l.count > 0)
		log_debug("state", "%zu batches of old events removed", l.count);
	look_at_us = now_us + (l.count > 0 ? PAUSE_US : LOOK_EVERY_US);
	*ret_next_us = look_at_us;
	return 0;
}
