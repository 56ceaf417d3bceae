/* States of old versions go away: by number and by age (--state-versions, --state-retention). The newest state of a
 * stack, and what a running update began with, always stay. */
#include "base/clock.h"
#include "base/log.h"
#include "db/queries_version.h"
#include "state/checkpoint.h"
#include "state/state.h"

/* Looked at so often; removed in steps that hold the writer only briefly. */
#define LOOK_EVERY_US (10 * US_PER_MINUTE)
#define STEP 50
/* Between two steps. */
#define PAUSE_US (100 * US_PER_MS)

struct looking {
	struct arena *a;
	int64_t keep;
	int64_t before_us;
	const char **ids;
	size_t count;
	const char **blobs;
};

static int take(struct looking *l, size_t i, const char *id, struct err *e)
{
	if (i == 0)
		l->ids = arena_array(l->a, STEP, sizeof(*l->ids));
	if (!l->ids)
		return err_nomem(e);
	l->ids[l->count++] = id;
	return 0;
}

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	struct version_excess_row *excess = NULL;
	struct version_old_row *old = NULL;
	size_t n = 0;
	int rc = 0;
	l->count = 0;
	if (l->keep > 0)
		rc = q_version_excess(c, l->a, &(struct version_excess_in){ l->keep, l->before_us, STEP }, &excess, &n,
				      e);
	for (size_t i = 0; rc >= 0 && i < n; i++)
		rc = take(l, i, excess[i].id, e);
	if (rc < 0 || l->count > 0 || l->before_us <= 0)
		return rc < 0 ? rc : 0;
	rc = q_version_old(c, l->a, &(struct version_old_in){ l->keep, l->before_us, STEP }, &old, &n, e);
	for (size_t i = 0; rc >= 0 && i < n; i++)
		rc = take(l, i, old[i].id, e);
	return rc < 0 ? rc : 0;
}

static int remove_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	int rc = 0;
	for (size_t i = 0; rc >= 0 && i < l->count; i++)
		rc = checkpoint_remove(c, l->a, l->ids[i], &l->blobs[i], e);
	return rc < 0 ? rc : 0;
}

int state_retention_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	/* The ticker asks every room whenever anybody pokes it, and looking costs a walk over all stacks. Of the ticker's
	 * thread alone. */
	static int64_t look_at_us;
	_cleanup_arena_ struct arena a;
	int64_t age_us = app->options.state_retention_us;
	struct looking l = { .a = &a,
			     .keep = app->options.state_versions,
			     .before_us = age_us > 0 ? now_us - age_us : 0 };
	arena_init(&a, 0);
	*ret_next_us = INT64_MAX;
	if (l.keep == 0 && age_us == 0)
		return 0;
	if (now_us < look_at_us) {
		*ret_next_us = look_at_us;
		return 0;
	}
	int rc = db_read(app->db, look_fn, &l, e);
	if (rc == 0 && l.count > 0) {
		l.blobs = arena_array(&a, l.count, sizeof(*l.blobs));
		rc = l.blobs ? db_write(app->db, remove_fn, &l, e) : err_nomem(e);
	}
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < l.count; i++)
		checkpoint_remove_blob(app, l.blobs[i]);
	if (l.count > 0)
		log_debug("state", "%zu states of old versions removed", l.count);
	look_at_us = now_us + (l.count > 0 ? PAUSE_US : LOOK_EVERY_US);
	*ret_next_us = look_at_us;
	return 0;
}
