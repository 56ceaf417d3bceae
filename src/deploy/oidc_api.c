/* A token for a runner, and what the tokens of a stack say, for those who set a cloud up. */
#include "deploy/oidc.h"

#include "base/clock.h"
#include "base/limits.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

struct mint_body {
	int64_t attempt;
};
const struct field runner_oidc_fields[] = {
	FIELD(struct mint_body, attempt, "attempt", FIELD_INT, .required = true, .min = 0, .max = INT32_MAX), FIELD_END
};

int runner_oidc(struct request *r, struct response *w, struct err *e)
{
	struct mint_body b = { 0 };
	struct oidc_grant grant;
	int rc = request_decode(r, w, runner_oidc_fields, &b, e);
	if (rc == 0 && b.attempt != request_access(r)->who.attempt)
		return err_set(e, ERR_CONFLICT, "lease lost");
	if (rc == 0)
		rc = job_oidc(app_of(r), r->arena, request_param(r, "deploymentId"), b.attempt, &grant, e);
	if (rc < 0)
		return rc;
	response_header(w, "Cache-Control", "no-store");
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "token", grant.token);
	jw_kv_int(j, "expires", grant.expires_us);
	jw_kv_int(j, "lifetimeSeconds", grant.lifetime_us / US_PER_S);
	jw_kv_string(j, "issuer", grant.identity.issuer);
	jw_kv_string(j, "subject", grant.identity.subject);
	jw_kv_string(j, "audience", grant.identity.audience);
	jw_object_end(j);
	return 0;
}

const struct field oidc_claims_query[] = {
	QUERY("operation", FIELD_STRING, .one_of = deployment_operations, .doc = "update if absent"), FIELD_END
};

int stack_oidc_claims(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	const char *operation = request_query(r, "operation");
	struct oidc_identity o = { .organization = access->org.name,
				   .project = access->stack_project,
				   .stack = access->stack_name,
				   .stack_id = access->stack_id,
				   .operation = operation && operation[0] ? operation : "update" };
	int rc = oidc_identity_settle(&o, app_of(r), r->arena, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "issuer", o.issuer);
	jw_kv_string(j, "subject", o.subject);
	jw_kv_string(j, "audience", o.audience);
	jw_key(j, "claims");
	jw_object(j);
	oidc_write_claims(j, &o, r->arena);
	jw_object_end(j);
	jw_object_end(j);
	return 0;
}
