#include "identity/users.h"

#include "base/clock.h"
#include "db/queries_site.h"
#include "identity/event.h"
#include "identity/members.h"

int (*identity_user_removing)(struct db_conn *c, struct arena *a, const char *user_id, int64_t *ret_schedules,
			      struct err *e);

struct removing {
	struct arena *a;
	const char *login;
	const struct principal *who;
	const char *own_org_id; /* the personal one */
	struct user_removal result;
};

/* Who stays must be able to let others in again. */
static int check_other_site_admin(struct db_conn *c, struct arena *a, const struct user *u, struct err *e)
{
	struct site_other_admin_row other;
	if (!u->site_admin)
		return 0;
	int rc = q_site_other_admin(c, a, &(struct site_other_admin_in){ u->id }, &other, e);
	return rc == 0 ? err_set(e, ERR_CONFLICT, "'%s' is the last administrator of the site", u->name) : rc;
}

/* The own one stays, with what is in it. */
static int leave_own(struct db_conn *c, struct removing *p, const char *org_id, const char *user_id, struct err *e)
{
	struct site_stacks_of_org_row own;
	int rc = q_site_stacks_of_org(c, p->a, &(struct site_stacks_of_org_in){ org_id }, &own, e);
	if (rc < 0)
		return rc;
	p->result.stacks = own.stacks;
	p->own_org_id = org_id;
	return q_org_member_remove(c, &(struct org_member_remove_in){ .org_id = org_id, .user_id = user_id }, e);
}

static int leave_orgs(struct db_conn *c, struct removing *p, const char *user_id, struct err *e)
{
	struct user_orgs_row *orgs;
	size_t count;
	int rc = q_user_orgs(c, p->a, &(struct user_orgs_in){ .user_id = user_id }, &orgs, &count, e);
	if (rc < 0)
		return rc;
	p->result.organizations = arena_array(p->a, count + 1, sizeof(*p->result.organizations));
	if (!p->result.organizations)
		return err_nomem(e);
	for (size_t i = 0; rc >= 0 && i < count; i++) {
		struct org_member_row member;
		if (streq(orgs[i].kind, "personal")) {
			rc = leave_own(c, p, orgs[i].id, user_id, e);
			continue;
		}
		p->result.organizations[p->result.organization_count++] = orgs[i].name;
		rc = member_find(c, p->a, orgs[i].id, p->login, &member, e);
		if (rc == 0)
			rc = member_remove(c, p->a, orgs[i].id, &member, p->who, e);
		if (rc == -ERR_CONFLICT)
			return err_set(e, ERR_CONFLICT, "'%s' is the last administrator of the organization '%s'",
				       p->login, orgs[i].name);
	}
	return rc < 0 ? rc : 0;
}

static int remove_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct removing *p = arg;
	struct user u;
	p->result = (struct user_removal){ 0 };
	p->own_org_id = NULL;
	int rc = identity_user_by_name(c, p->a, p->login, &u, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "user '%s'", p->login);
	if (rc > 0)
		rc = check_other_site_admin(c, p->a, &u, e);
	if (rc < 0)
		return rc;
	p->result.user_id = u.id;
	rc = leave_orgs(c, p, u.id, e);
	if (rc == 0)
		rc = q_tokens_delete_user(c, &(struct tokens_delete_user_in){ .user_id = u.id }, e);
	if (rc >= 0) {
		p->result.tokens = rc;
		rc = q_user_bury(c, &(struct user_bury_in){ .id = u.id, .now_us = clock_now_us() }, e);
	}
	if (rc >= 0 && identity_user_removing)
		rc = identity_user_removing(c, p->a, u.id, &p->result.schedules, e);
	struct event_subject subject = { .org_id = p->own_org_id, .who = p->who };
	if (rc < 0 || !p->own_org_id)
		return rc < 0 ? rc : 0;
	return event_put_simple(c, p->a, &subject, "user.removed", e, "member", u.name, NULL);
}

int identity_user_remove(struct identity *id, struct arena *a, const char *login, const struct principal *who,
			 struct user_removal *ret, struct err *e)
{
	struct removing p = { .a = a, .login = login, .who = who };
	if (who->user_id && streq(login, who->user_name))
		return err_set(e, ERR_BAD_REQUEST, "another administrator has to remove you");
	int rc = db_write(id->db, remove_fn, &p, e);
	if (rc == 0)
		*ret = p.result;
	return rc;
}

int identity_user_revive(struct db_conn *c, struct arena *a, const char *name, bool site_admin, const char **ret_id,
			 struct err *e)
{
	struct user_removed_row row;
	struct org_by_name_row own;
	int rc = q_user_removed(c, a, &(struct user_removed_in){ .name = name }, &row, e);
	if (rc <= 0)
		return rc;
	rc = q_user_revive(c, &(struct user_revive_in){ .id = row.id, .site_admin = site_admin }, e);
	if (rc >= 0)
		rc = q_org_by_name(c, a, &(struct org_by_name_in){ .name = name }, &own, e);
	if (rc > 0)
		rc = q_org_member_put(
			c,
			&(struct org_member_put_in){
				.org_id = own.id, .user_id = row.id, .role = "admin", .created_us = clock_now_us() },
			e);
	if (rc < 0)
		return rc;
	*ret_id = row.id;
	return 1;
}
