/*
 * What may be set about access: the organization's defaults and the grants on a stack.
 *
 * On the wire a level is Pulumi's number (features §8.1), and deploy, which Pulumi does not have, is read with a flag:
 * {"permission":101,"deploy":true}.
 */
#include "identity/members.h"

#include "base/clock.h"
#include "identity/app.h"
#include "identity/event.h"
#include "identity/internal.h"
#include "identity/limits.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

#define WIRE_READ 101
#define WIRE_MAX 103

static const int wire_numbers[] = {
	[STACK_NONE] = 0,    [STACK_READ] = WIRE_READ, [STACK_DEPLOY] = WIRE_READ,
	[STACK_WRITE] = 102, [STACK_ADMIN] = WIRE_MAX,
};

static void write_level(struct json_writer *j, const char *number, const char *flag, enum stack_level level)
{
	jw_kv_int(j, number, wire_numbers[level]);
	jw_kv_bool(j, flag, level == STACK_DEPLOY);
}

static int read_level(int64_t number, bool deploy, const char *number_name, const char *flag_name,
		      enum stack_level *ret, struct err *e)
{
	if (deploy && number != WIRE_READ)
		return err_set(e, ERR_BAD_REQUEST, "/%s: goes with the permission %d alone", flag_name, WIRE_READ);
	for (unsigned i = 0; i < ARRAY_SIZE(wire_numbers); i++)
		if (wire_numbers[i] == number && (i == STACK_DEPLOY) == deploy) {
			*ret = (enum stack_level)i;
			return 0;
		}
	return err_set(e, ERR_BAD_REQUEST, "/%s: must be 0 (none), 101 (read), 102 (write) or 103 (admin)",
		       number_name);
}

/* --- the organization --- */

struct patch_org {
	int64_t permission; /* -1: stays */
	int deploy;
	int create;
	struct limits_change limits;
};
const struct field patch_org_fields[] = {
	FIELD(struct patch_org, permission, "setDefaultStackPermission", FIELD_INT, .min = 0, .max = WIRE_MAX,
	      .doc = "What members may do to stacks: 0 none, 101 read, 102 write, 103 admin"),
	FIELD(struct patch_org, deploy, "setDefaultStackDeploy", FIELD_TRISTATE,
	      .doc = "With 101: they may start deployments as they were configured, too"),
	FIELD(struct patch_org, create, "setMembersCanCreateStacks", FIELD_TRISTATE),
	FIELD(struct patch_org, limits.concurrency, "setDeploymentConcurrency", FIELD_INT, .min = 1,
	      .max = LIMITS_CONCURRENCY_MAX, .doc = "How many deployments may run at once"),
	FIELD(struct patch_org, limits.timeout_s, "setDeploymentTimeoutSeconds", FIELD_INT, .min = 0,
	      .max = LIMITS_TIMEOUT_MAX_S,
	      .doc = "How long a deployment that starts from now on may run; 0: as long as the server says"),
	FIELD_END
};

static void write_metadata(struct request *r, struct response *w, enum stack_level level, bool create,
			   const struct limits *limits)
{
	const struct org *org = &request_access(r)->org;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", org->id);
	jw_kv_string(j, "name", org->name);
	jw_kv_string(j, "kind", org->personal ? "single-user" : "pulumi");
	jw_kv_string(j, "created", clock_rfc3339(r->arena, org->created_us));
	write_level(j, "defaultStackPermission", "defaultStackDeploy", level);
	jw_kv_bool(j, "membersCanCreateStacks", create);
	jw_kv_int(j, "concurrency", limits->concurrency);
	jw_kv_int(j, "deploymentTimeoutSeconds", (limits->timeout_us + US_PER_S - 1) / US_PER_S);
	jw_object_end(j);
}

struct set_org {
	struct arena *a;
	struct app *app;
	const struct org *org;
	const struct principal *who;
	struct patch_org body;
	enum stack_level level;
	bool create;
	struct limits limits;
};

static int limits_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct set_org *p = arg;
	return identity_limits(c, p->a, p->app, p->org->id, &p->limits, e);
}

int org_metadata_get(struct request *r, struct response *w, struct err *e)
{
	struct set_org p = { .a = r->arena, .app = app_of(r), .org = &request_access(r)->org };
	int rc = db_read(p.app->db, limits_fn, &p, e);
	if (rc == 0)
		write_metadata(r, w, p.org->stack_level, p.org->members_create_stacks, &p.limits);
	return rc;
}

static int org_event(struct db_conn *c, const struct set_org *p, struct err *e)
{
	const struct patch_org *b = &p->body;
	struct event_subject subject = { .org_id = p->org->id, .who = p->who };
	struct event v;
	if (b->permission < 0 && b->deploy < 0 && b->create < 0 && b->limits.concurrency < 0 && b->limits.timeout_s < 0)
		return 0;
	int rc = event_begin(c, p->a, &subject, &v, e);
	if (rc < 0)
		return rc;
	jw_kv_string(&v.w, "defaultStackPermission", stack_level_name(p->level));
	jw_kv_bool(&v.w, "membersCanCreateStacks", p->create);
	jw_kv_int(&v.w, "concurrency", p->limits.concurrency);
	jw_kv_int(&v.w, "deploymentTimeoutSeconds", p->limits.timeout_us / US_PER_S);
	return event_put(c, &v, "organization.changed", e);
}

static int set_org_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct set_org *p = arg;
	struct org_by_name_row now;
	int rc = q_org_by_name(c, p->a, &(struct org_by_name_in){ .name = p->org->name }, &now, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, ERR_NOT_FOUND, "organization '%s'", p->org->name);
	p->level = stack_level_parse(now.stack_permission);
	p->create = p->body.create < 0 ? now.members_create_stacks : p->body.create == 1;
	if (p->body.permission >= 0 || p->body.deploy >= 0) {
		int64_t number = p->body.permission >= 0 ? p->body.permission : wire_numbers[p->level];
		rc = read_level(number, p->body.deploy == 1, patch_org_fields[0].name, patch_org_fields[1].name,
				&p->level, e);
	}
	struct org_set_access_in in = { .id = p->org->id,
					.stack_permission = stack_level_name(p->level),
					.members_create_stacks = p->create };
	if (rc >= 0)
		rc = q_org_set_access(c, &in, e);
	if (rc >= 0)
		rc = limits_set(c, p->a, p->app, p->org->id, &p->body.limits, &p->limits, e);
	return rc < 0 ? rc : org_event(c, p, e);
}

int org_patch(struct request *r, struct response *w, struct err *e)
{
	struct set_org p = { .a = r->arena,
			     .app = app_of(r),
			     .org = &request_access(r)->org,
			     .who = &request_access(r)->who,
			     .body = { .permission = -1, .deploy = -1, .create = -1, .limits = { -1, -1 } } };
	int rc = request_decode(r, w, patch_org_fields, &p.body, e);
	if (rc == 0)
		rc = limits_check(p.app, &request_access(r)->who, &p.body.limits, e);
	if (rc == 0)
		rc = db_write(p.app->db, set_org_fn, &p, e);
	if (rc < 0)
		return rc;
	if (p.body.limits.concurrency >= 0 && identity_limits_raised)
		identity_limits_raised(p.app, r->arena, p.org->id);
	write_metadata(r, w, p.level, p.create, &p.limits);
	return 0;
}

/* --- grants on a stack --- */

struct set_grant {
	int64_t permission;
	bool deploy;
};
const struct field set_grant_fields[] = {
	FIELD(struct set_grant, permission, "permission", FIELD_INT, .required = true, .min = 0, .max = WIRE_MAX,
	      .doc = "0 none, 101 read, 102 write, 103 admin; stands in place of the organization's default"),
	FIELD(struct set_grant, deploy, "deploy", FIELD_BOOL,
	      .doc = "With 101: may start deployments as they were configured, too"),
	FIELD_END
};

struct granting {
	struct arena *a;
	const struct access *access;
	const char *login;
	enum stack_level level;
	bool remove;
	struct org_member_row member;
	bool granted;
	struct grants_of_stack_row *rows;
	size_t count;
};

static void write_user(struct json_writer *j, const char *key, const char *login, const char *name)
{
	jw_key(j, key);
	jw_object(j);
	jw_kv_string(j, "githubLogin", login);
	jw_kv_string(j, "name", name);
	jw_kv_string(j, "avatarUrl", "");
	jw_object_end(j);
}

static void write_grant(struct json_writer *j, const char *login, const char *name, enum stack_level level)
{
	jw_object(j);
	write_user(j, "user", login, name);
	write_level(j, "permission", "deploy", level);
	jw_object_end(j);
}

static int grants_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct granting *p = arg;
	return q_grants_of_stack(c, p->a, &(struct grants_of_stack_in){ .stack_id = p->access->stack_id }, &p->rows,
				 &p->count, e);
}

int stack_grants_list(struct request *r, struct response *w, struct err *e)
{
	struct granting p = { .a = r->arena, .access = request_access(r) };
	int rc = db_read(app_of(r)->db, grants_fn, &p, e);
	if (rc < 0)
		return rc;
	const char *creator = NULL;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "users");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++) {
		if (p.rows[i].creator)
			creator = p.rows[i].name;
		write_grant(j, p.rows[i].name, p.rows[i].display_name, stack_level_parse(p.rows[i].permission));
	}
	jw_array_end(j);
	if (creator)
		jw_kv_string(j, "stackCreatorUserName", creator);
	jw_object_end(j);
	return 0;
}

static int set_grant_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct granting *p = arg;
	const struct access *access = p->access;
	struct event_subject subject = { .org_id = access->org.id, .stack_id = access->stack_id, .who = &access->who };
	struct grant_get_row former;
	int rc = member_find(c, p->a, access->org.id, p->login, &p->member, e);
	struct grant_get_in get = { .stack_id = access->stack_id, .user_id = p->member.user_id };
	if (rc >= 0)
		rc = q_grant_get(c, p->a, &get, &former, e);
	if (rc < 0)
		return rc;
	const char *level = rc > 0 ? former.permission : NULL;
	if (p->remove && !level)
		return err_set(e, ERR_NOT_FOUND, "'%s' has no permission of their own on the stack", p->login);
	if (p->remove) {
		struct grant_remove_in in = { .stack_id = access->stack_id, .user_id = p->member.user_id };
		rc = q_grant_remove(c, &in, e);
		return rc < 0 ? rc
			      : event_put_simple(c, p->a, &subject, "grant.removed", e, "member", p->member.name,
						 "formerPermission", level, NULL);
	}
	struct grant_put_in in = { .stack_id = access->stack_id,
				   .user_id = p->member.user_id,
				   .org_id = access->org.id,
				   .permission = stack_level_name(p->level),
				   .created_us = clock_now_us() };
	rc = q_grant_put(c, &in, e);
	if (rc < 0 || streq(level, in.permission))
		return rc < 0 ? rc : 0;
	return event_put_simple(c, p->a, &subject, "grant.changed", e, "member", p->member.name, "permission",
				in.permission, "formerPermission", level, NULL);
}

int stack_grant_put(struct request *r, struct response *w, struct err *e)
{
	struct granting p = { .a = r->arena, .access = request_access(r), .login = request_param(r, "userName") };
	struct set_grant body = { 0 };
	int rc = request_decode(r, w, set_grant_fields, &body, e);
	if (rc == 0)
		rc = read_level(body.permission, body.deploy, "permission", "deploy", &p.level, e);
	if (rc == 0)
		rc = db_write(app_of(r)->db, set_grant_fn, &p, e);
	if (rc == 0)
		write_grant(response_json(w), p.member.name, p.member.display_name, p.level);
	return rc;
}

int stack_grant_remove(struct request *r, struct response *w, struct err *e)
{
	struct granting p = {
		.a = r->arena, .access = request_access(r), .login = request_param(r, "userName"), .remove = true
	};
	int rc = db_write(app_of(r)->db, set_grant_fn, &p, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}

static int explain_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct granting *p = arg;
	int rc = member_find(c, p->a, p->access->org.id, p->login, &p->member, e);
	if (rc < 0)
		return rc;
	struct grant_get_row row;
	struct grant_get_in in = { .stack_id = p->access->stack_id, .user_id = p->member.user_id };
	rc = q_grant_get(c, p->a, &in, &row, e);
	p->granted = rc > 0;
	if (rc > 0)
		p->level = stack_level_parse(row.permission);
	return rc < 0 ? rc : 0;
}

/* Where a member's level comes from: what the hosted service says of it, and what comes out. */
int stack_member_access(struct request *r, struct response *w, struct err *e)
{
	struct granting p = { .a = r->arena, .access = request_access(r), .login = request_param(r, "userLogin") };
	int rc = db_read(app_of(r)->db, explain_fn, &p, e);
	if (rc < 0)
		return rc;
	enum stack_level fallback = p.access->org.stack_level;
	struct json_writer *j = response_json(w);
	jw_object(j);
	write_user(j, "userInfo", p.member.name, p.member.display_name);
	jw_kv_string(j, "organizationRole", p.member.role);
	write_level(j, "organizationDefault", "organizationDefaultDeploy", fallback);
	jw_key(j, "teamPermissions");
	jw_array(j);
	jw_array_end(j);
	write_level(j, "explicitPermission", "explicitDeploy", p.granted ? p.level : STACK_NONE);
	write_level(j, "permission", "deploy",
		    streq(p.member.role, "admin") ? STACK_ADMIN
		    : p.granted			  ? p.level
						  : fallback);
	jw_object_end(j);
	return 0;
}
