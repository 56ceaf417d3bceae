#include "state/rename.h"

#include "base/limits.h"
#include "state/resource.h"

#define URN_PREFIX "urn:pulumi:"
#define ROOT_STACK_TYPE "pulumi:pulumi:Stack"
/* Marks an object in inputs or outputs that refers to a resource by its "urn". */
#define SIGNATURE_KEY "4dabf18193072939515e22adb298388d"
#define RESOURCE_REFERENCE_SIGNATURE "5cf8f73096256a8f31e491e813e4eb8e"

struct renamer {
	struct arena *a;
	const struct rename_names *names;
	const char *old_prefix; /* "urn:pulumi:<stack>::<project>::" */
};

/* A text_edit_fn: the URN of the old stack under its new name. */
static bool rename_urn(void *arg, struct str in, struct str *ret)
{
	const struct renamer *r = arg;
	if (!str_starts_with(in, r->old_prefix))
		return true;
	size_t skip = strlen(r->old_prefix);
	struct str rest = { in.p + skip, in.n - skip };
	char *text;
	if (str_starts_with(rest, ROOT_STACK_TYPE "::"))
		text = arena_printf(r->a, URN_PREFIX "%s::%s::" ROOT_STACK_TYPE "::%s-%s", r->names->name,
				    r->names->project, r->names->project, r->names->name);
	else
		text = arena_printf(r->a, URN_PREFIX "%s::%s::%.*s", r->names->name, r->names->project, STR_ARG(rest));
	if (text)
		*ret = str_of(text);
	return true;
}

/* "<urn>::<id>": the id stays. */
static bool rename_provider(void *arg, struct str in, struct str *ret)
{
	const struct renamer *r = arg;
	size_t at = in.n;
	while (at >= 2 && memcmp(in.p + at - 2, "::", 2) != 0)
		at--;
	if (at < 2)
		return true;
	struct str urn = { in.p, at - 2 }, now = urn;
	rename_urn(arg, urn, &now);
	if (now.p == urn.p)
		return true;
	char *text = arena_printf(r->a, "%.*s%.*s", STR_ARG(now), (int)(in.n - urn.n), in.p + urn.n);
	if (text)
		*ret = str_of(text);
	return true;
}

/* Copies the value; references to resources inside of it are renamed. */
static void copy_value(struct renamer *r, struct json v, struct buf *out)
{
	enum json_type type = json_type(v);
	if ((type != JSON_OBJECT && type != JSON_ARRAY) ||
	    !memmem(v.p, v.n, RESOURCE_REFERENCE_SIGNATURE, sizeof(RESOURCE_REFERENCE_SIGNATURE) - 1)) {
		buf_add(out, v.p, v.n);
		return;
	}
	bool is_reference = json_string_is(json_get(v, SIGNATURE_KEY), RESOURCE_REFERENCE_SIGNATURE);
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
		if (is_reference && json_string_is(key, "urn"))
			value = edit_string(value, rename_urn, r, r->a);
		copy_value(r, value, out);
	}
	buf_addc(out, type == JSON_OBJECT ? '}' : ']');
}

static void copy_resource(struct renamer *r, struct json v, struct buf *out)
{
	static const enum resource_member single[] = { RESOURCE_URN, RESOURCE_PARENT, RESOURCE_DELETED_WITH,
						       RESOURCE_VIEW_OF };
	static const enum resource_member lists[] = { RESOURCE_DEPENDENCIES, RESOURCE_REPLACE_WITH, RESOURCE_ALIASES };
	struct resource res;
	resource_parse(v, &res);
	for (size_t i = 0; i < ARRAY_SIZE(single); i++)
		resource_set(&res, single[i], edit_string(res.member[single[i]], rename_urn, r, r->a));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		resource_set(&res, lists[i], edit_list(res.member[lists[i]], rename_urn, r, r->a));
	resource_set(&res, RESOURCE_PROPERTY_DEPENDENCIES,
		     edit_map_of_lists(res.member[RESOURCE_PROPERTY_DEPENDENCIES], false, rename_urn, r, r->a));
	resource_set(&res, RESOURCE_PROVIDER, edit_string(res.member[RESOURCE_PROVIDER], rename_provider, r, r->a));
	if (!memmem(v.p, v.n, RESOURCE_REFERENCE_SIGNATURE, sizeof(RESOURCE_REFERENCE_SIGNATURE) - 1)) {
		resource_emit(&res, out);
		return;
	}
	_cleanup_buf_ struct buf text;
	buf_init(&text, HTTP_DOCUMENT_BODY_BYTES);
	resource_emit(&res, &text);
	if (buf_failed(&text))
		r->a->failed = true;
	else
		copy_value(r, (struct json){ text.data, text.len }, out);
}

static void copy_operation(struct renamer *r, struct json v, struct buf *out);

static void copy_list(struct renamer *r, struct json list, void (*copy)(struct renamer *, struct json, struct buf *),
		      struct buf *out)
{
	struct json v;
	bool first = true;
	buf_addc(out, '[');
	json_foreach(v, list) {
		if (!first)
			buf_addc(out, ',');
		first = false;
		copy(r, v, out);
	}
	buf_addc(out, ']');
}

/* An object with the members named here copied by their own rules, the others as they are. */
struct member_copy {
	const char *name;
	bool is_list;
	void (*copy)(struct renamer *r, struct json v, struct buf *out);
};

static void copy_object(struct renamer *r, struct json v, const struct member_copy *members, size_t count,
			struct buf *out)
{
	struct json_iter it = json_iter_start(v);
	struct json key, value;
	bool first = true;
	buf_addc(out, '{');
	while (json_next(&it, &key, &value)) {
		const struct member_copy *m = NULL;
		for (size_t i = 0; i < count && !m; i++)
			if (json_string_is(key, members[i].name))
				m = &members[i];
		if (!first)
			buf_addc(out, ',');
		first = false;
		buf_add(out, key.p, key.n);
		buf_addc(out, ':');
		if (m && m->is_list && json_type(value) == JSON_ARRAY)
			copy_list(r, value, m->copy, out);
		else if (m && !m->is_list && json_type(value) == JSON_OBJECT)
			m->copy(r, value, out);
		else
			buf_add(out, value.p, value.n);
	}
	buf_addc(out, '}');
}

static void copy_operation(struct renamer *r, struct json v, struct buf *out)
{
	static const struct member_copy members[] = { { "resource", false, copy_resource } };
	copy_object(r, v, members, ARRAY_SIZE(members), out);
}

static void copy_deployment(struct renamer *r, struct json v, struct buf *out)
{
	static const struct member_copy members[] = { { "resources", true, copy_resource },
						      { "pending_operations", true, copy_operation } };
	copy_object(r, v, members, ARRAY_SIZE(members), out);
}

int rename_document(struct json root, const struct rename_names *names, struct arena *a, struct buf *out, struct err *e)
{
	static const struct member_copy members[] = { { "deployment", false, copy_deployment } };
	struct renamer r = { .a = a,
			     .names = names,
			     .old_prefix =
				     arena_printf(a, URN_PREFIX "%s::%s::", names->old_name, names->old_project) };
	if (!r.old_prefix)
		return err_nomem(e);
	copy_object(&r, root, members, ARRAY_SIZE(members), out);
	if (arena_failed(a))
		return err_nomem(e);
	return buf_check(out, "the renamed state", e);
}
