/* Who belongs to an organization, and with which role. An organization always has an administrator. */
#include "identity/members.h"

#include "base/clock.h"

int member_find(struct db_conn *c, struct arena *a, const char *org_id, const char *login, struct org_member_row *ret,
		struct err *e)
{
	int rc = q_org_member(c, a, &(struct org_member_in){ .org_id = org_id, .name = login }, ret, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "member '%s'", login);
	return rc < 0 ? rc : 0;
}

/* Before `user_id` is an administrator no longer. On PostgreSQL two that go at once have to meet: both would write the row
 * of the organization first. */
static int check_other_admin(struct db_conn *c, struct arena *a, const char *org_id, const char *user_id, struct err *e)
{
	struct org_other_admin_row other;
	int rc = q_org_other_admin(c, a, &(struct org_other_admin_in){ .org_id = org_id, .user_id = user_id }, &other,
				   e);
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "the organization would have no administrator left");
	return rc < 0 ? rc : 0;
}

int member_put(struct db_conn *c, struct arena *a, const char *org_id, const char *user_id, const char *role,
	       const char **ret_role, struct err *e)
{
	struct org_role_row old;
	int rc = q_org_role(c, a, &(struct org_role_in){ .org_id = org_id, .user_id = user_id }, &old, e);
	if (rc >= 0 && !role)
		role = rc > 0 ? old.role : "member";
	if (rc > 0 && streq(old.role, "admin") && !streq(role, "admin"))
		rc = check_other_admin(c, a, org_id, user_id, e);
	if (rc < 0)
		return rc;
	struct org_member_put_in put = {
		.org_id = org_id, .user_id = user_id, .role = role, .created_us = clock_now_us()
	};
	rc = q_org_member_put(c, &put, e);
	if (rc < 0)
		return rc;
	*ret_role = role;
	return 0;
}

int member_remove(struct db_conn *c, struct arena *a, const char *org_id, const struct org_member_row *member,
		  struct err *e)
{
	const char *user_id = member->user_id;
	int rc = streq(member->role, "admin") ? check_other_admin(c, a, org_id, user_id, e) : 0;
	if (rc == 0)
		rc = q_org_member_remove(c, &(struct org_member_remove_in){ .org_id = org_id, .user_id = user_id }, e);
	/* Whoever comes back begins anew. */
	if (rc >= 0)
		rc = q_grants_remove_member(
			c, &(struct grants_remove_member_in){ .org_id = org_id, .user_id = user_id }, e);
	return rc < 0 ? rc : 0;
}
