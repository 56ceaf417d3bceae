#include "state/rename.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "db/queries_state.h"
#include "state/resource.h"
#include "state/stack.h"

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
		text = arena_printf(r->a, URN_PREFIX "%s::%s::%.*s", r->names->name, r->names->project,
				    STR_ARG(rest));
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
	json_foreach (v, list) {
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

int rename_document(struct json root, const struct rename_names *names, struct arena *a, struct buf *out,
		    struct err *e)
{
	static const struct member_copy members[] = { { "deployment", false, copy_deployment } };
	struct renamer r = { .a = a,
			     .names = names,
			     .old_prefix = arena_printf(a, URN_PREFIX "%s::%s::", names->old_name, names->old_project) };
	if (!r.old_prefix)
		return err_nomem(e);
	copy_object(&r, root, members, ARRAY_SIZE(members), out);
	if (arena_failed(a))
		return err_nomem(e);
	return buf_check(out, "the renamed state", e);
}

/* --- the stack --- */

struct rename_tx {
	struct arena *a;
	const struct access *access;
	const char *project, *name;
	const char *update_id;
	struct stack s;
	bool has_state;
	struct checkpoint old;
	const struct checkpoint *now; /* NULL: the stack has no state */
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct rename_tx *p = arg;
	p->has_state = false;
	int rc = state_stack_by_id(c, p->a, p->access->stack_id, &p->s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || p->s.deleted)
		return stack_gone(e);
	if (p->s.running_update_id)
		return stack_is_busy(e);
	if (!p->s.checkpoint_id)
		return 0;
	rc = checkpoint_find(c, p->a, p->s.checkpoint_id, &p->old, e);
	p->has_state = rc > 0;
	return rc < 0 ? rc : 0;
}

static int put_names(struct db_conn *c, struct rename_tx *p, const struct stack *s, struct err *e)
{
	struct stack_by_name_row other;
	int rc = q_stack_by_name(c, p->a, &(struct stack_by_name_in){ s->org_id, p->project, p->name }, &other, e);
	if (rc > 0)
		return err_set(e, ERR_CONFLICT, "stack '%s/%s/%s' already exists", p->access->org.name, p->project,
			       p->name);
	if (rc >= 0)
		rc = q_stack_former_name_remove(c, &(struct stack_former_name_remove_in){ s->org_id, p->project, p->name },
						e);
	if (rc >= 0)
		rc = q_stack_set_name(c, &(struct stack_set_name_in){ s->id, p->project, p->name }, e);
	if (rc >= 0)
		rc = q_stack_former_name_put(
			c, &(struct stack_former_name_put_in){ s->org_id, s->project, s->name, s->id }, e);
	return rc;
}

static int rename_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct rename_tx *p = arg;
	struct stack s;
	int64_t now = clock_now_us();
	int rc = state_stack_by_id(c, p->a, p->access->stack_id, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || s.deleted)
		return stack_gone(e);
	if (s.running_update_id || !streq(s.checkpoint_id, p->s.checkpoint_id))
		return stack_is_busy(e);
	const char *checkpoint_id = p->now ? p->now->id : s.checkpoint_id;
	int64_t version = s.version + 1;
	rc = put_names(c, p, &s, e);
	if (rc >= 0)
		rc = q_update_insert(c,
				     &(struct update_insert_in){ .id = p->update_id,
								 .stack_id = s.id,
								 .kind = "rename",
								 .status = "succeeded",
								 .version = version,
								 .message = "",
								 .environment = "{}",
								 .requested_by = p->access->who.user_id,
								 .base_checkpoint_id = s.checkpoint_id,
								 .checkpoint_id = checkpoint_id,
								 .resource_count = s.resource_count,
								 .now_us = now,
								 .started_us = now,
								 .ended_us = now },
				     e);
	if (rc >= 0 && p->now)
		rc = checkpoint_insert(c, p->now, s.id, p->update_id, version, now, e);
	if (rc >= 0)
		rc = q_stack_start_update(c, &(struct stack_start_update_in){ s.id, p->update_id, version, now }, e);
	if (rc >= 0)
		rc = q_stack_end_update(c, &(struct stack_end_update_in){ s.id, p->update_id, now }, e);
	if (rc >= 0)
		rc = q_stack_set_state(c, &(struct stack_set_state_in){ s.id, checkpoint_id, s.resource_count }, e);
	return rc < 0 ? rc : 0;
}

static int rewrite_state(struct app *app, struct rename_tx *p, struct checkpoint *ret, struct err *e)
{
	_cleanup_buf_ struct buf out;
	struct str gzip, text;
	struct rename_names names = { p->s.project, p->s.name, p->project, p->name };
	buf_init(&out, HTTP_DOCUMENT_BODY_BYTES * 2);
	int rc = checkpoint_load(app, p->a, &p->old, &gzip, e);
	if (rc == 0)
		rc = document_inflate(p->a, gzip, &text, e);
	if (rc < 0)
		return rc;
	text = str_trim(text);
	rc = rename_document((struct json){ text.p, text.n }, &names, p->a, &out, e);
	if (rc == 0)
		rc = checkpoint_prepare(app, p->a, buf_str(&out), STR_NULL, p->old.resource_count, ret, e);
	return rc;
}

int stack_rename(struct app *app, struct arena *a, const struct access *access, const char *project, const char *name,
		 const char **ret_update_id, struct err *e)
{
	struct rename_tx p = { .a = a,
			       .access = access,
			       .project = project,
			       .name = name,
			       .update_id = id_new_arena(a) };
	struct checkpoint now;
	int rc = p.update_id ? db_read(app->db, look_fn, &p, e) : err_nomem(e);
	if (rc < 0)
		return rc;
	if (streq(p.s.project, project) && streq(p.s.name, name))
		return err_set(e, ERR_BAD_REQUEST, "No rename to apply.");
	if (p.has_state) {
		rc = rewrite_state(app, &p, &now, e);
		p.now = &now;
	}
	if (rc == 0)
		rc = db_write(app->db, rename_fn, &p, e);
	if (rc == -ERR_CONFLICT && p.now)
		checkpoint_discard(app, p.now);
	if (rc == 0)
		*ret_update_id = p.update_id;
	return rc;
}
