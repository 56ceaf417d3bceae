#include "state/drift.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_drift.h"
#include "identity/event.h"

/* Of a stack; a schedule may make one every minute. */
#define RUNS_KEPT 1000

/* What the events of detection and remediation tell. */
struct drift_event {
	const char *kind;
	const char *org_id, *stack_id;
	const char *user_id;	   /* NULL */
	const char *run_id;	   /* NULL: there is none */
	const char *deployment_id; /* NULL */
	const char *status;
	const char *resource_changes; /* NULL */
	bool detection, detected;
	const char *page; /* for event_url; NULL: the stack's own */
};

static int put_event(struct db_conn *c, struct arena *a, const struct drift_event *d, struct err *e)
{
	struct event_subject subject = { .org_id = d->org_id, .stack_id = d->stack_id, .user_id = d->user_id };
	struct event v;
	int rc = event_begin(c, a, &subject, &v, e);
	if (rc < 0)
		return rc;
	if (d->run_id)
		jw_kv_string(&v.w, "driftRunId", d->run_id);
	if (d->detection)
		jw_kv_bool(&v.w, "driftDetected", d->detected);
	jw_kv_string(&v.w, "status", d->status);
	event_object(&v, "resourceChanges", d->resource_changes);
	event_url(&v, "referenceUrl", a, d->page);
	if (d->deployment_id)
		jw_kv_string(&v.w, "deploymentId", d->deployment_id);
	return event_put(c, &v, d->kind, e);
}

/* *ret_id: in the arena. */
static int insert_run(struct db_conn *c, struct arena *a, struct drift_run_insert_in *row, const char **ret_id,
		      struct err *e)
{
	/* Made on the thread that writes: the newest run is the one with the highest id. */
	row->id = *ret_id = id_new_arena(a);
	row->now_us = clock_now_us();
	if (!row->id)
		return err_nomem(e);
	int rc = q_drift_run_insert(c, row, e);
	if (rc >= 0)
		rc = q_drift_run_trim(c, &(struct drift_run_trim_in){ row->stack_id, RUNS_KEPT }, e);
	return rc < 0 ? rc : 0;
}

static int add_detection(struct db_conn *c, struct arena *a, const struct update_outcome *o, const char *deployment_id,
			 const struct drift_changes *found, struct err *e)
{
	const char *run_id;
	bool ok = streq(o->result, "succeeded");
	/* One that failed has not seen everything: it says nothing. */
	bool detected = ok && (found->count > 0 || drift_in_summary(o->resource_changes));
	struct drift_run_insert_in row = { .stack_id = o->stack_id,
					   .deployment_id = deployment_id,
					   .detect_update_id = o->id,
					   .status = o->result,
					   .drift_detected = detected,
					   .resources = ok ? found->resources : STR_NULL,
					   .resource_count = ok ? found->count : 0,
					   .resources_cut = ok && found->cut };
	int rc = insert_run(c, a, &row, &run_id, e);
	if (rc < 0)
		return rc;
	struct drift_event event = { .kind = "drift.detection",
				     .org_id = o->org_id,
				     .stack_id = o->stack_id,
				     .user_id = o->requested_by,
				     .run_id = run_id,
				     .deployment_id = deployment_id,
				     .status = o->result,
				     .resource_changes = o->resource_changes,
				     .detection = true,
				     .detected = detected,
				     .page = update_event_page(a, o) };
	return put_event(c, a, &event, e);
}

/* The run that a remediation belongs to: that of its own deployment, else the stack's newest. NULL: it is its own. */
static int find_remediated(struct db_conn *c, struct arena *a, const struct update_outcome *o, const char **ret_id,
			   struct err *e)
{
	struct drift_run_of_deployment_in in = { o->deployment_id, o->stack_id };
	struct drift_run_of_deployment_row own;
	struct drift_run_newest_row newest;
	*ret_id = NULL;
	int rc = q_drift_run_of_deployment(c, a, &in, &own, e);
	if (rc > 0 && own.drift_detected)
		*ret_id = own.id;
	if (rc != 0)
		return rc;
	rc = q_drift_run_newest(c, a, &(struct drift_run_newest_in){ o->stack_id }, &newest, e);
	/* One that failed may be tried again. */
	if (rc > 0 && newest.drift_detected && !streq(newest.remediate_status, "succeeded"))
		*ret_id = newest.id;
	return rc;
}

static int add_remediation(struct db_conn *c, struct arena *a, const struct update_outcome *o, struct err *e)
{
	const char *run_id;
	int rc = find_remediated(c, a, o, &run_id, e);
	if (rc < 0)
		return rc;
	if (run_id) {
		rc = q_drift_run_set_remediation(c, &(struct drift_run_set_remediation_in){ run_id, o->id, o->result },
						 e);
	} else {
		struct drift_run_insert_in row = { .stack_id = o->stack_id,
						   .deployment_id = o->deployment_id,
						   .remediate_update_id = o->id,
						   .status = o->result };
		rc = insert_run(c, a, &row, &run_id, e);
	}
	if (rc < 0)
		return rc;
	struct drift_event event = { .kind = "drift.remediation",
				     .org_id = o->org_id,
				     .stack_id = o->stack_id,
				     .user_id = o->requested_by,
				     .run_id = run_id,
				     .deployment_id = o->deployment_id,
				     .status = o->result,
				     .resource_changes = o->resource_changes,
				     .page = update_event_page(a, o) };
	return put_event(c, a, &event, e);
}

int drift_update_ended(struct db_conn *c, struct arena *a, const struct update_outcome *o,
		       const struct drift_changes *found, struct err *e)
{
	struct drift_deployment_row deployment;
	int rc = 0;
	if (o->deployment_id)
		rc = q_drift_deployment(c, a, &(struct drift_deployment_in){ o->deployment_id, o->stack_id },
					&deployment, e);
	if (rc < 0)
		return rc;
	bool own = rc > 0;
	if (found)
		return add_detection(c, a, o, own ? o->deployment_id : NULL, found, e);
	if (!own || o->dry_run || !streq(o->kind, "update") ||
	    (!streq(deployment.operation, "detect-drift") && !streq(deployment.operation, "remediate-drift")))
		return 0;
	return add_remediation(c, a, o, e);
}

/* --- for the rooms above --- */

int state_drift_status(struct db_conn *c, struct arena *a, const char *stack_id, struct drift_status *ret,
		       struct err *e)
{
	struct drift_run_newest_row newest;
	struct drift_in_progress_row busy;
	int rc = q_drift_in_progress(c, a, &(struct drift_in_progress_in){ stack_id }, &busy, e);
	if (rc >= 0)
		rc = q_drift_run_newest(c, a, &(struct drift_run_newest_in){ stack_id }, &newest, e);
	if (rc < 0)
		return rc;
	*ret = (struct drift_status){ .in_progress = busy.previews > 0 || busy.deployments > 0 };
	if (rc > 0) {
		ret->run_id = newest.id;
		ret->detected = newest.drift_detected;
		ret->remediated = streq(newest.remediate_status, "succeeded");
	}
	return 0;
}

void state_drift_write(struct json_writer *j, const struct drift_status *s)
{
	jw_object(j);
	jw_kv_bool(j, "driftDetected", s->detected);
	jw_kv_string(j, "latestDriftRun", s->run_id ? s->run_id : "");
	jw_kv_bool(j, "runInProgress", s->in_progress);
	/* Ours: whether the drift of that run has been done away with since. */
	jw_kv_bool(j, "remediated", s->remediated);
	jw_object_end(j);
}

int state_drift_deployment_failed(struct db_conn *c, struct arena *a, const struct drift_deployment *d, struct err *e)
{
	bool detect = streq(d->operation, "detect-drift");
	struct drift_runs_of_deployment_row there;
	if (!detect && !streq(d->operation, "remediate-drift"))
		return 0;
	int rc = q_drift_runs_of_deployment(c, a, &(struct drift_runs_of_deployment_in){ d->id }, &there, e);
	if (rc < 0 || there.runs > 0 || there.remediations > 0)
		return rc < 0 ? rc : 0;
	struct drift_event event = { .kind = detect ? "drift.detection" : "drift.remediation",
				     .org_id = d->org_id,
				     .stack_id = d->stack_id,
				     .user_id = d->user_id,
				     .deployment_id = d->id,
				     .status = "failed",
				     .detection = detect,
				     .page = arena_printf(a, "deployments/%lld", (long long)d->version) };
	if (detect) {
		struct drift_run_insert_in row = { .stack_id = d->stack_id,
						   .deployment_id = d->id,
						   .status = "failed" };
		rc = insert_run(c, a, &row, &event.run_id, e);
	}
	return rc < 0 ? rc : put_event(c, a, &event, e);
}
