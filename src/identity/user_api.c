/* The user's own account: /api/user and its organizations (cli-protocol §2.3, clients §1.1). */
#include "identity/identity.h"

#include "base/clock.h"
#include "db/queries_identity.h"
#include "identity/app.h"
#include "identity/internal.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

/* What the answers about one user are made from. */
struct account {
	struct arena *a;
	const char *user_id;
	const char *org_id; /* without a user: of the organization's token, or of a run that nobody asked for */
	bool admin;
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
	/* Its tokens act in the organization's name, and so does a deployment that no user asked for. */
	struct org_by_id_row org;
	p->found = p->org_id ? q_org_by_id(c, p->a, &(struct org_by_id_in){ .id = p->org_id }, &org, e) : 0;
	if (p->found <= 0)
		return p->found;
	p->user = (struct user_by_id_row){ org.id, org.name, org.name, "", false, org.name };
	p->orgs = arena_new(p->a, struct user_orgs_row);
	if (!p->orgs)
		return err_nomem(e);
	p->orgs[0] = (struct user_orgs_row){ org.id, org.name, org.kind, p->admin ? "admin" : "member" };
	p->org_count = 1;
	return 0;
}

static int account_load(struct request *r, struct account *ret, struct err *e)
{
	const struct principal *who = &request_access(r)->who;
	*ret = (struct account){
		.a = r->arena, .user_id = who->user_id, .org_id = who->org_id, .admin = who->org_admin
	};
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
	if (who->kind == PRINCIPAL_RUN || who->kind == PRINCIPAL_ORG) {
		jw_key(j, "tokenInfo");
		jw_object(j);
		jw_kv_string(j, "name", who->kind == PRINCIPAL_ORG ? who->user_name : who->token_description);
		if (who->kind == PRINCIPAL_ORG)
			jw_kv_string(j, "organization", account.user.name);
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
