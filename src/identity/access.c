#include "identity/identity.h"

#include "base/mem.h"
#include "http/http.h"

#define LEVEL(name) (1u << STACK_##name)
#define READERS (LEVEL(READ) | LEVEL(DEPLOY) | LEVEL(WRITE) | LEVEL(ADMIN))
#define WRITERS (LEVEL(WRITE) | LEVEL(ADMIN))

/* What decides: the kind of the token, the role in the organization, the level on the stack. */
enum scope { BY_TOKEN, BY_ROLE, BY_LEVEL };

/*
 * Who may do what. An administrator of the organization has every role and level; a member has what `member` says, and on
 * stacks the level of a grant or of the organization's default. Teams and roles of one's own will be further sources of
 * a level, and change nothing here.
 *
 * The level deploy is for whoever presses the button: everything of read, but neither a look at the settings nor a say in
 * them. So it is none of the steps from read to write, and the table has sets of levels rather than a lowest one.
 *
 * A run token has the rights of who asked for the deployment, as they are at that moment, where `run` allows it. On its
 * own stack it has those marked `own`, as long as who asked may still deploy it: what a run does to its stack is settled by
 * the settings, not by who started it. A run that nobody asked for has its own stack alone.
 */
static const struct {
	const char *name;
	enum scope scope;
	bool member;	 /* BY_ROLE */
	unsigned levels; /* BY_LEVEL */
	bool run;
	bool own;
} permissions[] = {
	[PERM_NONE] = { "none", BY_TOKEN },
	[PERM_USER_WRITE] = { "user-write", BY_TOKEN },
	[PERM_ORG_READ] = { "org-read", BY_ROLE, .member = true, .run = true },
	[PERM_ORG_ADMIN] = { "org-admin", BY_ROLE },
	/* Unless the organization keeps it to its administrators. */
	[PERM_STACK_CREATE] = { "stack-create", BY_ROLE, .member = true, .run = true },
	[PERM_STACK_READ] = { "stack-read", BY_LEVEL, .levels = READERS, .run = true, .own = true },
	[PERM_STACK_DEPLOY] = { "stack-deploy", BY_LEVEL, .levels = LEVEL(DEPLOY) | WRITERS, .run = true, .own = true },
	[PERM_STACK_WRITE] = { "stack-write", BY_LEVEL, .levels = WRITERS, .run = true, .own = true },
	[PERM_STACK_ADMIN] = { "stack-admin", BY_LEVEL, .levels = LEVEL(ADMIN), .run = true, .own = true },
	[PERM_STACK_ACCESS] = { "stack-access", BY_LEVEL, .levels = LEVEL(ADMIN) },
	[PERM_SETTINGS_READ] = { "settings-read", BY_LEVEL, .levels = LEVEL(READ) | WRITERS, .run = true, .own = true },
	[PERM_SETTINGS_WRITE] = { "settings-write", BY_LEVEL, .levels = WRITERS },
	[PERM_LEASE] = { "lease", BY_TOKEN },
	[PERM_POOL] = { "pool", BY_TOKEN },
	[PERM_RUNNER] = { "runner", BY_TOKEN },
	[PERM_AGENT] = { "agent", BY_TOKEN },
	[PERM_SITE] = { "site", BY_TOKEN },
};

static const char *const auth_names[] = {
	[AUTH_NONE] = "none",	    [AUTH_USER] = "user",     [AUTH_LEASE] = "lease",
	[AUTH_POOL] = "pool",	    [AUTH_RUNNER] = "runner", [AUTH_AGENT] = "agent",
	[AUTH_HANDLER] = "handler", [AUTH_SITE] = "site",     [AUTH_URL] = "url",
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

static int check_role(const struct access *access, enum permission permission, struct err *e)
{
	if (!access->role)
		return err_set(e, ERR_NOT_FOUND, "no access");
	if (access->who.kind == PRINCIPAL_RUN && !permissions[permission].run)
		return err_set(e, ERR_FORBIDDEN, "the token of a deployment may not do that");
	if (streq(access->role, "admin"))
		return 0;
	if (permission == PERM_STACK_CREATE && !access->org.members_create_stacks)
		return err_set(e, ERR_FORBIDDEN, "only administrators of the organization make stacks in it");
	return permissions[permission].member
		       ? 0
		       : err_set(e, ERR_FORBIDDEN, "this needs the role admin in the organization");
}

static bool holds(enum stack_level level, enum permission permission)
{
	return (permissions[permission].levels & 1u << level) != 0;
}

static int check_level(const struct access *access, enum permission permission, struct err *e)
{
	const struct principal *who = &access->who;
	bool run = who->kind == PRINCIPAL_RUN;
	bool own = run && access->stack_id && who->stack_id && streq(access->stack_id, who->stack_id);
	if (own && (who->automatic || holds(access->level, PERM_STACK_DEPLOY))) {
		if (permissions[permission].own)
			return 0;
		return err_set(e, ERR_FORBIDDEN, "the token of a deployment may not do that");
	}
	if (!holds(access->level, PERM_STACK_READ))
		return err_set(e, ERR_NOT_FOUND, "no access");
	if (run && !permissions[permission].run)
		return err_set(e, ERR_FORBIDDEN, "the token of a deployment may not do that");
	return holds(access->level, permission) ? 0
						: err_set(e, ERR_FORBIDDEN, "this needs the permission %s on the stack",
							  permissions[permission].name);
}

int access_check(const struct access *access, enum permission permission, struct err *e)
{
	BUG_ON((size_t)permission >= ARRAY_SIZE(permissions));
	enum scope scope = permissions[permission].scope;
	return scope == BY_TOKEN  ? check_kind(&access->who, permission, e)
	       : scope == BY_ROLE ? check_role(access, permission, e)
				  : check_level(access, permission, e);
}

bool access_may(const struct access *access, enum permission permission)
{
	return access_check(access, permission, NULL) == 0;
}
