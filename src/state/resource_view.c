#include "state/resource_view.h"

#include "state/deployment.h"
#include "state/map.h"

/* How a secret is marked inside of inputs and outputs (cli-protocol §7). */
#define SIGNATURE_KEY "4dabf18193072939515e22adb298388d"
#define SECRET_SIGNATURE "1b47061264138c4ac30d75fd1eb44270"
#define REDACTED "\"[secret]\""

/* --- names --- */

/* Part n of what "::" separates; the last one (3) is all of the rest. */
static struct str urn_part(struct str urn, int n)
{
	struct str rest = urn;
	for (int i = 0;; i++) {
		const char *end = i < 3 ? memmem(rest.p, rest.n, "::", 2) : rest.p + rest.n;
		if (!end)
			return STR("");
		if (i == n)
			return (struct str){ rest.p, (size_t)(end - rest.p) };
		size_t skip = (size_t)(end - rest.p) + 2;
		rest = (struct str){ rest.p + skip, rest.n - skip };
	}
}

struct str urn_stack(struct str urn)
{
	static const char prefix[] = "urn:pulumi:";
	struct str first = urn_part(urn, 0);
	if (!str_starts_with(first, prefix))
		return STR("");
	return (struct str){ first.p + sizeof(prefix) - 1, first.n - (sizeof(prefix) - 1) };
}

struct str urn_project(struct str urn)
{
	return urn_part(urn, 1);
}

struct str urn_name(struct str urn)
{
	return urn_part(urn, 3);
}

struct str type_package(struct str type)
{
	struct str rest;
	return str_cut(type, ':', &rest);
}

struct str type_module(struct str type)
{
	struct str rest;
	str_cut(type, ':', &rest);
	if (!rest.p)
		return STR("");
	struct str module = str_cut(rest, ':', &rest);
	return rest.p ? module : STR("");
}

/* The type at the end of "parent$child". */
static struct str urn_type(struct str urn)
{
	struct str qualified = urn_part(urn, 2);
	const char *last = qualified.n ? memrchr(qualified.p, '$', qualified.n) : NULL;
	if (!last)
		return qualified;
	return (struct str){ last + 1, (size_t)(qualified.p + qualified.n - last - 1) };
}

/* --- reading --- */

enum { URN, TYPE, ID, PARENT, PROVIDER, CREATED, MODIFIED, CUSTOM, EXTERNAL, PROTECT, DELETE, MEMBER_COUNT };
static const char *const member_names[MEMBER_COUNT] = { "urn",	    "type",    "id",	   "parent",
							"provider", "created", "modified", "custom",
							"external", "protect", "delete" };

/* Empty counts as absent, as Go writes it. */
static const char *text_of(struct json v, struct arena *a)
{
	const char *s = json_cstr(v, a);
	return s && s[0] ? s : NULL;
}

static bool read_view(struct json text, struct arena *a, struct resource_view *ret)
{
	struct json m[MEMBER_COUNT];
	json_pick(text, member_names, MEMBER_COUNT, m);
	*ret = (struct resource_view){ .text = text,
				       .urn = text_of(m[URN], a),
				       .type = text_of(m[TYPE], a),
				       .id = text_of(m[ID], a),
				       .parent = text_of(m[PARENT], a),
				       .provider = text_of(m[PROVIDER], a),
				       .created = text_of(m[CREATED], a),
				       .modified = text_of(m[MODIFIED], a),
				       .custom = json_is_true(m[CUSTOM]),
				       .external = json_is_true(m[EXTERNAL]),
				       .protect = json_is_true(m[PROTECT]),
				       .pending_delete = json_is_true(m[DELETE]) };
	if (ret->urn && !ret->type)
		ret->type = str_dup(a, urn_type(str_of(ret->urn)));
	return ret->urn != NULL;
}

/* Live ones first, then what waits for deletion, each in the order of the state. */
static bool number_views(struct resource_view *list, size_t count, struct arena *a)
{
	struct map seen;
	map_init(&seen, a);
	for (int dead = 0; dead < 2; dead++) {
		for (size_t i = 0; i < count; i++) {
			if (list[i].pending_delete != dead)
				continue;
			struct str urn = str_of(list[i].urn);
			map_get(&seen, urn, &list[i].ordinal);
			if (!map_put(&seen, urn, list[i].ordinal + 1))
				return false;
		}
	}
	return true;
}

int resource_views_read(struct json root, struct arena *a, struct resource_view **ret, size_t *ret_count, struct err *e)
{
	struct json resources = json_path(root, "deployment", "resources", NULL), v;
	if (json_type(resources) != JSON_ARRAY)
		resources = JSON_ABSENT;
	size_t count = 0;
	struct resource_view *list = arena_array(a, json_count(resources), sizeof(*list));
	if (!list)
		return err_nomem(e);
	json_foreach(v, resources)
		count += read_view(v, a, &list[count]);
	if (!number_views(list, count, a) || arena_failed(a))
		return err_nomem(e);
	*ret = list;
	*ret_count = count;
	return 0;
}

bool resource_view_equal(const struct resource_view *x, const struct resource_view *y)
{
	return streq(x->type, y->type) && streq(x->id, y->id) && streq(x->parent, y->parent) &&
	       streq(x->provider, y->provider) && streq(x->created, y->created) && streq(x->modified, y->modified) &&
	       x->custom == y->custom && x->external == y->external && x->protect == y->protect &&
	       x->pending_delete == y->pending_delete;
}

/* --- secrets --- */

bool json_is_secret(struct json v)
{
	return json_type(v) == JSON_OBJECT && memmem(v.p, v.n, SECRET_SIGNATURE, sizeof(SECRET_SIGNATURE) - 1) &&
	       json_string_is(json_get(v, SIGNATURE_KEY), SECRET_SIGNATURE);
}

/* Written with escapes it could be any text: then it is looked for. */
bool json_has_secret(struct json v)
{
	enum json_type type = json_type(v);
	if (type != JSON_OBJECT && type != JSON_ARRAY)
		return false;
	if (memmem(v.p, v.n, SECRET_SIGNATURE, sizeof(SECRET_SIGNATURE) - 1))
		return true;
	if (!memchr(v.p, '\\', v.n))
		return false;
	struct json part;
	if (type == JSON_OBJECT && json_string_is(json_get(v, SIGNATURE_KEY), SECRET_SIGNATURE))
		return true;
	json_foreach(part, v)
		if (json_has_secret(part))
			return true;
	return false;
}

/* Depth is bounded by json_check. */
void json_redact(struct json v, struct buf *out)
{
	enum json_type type = json_type(v);
	/* What could be a secret and is written with escapes is walked as well. */
	if ((type != JSON_OBJECT && type != JSON_ARRAY) ||
	    (!memmem(v.p, v.n, SECRET_SIGNATURE, sizeof(SECRET_SIGNATURE) - 1) && !memchr(v.p, '\\', v.n))) {
		buf_add(out, v.p, v.n);
		return;
	}
	if (type == JSON_OBJECT && json_string_is(json_get(v, SIGNATURE_KEY), SECRET_SIGNATURE)) {
		buf_adds(out, REDACTED);
		return;
	}
	struct json_iter it = json_iter_start(v);
	struct json key, value;
	bool first = true;
	buf_addc(out, type == JSON_OBJECT ? '{' : '[');
	while (json_next(&it, &key, &value)) {
		if (!first)
			buf_addc(out, ',');
		first = false;
		if (type == JSON_OBJECT) {
			buf_add(out, key.p, key.n);
			buf_addc(out, ':');
		}
		json_redact(value, out);
	}
	buf_addc(out, type == JSON_OBJECT ? '}' : ']');
}
