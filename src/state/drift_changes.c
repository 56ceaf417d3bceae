#include "state/drift_changes.h"

#include "base/limits.h"
#include "db/queries_state.h"
#include "state/checkpoint.h"
#include "state/drift_diff.h"
#include "state/map.h"

/* Batches (of up to 50 events) that are held at once. */
#define PAGE_BATCHES 16
/* Room for one more resource behind the last one that fits: the values of its properties, and their paths. */
#define SLACK_BYTES (DRIFT_PROPERTIES_MAX * (8 * DRIFT_VALUE_BYTES))
/* No name of a resource is so long. */
#define NAME_BYTES (4 * KIB)

struct reading {
	struct arena *a; /* for what lives as long as the reading */
	const char *update_id;
	const char *after; /* id of the last batch that was read */
	struct map seen;   /* sequence numbers: an event may have come twice */
	struct buf text;
	struct json_writer w;
	struct drift_changes *ret;
	/* the page */
	struct arena *page;
	struct event_batches_row *rows;
	size_t row_count;
};

static int page_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct reading *p = arg;
	return q_event_batches(c, p->page, &(struct event_batches_in){ p->update_id, p->after, PAGE_BATCHES }, &p->rows,
			       &p->row_count, e);
}

static struct json state_member(struct json metadata, const char *name)
{
	struct json v = json_path(metadata, "old", name, NULL);
	return v.p ? v : json_path(metadata, "new", name, NULL);
}

static bool is_name(struct json v)
{
	return json_type(v) == JSON_STRING && v.n <= NAME_BYTES;
}

/* A read that found nothing new is no drift; a resource that is gone has no properties to tell of. */
static void add_resource(struct reading *p, struct json metadata)
{
	bool gone = json_string_is(json_get(metadata, "op"), "delete"), cut = false;
	bool keep = p->ret->count < DRIFT_RESOURCES_MAX && p->text.len < DRIFT_RESOURCES_BYTES;
	size_t before = p->text.len;
	bool comma = p->w.need_comma;
	if (!keep) {
		p->ret->count++;
		p->ret->cut = true;
		return;
	}
	jw_object(&p->w);
	jw_kv_raw(&p->w, "urn", json_get(metadata, "urn"));
	jw_kv_raw(&p->w, "type", json_get(metadata, "type"));
	struct json id = state_member(metadata, "id");
	if (is_name(id) && !json_string_is(id, ""))
		jw_kv_raw(&p->w, "id", id);
	jw_kv_raw(&p->w, "kind", json_get(metadata, "op"));
	jw_key(&p->w, "properties");
	if (gone) {
		jw_array(&p->w);
		jw_array_end(&p->w);
	} else if (drift_diff_write(metadata, p->page, &p->w, &cut) == 0 &&
		   json_string_is(json_get(metadata, "op"), "read")) {
		p->text.len = before;
		p->w.need_comma = comma;
		return;
	}
	if (cut)
		jw_kv_bool(&p->w, "cut", true);
	jw_object_end(&p->w);
	p->ret->cut |= cut;
	p->ret->count++;
}

static void read_event(struct reading *p, struct json event)
{
	int64_t sequence, before;
	struct json metadata = json_path(event, "resOutputsEvent", "metadata", NULL), op = json_get(metadata, "op");
	if (json_type(op) != JSON_STRING || json_string_is(op, "same") ||
	    !json_int64(json_get(event, "sequence"), &sequence) || map_get_int(&p->seen, sequence, &before))
		return;
	/* What is not told in such words, no CLI has written. */
	if (!is_name(op) || !is_name(json_get(metadata, "urn")) || !is_name(json_get(metadata, "type")))
		return;
	if (map_put_int(&p->seen, sequence, 1))
		add_resource(p, metadata);
}

static int read_page(struct app *app, struct reading *p, struct err *e)
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

int drift_changes_read(struct app *app, struct arena *a, const char *update_id, struct drift_changes *ret,
		       struct err *e)
{
	*ret = (struct drift_changes){ 0 };
	struct reading p = { .a = a, .update_id = update_id, .after = "", .ret = ret };
	int rc = 0;
	map_init(&p.seen, a);
	buf_init(&p.text, DRIFT_RESOURCES_BYTES + SLACK_BYTES);
	jw_init(&p.w, &p.text);
	jw_array(&p.w);
	do {
		rc = read_page(app, &p, e);
	} while (rc == 0 && p.row_count == PAGE_BATCHES);
	jw_array_end(&p.w);
	/* Without what differs rather than no end of the update. */
	ret->cut |= buf_failed(&p.text);
	if (rc == 0 && ret->count > 0 && !buf_failed(&p.text))
		rc = document_deflate(a, buf_str(&p.text), &ret->resources, e);
	buf_done(&p.text);
	return rc < 0 ? rc : 0;
}

bool drift_in_summary(const char *resource_changes)
{
	struct json changes, key, value;
	int64_t n;
	if (!resource_changes || json_check(str_of(resource_changes), &changes, NULL) < 0)
		return false;
	struct json_iter it = json_iter_start(changes);
	while (json_next(&it, &key, &value))
		if (!json_string_is(key, "same") && json_int64(value, &n) && n > 0)
			return true;
	return false;
}
