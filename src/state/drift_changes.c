#include "state/drift_changes.h"

#include "base/limits.h"
#include "state/checkpoint.h"
#include "state/drift_diff.h"
#include "state/event_walk.h"

/* Room for one more resource behind the last one that fits: the values of its properties, and their paths. */
#define SLACK_BYTES (DRIFT_PROPERTIES_MAX * (8 * DRIFT_VALUE_BYTES))
/* No name of a resource is so long. */
#define NAME_BYTES (4 * KIB)

struct reading {
	struct buf text;
	struct json_writer w;
	struct drift_changes *ret;
};

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
static void add_resource(struct reading *p, struct json metadata, struct arena *page)
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
	} else if (drift_diff_write(metadata, page, &p->w, &cut) == 0 &&
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

static void read_step(void *arg, struct json metadata, struct arena *page)
{
	struct json op = json_get(metadata, "op");
	if (json_type(op) != JSON_STRING || json_string_is(op, "same"))
		return;
	/* What is not told in such words, no CLI has written. */
	if (is_name(op) && is_name(json_get(metadata, "urn")) && is_name(json_get(metadata, "type")))
		add_resource(arg, metadata, page);
}

int drift_changes_read(struct app *app, struct arena *a, const char *update_id, struct drift_changes *ret,
		       struct err *e)
{
	*ret = (struct drift_changes){ 0 };
	struct reading p = { .ret = ret };
	buf_init(&p.text, DRIFT_RESOURCES_BYTES + SLACK_BYTES);
	jw_init(&p.w, &p.text);
	jw_array(&p.w);
	int rc = event_walk(app, a, update_id, read_step, &p, e);
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
