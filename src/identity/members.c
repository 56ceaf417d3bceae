/* Who belongs to an organization, and with which role. An organization always has an administrator. */
#include "identity/members.h"

#include "base/clock.h"
#include "identity/event.h"

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
	       const struct principal *who, const char **ret_role, struct err *e)
{
	struct org_role_row old;
	struct user user;
	int rc = q_org_role(c, a, &(struct org_role_in){ .org_id = org_id, .user_id = user_id }, &old, e);
	if (rc >= 0 && !role)
		role = rc > 0 ? old.role : "member";
	const char *former = rc > 0 ? old.role : NULL;
	if (streq(former, "admin") && !streq(role, "admin"))
		rc = check_other_admin(c, a, org_id, user_id, e);
	if (rc < 0)
		return rc;
	struct org_member_put_in put = {
		.org_id = org_id, .user_id = user_id, .role = role, .created_us = clock_now_us()
	};
	rc = q_org_member_put(c, &put, e);
	if (rc >= 0 && !streq(former, role))
		rc = identity_user_by_id(c, a, user_id, &user, e);
	if (rc < 0)
		return rc;
	*ret_role = role;
	struct event_subject subject = { .org_id = org_id, .who = who };
	if (streq(former, role))
		return 0;
	return event_put_simple(c, a, &subject, former ? "member.changed" : "member.added", e, "member", user.name,
				"role", role, "formerRole", former, NULL);
}

int member_remove(struct db_conn *c, struct arena *a, const char *org_id, const struct org_member_row *member,
		  const struct principal *who, struct err *e)
{
	const char *user_id = member->user_id;
	int rc = streq(member->role, "admin") ? check_other_admin(c, a, org_id, user_id, e) : 0;
	if (rc == 0)
		rc = q_org_member_remove(c, &(struct org_member_remove_in){ .org_id = org_id, .user_id = user_id }, e);
	/* Whoever comes back begins anew. */
	if (rc >= 0)
		rc = q_grants_remove_member(
			c, &(struct grants_remove_member_in){ .org_id = org_id, .user_id = user_id }, e);
	struct event_subject subject = { .org_id = org_id, .who = who };
	if (rc < 0)
		return rc;
	return event_put_simple(c, a, &subject, "member.removed", e, "member", member->name, "formerRole", member->role,
				NULL);
}
