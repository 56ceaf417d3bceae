/* What changes deployments: create, cancel, pause; and their metadata (features §3.5, §1.4). */
#include <inttypes.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "db/queries_schedule.h"
#include "deploy/deployment_request.h"
#include "deploy/deployments_api.h"
#include "deploy/listing.h"
#include "deploy/queue.h"
#include "identity/event.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

#define INITIATOR_MAX 100

static const char *initiator(struct request *r)
{
	const char *given = request_header(r, "X-Pulumi-Deployment-Initiator");
	return given ? arena_strndup(r->arena, given, strnlen(given, INITIATOR_MAX)) : "";
}

struct creating {
	struct arena *arena;
	struct deployment_request request;
	struct deployment_origin from;
	const char *id;
	int64_t now_us;
	int64_t version;
};

static int create_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct creating *k = arg;
	return deployment_request_queue(c, k->arena, &k->request, &k->from, k->id, k->now_us, &k->version, e);
}

static int read_request(struct request *r, struct response *w, struct deployment_request *ret, struct err *e)
{
	const struct access *access = request_access(r);
	struct ignored_fields ig;
	struct json body;
	int rc = request_json(r, false, &body, e);
	if (rc < 0)
		return rc;
	ignored_fields_init(&ig);
	rc = deployment_request_read(app_of(r), r->arena, access, body, &ig, ret, e);
	if (rc == 0)
		rc = request_note_ignored(r, w, &ig, e);
	ignored_fields_done(&ig);
	return rc;
}

int deploy_create(struct request *r, struct response *w, struct err *e)
{
	struct access *access = request_access(r);
	struct creating k = { .arena = r->arena,
			      .from = { .org_id = access->org.id,
					.stack_id = access->stack_id,
					.initiator = initiator(r),
					.user_id = access->who.user_id,
					.org_token = access->who.org_token },
			      .id = id_new_arena(r->arena),
			      .now_us = clock_now_us() };
	int rc = read_request(r, w, &k.request, e);
	if (rc == 0)
		rc = k.id ? db_write(app_of(r)->db, create_fn, &k, e) : err_nomem(e);
	if (rc < 0)
		return rc;
	deployment_queued(app_of(r), r->arena, access->org.id, access->stack_id);
	response_status(w, 202);
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", k.id);
	jw_kv_string(j, "consoleUrl",
		     deployment_url(app_of(r), r->arena, access->org.name, access->stack_project, access->stack_name,
				    k.version));
	jw_kv_int(j, "version", k.version);
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
	const struct access *access; /* who asks */
	bool stack_paused;
	struct schedule_count_row schedules;
	struct drift_status drift;
	struct org_deployments_state_row org;
	int64_t counts[DEPLOYMENT_STATUS_COUNT]; /* by status */
	struct org_paused_stacks_row *stacks;
	size_t stack_count;
};

static int pause_event(struct db_conn *c, const struct pausing *p, bool was, struct err *e)
{
	struct event_subject subject = { .org_id = p->org_id, .stack_id = p->stack_id, .who = &p->access->who };
	if (was == p->paused)
		return 0;
	return event_put_simple(c, p->arena, &subject,
				p->stack_id ? (p->paused ? "stack.paused" : "stack.resumed")
					    : (p->paused ? "organization.paused" : "organization.resumed"),
				e, NULL);
}

static int pause_org(struct db_conn *c, struct pausing *p, struct err *e)
{
	int rc = q_org_deployments_state(c, p->arena, &(struct org_deployments_state_in){ p->org_id }, &p->org, e);
	if (rc >= 0)
		rc = q_org_deployments_pause(c, &(struct org_deployments_pause_in){ p->org_id, p->paused }, e);
	return rc < 0 ? rc : pause_event(c, p, p->org.paused, e);
}

static int pause_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct pausing *p = arg;
	struct settings_get_row settings;
	if (!p->stack_id)
		return pause_org(c, p, e);
	int rc = q_settings_get(c, p->arena, &(struct settings_get_in){ p->stack_id }, &settings, e);
	if (rc == 0)
		return err_set(
			e, ERR_BAD_REQUEST,
			"Attempted to pause or resume deployments on stack before it has been configured for deployments");
	if (rc >= 0)
		rc = q_settings_pause(c, &(struct settings_pause_in){ p->stack_id, p->paused }, e);
	return rc < 0 ? rc : pause_event(c, p, settings.paused, e);
}

static int set_paused(struct request *r, struct response *w, const char *stack_id, bool paused, struct err *e)
{
	struct pausing p = { .arena = r->arena,
			     .access = request_access(r),
			     .org_id = request_access(r)->org.id,
			     .stack_id = stack_id,
			     .paused = paused };
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
	struct schedule_count_in schedules = { .stack_id = p->stack_id };
	if (rc >= 0)
		rc = q_schedule_count(c, p->arena, &schedules, &p->schedules, e);
	if (rc >= 0)
		rc = state_drift_status(c, p->arena, p->stack_id, &p->drift, e);
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
	jw_kv_bool(j, "hasSchedules", p.schedules.n > 0);
	if (p.drift.run_id || p.drift.in_progress) {
		jw_key(j, "drift");
		state_drift_write(j, &p.drift);
	}
	jw_object_end(j);
	return 0;
}

static int org_metadata_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct pausing *p = arg;
	struct org_deployments_state_in org = { .org_id = p->org_id };
	struct org_paused_stacks_in stacks = { .org_id = p->org_id };
	int rc = identity_org_reader(c, p->arena, p->access, &stacks.reader_id, e);
	if (rc >= 0)
		rc = q_org_deployments_state(c, p->arena, &org, &p->org, e);
	if (rc >= 0)
		rc = listing_status_counts(c, p->arena, p->org_id, stacks.reader_id, p->counts, e);
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
	const struct access *access = request_access(r);
	struct pausing p = { .arena = r->arena, .org_id = access->org.id, .access = access };
	int64_t total = 0;
	int rc = db_read(app_of(r)->db, org_metadata_fn, &p, e);
	if (rc < 0)
		return rc;
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
	for (unsigned s = 0; s < DEPLOYMENT_STATUS_COUNT; s++) {
		jw_kv_int(j, names[s], p.counts[s]);
		total += p.counts[s];
	}
	jw_kv_int(j, "total", total);
	jw_object_end(j);
	jw_object_end(j);
	return 0;
}
