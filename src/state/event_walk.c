#include "state/event_walk.h"

#include "db/queries_state.h"
#include "state/checkpoint.h"
#include "state/map.h"

/* Batches (of up to 50 events) that are held at once. */
#define PAGE_BATCHES 16

struct walk {
	struct arena *a;
	const char *update_id;
	const char *after; /* id of the last batch that was read */
	struct map seen;   /* sequence numbers: an event may have come twice */
	event_walk_fn fn;
	void *arg;
	/* the page */
	struct arena *page;
	struct event_batches_row *rows;
	size_t row_count;
};

static int page_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct walk *p = arg;
	return q_event_batches(c, p->page, &(struct event_batches_in){ p->update_id, p->after, PAGE_BATCHES }, &p->rows,
			       &p->row_count, e);
}

static void read_event(struct walk *p, struct json event)
{
	int64_t sequence, before;
	struct json metadata = json_path(event, "resOutputsEvent", "metadata", NULL);
	if (json_type(metadata) != JSON_OBJECT || !json_int64(json_get(event, "sequence"), &sequence) ||
	    map_get_int(&p->seen, sequence, &before))
		return;
	if (map_put_int(&p->seen, sequence, 1))
		p->fn(p->arg, metadata, p->page);
}

static int read_page(struct app *app, struct walk *p, struct err *e)
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
			read_event(p, event);
	}
	if (rc == 0 && p->row_count)
		p->after = arena_strdup(p->a, p->rows[p->row_count - 1].id);
	return rc == 0 && (arena_failed(p->a) || arena_failed(&page)) ? err_nomem(e) : rc;
}

int event_walk(struct app *app, struct arena *a, const char *update_id, event_walk_fn fn, void *arg, struct err *e)
{
	struct walk p = { .a = a, .update_id = update_id, .after = "", .fn = fn, .arg = arg };
	int rc;
	map_init(&p.seen, a);
	do {
		rc = read_page(app, &p, e);
	} while (rc == 0 && p.row_count == PAGE_BATCHES);
	return rc < 0 ? rc : 0;
}
