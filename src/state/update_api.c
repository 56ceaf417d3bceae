/* An update's life over HTTP (cli-protocol §3.6). */
#include "state/update.h"

#include "base/clock.h"
#include "http/http.h"
#include "state/busy.h"
#include "state/names.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

struct create_update {
	struct json config;
	bool dry_run;
	const char *message;
	struct json environment;
	struct json unused; /* known, but of no use here: the program's name, what the display was told to show */
};
#define UNUSED(name) FIELD(struct create_update, unused, name, FIELD_JSON)
static const struct field update_options_fields[] = { FIELD(struct create_update, dry_run, "dryRun", FIELD_BOOL,
							    .doc = "A preview, whatever the kind"),
						      UNUSED("localPolicyPackPaths"),
						      UNUSED("color"),
						      UNUSED("parallel"),
						      UNUSED("showConfig"),
						      UNUSED("showReplacementSteps"),
						      UNUSED("showNames"),
						      UNUSED("summary"),
						      UNUSED("debug"),
						      FIELD_END };
static const struct field update_metadata_fields[] = {
	FIELD(struct create_update, message, "message", FIELD_STRING),
	FIELD(struct create_update, environment, "environment", FIELD_STRING_MAP), FIELD_END
};
const struct field create_update_fields[] = {
	UNUSED("name"),
	UNUSED("runtime"),
	UNUSED("main"),
	UNUSED("description"),
	FIELD(struct create_update, config, "config", FIELD_JSON_OBJECT,
	      .doc = "The stack's configuration, kept as sent"),
	{ .name = "options", .type = FIELD_OBJECT, .sub = update_options_fields },
	{ .name = "metadata", .type = FIELD_OBJECT, .sub = update_metadata_fields },
	FIELD_END
};

struct start_update {
	struct json tags;
	int64_t journal_version;
};
const struct field start_update_fields[] = {
	FIELD(struct start_update, tags, "tags", FIELD_STRING_MAP, .doc = "Replace the stack's tags"),
	FIELD(struct start_update, journal_version, "journalVersion", FIELD_INT, .min = 0, .max = INT32_MAX,
	      .doc = "The newest journal that the client can write; absent: it sends checkpoints"),
	FIELD_END
};

struct renew_lease {
	int64_t duration;
	const char *token;
};
const struct field renew_lease_fields[] = {
	FIELD(struct renew_lease, duration, "duration", FIELD_INT, .min = 0, .max = 300, .doc = "Seconds"),
	FIELD(struct renew_lease, token, "token", FIELD_STRING, .doc = "Empty: the token stands in the header"),
	FIELD_END
};

struct complete_update {
	const char *status;
};
static const char *const complete_statuses[] = { "succeeded", "failed", "cancelled", NULL };
const struct field complete_update_fields[] = { FIELD(struct complete_update, status, "status", FIELD_STRING,
						      .required = true, .one_of = complete_statuses),
						FIELD_END };

/* `pulumi import` makes its update by the route of `pulumi up`, with the same body: only the name of the command, which the
 * CLI gives with each request ("pulumi-cli/1 (v3.259.0; linux; cmd=import)"), tells them apart. */
static bool is_resource_import(const struct request *r, const char *kind)
{
	const char *agent = request_header(r, "User-Agent"), *command = agent ? strstr(agent, "; cmd=import") : NULL;
	return streq(kind, "update") && command && str_starts_with(str_of(agent), "pulumi-cli/") &&
	       strchr(";)", command[sizeof("; cmd=import") - 1]);
}

int update_api_create(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	struct create_update body = { 0 };
	int rc = request_decode(r, w, create_update_fields, &body, e);
	if (rc < 0)
		return rc;
	const char *kind = strrchr(r->route->pattern, '/') + 1;
	struct new_update n = { .stack_id = access->stack_id,
				.kind = kind,
				.dry_run = body.dry_run || streq(kind, "preview"),
				.resource_import = is_resource_import(r, kind),
				.message = body.message,
				.environment =
					body.environment.p ? str_dup(r->arena, json_text(body.environment)) : NULL,
				.requested_by = access->who.user_id,
				.deployment_id = access->who.kind == PRINCIPAL_RUN ? access->who.deployment_id : NULL };
	if (body.config.p)
		rc = document_deflate(r->arena, json_text(body.config), &n.config, e);
	const char *id;
	if (rc == 0)
		rc = update_create(app_of(r), r->arena, &n, &id, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "updateID", id);
	jw_key(j, "requiredPolicies");
	jw_array(j);
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

int update_api_start(struct request *r, struct response *w, struct err *e)
{
	struct start_update body = { 0 };
	struct started s = { 0 };
	int rc = request_decode(r, w, start_update_fields, &body, e);
	if (rc == 0)
		rc = tags_check(body.tags, "/tags", r->arena, e);
	if (rc == 0)
		rc = update_start(app_of(r), r->arena, request_access(r)->stack_id, request_param(r, "updateID"),
				  body.tags, body.journal_version, &s, e);
	if (rc < 0)
		return busy_answer(w, rc, &s.holder, e);
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_int(j, "version", s.version);
	jw_kv_string(j, "token", s.token);
	jw_kv_int(j, "tokenExpiration", s.token_expires_us / US_PER_S);
	if (s.journal_version)
		jw_kv_int(j, "journalVersion", s.journal_version);
	jw_object_end(j);
	return 0;
}

int update_api_renew(struct request *r, struct response *w, struct err *e)
{
	struct renew_lease body = { 0 };
	struct started s;
	int rc = request_decode(r, w, renew_lease_fields, &body, e);
	if (rc == 0)
		rc = update_renew(app_of(r), r->arena, request_param(r, "updateID"), body.duration * US_PER_S, &s, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "token", s.token);
	jw_kv_int(j, "tokenExpiration", s.token_expires_us / US_PER_S);
	jw_object_end(j);
	return 0;
}

int update_api_complete(struct request *r, struct response *w, struct err *e)
{
	struct complete_update body = { 0 };
	int rc = request_decode(r, w, complete_update_fields, &body, e);
	if (rc == 0)
		rc = update_end(app_of(r), request_param(r, "updateID"), request_access(r)->stack_id, body.status,
				END_COMPLETE, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}

int update_api_cancel(struct request *r, struct response *w, struct err *e)
{
	int rc = update_end(app_of(r), request_param(r, "updateID"), request_access(r)->stack_id, "cancelled",
			    END_CANCEL, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}

struct look {
	struct request *r;
	struct update u;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *p = arg;
	return update_get(c, p->r->arena, request_param(p->r, "updateID"), request_access(p->r)->stack_id, &p->u, e);
}

const struct field update_get_query[] = { QUERY("continuationToken", FIELD_STRING, .doc = "of no meaning here"),
					  FIELD_END };

int update_api_get(struct request *r, struct response *w, struct err *e)
{
	struct look p = { r };
	int rc = db_read(app_of(r)->db, look_fn, &p, e);
	if (rc < 0)
		return rc;
	const char *status = p.u.status;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "status",
		     streq(status, "in-progress")   ? "running"
		     : streq(status, "not-started") ? "not started"
						    : status);
	/* Text that a program of old printed at the service; nothing prints there any more. */
	jw_key(j, "events");
	jw_array(j);
	jw_array_end(j);
	/* Absent means: there is no more to come. */
	if (!update_has_ended(&p.u))
		jw_kv_string(j, "continuationToken", "0");
	jw_object_end(j);
	return 0;
}
