/* What the administrator of the site does: `slipway admin` over the control socket (routes /api/site/). */
#include "identity/identity.h"

#include "base/clock.h"
#include "identity/app.h"
#include "identity/internal.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

struct create_org {
	const char *name;
};
const struct field create_org_fields[] = {
	FIELD(struct create_org, name, "name", FIELD_STRING, .required = true, .max = 40), FIELD_END
};

int site_org_create(struct request *r, struct response *w, struct err *e)
{
	struct create_org body = { 0 };
	int rc = request_decode(r, w, create_org_fields, &body, e);
	const char *id;
	if (rc == 0)
		rc = identity_org_add(app_of(r)->identity, r->arena, body.name, &id, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", id);
	jw_kv_string(j, "name", body.name);
	jw_object_end(j);
	return 0;
}

struct create_user {
	const char *name;
	const char *organization;
	const char *role;
	bool site_admin;
};
const struct field create_user_fields[] = {
	FIELD(struct create_user, name, "name", FIELD_STRING, .required = true, .max = 40),
	FIELD(struct create_user, organization, "organization", FIELD_STRING, .max = 40,
	      .doc = "Joins it; a user who exists joins it or gets the new role there"),
	FIELD(struct create_user, role, "role", FIELD_STRING, .one_of = identity_roles,
	      .doc = "In the organization; absent: as it was, or member"),
	FIELD(struct create_user, site_admin, "siteAdmin", FIELD_BOOL, .doc = "The first user is one in any case"),
	FIELD_END
};

int site_user_create(struct request *r, struct response *w, struct err *e)
{
	struct create_user body = { 0 };
	int rc = request_decode(r, w, create_user_fields, &body, e);
	const char *id, *role;
	if (rc == 0)
		rc = identity_user_add(app_of(r)->identity, r->arena, body.name, body.site_admin, body.organization,
				       body.role, &request_access(r)->who, &id, &role, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", id);
	jw_kv_string(j, "name", body.name);
	if (body.organization) {
		jw_kv_string(j, "organization", body.organization);
		jw_kv_string(j, "role", role);
	}
	jw_object_end(j);
	return 0;
}

struct create_site_token {
	const char *user;
	const char *description;
	int64_t expires_s;
};
const struct field create_site_token_fields[] = {
	FIELD(struct create_site_token, user, "user", FIELD_STRING, .required = true, .max = 40),
	FIELD(struct create_site_token, description, "description", FIELD_STRING, .max = 255),
	FIELD(struct create_site_token, expires_s, "expires", FIELD_INT, .min = 0, .max = INT64_MAX / US_PER_S,
	      .doc = "Unix seconds; 0: never"),
	FIELD_END
};

int site_token_create(struct request *r, struct response *w, struct err *e)
{
	struct create_site_token body = { 0 };
	int rc = request_decode(r, w, create_site_token_fields, &body, e);
	if (rc < 0)
		return rc;
	return identity_answer_new_token(r, w, body.user, body.description, body.expires_s, e);
}

int site_key_rotate(struct request *r, struct response *w, struct err *e)
{
	uint32_t key_id;
	int64_t orgs;
	int rc = identity_keys_rotate(app_of(r)->identity, &key_id, &orgs, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", arena_printf(r->arena, "%u", key_id));
	jw_kv_int(j, "organizations", orgs);
	jw_object_end(j);
	return 0;
}
