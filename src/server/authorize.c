/*
 * authorize.c: the hook that the HTTP server runs before a handler: who is asking (route.auth), what the path names, and
 * whether that is allowed (route.permission). One snapshot of the database for all of it.
 *
 *	"token X"         tokens of users, organizations, runs, pools and runners
 *	"update-token X"  the lease of an update (cli-protocol §1.1)
 *	slipway_session   a browser's cookie. A browser sends it also for a foreign page, so whatever is not GET or HEAD
 *	                  needs the header Slipway-Csrf besides, whose value only pages of ours can read (console/session.c)
 *	sealed path       the URLs of the dependency cache: who has one may use it
 *	control socket    without a token: the administrator of the site, in every organization
 */
#include "server/server.h"

#include "crypto/crypto.h"
#include "deploy/deploy.h"
#include "http/http.h"
#include "identity/identity.h"
#include "state/state.h"

#define UNAUTHORIZED "No credentials provided or are invalid."
/* The CLI takes 403 on a renewal as the end of the lease; anything else it tries again (cli-protocol §3.6). */
#define LEASE_LOST "the update's lease has ended or was taken away"

struct lookup {
	struct request *r;
	struct str token; /* p == NULL: none was sent */
	struct access access;
};

static bool is_read(const struct request *r)
{
	return streq(r->method, "GET") || streq(r->method, "HEAD");
}

/* The credentials that fit the kind of the route. */
static struct str find_token(const struct request *r, enum route_auth auth)
{
	const char *scheme = auth == AUTH_LEASE ? "update-token " : "token ";
	const char *header = request_header(r, "Authorization");
	if (header)
		return str_starts_with(str_of(header), scheme) ? str_trim(str_of(header + strlen(scheme))) : STR_NULL;
	if (auth == AUTH_USER)
		return str_of(request_cookie(r, SESSION_COOKIE));
	return STR_NULL;
}

/* That the request of a signed-in browser comes from a page of ours. */
static int check_csrf(const struct lookup *l, struct err *e)
{
	struct request *r = l->r;
	if (is_read(r) || request_header(r, "Authorization"))
		return 0;
	const char *said = request_header(r, "Slipway-Csrf"), *wanted = token_csrf(r->arena, l->token);
	if (!wanted)
		return err_nomem(e);
	if (said && crypto_equal(str_of(said), str_of(wanted)))
		return 0;
	return err_set(e, ERR_FORBIDDEN,
		       "with a session's cookie this needs the header Slipway-Csrf of that session "
		       "(GET /api/console/session)");
}

static bool kind_fits(const struct principal *who, enum route_auth auth, bool by_cookie)
{
	switch (auth) {
	case AUTH_USER:
		return who->kind == PRINCIPAL_SOCKET || who->kind == PRINCIPAL_ORG || who->kind == PRINCIPAL_RUN ||
		       (who->kind == PRINCIPAL_USER && who->session == by_cookie);
	case AUTH_LEASE:
		return who->kind == PRINCIPAL_LEASE;
	case AUTH_POOL:
		return who->kind == PRINCIPAL_POOL;
	case AUTH_RUNNER:
		return who->kind == PRINCIPAL_RUNNER;
	case AUTH_AGENT:
		return who->kind == PRINCIPAL_POOL || who->kind == PRINCIPAL_RUNNER;
	case AUTH_SITE:
		return who->kind == PRINCIPAL_SOCKET || (who->kind == PRINCIPAL_USER && !who->session);
	default:
		return false;
	}
}

static int authenticate(struct db_conn *c, struct lookup *l, struct err *e)
{
	struct principal *who = &l->access.who;
	enum route_auth auth = l->r->route->auth;
	if (!l->token.p && l->r->from_socket && (auth == AUTH_USER || auth == AUTH_SITE)) {
		*who = (struct principal){ .kind = PRINCIPAL_SOCKET,
					   .user_name = "site",
					   .site_admin = true,
					   .attempt = DB_NULL_INT,
					   .expires_us = DB_NULL_INT };
		return 0;
	}
	if (!l->token.p || l->token.n == 0)
		return err_set(e, ERR_UNAUTHORIZED, UNAUTHORIZED);
	int rc = identity_authenticate(c, l->r->arena, l->token, who, e);
	if (rc == -ERR_UNAUTHORIZED && auth == AUTH_LEASE && str_starts_with(l->token, TOKEN_PREFIX_LEASE))
		return err_set(e, ERR_FORBIDDEN, LEASE_LOST);
	if (rc == 0 && !kind_fits(who, auth, !request_header(l->r, "Authorization")))
		return err_set(e, ERR_UNAUTHORIZED, UNAUTHORIZED);
	return rc == 0 && who->session ? check_csrf(l, e) : rc;
}

/* The parameter's value if the pattern has it, in either spelling. */
static const char *param_of(const struct request *r, const char *name, const char *other)
{
	if (request_has_param(r, name))
		return request_param(r, name);
	return request_has_param(r, other) ? request_param(r, other) : NULL;
}

/* A token that is bound to one update or deployment is good for no other. */
static int check_binding(const struct lookup *l, struct err *e)
{
	const struct principal *who = &l->access.who;
	if (who->kind == PRINCIPAL_LEASE) {
		const char *update = param_of(l->r, "updateID", "updateId");
		if (update && !streq(update, who->update_id))
			return err_set(e, ERR_FORBIDDEN, "the token belongs to another update");
	}
	if (who->kind == PRINCIPAL_RUNNER) {
		const char *deployment = param_of(l->r, "deploymentId", "deploymentID");
		if (deployment && !streq(deployment, who->deployment_id))
			return err_set(e, ERR_FORBIDDEN, "the token belongs to another deployment");
	}
	return 0;
}

/* What "Not Found" names: the stack if the path has one, else the organization. The same words whether it does not
 * exist or may not be seen. */
static int not_found(const struct request *r, struct err *e)
{
	const char *org = request_param(r, "orgName");
	if (request_has_param(r, "stackName"))
		return err_set(e, ERR_NOT_FOUND, "stack '%s/%s/%s'", org, request_param(r, "projectName"),
			       request_param(r, "stackName"));
	return err_set(e, ERR_NOT_FOUND, "organization '%s'", org);
}

/* Of a stack that its own deployment has removed, that deployment and its updates can still be looked at. */
static int find_buried(struct db_conn *c, struct lookup *l, struct stack *stack, struct err *e)
{
	struct request *r = l->r;
	const char *deployment = param_of(r, "deploymentId", "deploymentID"),
		   *update = param_of(r, "updateID", "updateId");
	if (r->route->permission != PERM_STACK_READ || (!deployment && !update))
		return 0;
	int rc = state_stack_buried(c, r->arena, l->access.org.id, request_param(r, "projectName"),
				    request_param(r, "stackName"), deployment, update, stack, e);
	if (rc > 0) {
		l->access.stack_id = stack->id;
		l->access.stack_project = stack->project;
		l->access.stack_name = stack->name;
	}
	return rc;
}

static int find_stack(struct db_conn *c, struct lookup *l, struct err *e)
{
	struct request *r = l->r;
	struct stack stack;
	int rc = state_stack_by_name(c, r->arena, l->access.org.id, request_param(r, "projectName"),
				     request_param(r, "stackName"), &stack, e);
	if (rc < 0)
		return rc;
	if (rc > 0) {
		l->access.stack_id = stack.id;
		l->access.stack_project = stack.project;
		l->access.stack_name = stack.name;
		return identity_stack_access(c, r->arena, &l->access, e);
	}
	if (rc == 0)
		rc = find_buried(c, l, &stack, e);
	if (rc != 0)
		return rc < 0 ? rc : identity_stack_access(c, r->arena, &l->access, e);
	/* A lease outlives the name of its stack: one that was renamed or removed meanwhile is still written to. */
	return l->access.who.kind == PRINCIPAL_LEASE ? 0 : not_found(r, e);
}

static int lookup_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct lookup *l = arg;
	struct request *r = l->r;
	struct access *access = &l->access;
	memset(access, 0, sizeof(*access));
	int rc = authenticate(c, l, e);
	if (rc == 0)
		rc = check_binding(l, e);
	if (rc < 0)
		return rc;
	if (request_has_param(r, "orgName")) {
		rc = identity_org_access(c, r->arena, access, request_param(r, "orgName"), e);
		if (rc == -ERR_NOT_FOUND)
			return not_found(r, e);
		if (rc == 0 && request_has_param(r, "stackName"))
			rc = find_stack(c, l, e);
		if (rc < 0)
			return rc;
	}
	rc = access_check(access, r->route->permission, e);
	return rc == -ERR_NOT_FOUND ? not_found(r, e) : rc;
}

int server_authorize(struct request *r, struct err *e)
{
	int rc = server_started(app_of(r), e);
	if (rc < 0)
		return rc;
	struct lookup *l = arena_new(r->arena, struct lookup);
	if (!l)
		return err_nomem(e);
	*l = (struct lookup){ .r = r };
	r->context = &l->access;
	enum route_auth auth = r->route->auth;
	if (auth == AUTH_URL)
		return deploy_cache_admit(r, e);
	if (auth == AUTH_NONE || auth == AUTH_HANDLER)
		return 0;
	l->token = find_token(r, auth);
	rc = db_read(app_of(r)->db, lookup_fn, l, e);
	if (rc == 0)
		identity_token_used(app_of(r)->db, &l->access.who);
	return rc;
}
