#include "state/compare.h"

#include "state/deployment.h"
#include "state/map.h"
#include "state/resource.h"

enum { URN, TYPE, ID, DELETE, INPUTS, OUTPUTS, MEMBERS };
static const char *const member_names[MEMBERS] = { "urn", "type", "id", "delete", "inputs", "outputs" };

struct item {
	struct str key; /* the URN, with a mark for one that waits for its deletion */
	struct json text;
	struct json member[MEMBERS];
};

struct side {
	struct item *items;
	size_t count;
	struct map by_key;
};

static int read_side(struct json document, struct arena *a, struct side *ret, struct err *e)
{
	struct json resources = json_path(document, "deployment", "resources", NULL), text;
	ret->count = 0;
	ret->items = arena_array(a, json_count(resources), sizeof(*ret->items));
	map_init(&ret->by_key, a);
	if (!ret->items)
		return err_nomem(e);
	json_foreach(text, resources) {
		struct item *i = &ret->items[ret->count];
		i->text = text;
		json_pick(text, member_names, MEMBERS, i->member);
		i->key = json_view(i->member[URN], a);
		if (json_is_true(i->member[DELETE]))
			i->key = str_of(arena_printf(a, "%.*s delete", STR_ARG(i->key)));
		if (!i->key.p || !map_put(&ret->by_key, i->key, (int64_t)ret->count))
			return err_nomem(e);
		ret->count++;
	}
	return 0;
}

static void put_item(struct json_writer *w, const struct item *i)
{
	jw_object(w);
	jw_kv_raw(w, "urn", i->member[URN]);
	jw_kv_raw(w, "type", i->member[TYPE]);
	if (i->member[ID].p)
		jw_kv_raw(w, "id", i->member[ID]);
	if (json_is_true(i->member[DELETE]))
		jw_kv_bool(w, "delete", true);
}

/* Names of the members that differ, but for those of the NULL-terminated list. */
static void put_differences(struct json_writer *w, const char *name, struct json from, struct json to,
			    const char *const *except, struct arena *a)
{
	struct json_iter it;
	struct json key, value;
	struct str text;
	jw_key(w, name);
	jw_array(w);
	for (int pass = 0; pass < 2; pass++) {
		struct json one = pass ? to : from, other = pass ? from : to;
		json_iter_init(&it, one);
		while (json_next(&it, &key, &value)) {
			bool skip = !json_string(key, a, &text);
			for (size_t i = 0; !skip && except[i]; i++)
				skip = str_is(text, except[i]);
			struct json there = skip ? JSON_ABSENT : json_get(other, text.p);
			/* The second time only what is new. */
			if (skip || (pass && there.p) || (there.p && json_equal(value, there)))
				continue;
			jw_str(w, text);
		}
	}
	jw_array_end(w);
}

static void put_changed(struct json_writer *w, const struct item *from, const struct item *to, struct arena *a)
{
	static const char *const none[] = { NULL };
	static const char *const told[] = { "inputs", "outputs", "modified", NULL };
	put_item(w, to);
	put_differences(w, "inputs", from->member[INPUTS], to->member[INPUTS], none, a);
	put_differences(w, "outputs", from->member[OUTPUTS], to->member[OUTPUTS], none, a);
	put_differences(w, "other", from->text, to->text, told, a);
	jw_object_end(w);
}

static bool is_same(const struct item *from, const struct item *to)
{
	return str_eq(json_text(from->text), json_text(to->text)) || json_equal(from->text, to->text);
}

/* What one side has and the other one does not. */
static void put_missing(struct json_writer *w, const char *name, const struct side *has, const struct side *lacks)
{
	int64_t at;
	jw_key(w, name);
	jw_array(w);
	for (size_t i = 0; i < has->count; i++) {
		if (map_get(&lacks->by_key, has->items[i].key, &at))
			continue;
		put_item(w, &has->items[i]);
		jw_object_end(w);
	}
	jw_array_end(w);
}

int compare_states(struct json from, struct json to, struct arena *a, struct json_writer *w, struct err *e)
{
	struct side old, new;
	int64_t at;
	int rc = read_side(from, a, &old, e);
	if (rc == 0)
		rc = read_side(to, a, &new, e);
	if (rc < 0)
		return rc;
	put_missing(w, "added", &new, &old);
	put_missing(w, "removed", &old, &new);
	jw_key(w, "changed");
	jw_array(w);
	for (size_t i = 0; i < new.count; i++)
		if (map_get(&old.by_key, new.items[i].key, &at) && !is_same(&old.items[at], &new.items[i]))
			put_changed(w, &old.items[at], &new.items[i], a);
	jw_array_end(w);
	return arena_failed(a) ? err_nomem(e) : 0;
}
