#include "state/update_changes.h"

#include "base/limits.h"
#include "db/queries_state.h"
#include "state/checkpoint.h"
#include "state/map.h"

/* Batches (of up to 50 events) that are held at once. */
#define PAGE_BATCHES 16
/* There are about twenty operations. */
#define OPERATIONS_MAX 64

struct counting {
	struct arena *a; /* for the results */
	const char *update_id;
	const char *after; /* id of the last batch that was counted */
	struct map seen;   /* sequence numbers */
	struct {
		const char *name;
		int64_t count;
	} operations[OPERATIONS_MAX];
	size_t operation_count;
	/* the page */
	struct arena *page;
	struct event_batches_row *rows;
	size_t row_count;
};

static int page_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct counting *p = arg;
	return q_event_batches(c, p->page, &(struct event_batches_in){ p->update_id, p->after, PAGE_BATCHES }, &p->rows,
			       &p->row_count, e);
}

static void count_operation(struct counting *p, struct json op)
{
	size_t i = 0;
	while (i < p->operation_count && !json_string_is(op, p->operations[i].name))
		i++;
	if (i == p->operation_count) {
		const char *name = i < OPERATIONS_MAX ? json_cstr(op, p->a) : NULL;
		if (!name)
			return;
		p->operations[p->operation_count++].name = name;
	}
	p->operations[i].count++;
}

/* The engine counts logical steps: the deletion behind a replacement, for one, is none. */
static void count_event(struct counting *p, struct json event)
{
	int64_t sequence, before;
	struct json metadata = json_path(event, "resOutputsEvent", "metadata", NULL);
	if (!metadata.p || !json_is_true(json_get(metadata, "logical")) ||
	    !json_int64(json_get(event, "sequence"), &sequence) || map_get_int(&p->seen, sequence, &before))
		return;
	if (map_put_int(&p->seen, sequence, 1))
		count_operation(p, json_get(metadata, "op"));
}

static int count_page(struct app *app, struct counting *p, struct err *e)
{
	_cleanup_arena_ struct arena page;
	arena_init(&page, 0);
	p->page = &page;
	int rc = db_read(app->db, page_fn, p, e);
	for (size_t i = 0; rc == 0 && i < p->row_count; i++) {
		struct str text;
		struct json event;
		rc = document_inflate(&page, p->rows[i].body, &text, e);
		if (rc < 0)
			break;
		text = str_trim(text);
		json_foreach(event, json_get((struct json){ text.p, text.n }, "events"))
			count_event(p, event);
	}
	if (rc == 0 && p->row_count)
		p->after = arena_strdup(p->a, p->rows[p->row_count - 1].id);
	return rc == 0 && arena_failed(p->a) ? err_nomem(e) : rc;
}

int update_changes_count(struct app *app, struct arena *a, const char *update_id, const char **ret, struct err *e)
{
	struct counting p = { .a = a, .update_id = update_id, .after = "" };
	map_init(&p.seen, a);
	do {
		int rc = count_page(app, &p, e);
		if (rc < 0)
			return rc;
	} while (p.row_count == PAGE_BATCHES);
	*ret = NULL;
	if (p.operation_count == 0)
		return 0;
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	buf_init(&b, 64 * KIB);
	jw_init(&j, &b);
	jw_object(&j);
	for (size_t i = 0; i < p.operation_count; i++)
		jw_kv_int(&j, p.operations[i].name, p.operations[i].count);
	jw_object_end(&j);
	*ret = buf_failed(&b) ? NULL : str_dup(a, buf_str(&b));
	return *ret ? 0 : err_nomem(e);
}
