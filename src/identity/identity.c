#include "identity/identity.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_identity.h"
#include "identity/internal.h"
#include "identity/members.h"
#include "identity/users.h"

const char *const identity_roles[] = { "admin", "member", NULL };

/* Names that stand for themselves in paths of the API or of the console. */
static const char *const reserved_names[] = { "default", "api",	    "healthz", "readyz", "metrics",
					      "oidc",	 "console", "signin",  "assets" };

bool identity_name_valid(const char *name)
{
	size_t n = strlen(name);
	if (n < 3 || n > 40)
		return false;
	for (size_t i = 0; i < n; i++) {
		char ch = name[i];
		bool alnum = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9');
		if (!alnum && (i == 0 || i == n - 1 || (ch != '-' && ch != '_')))
			return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(reserved_names); i++)
		if (streq(name, reserved_names[i]))
			return false;
	return true;
}

int identity_org_by_id(struct db_conn *c, struct arena *a, const char *org_id, struct org *ret, struct err *e)
{
	struct org_by_id_row row;
	int rc = q_org_by_id(c, a, &(struct org_by_id_in){ .id = org_id }, &row, e);
	if (rc <= 0)
		return rc;
	*ret = (struct org){
		.id = row.id, .name = row.name, .personal = streq(row.kind, "personal"), .data_key = row.data_key
	};
	return 1;
}

int identity_user_by_id(struct db_conn *c, struct arena *a, const char *user_id, struct user *ret, struct err *e)
{
	struct user_by_id_row row;
	int rc = q_user_by_id(c, a, &(struct user_by_id_in){ .id = user_id }, &row, e);
	if (rc > 0)
		*ret = (struct user){ row.id, row.name, row.display_name, row.email, row.site_admin };
	return rc;
}

int identity_user_by_name(struct db_conn *c, struct arena *a, const char *name, struct user *ret, struct err *e)
{
	struct user_by_name_row row;
	int rc = q_user_by_name(c, a, &(struct user_by_name_in){ .name = name }, &row, e);
	if (rc > 0)
		*ret = (struct user){ row.id, row.name, row.display_name, row.email, row.site_admin };
	return rc;
}

static int check_name(const char *name, struct err *e)
{
	if (identity_name_valid(name))
		return 0;
	return err_set(
		e, ERR_BAD_REQUEST,
		"/name: '%s' is no name for a user or an organization: 3 to 40 of a-z, A-Z, 0-9, - and _, no - or _ at "
		"the ends, and not a reserved word",
		name);
}

struct add_org {
	struct org_insert_in row;
};

static int add_org_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct add_org *p = arg;
	int rc = q_org_insert(c, &p->row, e);
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "the name '%s' is taken", p->row.name);
	return rc < 0 ? rc : 0;
}

int identity_org_add(struct identity *id, struct arena *a, const char *name, const char **ret_id, struct err *e)
{
	struct add_org p = {
		.row = { .id = id_new_arena(a), .name = name, .kind = "organization", .created_us = clock_now_us() }
	};
	int rc = check_name(name, e);
	if (rc < 0)
		return rc;
	if (!p.row.id)
		return err_nomem(e);
	identity_keys_hold(id);
	rc = identity_new_org_key(id, a, p.row.id, &p.row.data_key, e);
	if (rc == 0)
		rc = db_write(id->db, add_org_fn, &p, e);
	identity_keys_release(id);
	if (rc == 0)
		*ret_id = p.row.id;
	return rc;
}

struct add_user {
	struct arena *a;
	struct org_insert_in personal;
	struct user_insert_in user;
	const char *org;
	const char *role;
	const struct principal *who;
	const char *user_id; /* results */
	const char *joined;
};

static int add_user_join(struct db_conn *c, struct add_user *p, struct err *e)
{
	struct org_by_name_row org;
	int rc = q_org_by_name(c, p->a, &(struct org_by_name_in){ .name = p->org }, &org, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "organization '%s'", p->org);
	if (streq(org.kind, "personal"))
		return err_set(e, ERR_CONFLICT, "'%s' is a user's personal organization: nobody can join it", p->org);
	return member_put(c, p->a, org.id, p->user_id, p->role, p->who, &p->joined, e);
}

static int add_user_new(struct db_conn *c, struct add_user *p, struct err *e)
{
	struct user_first_row first;
	int rc = q_user_first(c, p->a, &first, e);
	if (rc < 0)
		return rc;
	struct user_insert_in user = p->user;
	user.site_admin |= rc == 0;
	rc = identity_user_revive(c, p->a, user.name, user.site_admin, &p->user_id, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = q_org_insert(c, &p->personal, e);
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "the name '%s' is taken by an organization", p->user.name);
	if (rc > 0)
		rc = q_user_insert(c, &user, e);
	if (rc > 0)
		rc = q_org_member_put(c,
				      &(struct org_member_put_in){ .org_id = p->personal.id,
								   .user_id = user.id,
								   .role = "admin",
								   .created_us = user.created_us },
				      e);
	return rc < 0 ? rc : 0;
}

static int add_user_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct add_user *p = arg;
	struct user_by_name_row known;
	int rc = q_user_by_name(c, p->a, &(struct user_by_name_in){ .name = p->user.name }, &known, e);
	if (rc < 0)
		return rc;
	if (rc > 0 && !p->org)
		return err_set(e, ERR_CONFLICT, "user '%s' already exists", p->user.name);
	p->user_id = rc > 0 ? known.id : p->user.id;
	if (rc == 0)
		rc = add_user_new(c, p, e);
	if (rc >= 0 && p->org)
		rc = add_user_join(c, p, e);
	return rc < 0 ? rc : 0;
}

int identity_user_add(struct identity *id, struct arena *a, const char *name, bool site_admin, const char *org,
		      const char *role, const struct principal *who, const char **ret_id, const char **ret_role,
		      struct err *e)
{
	int64_t now = clock_now_us();
	struct add_user p = {
		.a = a,
		.personal = { .id = id_new_arena(a), .name = name, .kind = "personal", .created_us = now },
		.user = { .id = id_new_arena(a),
			  .name = name,
			  .display_name = name,
			  .email = "",
			  .site_admin = site_admin,
			  .created_us = now },
		.org = org,
		.role = role,
		.who = who,
	};
	int rc = check_name(name, e);
	if (rc < 0)
		return rc;
	if (role && !streq(role, "admin") && !streq(role, "member"))
		return err_set(e, ERR_BAD_REQUEST, "/role: must be admin or member");
	if (!p.personal.id || !p.user.id)
		return err_nomem(e);
	identity_keys_hold(id);
	rc = identity_new_org_key(id, a, p.personal.id, &p.personal.data_key, e);
	if (rc == 0)
		rc = db_write(id->db, add_user_fn, &p, e);
	identity_keys_release(id);
	if (rc < 0)
		return rc;
	*ret_id = p.user_id;
	if (ret_role)
		*ret_role = p.joined;
	return 0;
}

struct is_empty {
	struct arena *a;
	bool empty;
};

static int is_empty_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct is_empty *p = arg;
	struct user_first_row row;
	int rc = q_user_first(c, p->a, &row, e);
	p->empty = rc == 0;
	return rc < 0 ? rc : 0;
}

int identity_is_empty(struct identity *id, bool *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct is_empty p = { .a = &a };
	int rc = db_read(id->db, is_empty_fn, &p, e);
	if (rc == 0)
		*ret = p.empty;
	return rc;
}
