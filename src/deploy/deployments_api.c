/* What changes deployments: create, cancel, pause; and their metadata (features §3.5, §1.4). */
#include <inttypes.h>

#include "base/clock.h"
#include "base/limits.h"
#include "deploy/deployments_api.h"
#include "deploy/pool.h"
#include "deploy/queue.h"
#include "deploy/settings.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

#define INITIATOR_MAX 100

struct create_deployment {
	const char *operation;
	bool inherit;
	struct json settings[6]; /* decoded by settings_read */
};
const struct field create_deployment_fields[] = {
	FIELD(struct create_deployment, operation, "operation", FIELD_STRING,
	      .doc = "update, preview, refresh, destroy, detect-drift or remediate-drift"),
	FIELD(struct create_deployment, inherit, "inheritSettings", FIELD_BOOL,
	      .doc = "merge the request over the saved settings of the stack (default), or do without them"),
	FIELD(struct create_deployment, settings[0], "sourceContext", FIELD_JSON),
	FIELD(struct create_deployment, settings[1], "operationContext", FIELD_JSON),
	FIELD(struct create_deployment, settings[2], "executorContext", FIELD_JSON),
	FIELD(struct create_deployment, settings[3], "gitHub", FIELD_JSON),
	FIELD(struct create_deployment, settings[4], "cacheOptions", FIELD_JSON),
	FIELD(struct create_deployment, settings[5], "agentPoolID", FIELD_JSON, .doc = "null: the default pool"),
	FIELD_END
};

struct creating {
	struct arena *arena;
	const char *stack_id;
	bool saved;
	struct settings_get_row row;
};

static int saved_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct creating *k = arg;
	struct settings_get_in in = { .stack_id = k->stack_id };
	int rc = q_settings_get(c, k->arena, &in, &k->row, e);
	k->saved = rc > 0;
	return rc < 0 ? rc : 0;
}

static int check_operation(struct json body, struct create_deployment *b, struct arena *a, struct err *e)
{
	struct json nested = json_path(body, "operationContext", "operation", NULL);
	*b = (struct create_deployment){ .inherit = true };
	int rc = fields_decode(body, create_deployment_fields, b, a, NULL, e);
	if (rc < 0)
		return rc;
	if (!json_is_null(nested) && !json_string_is(nested, ""))
		return err_set(e, ERR_BAD_REQUEST, "operation must only be set at the top level");
	if (!b->operation || !b->operation[0])
		return err_set(e, ERR_BAD_REQUEST, "Missing top level required field 'operation'");
	for (size_t i = 0; deployment_operations[i]; i++)
		if (streq(b->operation, deployment_operations[i]))
			return 0;
	return err_set(e, ERR_BAD_REQUEST,
		       "/operation: must be one of update, preview, refresh, destroy, detect-drift, remediate-drift");
}

static int merge_settings(struct request *r, struct response *w, struct json body, bool inherit, struct creating *k,
			  struct settings_input *input, struct json *ret, struct err *e)
{
	_cleanup_secrets_key_ struct secrets_key key;
	struct json stored = JSON_ABSENT;
	int rc = secrets_key_load(app_of(r), r->arena, k->stack_id, &key, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, saved_fn, k, e);
	if (rc == 0 && k->saved)
		rc = json_check(str_of(k->row.document), &stored, e);
	if (rc < 0)
		return rc;
	struct ignored_fields ig;
	ignored_fields_init(&ig);
	rc = settings_read(body, stored, &key, SETTINGS_CREATE, r->arena, &ig, input, e);
	if (rc == 0)
		rc = request_note_ignored(r, w, &ig, e);
	ignored_fields_done(&ig);
	if (rc == 0)
		rc = settings_merge(inherit ? stored : JSON_ABSENT, input->patch, r->arena, ret, e);
	return rc < 0 ? rc : settings_check(*ret, e);
}

static int choose_pool(struct request *r, const struct settings_input *input, const char *inherited, const char **ret,
		       struct err *e)
{
	*ret = input->pool == POOL_INHERIT ? inherited : input->pool == POOL_NAMED ? input->pool_id : NULL;
	if (!*ret)
		return 0;
	bool known;
	int rc = pool_exists(app_of(r), r->arena, request_access(r)->org.id, *ret, &known, e);
	if (rc == 0 && !known)
		return err_set(e, ERR_BAD_REQUEST,
			       "the agent pool specified in the deployment settings does not exist");
	return rc;
}

static const char *initiator(struct request *r)
{
	const char *given = request_header(r, "X-Pulumi-Deployment-Initiator");
	return given ? arena_strndup(r->arena, given, strnlen(given, INITIATOR_MAX)) : "";
}

int deploy_create(struct request *r, struct response *w, struct err *e)
{
	struct access *access = request_access(r);
	struct creating k = { .arena = r->arena, .stack_id = access->stack_id };
	struct create_deployment b;
	struct settings_input input;
	struct json body, settings;
	const char *pool_id = NULL, *id;
	int64_t version;
	int rc = request_json(r, false, &body, e);
	if (rc == 0)
		rc = check_operation(body, &b, r->arena, e);
	if (rc == 0)
		rc = merge_settings(r, w, body, b.inherit, &k, &input, &settings, e);
	if (rc == 0)
		rc = choose_pool(r, &input, b.inherit && k.saved ? k.row.pool_id : NULL, &pool_id, e);
	if (rc < 0)
		return rc;
	/* With settings of the stack the program may be somewhere that we do not know of; the run's log will say. */
	if (!k.saved && !settings_has_source(settings))
		return err_set(e, ERR_BAD_REQUEST,
			       "the stack has no deployment settings, and the request has no source to deploy: "
			       "set sourceContext.git.repoUrl");
	struct deployment_new n = {
		.org_id = access->org.id,
		.stack_id = access->stack_id,
		.operation = b.operation,
		.pool_id = pool_id,
		.settings = settings.p, /* NUL-terminated by settings_merge */
		.inherit_settings = b.inherit,
		.skip_intermediate = json_is_true(
			json_path(settings, "operationContext", "options", "skipIntermediateDeployments", NULL)),
		.initiator = initiator(r),
		.user_id = access->who.user_id,
	};
	rc = deployment_create(app_of(r), r->arena, &n, &id, &version, e);
	if (rc < 0)
		return rc;
	response_status(w, 202);
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", id);
	jw_kv_string(j, "consoleUrl",
		     deployment_url(app_of(r), r->arena, access->org.name, access->stack_project, access->stack_name,
				    version));
	jw_kv_int(j, "version", version);
	jw_object_end(j);
	return 0;
}

int deploy_cancel(struct request *r, struct response *w, struct err *e)
{
	const char *id;
	int rc = deploy_find(r, &id, e);
	if (rc == 0)
		rc = deployment_cancel(app_of(r), r->arena, id, request_access(r)->who.user_name, e);
	if (rc < 0)
		return rc;
	response_empty(w, 200);
	return 0;
}

/* --- pauses --- */

struct pausing {
	struct arena *arena;
	const char *org_id;
	const char *stack_id; /* NULL: the whole organization */
	bool paused;
	bool stack_paused;
	struct org_deployments_state_row org;
	struct org_deployment_counts_row *counts;
	size_t count;
	struct org_paused_stacks_row *stacks;
	size_t stack_count;
};

static int pause_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct pausing *p = arg;
	if (!p->stack_id) {
		struct org_deployments_pause_in in = { .org_id = p->org_id, .paused = p->paused };
		return q_org_deployments_pause(c, &in, e);
	}
	struct settings_pause_in in = { .stack_id = p->stack_id, .paused = p->paused };
	int rc = q_settings_pause(c, &in, e);
	if (rc == 0)
		return err_set(
			e, ERR_BAD_REQUEST,
			"Attempted to pause or resume deployments on stack before it has been configured for deployments");
	return rc;
}

static int set_paused(struct request *r, struct response *w, const char *stack_id, bool paused, struct err *e)
{
	struct pausing p = { .org_id = request_access(r)->org.id, .stack_id = stack_id, .paused = paused };
	int rc = db_write(app_of(r)->db, pause_fn, &p, e);
	if (rc < 0)
		return rc;
	if (!paused)
		queue_wake(app_of(r), r->arena, p.org_id);
	response_empty(w, 200);
	return 0;
}

int deploy_stack_pause(struct request *r, struct response *w, struct err *e)
{
	return set_paused(r, w, request_access(r)->stack_id, true, e);
}

int deploy_stack_resume(struct request *r, struct response *w, struct err *e)
{
	return set_paused(r, w, request_access(r)->stack_id, false, e);
}

int deploy_org_pause(struct request *r, struct response *w, struct err *e)
{
	return set_paused(r, w, NULL, true, e);
}

int deploy_org_resume(struct request *r, struct response *w, struct err *e)
{
	return set_paused(r, w, NULL, false, e);
}

static int stack_metadata_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct pausing *p = arg;
	struct org_deployments_state_in org = { .org_id = p->org_id };
	struct settings_get_in in = { .stack_id = p->stack_id };
	struct settings_get_row row;
	int rc = q_org_deployments_state(c, p->arena, &org, &p->org, e);
	if (rc >= 0)
		rc = q_settings_get(c, p->arena, &in, &row, e);
	p->stack_paused = rc > 0 && row.paused;
	return rc < 0 ? rc : 0;
}

int deploy_stack_metadata(struct request *r, struct response *w, struct err *e)
{
	struct access *access = request_access(r);
	struct pausing p = { .arena = r->arena, .org_id = access->org.id, .stack_id = access->stack_id };
	int rc = db_read(app_of(r)->db, stack_metadata_fn, &p, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_bool(j, "paused", p.stack_paused || p.org.paused);
	jw_kv_bool(j, "stackPaused", p.stack_paused);
	jw_kv_bool(j, "organizationPaused", p.org.paused);
	jw_kv_bool(j, "hasSchedules", false);
	jw_object_end(j);
	return 0;
}

static int org_metadata_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct pausing *p = arg;
	struct org_deployments_state_in org = { .org_id = p->org_id };
	struct org_deployment_counts_in counts = { .org_id = p->org_id };
	struct org_paused_stacks_in stacks = { .org_id = p->org_id };
	int rc = q_org_deployments_state(c, p->arena, &org, &p->org, e);
	if (rc >= 0)
		rc = q_org_deployment_counts(c, p->arena, &counts, &p->counts, &p->count, e);
	if (rc >= 0)
		rc = q_org_paused_stacks(c, p->arena, &stacks, &p->stacks, &p->stack_count, e);
	return rc < 0 ? rc : 0;
}

int deploy_org_metadata(struct request *r, struct response *w, struct err *e)
{
	static const char *const names[DEPLOYMENT_STATUS_COUNT] = {
		[DEPLOYMENT_NOT_STARTED] = "notStarted", [DEPLOYMENT_ACCEPTED] = "accepted",
		[DEPLOYMENT_RUNNING] = "running",	 [DEPLOYMENT_SUCCEEDED] = "succeeded",
		[DEPLOYMENT_FAILED] = "failed",		 [DEPLOYMENT_SKIPPED] = "skipped",
	};
	struct pausing p = { .arena = r->arena, .org_id = request_access(r)->org.id };
	int64_t n[DEPLOYMENT_STATUS_COUNT + 1] = { 0 }, total = 0;
	int rc = db_read(app_of(r)->db, org_metadata_fn, &p, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < p.count; i++) {
		n[deployment_status_parse(p.counts[i].status)] += p.counts[i].n;
		total += p.counts[i].n;
	}
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_bool(j, "paused", p.org.paused);
	jw_kv_int(j, "concurrency", p.org.concurrency);
	jw_key(j, "pausedStacks");
	jw_array(j);
	for (size_t i = 0; i < p.stack_count; i++)
		jw_string(j, arena_printf(r->arena, "%s/%s", p.stacks[i].project, p.stacks[i].name));
	jw_array_end(j);
	jw_key(j, "deploymentCounts");
	jw_object(j);
	for (unsigned s = 0; s < DEPLOYMENT_STATUS_COUNT; s++)
		jw_kv_int(j, names[s], n[s]);
	jw_kv_int(j, "total", total);
	jw_object_end(j);
	jw_object_end(j);
	return 0;
}
