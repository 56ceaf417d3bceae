/* Versions from another backend: what `slipway admin import` calls (route /api/site/versions). */
#include "state/past.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "http/http.h"
#include "state/deployment.h"
#include "state/secrets.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

struct take_version {
	const char *org;
	const char *project;
	const char *stack;
	const char *update_id;
	int64_t version;
	const char *kind;
	const char *result;
	const char *message;
	struct json environment;
	struct json config;
	struct json changes;
	const char *author;
	int64_t resource_count;
	int64_t start_s;
	int64_t end_s;
	struct json state;
};
static const char *const kinds[] = { "update", "refresh", "destroy", "import", "rename", NULL };
static const char *const results[] = { "succeeded", "failed", NULL };

#define SECONDS .min = 0, .max = INT64_MAX / US_PER_S
const struct field take_version_fields[] = {
	FIELD(struct take_version, org, "organization", FIELD_STRING, .required = true),
	FIELD(struct take_version, project, "project", FIELD_STRING, .required = true),
	FIELD(struct take_version, stack, "stack", FIELD_STRING, .required = true,
	      .doc = "It exists, and has not been used here"),
	FIELD(struct take_version, update_id, "updateID", FIELD_STRING, .required = true,
	      .doc = "A UUID of version 8, the same one whenever this version is sent: it is taken once"),
	FIELD(struct take_version, version, "version", FIELD_INT, .min = 0, .max = INT32_MAX,
	      .doc = "Newer than all that the stack has; 0: the next one"),
	FIELD(struct take_version, kind, "kind", FIELD_STRING, .required = true, .one_of = kinds),
	FIELD(struct take_version, result, "result", FIELD_STRING, .required = true, .one_of = results),
	FIELD(struct take_version, message, "message", FIELD_STRING),
	FIELD(struct take_version, environment, "environment", FIELD_STRING_MAP),
	FIELD(struct take_version, config, "config", FIELD_JSON_OBJECT),
	FIELD(struct take_version, changes, "resourceChanges", FIELD_JSON_OBJECT),
	FIELD(struct take_version, author, "requestedBy", FIELD_STRING,
	      .doc = "A login; one that is not known here is ignored"),
	FIELD(struct take_version, resource_count, "resourceCount", FIELD_INT, .min = 0, .max = INT32_MAX),
	FIELD(struct take_version, start_s, "startTime", FIELD_INT, SECONDS, .doc = "Unix seconds"),
	FIELD(struct take_version, end_s, "endTime", FIELD_INT, SECONDS, .doc = "Unix seconds"),
	FIELD(struct take_version, state, "state", FIELD_JSON_OBJECT,
	      .doc = "As an export gives it; its secrets are sealed for this stack. Absent: it is not to be had"),
	FIELD_END
};

struct finding {
	struct arena *a;
	const struct take_version *b;
	struct access access; /* as the route of the stack would have it */
};

static int find_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct finding *p = arg;
	const struct take_version *b = p->b;
	/* Whoever may come here may do so in every organization. */
	p->access.who = (struct principal){ .kind = PRINCIPAL_SOCKET };
	struct stack s;
	int rc = identity_org_access(c, p->a, &p->access, b->org, e);
	if (rc == 0)
		rc = state_stack_by_name(c, p->a, p->access.org.id, b->project, b->stack, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "stack '%s/%s/%s'", b->org, b->project, b->stack);
	p->access.stack_id = s.id;
	return 0;
}

/* Checks the state and stores its document. */
static int prepare_state(struct request *r, const struct access *access, struct json state, struct checkpoint *ret,
			 struct err *e)
{
	struct sealer sealer = { 0 };
	int64_t resources;
	int rc = untyped_deployment_check(state, &resources, e);
	if (rc < 0)
		return err_wrap(e, "/state");
	rc = sealer_init(&sealer, app_of(r), r->arena, access, e);
	if (rc == 0)
		rc = secrets_check(&sealer, json_get(state, "deployment"), e);
	sealer_done(&sealer);
	return rc < 0 ? rc : checkpoint_prepare(app_of(r), r->arena, json_text(state), STR_NULL, resources, ret, e);
}

static int past_of(struct request *r, const struct take_version *b, struct past *ret, struct err *e)
{
	*ret = (struct past){ .update_id = b->update_id,
			      .version = b->version,
			      .kind = b->kind,
			      .status = b->result,
			      .message = b->message ? b->message : "",
			      .environment = b->environment.p ? str_dup(r->arena, json_text(b->environment)) : "{}",
			      .changes = b->changes.p ? str_dup(r->arena, json_text(b->changes)) : NULL,
			      .author = b->author,
			      .resource_count = b->resource_count,
			      .started_us = b->start_s * US_PER_S,
			      .ended_us = (b->end_s > b->start_s ? b->end_s : b->start_s) * US_PER_S };
	if (!id_is_derived(b->update_id))
		return err_set(e, ERR_BAD_REQUEST, "/updateID: must be a UUID of version 8");
	if (arena_failed(r->arena))
		return err_nomem(e);
	return b->config.p ? document_deflate(r->arena, json_text(b->config), &ret->config, e) : 0;
}

int past_api_take(struct request *r, struct response *w, struct err *e)
{
	struct take_version b = { .resource_count = DB_NULL_INT };
	struct past n;
	struct past_result result;
	struct checkpoint checkpoint;
	struct finding found = { .a = r->arena, .b = &b };
	int rc = request_decode(r, w, take_version_fields, &b, e);
	if (rc == 0)
		rc = past_of(r, &b, &n, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, find_fn, &found, e);
	if (rc == 0 && b.state.p)
		rc = prepare_state(r, &found.access, b.state, &checkpoint, e);
	if (rc < 0)
		return rc;
	n.stack_id = found.access.stack_id;
	n.checkpoint = b.state.p ? &checkpoint : NULL;
	if (n.checkpoint)
		n.resource_count = checkpoint.resource_count;
	rc = past_take(app_of(r), r->arena, &n, &result, e);
	/* Only what is surely not in the database. */
	if (n.checkpoint && (rc == -ERR_CONFLICT || rc == -ERR_NOT_FOUND || (rc == 0 && !result.taken)))
		checkpoint_discard(app_of(r), n.checkpoint);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_int(j, "version", result.version);
	jw_kv_bool(j, "taken", result.taken);
	jw_kv_bool(j, "authorKnown", result.author_known);
	jw_object_end(j);
	return 0;
}
