/*
 * job.h: what the runner of a deployment does to it (docs/runner-protocol.md).
 *
 * Every write names its attempt and is fenced in the transaction that it makes: the deployment must be accepted or
 * running, not be ending, and held by that attempt, else ERR_CONFLICT "lease lost". Every write is a sign of life.
 */
#ifndef SLIPWAY_DEPLOY_JOB_H
#define SLIPWAY_DEPLOY_JOB_H

#include "deploy/deployment.h"

/* Inside of the caller's transaction: the fence. */
int job_check(struct db_conn *c, struct arena *a, const char *deployment_id, int64_t attempt,
	      struct deployment_get_row *ret, struct err *e);
/* Inside of the caller's transaction: the runner lives. */
int job_alive(struct db_conn *c, struct app *app, const struct deployment_get_row *d, int64_t now_us, struct err *e);

/* Writes the work order. Notes that it was fetched, and makes a run token. */
int job_order(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, struct json_writer *w,
	      struct err *e);

/* What a waiting heartbeat is parked on (http_park). */
const char *job_key(struct arena *a, const char *deployment_id);
/* The runner has something to hear: a cancel, or that the job is over. */
void job_wake(struct app *app, struct arena *a, const char *deployment_id);

int job_heartbeat(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, bool *ret_cancel,
		  const char **ret_status, struct err *e);

int job_step(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, int64_t step,
	     const char *name, const char *status, struct err *e);

#endif
