#include "identity/identity.h"

#include "base/mem.h"
#include "http/http.h"

/*
 * Who may do what. Roles of an organization today: admin and member; a member may do everything to stacks, since no
 * finer grant exists yet (teams and roles will narrow it here and nowhere else). A run token has the rights of the
 * deployment's requester, less what is marked; without a requester (automatic trigger) it has only its own stack.
 */
static const struct {
	const char *name;
	bool admin;
	bool member;
	bool run;	 /* a run token may have it, by its requester */
	bool own_stack;	 /* a run token has it for its own stack, requester or not */
	bool org_scoped; /* needs a role in an organization */
} permissions[] = {
	[PERM_NONE] = { "none", true, true, true, true, false },
	[PERM_USER_WRITE] = { "user-write", true, true, false, false, false },
	[PERM_ORG_READ] = { "org-read", true, true, true, false, true },
	[PERM_ORG_ADMIN] = { "org-admin", true, false, false, false, true },
	[PERM_STACK_CREATE] = { "stack-create", true, true, true, false, true },
	[PERM_STACK_READ] = { "stack-read", true, true, true, true, true },
	[PERM_STACK_WRITE] = { "stack-write", true, true, true, true, true },
	[PERM_STACK_ADMIN] = { "stack-admin", true, true, true, true, true },
	[PERM_SETTINGS_READ] = { "settings-read", true, true, true, true, true },
	[PERM_SETTINGS_WRITE] = { "settings-write", true, true, false, false, true },
	[PERM_LEASE] = { "lease", false, false, false, false, false },
	[PERM_POOL] = { "pool", false, false, false, false, false },
	[PERM_RUNNER] = { "runner", false, false, false, false, false },
	[PERM_AGENT] = { "agent", false, false, false, false, false },
	[PERM_SITE] = { "site", false, false, false, false, false },
};

static const char *const auth_names[] = {
	[AUTH_NONE] = "none",	  [AUTH_USER] = "user",	  [AUTH_LEASE] = "lease",     [AUTH_POOL] = "pool",
	[AUTH_RUNNER] = "runner", [AUTH_AGENT] = "agent", [AUTH_HANDLER] = "handler", [AUTH_SITE] = "site",
};

const char *permission_name(enum permission p)
{
	BUG_ON((size_t)p >= ARRAY_SIZE(permissions));
	return permissions[p].name;
}

const char *route_auth_name(enum route_auth a)
{
	BUG_ON((size_t)a >= ARRAY_SIZE(auth_names));
	return auth_names[a];
}

struct access *request_access(const struct request *r)
{
	return r->context;
}

/* Permissions that belong to a kind of token rather than to a role. */
static int check_kind(const struct principal *who, enum permission permission, struct err *e)
{
	bool ok = false;
	switch (permission) {
	case PERM_NONE:
		ok = true;
		break;
	case PERM_USER_WRITE:
		ok = who->kind == PRINCIPAL_USER;
		break;
	case PERM_LEASE:
		ok = who->kind == PRINCIPAL_LEASE;
		break;
	case PERM_POOL:
		ok = who->kind == PRINCIPAL_POOL;
		break;
	case PERM_RUNNER:
		ok = who->kind == PRINCIPAL_RUNNER;
		break;
	case PERM_AGENT:
		ok = who->kind == PRINCIPAL_RUNNER || who->kind == PRINCIPAL_POOL;
		break;
	case PERM_SITE:
		ok = who->kind == PRINCIPAL_SOCKET || (who->kind == PRINCIPAL_USER && who->site_admin);
		break;
	default:
		break;
	}
	return ok ? 0 : err_set(e, ERR_FORBIDDEN, "this token may not do that");
}

int access_check(const struct principal *who, const char *role, const char *stack_id, enum permission permission,
		 struct err *e)
{
	BUG_ON((size_t)permission >= ARRAY_SIZE(permissions));
	if (!permissions[permission].org_scoped)
		return check_kind(who, permission, e);
	if (who->kind == PRINCIPAL_RUN && stack_id && who->stack_id && streq(stack_id, who->stack_id)) {
		if (permissions[permission].own_stack)
			return 0;
		if (!role)
			return err_set(e, ERR_FORBIDDEN, "the token of a deployment may not do that");
	}
	if (!role)
		return err_set(e, ERR_NOT_FOUND, "no access");
	if (who->kind == PRINCIPAL_RUN && !permissions[permission].run)
		return err_set(e, ERR_FORBIDDEN, "the token of a deployment may not do that");
	bool ok = streq(role, "admin") ? permissions[permission].admin : permissions[permission].member;
	return ok ? 0 : err_set(e, ERR_FORBIDDEN, "this needs the role admin in the organization");
}
