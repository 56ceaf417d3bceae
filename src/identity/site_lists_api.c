/* Everybody and everything, for the administrators of the site: lists of users and of organizations, by name. */
#include "identity/identity.h"

#include "base/clock.h"
#include "base/encode.h"
#include "db/queries_identity.h"
#include "db/queries_site.h"
#include "identity/app.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

#define PAGE 100

const struct field site_list_query[] = { QUERY("continuationToken", FIELD_STRING, .doc = "of the page before"),
					 FIELD_END };

struct listing {
	struct arena *a;
	const char *after_name;
	struct site_users_row *users;
	struct user_orgs_row **orgs; /* of each user */
	size_t *org_counts;
	struct site_orgs_row *all;
	size_t count;
};

static int list_token(struct request *r, struct listing *l, struct err *e)
{
	const char *token = request_query(r, "continuationToken");
	struct str name;
	l->after_name = "";
	if (!token || !token[0])
		return 0;
	if (!base64url_decode(r->arena, str_of(token), &name) || !str_is_utf8(name) || str_has_nul(name))
		return err_set(e, ERR_BAD_REQUEST, "continuationToken: is not one of ours");
	l->after_name = str_dup(r->arena, name);
	return l->after_name ? 0 : err_nomem(e);
}

static void write_token(struct json_writer *j, const struct listing *l, const char *last_name)
{
	if (l->count <= PAGE)
		return;
	_cleanup_buf_ struct buf token;
	buf_init(&token, KIB);
	base64url_encode(&token, str_of(last_name));
	jw_key(j, "continuationToken");
	jw_str(j, buf_str(&token));
}

static int users_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct listing *l = arg;
	struct site_users_in in = { .after_name = l->after_name, .now_us = clock_now_us(), .n = PAGE + 1 };
	int rc = q_site_users(c, l->a, &in, &l->users, &l->count, e);
	if (rc < 0)
		return rc;
	l->orgs = arena_array(l->a, l->count + 1, sizeof(*l->orgs));
	l->org_counts = arena_array(l->a, l->count + 1, sizeof(*l->org_counts));
	if (!l->orgs || !l->org_counts)
		return err_nomem(e);
	for (size_t i = 0; rc >= 0 && i < l->count; i++)
		rc = q_user_orgs(c, l->a, &(struct user_orgs_in){ .user_id = l->users[i].id }, &l->orgs[i],
				 &l->org_counts[i], e);
	return rc < 0 ? rc : 0;
}

static int64_t seconds(int64_t us)
{
	return us == DB_NULL_INT ? 0 : us / US_PER_S;
}

static void write_user(struct request *r, struct json_writer *j, const struct listing *l, size_t i)
{
	const struct site_users_row *u = &l->users[i];
	jw_object(j);
	jw_kv_string(j, "id", u->id);
	jw_kv_string(j, "name", u->name);
	jw_kv_string(j, "displayName", u->display_name);
	jw_kv_string(j, "email", u->email);
	jw_kv_bool(j, "siteAdmin", u->site_admin);
	jw_kv_string(j, "created", clock_rfc3339(r->arena, u->created_us));
	jw_kv_int(j, "tokens", u->tokens);
	jw_kv_int(j, "lastUsed", seconds(u->last_used_us));
	jw_key(j, "organizations");
	jw_array(j);
	for (size_t k = 0; k < l->org_counts[i]; k++) {
		if (streq(l->orgs[i][k].kind, "personal"))
			continue;
		jw_object(j);
		jw_kv_string(j, "name", l->orgs[i][k].name);
		jw_kv_string(j, "role", l->orgs[i][k].role);
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_object_end(j);
}

int site_users_list(struct request *r, struct response *w, struct err *e)
{
	struct listing l = { .a = r->arena };
	int rc = list_token(r, &l, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, users_fn, &l, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "users");
	jw_array(j);
	for (size_t i = 0; i < l.count && i < PAGE; i++)
		write_user(r, j, &l, i);
	jw_array_end(j);
	write_token(j, &l, l.count > PAGE ? l.users[PAGE - 1].name : NULL);
	jw_object_end(j);
	return 0;
}

static int orgs_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct listing *l = arg;
	struct site_orgs_in in = { .after_name = l->after_name, .n = PAGE + 1 };
	return q_site_orgs(c, l->a, &in, &l->all, &l->count, e);
}

int site_orgs_list(struct request *r, struct response *w, struct err *e)
{
	struct listing l = { .a = r->arena };
	int rc = list_token(r, &l, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, orgs_fn, &l, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "organizations");
	jw_array(j);
	for (size_t i = 0; i < l.count && i < PAGE; i++) {
		jw_object(j);
		jw_kv_string(j, "id", l.all[i].id);
		jw_kv_string(j, "name", l.all[i].name);
		jw_kv_bool(j, "personal", streq(l.all[i].kind, "personal"));
		jw_kv_string(j, "created", clock_rfc3339(r->arena, l.all[i].created_us));
		jw_kv_int(j, "members", l.all[i].members);
		jw_kv_int(j, "stacks", l.all[i].stacks);
		jw_kv_string(j, "defaultLevel", l.all[i].stack_permission);
		jw_object_end(j);
	}
	jw_array_end(j);
	write_token(j, &l, l.count > PAGE ? l.all[PAGE - 1].name : NULL);
	jw_object_end(j);
	return 0;
}
