/* Levels on stacks: from the role, from a grant, from the organization's default. */
#include "identity/identity.h"

#include "base/clock.h"
#include "db/queries_identity.h"

/* As the database has them (CHECK in 0010_access.sql). */
static const char *const level_names[] = {
	[STACK_NONE] = "none",	 [STACK_READ] = "read",	  [STACK_DEPLOY] = "deploy",
	[STACK_WRITE] = "write", [STACK_ADMIN] = "admin",
};

const char *stack_level_name(enum stack_level level)
{
	BUG_ON((size_t)level >= ARRAY_SIZE(level_names));
	return level_names[level];
}

enum stack_level stack_level_parse(const char *name)
{
	unsigned i = 0;
	while (i < ARRAY_SIZE(level_names) && !streq(name, level_names[i]))
		i++;
	BUG_ON(i == ARRAY_SIZE(level_names));
	return (enum stack_level)i;
}

int identity_org_access(struct db_conn *c, struct arena *a, struct access *access, const char *org_name, struct err *e)
{
	const struct principal *who = &access->who;
	struct org_by_name_row row;
	int rc = q_org_by_name(c, a, &(struct org_by_name_in){ .name = org_name }, &row, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "organization '%s'", org_name);
	access->role = NULL;
	if (who->kind == PRINCIPAL_SOCKET) {
		access->role = "admin";
	} else if (who->org_token) {
		if (streq(who->org_id, row.id))
			access->role = who->org_admin ? "admin" : "member";
	} else if (who->user_id) {
		struct org_role_row member;
		rc = q_org_role(c, a, &(struct org_role_in){ .org_id = row.id, .user_id = who->user_id }, &member, e);
		if (rc < 0)
			return rc;
		if (rc > 0)
			access->role = member.role;
	}
	access->org = (struct org){ .id = row.id,
				    .name = row.name,
				    .personal = streq(row.kind, "personal"),
				    .data_key = row.data_key,
				    .stack_level = stack_level_parse(row.stack_permission),
				    .members_create_stacks = row.members_create_stacks,
				    .created_us = row.created_us };
	return 0;
}

int identity_stack_access(struct db_conn *c, struct arena *a, struct access *access, struct err *e)
{
	access->level = STACK_NONE;
	if (!access->role)
		return 0;
	bool admin = streq(access->role, "admin");
	access->level = admin ? STACK_ADMIN : access->org.stack_level;
	/* Grants are for members: nothing is looked up for whoever has everything, or is no user. */
	if (admin || !access->who.user_id)
		return 0;
	struct grant_get_row grant;
	int rc = q_grant_get(c, a,
			     &(struct grant_get_in){ .stack_id = access->stack_id, .user_id = access->who.user_id },
			     &grant, e);
	if (rc > 0)
		access->level = stack_level_parse(grant.permission);
	return rc < 0 ? rc : 0;
}

int identity_grant_creator(struct db_conn *c, const struct access *access, const char *stack_id, struct err *e)
{
	if (!access->who.user_id || !access->role)
		return 0;
	int rc = q_grant_put(c,
			     &(struct grant_put_in){ .stack_id = stack_id,
						     .user_id = access->who.user_id,
						     .org_id = access->org.id,
						     .permission = stack_level_name(STACK_ADMIN),
						     .creator = true,
						     .created_us = clock_now_us() },
			     e);
	return rc < 0 ? rc : 0;
}

const char *identity_reader(const struct principal *who)
{
	if (who->kind == PRINCIPAL_SOCKET)
		return NULL;
	/* "" is nobody: an automatic run, or one whose requester's token is gone. */
	return who->user_id ? who->user_id : who->org_token ? who->org_token : "";
}

int identity_org_reader(struct db_conn *c, struct arena *a, const struct access *access, const char **ret_reader,
			struct err *e)
{
	struct org_hides_stacks_row row;
	*ret_reader = NULL;
	if (access->role && streq(access->role, "admin"))
		return 0;
	const char *reader = identity_reader(&access->who);
	struct org_hides_stacks_in in = { .org_id = access->org.id, .reader_id = reader };
	int rc = reader ? q_org_hides_stacks(c, a, &in, &row, e) : 0;
	if (rc > 0 || !access->role)
		*ret_reader = reader;
	return rc < 0 ? rc : 0;
}
