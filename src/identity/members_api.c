/* Members of an organization over HTTP; also `pulumi org member` (clients §1.1). */
#include "identity/members.h"

#include "base/clock.h"
#include "base/encode.h"
#include "identity/app.h"
#include "identity/internal.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

#define PAGE 100

struct set_member {
	const char *role;
	const char *role_id;
};
const struct field add_member_fields[] = { FIELD(struct set_member, role, "role", FIELD_STRING,
						 .one_of = identity_roles, .doc = "member if absent"),
					   FIELD_END };
const struct field patch_member_fields[] = {
	FIELD(struct set_member, role, "role", FIELD_STRING, .one_of = identity_roles),
	FIELD(struct set_member, role_id, "fgaRoleId", FIELD_STRING, .one_of = identity_roles,
	      .doc = "Counts before role; there are no roles beyond these"),
	FIELD_END
};

struct membership {
	struct arena *a;
	const struct access *access;
	const char *login;
	const char *role;
	const char *after_name;
	bool only_new; /* who is a member already is a conflict */
	struct org_members_row *rows;
	size_t count;
};

static void write_member(struct request *r, struct json_writer *j, const struct org_members_row *m)
{
	bool admin = streq(m->role, "admin");
	jw_object(j);
	jw_kv_string(j, "role", m->role);
	jw_key(j, "user");
	jw_object(j);
	jw_kv_string(j, "githubLogin", m->name);
	jw_kv_string(j, "name", m->display_name);
	jw_kv_string(j, "email", m->email);
	jw_kv_string(j, "avatarUrl", "");
	jw_object_end(j);
	jw_kv_string(j, "created", clock_rfc3339(r->arena, m->created_us));
	jw_kv_bool(j, "knownToPulumi", true);
	jw_kv_bool(j, "virtualAdmin", false);
	jw_key(j, "fgaRole");
	jw_object(j);
	jw_kv_string(j, "id", m->role);
	jw_kv_string(j, "name", admin ? "Admin" : "Member");
	/* A role that is built in is as old as its organization. */
	jw_kv_string(j, "modifiedAt", clock_rfc3339(r->arena, request_access(r)->org.created_us));
	jw_object_end(j);
	jw_object_end(j);
}

/* --- list --- */

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct membership *p = arg;
	struct org_members_in in = { .org_id = p->access->org.id, .after_name = p->after_name, .n = PAGE + 1 };
	return q_org_members(c, p->a, &in, &p->rows, &p->count, e);
}

/* "backend" are those of an identity provider behind the organization: there is none, or it is this server. */
static const char *const types[] = { "frontend", "backend", NULL };
const struct field member_list_query[] = { QUERY("type", FIELD_STRING, .one_of = types,
						 .doc = "both have the same members"),
					   QUERY("continuationToken", FIELD_STRING), FIELD_END };

static int list_arguments(struct request *r, struct membership *p, struct err *e)
{
	const char *token = request_query(r, "continuationToken");
	struct str name;
	p->after_name = "";
	if (!token || !token[0])
		return 0;
	if (!base64url_decode(r->arena, str_of(token), &name) || !str_is_utf8(name) || str_has_nul(name))
		return err_set(e, ERR_BAD_REQUEST, "continuationToken: is not one of ours");
	p->after_name = str_dup(r->arena, name);
	return p->after_name ? 0 : err_nomem(e);
}

int org_members_list(struct request *r, struct response *w, struct err *e)
{
	struct membership p = { .a = r->arena, .access = request_access(r) };
	int rc = list_arguments(r, &p, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, list_fn, &p, e);
	if (rc < 0)
		return rc;
	size_t count = p.count > PAGE ? PAGE : p.count;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "members");
	jw_array(j);
	for (size_t i = 0; i < count; i++)
		write_member(r, j, &p.rows[i]);
	jw_array_end(j);
	if (p.count > count) {
		_cleanup_buf_ struct buf token;
		buf_init(&token, KIB);
		base64url_encode(&token, str_of(p.rows[count - 1].name));
		jw_key(j, "continuationToken");
		jw_str(j, buf_str(&token));
	}
	jw_object_end(j);
	return 0;
}

/* --- change --- */

static int find_user(struct db_conn *c, struct membership *p, const char **ret_id, struct err *e)
{
	struct user user;
	int rc = identity_user_by_name(c, p->a, p->login, &user, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "user '%s'", p->login);
	if (rc > 0)
		*ret_id = user.id;
	return rc < 0 ? rc : 0;
}

static int set_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct membership *p = arg;
	struct org_member_row member;
	const char *org_id = p->access->org.id, *user_id = NULL, *role;
	p->rows = arena_new(p->a, struct org_members_row);
	if (!p->rows)
		return err_nomem(e);
	int rc = member_find(c, p->a, org_id, p->login, &member, e);
	if (rc == 0 && p->only_new)
		return err_set(e, ERR_CONFLICT, "'%s' is a member already", p->login);
	if (rc == 0)
		user_id = member.user_id;
	else if (rc == -ERR_NOT_FOUND && p->only_new)
		rc = find_user(c, p, &user_id, e);
	if (rc == 0)
		rc = member_put(c, p->a, org_id, user_id, p->role, &p->access->who, &role, e);
	if (rc == 0)
		rc = member_find(c, p->a, org_id, p->login, &member, e);
	if (rc == 0)
		*p->rows = (struct org_members_row){ member.name, member.display_name, member.email, member.role,
						     member.created_us };
	return rc;
}

static int set_member(struct request *r, struct response *w, bool only_new, const char *role, struct err *e)
{
	const struct access *access = request_access(r);
	struct membership p = { .a = r->arena,
				.access = access,
				.login = request_param(r, "userLogin"),
				.role = role,
				.only_new = only_new };
	if (access->org.personal && only_new)
		return err_set(e, ERR_CONFLICT, "'%s' is a user's personal organization: nobody can join it",
			       access->org.name);
	int rc = db_write(app_of(r)->db, set_fn, &p, e);
	if (rc == 0)
		write_member(r, response_json(w), p.rows);
	return rc;
}

int org_member_add(struct request *r, struct response *w, struct err *e)
{
	struct set_member body = { .role = "member" };
	int rc = request_decode(r, w, add_member_fields, &body, e);
	return rc < 0 ? rc : set_member(r, w, true, body.role, e);
}

int org_member_patch(struct request *r, struct response *w, struct err *e)
{
	struct set_member body = { 0 };
	int rc = request_decode(r, w, patch_member_fields, &body, e);
	if (rc == 0 && !body.role && !body.role_id)
		return err_set(e, ERR_BAD_REQUEST, "/role: is required");
	return rc < 0 ? rc : set_member(r, w, false, body.role_id ? body.role_id : body.role, e);
}

static int remove_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct membership *p = arg;
	struct org_member_row member;
	int rc = member_find(c, p->a, p->access->org.id, p->login, &member, e);
	return rc < 0 ? rc : member_remove(c, p->a, p->access->org.id, &member, &p->access->who, e);
}

int org_member_remove(struct request *r, struct response *w, struct err *e)
{
	struct membership p = { .a = r->arena, .access = request_access(r), .login = request_param(r, "userLogin") };
	if (p.access->who.user_id && streq(p.login, p.access->who.user_name))
		return err_set(e, ERR_BAD_REQUEST, "another administrator has to remove you");
	int rc = db_write(app_of(r)->db, remove_fn, &p, e);
	if (rc == 0)
		response_empty(w, 204);
	return rc;
}
