#include "deploy/deployment.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/id.h"
#include "deploy/job.h"
#include "deploy/log_follow.h"
#include "deploy/mask_cache.h"
#include "deploy/listing.h"
#include "deploy/queue.h"
#include "identity/event.h"

/* A cancelled runner that does not even send its heartbeat is given up after this. */
#define CANCEL_GRACE_US (60 * US_PER_S)

const char *const deployment_operations[] = { "update",	      "preview",	 "refresh", "destroy",
					      "detect-drift", "remediate-drift", NULL };

const char *const deployment_statuses[] = {
	[DEPLOYMENT_NOT_STARTED] = "not-started", [DEPLOYMENT_ACCEPTED] = "accepted", [DEPLOYMENT_RUNNING] = "running",
	[DEPLOYMENT_SUCCEEDED] = "succeeded",	  [DEPLOYMENT_FAILED] = "failed",     [DEPLOYMENT_SKIPPED] = "skipped",
	[DEPLOYMENT_STATUS_COUNT] = NULL,
};

static const struct {
	unsigned next; /* bit set of the states it may move to */
	const char *event;
} states[DEPLOYMENT_STATUS_COUNT] = {
	[DEPLOYMENT_NOT_STARTED] = { 1u << DEPLOYMENT_ACCEPTED | 1u << DEPLOYMENT_SKIPPED, NULL },
	[DEPLOYMENT_ACCEPTED] = { 1u << DEPLOYMENT_RUNNING | 1u << DEPLOYMENT_NOT_STARTED | 1u << DEPLOYMENT_FAILED,
				  NULL },
	[DEPLOYMENT_RUNNING] = { 1u << DEPLOYMENT_SUCCEEDED | 1u << DEPLOYMENT_FAILED, "deployment.started" },
	[DEPLOYMENT_SUCCEEDED] = { 0, "deployment.succeeded" },
	[DEPLOYMENT_FAILED] = { 0, "deployment.failed" },
	[DEPLOYMENT_SKIPPED] = { 0, "deployment.skipped" },
};

const char *deployment_status_name(enum deployment_status s)
{
	return deployment_statuses[s];
}

enum deployment_status deployment_status_parse(const char *name)
{
	unsigned s = 0;
	while (s < DEPLOYMENT_STATUS_COUNT && !streq(name, deployment_statuses[s]))
		s++;
	return (enum deployment_status)s;
}

bool deployment_may_move(enum deployment_status from, enum deployment_status to)
{
	return from < DEPLOYMENT_STATUS_COUNT && to < DEPLOYMENT_STATUS_COUNT && (states[from].next & 1u << to) != 0;
}

bool deployment_is_over(const char *status)
{
	enum deployment_status s = deployment_status_parse(status);
	return s < DEPLOYMENT_STATUS_COUNT && states[s].next == 0;
}

static int put_event(struct db_conn *c, struct arena *a, const char *kind, const struct deployment_get_row *d,
		     const char *status, const char *message, struct err *e)
{
	struct event_subject subject = { .org_id = d->org_id, .stack_id = d->stack_id, .user_id = d->requested_by };
	struct event v;
	int rc = event_begin(c, a, &subject, &v, e);
	if (rc < 0)
		return rc;
	jw_kv_string(&v.w, "deploymentId", d->id);
	jw_kv_int(&v.w, "version", d->version);
	jw_kv_string(&v.w, "operation", d->operation);
	jw_kv_string(&v.w, "status", status);
	event_url(&v, "deploymentUrl", a, arena_printf(a, "deployments/%" PRId64, d->version));
	if (d->initiator[0])
		jw_kv_string(&v.w, "initiator", d->initiator);
	if (message[0])
		jw_kv_string(&v.w, "message", message);
	return event_put(c, &v, kind, e);
}

int deployment_move(struct db_conn *c, struct arena *a, const struct deployment_get_row *d, enum deployment_status to,
		    const char *message, int64_t now_us, struct err *e)
{
	enum deployment_status from = deployment_status_parse(d->status);
	if (!deployment_may_move(from, to))
		return err_set(e, ERR_CONFLICT, "deployment %" PRId64 " is %s and cannot become %s", d->version,
			       d->status, deployment_statuses[to]);
	struct deployment_move_in in = {
		.id = d->id, .from_status = d->status, .to_status = deployment_statuses[to], .now_us = now_us
	};
	int rc = q_deployment_move(c, &in, e);
	if (rc <= 0)
		return rc;
	rc = counts_moved(c, d->id, d->status, deployment_statuses[to], e);
	if (rc == 0 && states[to].event)
		rc = put_event(c, a, states[to].event, d, deployment_statuses[to], message, e);
	return rc < 0 ? rc : 1;
}

static int get(struct db_conn *c, struct arena *a, const char *id, struct deployment_get_row *ret, struct err *e)
{
	struct deployment_get_in in = { .id = id };
	return q_deployment_get(c, a, &in, ret, e);
}

/* --- create --- */

int deployment_add(struct db_conn *c, struct arena *a, const struct deployment_new *n, const char *id, int64_t now_us,
		   int64_t *ret_version, struct err *e)
{
	struct deployment_insert_in in = { .id = id,
					   .org_id = n->org_id,
					   .stack_id = n->stack_id,
					   .operation = n->operation,
					   .pool_id = n->pool_id,
					   .settings = n->settings,
					   .inherit_settings = n->inherit_settings,
					   .skip_intermediate = n->skip_intermediate,
					   .initiator = n->initiator ? n->initiator : "",
					   .user_id = n->user_id,
					   .org_token = n->org_token,
					   .now_us = now_us };
	struct deployment_insert_row out;
	struct deployment_get_row d;
	int rc = q_deployment_insert(c, a, &in, &out, e);
	if (rc > 0)
		rc = counts_added(c, id, deployment_statuses[DEPLOYMENT_NOT_STARTED], e);
	if (rc == 0)
		rc = get(c, a, id, &d, e);
	if (rc == 0)
		return err_set(e, ERR_INTERNAL, "the new deployment is not there");
	if (rc < 0)
		return rc;
	*ret_version = out.version;
	return put_event(c, a, "deployment.queued", &d, d.status, "", e);
}

void deployment_queued(struct app *app, struct arena *a, const char *org_id, const char *stack_id)
{
	queue_wake_stack(app, a, org_id, stack_id);
	if (app->poke)
		app->poke(app);
}

/* --- ends --- */

int deployment_skip(struct db_conn *c, struct arena *a, const struct deployment_get_row *d, const char *message,
		    int64_t now_us, struct err *e)
{
	int rc = deployment_move(c, a, d, DEPLOYMENT_SKIPPED, message, now_us, e);
	if (rc <= 0)
		return rc;
	struct deployment_set_ended_in in = { .id = d->id, .message = message, .now_us = now_us };
	rc = q_deployment_set_ended(c, &in, e);
	return rc < 0 ? rc : 1;
}

struct ending {
	struct arena *arena;
	const char *id;
	int64_t attempt;
	enum deployment_status status;
	const char *message;
	int64_t now_us;
	bool over;
	bool cancelled; /* give_back_fn: it must not run again */
	const char *org_id;
	const char **skipped; /* with it */
	size_t skipped_count;
};

static int begin_ending_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct ending *n = arg;
	struct deployment_get_row d;
	int rc = get(c, n->arena, n->id, &d, e);
	if (rc < 0)
		return rc;
	n->over = rc == 0 || deployment_is_over(d.status);
	if (n->over)
		return 0;
	n->org_id = d.org_id;
	if (n->attempt >= 0 && n->attempt != d.attempt)
		return err_set(e, ERR_CONFLICT, "lease lost");
	if (!deployment_may_move(deployment_status_parse(d.status), n->status))
		return err_set(e, ERR_CONFLICT, "deployment %" PRId64 " is %s and cannot become %s", d.version,
			       d.status, deployment_status_name(n->status));
	/* What a cancel or a time limit wrote explains more than "exit status 255". */
	const char *message = n->message && n->message[0] && !d.message[0] ? n->message : d.message;
	if (n->status == DEPLOYMENT_SUCCEEDED)
		message = "";
	struct deployment_set_ending_in in = { .id = n->id,
					       .ending_status = deployment_status_name(n->status),
					       .message = message };
	rc = q_deployment_set_ending(c, &in, e);
	if (rc >= 0)
		rc = identity_tokens_revoke_deployment(c, n->id, e);
	return rc < 0 ? rc : 0;
}

static int find_superseded(struct db_conn *c, struct ending *n, const char *stack_id, struct err *e)
{
	struct deployment_superseded_row *rows;
	size_t count;
	int rc = q_deployment_superseded(c, n->arena, &(struct deployment_superseded_in){ stack_id }, &rows, &count, e);
	n->skipped = rc < 0 ? NULL : arena_array(n->arena, count, sizeof(*n->skipped));
	for (size_t i = 0; n->skipped && i < count; i++)
		n->skipped[n->skipped_count++] = rows[i].id;
	return rc < 0 ? rc : n->skipped ? 0 : err_nomem(e);
}

static int find_orphans(struct db_conn *c, struct ending *n, const char *stack_id, struct err *e)
{
	struct deployments_queued_on_stack_row *rows;
	size_t count;
	int rc = q_deployments_queued_on_stack(c, n->arena, &(struct deployments_queued_on_stack_in){ stack_id }, &rows,
					       &count, e);
	n->skipped = rc < 0 ? NULL : arena_array(n->arena, count, sizeof(*n->skipped));
	for (size_t i = 0; n->skipped && i < count; i++)
		n->skipped[n->skipped_count++] = rows[i].id;
	return rc < 0 ? rc : n->skipped ? 0 : err_nomem(e);
}

/* Those that a newer one supersedes; of a stack that was removed meanwhile nothing runs any more. */
static int skip_others(struct db_conn *c, struct ending *n, const struct deployment_get_row *ended, struct err *e)
{
	bool gone = ended->stack_deleted_us != DB_NULL_INT;
	const char *why = gone ? "the stack has been removed" : "a newer deployment of the same operation is waiting";
	int rc = gone ? find_orphans(c, n, ended->stack_id, e) : find_superseded(c, n, ended->stack_id, e);
	for (size_t i = 0; rc >= 0 && i < n->skipped_count; i++) {
		struct deployment_get_row d;
		rc = get(c, n->arena, n->skipped[i], &d, e);
		if (rc > 0)
			rc = deployment_skip(c, n->arena, &d, why, n->now_us, e);
	}
	return rc;
}

static int finish_ending_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct ending *n = arg;
	struct deployment_get_row d;
	int rc = get(c, n->arena, n->id, &d, e);
	n->skipped_count = 0;
	if (rc <= 0 || deployment_is_over(d.status))
		return rc < 0 ? rc : 0;
	enum deployment_status to = deployment_status_parse(d.ending_status);
	rc = deployment_move(c, n->arena, &d, to, d.message, n->now_us, e);
	if (rc <= 0)
		return rc;
	struct step_end_running_in steps = { .deployment_id = d.id,
					     .status = deployment_status_name(to),
					     .now_us = n->now_us };
	rc = q_step_end_running(c, &steps, e);
	if (rc < 0)
		return rc;
	struct deployment_set_ended_in end = { .id = d.id, .message = d.message, .now_us = n->now_us };
	rc = q_deployment_set_ended(c, &end, e);
	struct drift_deployment drift = { .id = d.id,
					  .org_id = d.org_id,
					  .stack_id = d.stack_id,
					  .operation = d.operation,
					  .version = d.version,
					  .user_id = d.requested_by };
	if (rc >= 0 && to == DEPLOYMENT_FAILED)
		rc = state_drift_deployment_failed(c, n->arena, &drift, e);
	if (rc >= 0)
		rc = skip_others(c, n, &d, e);
	return rc < 0 ? rc : 0;
}

int deployment_end(struct app *app, struct arena *a, const char *id, int64_t attempt, enum deployment_status status,
		   const char *message, struct err *e)
{
	struct ending n = { .arena = a, .id = id, .attempt = attempt, .status = status, .message = message };
	int rc = db_write(app->db, begin_ending_fn, &n, e);
	if (rc < 0 || n.over)
		return rc;
	rc = state_abandon_deployment_updates(app, id, e);
	if (rc < 0)
		return err_wrap(e, "closing the updates of deployment %s", id);
	n.now_us = clock_now_us();
	rc = db_write(app->db, finish_ending_fn, &n, e);
	if (rc < 0)
		return rc;
	mask_cache_forget(id);
	job_wake(app, a, id);
	log_changed(app, a, id);
	for (size_t i = 0; i < n.skipped_count; i++)
		log_changed(app, a, n.skipped[i]);
	queue_wake(app, a, n.org_id);
	if (app->poke)
		app->poke(app);
	return 0;
}

static int give_back_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct ending *n = arg;
	struct deployment_get_row d;
	int rc = get(c, n->arena, n->id, &d, e);
	n->over = rc == 0 || d.attempt != n->attempt || d.ending_status || !streq(d.status, "accepted");
	if (rc < 0 || n->over)
		return rc < 0 ? rc : 0;
	n->org_id = d.org_id;
	n->cancelled = d.cancel_requested_us != DB_NULL_INT;
	if (n->cancelled)
		return 0;
	rc = deployment_move(c, n->arena, &d, DEPLOYMENT_NOT_STARTED, "", n->now_us, e);
	struct deployment_clear_claim_in in = { .id = n->id };
	if (rc >= 0)
		rc = q_deployment_clear_claim(c, &in, e);
	if (rc >= 0)
		rc = identity_tokens_revoke_deployment(c, n->id, e);
	return rc < 0 ? rc : 0;
}

int deployment_give_back(struct app *app, struct arena *a, const char *id, int64_t attempt, struct err *e)
{
	struct ending n = { .arena = a, .id = id, .attempt = attempt, .now_us = clock_now_us() };
	/* A runner that took its order and died may have opened an update before it reported a step. */
	int rc = state_abandon_deployment_updates(app, id, e);
	if (rc < 0)
		return rc;
	rc = db_write(app->db, give_back_fn, &n, e);
	if (rc < 0 || n.over)
		return rc;
	if (n.cancelled)
		return deployment_end(app, a, id, attempt, DEPLOYMENT_FAILED, "", e);
	log_changed(app, a, id);
	queue_wake(app, a, n.org_id);
	return 0;
}

/* --- cancel --- */

struct cancel {
	struct arena *arena;
	const char *id;
	const char *message;
	int64_t now_us;
	bool end; /* claimed, nobody has its order: it ends here */
	int64_t attempt;
	const char *org_id;
};

static int cancel_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct cancel *k = arg;
	struct deployment_get_row d;
	k->end = false;
	int rc = get(c, k->arena, k->id, &d, e);
	if (rc < 0)
		return rc;
	bool over = rc == 0 || deployment_is_over(d.status);
	/* The CLI repeats a cancel whose answer was lost. */
	if (over && rc > 0 && d.cancel_requested_us != DB_NULL_INT)
		return 0;
	if (over)
		return err_set(e, ERR_NOT_FOUND, "the deployment is not queued and not running");
	k->org_id = d.org_id;
	k->attempt = d.attempt;
	k->end = streq(d.status, "accepted") && d.order_fetched_us == DB_NULL_INT;
	if (streq(d.status, "not-started")) {
		rc = deployment_skip(c, k->arena, &d, k->message, k->now_us, e);
		if (rc < 0)
			return rc;
	}
	struct deployment_set_cancel_in in = {
		.id = k->id, .now_us = k->now_us, .lease_us = k->now_us + CANCEL_GRACE_US, .message = k->message
	};
	return q_deployment_set_cancel(c, &in, e);
}

int deployment_cancel(struct app *app, struct arena *a, const char *id, const char *who, struct err *e)
{
	struct cancel k = { .arena = a, .id = id, .now_us = clock_now_us() };
	k.message = who && who[0] ? arena_printf(a, "cancelled by %s", who) : "cancelled";
	if (!k.message)
		return err_nomem(e);
	int rc = db_write(app->db, cancel_fn, &k, e);
	if (rc < 0)
		return rc;
	if (k.end)
		return deployment_end(app, a, id, k.attempt, DEPLOYMENT_FAILED, k.message, e);
	job_wake(app, a, id);
	log_changed(app, a, id);
	queue_wake(app, a, k.org_id);
	if (app->poke)
		app->poke(app);
	return 0;
}

const char *deployment_url(struct app *app, struct arena *a, const char *org, const char *project, const char *stack,
			   int64_t version)
{
	return arena_printf(a, "%s/%s/%s/%s/deployments/%" PRId64, app->public_url, org, project, stack, version);
}
