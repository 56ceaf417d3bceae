/* The user's own account: /api/user, its organizations and tokens (cli-protocol §2.3, clients §1.1). */
#include "identity/identity.h"

#include "base/clock.h"
#include "db/queries_identity.h"
#include "identity/app.h"
#include "identity/internal.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

struct create_token {
	const char *description;
	int64_t expires_s; /* when, unix seconds; 0: never */
};
const struct field create_token_fields[] = { FIELD(struct create_token, description, "description", FIELD_STRING,
						   .required = true, .max = 255),
					     FIELD(struct create_token, expires_s, "expires", FIELD_INT, .min = 0,
						   .max = INT64_MAX / US_PER_S, .doc = "Unix seconds; 0: never"),
					     FIELD_END };

/* What the answers about one user are made from. */
struct account {
	struct arena *a;
	const char *user_id;
	const char *org_id; /* of a run token without a requester */
	int found;
	struct user_by_id_row user;
	struct user_orgs_row *orgs;
	size_t org_count;
};

static int account_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct account *p = arg;
	if (p->user_id) {
		p->found = q_user_by_id(c, p->a, &(struct user_by_id_in){ .id = p->user_id }, &p->user, e);
		if (p->found <= 0)
			return p->found;
		return q_user_orgs(c, p->a, &(struct user_orgs_in){ .user_id = p->user_id }, &p->orgs, &p->org_count,
				   e);
	}
	/* A deployment that nobody asked for acts in its organization's name. */
	struct org_by_id_row org;
	p->found = p->org_id ? q_org_by_id(c, p->a, &(struct org_by_id_in){ .id = p->org_id }, &org, e) : 0;
	if (p->found <= 0)
		return p->found;
	p->user = (struct user_by_id_row){ org.id, org.name, org.name, "", false, org.name };
	p->orgs = arena_new(p->a, struct user_orgs_row);
	if (!p->orgs)
		return err_nomem(e);
	p->orgs[0] = (struct user_orgs_row){ org.id, org.name, org.kind, "member" };
	p->org_count = 1;
	return 0;
}

static int account_load(struct request *r, struct account *ret, struct err *e)
{
	const struct principal *who = &request_access(r)->who;
	*ret = (struct account){ .a = r->arena, .user_id = who->user_id, .org_id = who->org_id };
	int rc = db_read(app_of(r)->db, account_fn, ret, e);
	if (rc == 0 && ret->found <= 0)
		return err_set(e, ERR_NOT_FOUND, "the token belongs to no user");
	return rc;
}

static void write_org(struct json_writer *j, const char *name, const char *role)
{
	jw_object(j);
	jw_kv_string(j, "githubLogin", name);
	jw_kv_string(j, "name", name);
	jw_kv_string(j, "avatarUrl", "");
	jw_kv_string(j, "role", role);
	jw_object_end(j);
}

int user_get(struct request *r, struct response *w, struct err *e)
{
	struct account account;
	int rc = account_load(r, &account, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", account.user.id);
	jw_kv_string(j, "githubLogin", account.user.name);
	jw_kv_string(j, "name", account.user.display_name);
	jw_kv_string(j, "email", account.user.email);
	jw_kv_string(j, "avatarUrl", "");
	jw_key(j, "identities");
	jw_array(j);
	jw_array_end(j);
	jw_kv_bool(j, "siteAdmin", request_access(r)->who.site_admin);
	jw_key(j, "organizations");
	jw_array(j);
	for (size_t i = 0; i < account.org_count; i++)
		write_org(j, account.orgs[i].name, account.orgs[i].role);
	jw_array_end(j);
	/* For a personal token the hosted service says nothing, and the CLI shows "personal". */
	const struct principal *who = &request_access(r)->who;
	if (who->kind == PRINCIPAL_RUN) {
		jw_key(j, "tokenInfo");
		jw_object(j);
		jw_kv_string(j, "name", who->token_description);
		jw_object_end(j);
	}
	jw_object_end(j);
	return 0;
}

int user_default_org_get(struct request *r, struct response *w, struct err *e)
{
	struct account account;
	int rc = account_load(r, &account, e);
	if (rc < 0)
		return rc;
	/* What was chosen, if the user is still in it; else the only organization there is to share; else the own. */
	const char *chosen = NULL;
	const char *shared = NULL;
	size_t shared_count = 0;
	for (size_t i = 0; i < account.org_count; i++) {
		if (account.user.default_org && streq(account.orgs[i].name, account.user.default_org))
			chosen = account.orgs[i].name;
		if (!streq(account.orgs[i].kind, "personal")) {
			shared = account.orgs[i].name;
			shared_count++;
		}
	}
	if (!chosen)
		chosen = shared_count == 1 ? shared : account.user.name;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "gitHubLogin", chosen);
	jw_key(j, "messages");
	jw_array(j);
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

static int set_default_fn(struct db_conn *c, void *arg, struct err *e)
{
	int rc = q_user_set_default_org(c, arg, e);
	return rc < 0 ? rc : 0;
}

int user_default_org_set(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	if (!access->role)
		return err_set(e, ERR_NOT_FOUND, "organization '%s'", request_param(r, "orgName"));
	struct user_set_default_org_in in = { .id = access->who.user_id, .default_org = access->org.name };
	int rc = db_write(app_of(r)->db, set_default_fn, &in, e);
	if (rc == 0)
		response_empty(w, 204);
	return rc;
}

int user_org_get(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	write_org(response_json(w), access->org.name, access->role);
	return 0;
}

struct list_members {
	struct arena *a;
	const char *org_id;
	struct org_members_row *rows;
	size_t count;
};

static int list_members_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct list_members *p = arg;
	return q_org_members(c, p->a, &(struct org_members_in){ .org_id = p->org_id }, &p->rows, &p->count, e);
}

int org_members_list(struct request *r, struct response *w, struct err *e)
{
	struct list_members p = { .a = r->arena, .org_id = request_access(r)->org.id };
	int rc = db_read(app_of(r)->db, list_members_fn, &p, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "members");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++) {
		jw_object(j);
		jw_kv_string(j, "role", p.rows[i].role);
		jw_key(j, "user");
		jw_object(j);
		jw_kv_string(j, "githubLogin", p.rows[i].name);
		jw_kv_string(j, "name", p.rows[i].display_name);
		jw_kv_string(j, "email", p.rows[i].email);
		jw_kv_string(j, "avatarUrl", "");
		jw_object_end(j);
		jw_kv_string(j, "created", clock_rfc3339(r->arena, p.rows[i].created_us));
		jw_kv_bool(j, "knownToPulumi", true);
		jw_kv_bool(j, "virtualAdmin", false);
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

struct list_tokens {
	struct arena *a;
	const char *user_id;
	struct tokens_of_user_row *rows;
	size_t count;
};

static int list_tokens_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct list_tokens *p = arg;
	return q_tokens_of_user(c, p->a, &(struct tokens_of_user_in){ .user_id = p->user_id }, &p->rows, &p->count, e);
}

static int64_t unix_seconds(int64_t us)
{
	return us == DB_NULL_INT ? 0 : us / US_PER_S;
}

int user_tokens_list(struct request *r, struct response *w, struct err *e)
{
	const struct principal *who = &request_access(r)->who;
	struct list_tokens p = { .a = r->arena, .user_id = who->user_id };
	int rc = db_read(app_of(r)->db, list_tokens_fn, &p, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "tokens");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++) {
		jw_object(j);
		jw_kv_string(j, "id", p.rows[i].id);
		jw_kv_string(j, "name", "");
		jw_kv_string(j, "description", p.rows[i].description);
		jw_kv_string(j, "type", "personal");
		jw_kv_bool(j, "admin", false);
		jw_kv_string(j, "created", clock_rfc3339(r->arena, p.rows[i].created_us));
		jw_kv_string(j, "createdBy", who->user_name);
		jw_kv_int(j, "lastUsed", unix_seconds(p.rows[i].last_used_us));
		jw_kv_int(j, "expires", unix_seconds(p.rows[i].expires_us));
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

int identity_answer_new_token(struct request *r, struct response *w, const char *user, const char *description,
			      int64_t expires_s, struct err *e)
{
	int64_t expires_us = DB_NULL_INT;
	if (expires_s > 0) {
		expires_us = expires_s * US_PER_S;
		if (expires_us <= clock_now_us())
			return err_set(e, ERR_BAD_REQUEST, "/expires: lies in the past");
	}
	const char *token, *id;
	int rc = identity_token_add(app_of(r)->identity, r->arena, user, description, expires_us, &token, &id, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", id);
	jw_kv_string(j, "tokenValue", token);
	jw_object_end(j);
	return 0;
}

int user_token_create(struct request *r, struct response *w, struct err *e)
{
	struct create_token body = { 0 };
	int rc = request_decode(r, w, create_token_fields, &body, e);
	if (rc < 0)
		return rc;
	return identity_answer_new_token(r, w, request_access(r)->who.user_name, body.description, body.expires_s, e);
}

static int delete_token_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct token_delete_personal_in *in = arg;
	int rc = q_token_delete_personal(c, in, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "token '%s'", in->id);
	return rc < 0 ? rc : 0;
}

int user_token_delete(struct request *r, struct response *w, struct err *e)
{
	struct token_delete_personal_in in = { .id = request_param(r, "tokenId"),
					       .user_id = request_access(r)->who.user_id };
	int rc = db_write(app_of(r)->db, delete_token_fn, &in, e);
	if (rc == 0)
		response_empty(w, 204);
	return rc;
}
