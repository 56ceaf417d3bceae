#include "state/resource.h"

#include "base/limits.h"

static const struct str member_names[RESOURCE_MEMBER_COUNT] = {
#define RESOURCE_MEMBER_NAME(name, key) STR(key),
	RESOURCE_MEMBERS(RESOURCE_MEMBER_NAME)
#undef RESOURCE_MEMBER_NAME
};

const char *const deployment_feature_names[FEATURE_COUNT] = {
#define DEPLOYMENT_FEATURE_NAME(name, text) text,
	DEPLOYMENT_FEATURES(DEPLOYMENT_FEATURE_NAME)
#undef DEPLOYMENT_FEATURE_NAME
};

/* Which member the key (with its quotes) names; -1: none. */
static int member_of(struct json key)
{
	struct str k = { key.p + 1, key.n - 2 };
	for (int i = 0; i < RESOURCE_MEMBER_COUNT; i++)
		if (str_eq(k, member_names[i]))
			return i;
	if (!memchr(k.p, '\\', k.n))
		return -1;
	for (int i = 0; i < RESOURCE_MEMBER_COUNT; i++)
		if (json_string_is(key, member_names[i].p))
			return i;
	return -1;
}

static void read_members(struct json_iter *members, struct resource *ret)
{
	struct json key, value;
	while (json_next(members, &key, &value)) {
		int m = member_of(key);
		if (m >= 0)
			ret->member[m] = json_is_null(value) ? JSON_ABSENT : value;
	}
}

void resource_parse(struct json text, struct resource *ret)
{
	*ret = (struct resource){ .text = text };
	struct json_iter members = json_iter_start(text);
	read_members(&members, ret);
}

void resource_read(struct json_iter *at, struct resource *ret)
{
	*ret = (struct resource){ 0 };
	struct json_iter members = json_into(at);
	read_members(&members, ret);
	ret->text = json_out(at, &members);
}

void resource_set(struct resource *r, enum resource_member m, struct json value)
{
	struct json now = r->member[m];
	if (now.p == value.p && now.n == value.n)
		return;
	r->member[m] = value;
	r->changed |= 1u << m;
}

void resource_emit(const struct resource *r, struct buf *out)
{
	if (!r->changed) {
		buf_add(out, r->text.p, r->text.n);
		return;
	}
	struct json_iter it = json_iter_start(r->text);
	struct json key, value;
	uint32_t done = 0;
	bool first = true;
	buf_addc(out, '{');
	while (json_next(&it, &key, &value)) {
		int m = member_of(key);
		if (m >= 0 && m < RESOURCE_MEMBER_COUNT && (r->changed & 1u << m)) {
			/* A repeated key counts once. */
			if (!r->member[m].p || (done & 1u << m))
				continue;
			value = r->member[m];
			done |= 1u << m;
		}
		if (!first)
			buf_addc(out, ',');
		first = false;
		buf_add(out, key.p, key.n);
		buf_addc(out, ':');
		buf_add(out, value.p, value.n);
	}
	for (int m = 0; m < RESOURCE_MEMBER_COUNT; m++) {
		if (!(r->changed & 1u << m) || (done & 1u << m) || !r->member[m].p)
			continue;
		if (!first)
			buf_addc(out, ',');
		first = false;
		json_quote(out, member_names[m]);
		buf_addc(out, ':');
		buf_add(out, r->member[m].p, r->member[m].n);
	}
	buf_addc(out, '}');
}

static bool is_text(struct json v)
{
	return json_type(v) == JSON_STRING && v.n > 2;
}

static bool has_elements(struct json v)
{
	struct json_iter it;
	struct json value;
	json_iter_init(&it, v);
	return json_next(&it, NULL, &value);
}

uint32_t resource_features(const struct resource *r)
{
	uint32_t f = 0;
	if (json_is_true(r->member[RESOURCE_REFRESH_BEFORE_UPDATE]))
		f |= 1u << FEATURE_REFRESH_BEFORE_UPDATE;
	if (is_text(r->member[RESOURCE_VIEW_OF]))
		f |= 1u << FEATURE_VIEWS;
	if (has_elements(r->member[RESOURCE_RESOURCE_HOOKS]))
		f |= 1u << FEATURE_HOOKS;
	if (json_is_true(r->member[RESOURCE_TAINT]))
		f |= 1u << FEATURE_TAINT;
	if (has_elements(r->member[RESOURCE_REPLACE_WITH]))
		f |= 1u << FEATURE_REPLACE_WITH;
	if (is_text(r->member[RESOURCE_EXTENSION_REF]))
		f |= 1u << FEATURE_EXTENSION_PARAMETERIZATION;
	if (is_text(r->member[RESOURCE_SNIPPET_ID]))
		f |= 1u << FEATURE_SNIPPETS;
	return f;
}

struct str json_view(struct json v, struct arena *a)
{
	struct str s = STR("");
	if (json_type(v) != JSON_STRING)
		return s;
	if (!memchr(v.p, '\\', v.n))
		return (struct str){ v.p + 1, v.n - 2 };
	return json_string(v, a, &s) ? s : STR("");
}

/* Moves the buffer's text to the arena. */
static struct json to_arena(struct buf *b, struct arena *a)
{
	if (buf_failed(b)) {
		a->failed = true;
		return JSON_ABSENT;
	}
	return (struct json){ arena_strndup(a, b->data, b->len), b->len };
}

struct json json_quoted(struct arena *a, struct str s)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES);
	json_quote(&b, s);
	return to_arena(&b, a);
}

struct json edit_string(struct json v, text_edit_fn fn, void *arg, struct arena *a)
{
	if (json_type(v) != JSON_STRING)
		return v;
	struct str in = json_view(v, a), out = in;
	if (!fn(arg, in, &out))
		return JSON_ABSENT;
	return out.p == in.p ? v : json_quoted(a, out);
}

/* The edited list; *ret_count counts what is left. */
static struct json edit_elements(struct json v, text_edit_fn fn, void *arg, struct arena *a, size_t *ret_count)
{
	bool changed = false;
	size_t count = 0;
	struct json element;
	json_foreach(element, v) {
		struct json now = edit_string(element, fn, arg, a);
		changed |= now.p != element.p;
		count += now.p != NULL;
	}
	*ret_count = count;
	if (!changed)
		return v;
	_cleanup_buf_ struct buf b;
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES);
	buf_addc(&b, '[');
	json_foreach(element, v) {
		struct json now = edit_string(element, fn, arg, a);
		if (!now.p)
			continue;
		if (b.len > 1)
			buf_addc(&b, ',');
		buf_add(&b, now.p, now.n);
	}
	buf_addc(&b, ']');
	return to_arena(&b, a);
}

struct json edit_list(struct json v, text_edit_fn fn, void *arg, struct arena *a)
{
	size_t count;
	if (json_type(v) != JSON_ARRAY)
		return v;
	return edit_elements(v, fn, arg, a, &count);
}

struct json edit_map_of_lists(struct json v, bool drop_empty, text_edit_fn fn, void *arg, struct arena *a)
{
	if (json_type(v) != JSON_OBJECT)
		return v;
	_cleanup_buf_ struct buf b;
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES);
	buf_addc(&b, '{');
	bool changed = false;
	struct json_iter it = json_iter_start(v);
	struct json key, list;
	while (json_next(&it, &key, &list)) {
		size_t count = 0;
		struct json now = json_type(list) == JSON_ARRAY ? edit_elements(list, fn, arg, a, &count) : list;
		changed |= now.p != list.p;
		if (drop_empty && count == 0) {
			changed = true;
			continue;
		}
		if (b.len > 1)
			buf_addc(&b, ',');
		buf_add(&b, key.p, key.n);
		buf_addc(&b, ':');
		buf_add(&b, now.p, now.n);
	}
	buf_addc(&b, '}');
	return changed ? to_arena(&b, a) : v;
}
