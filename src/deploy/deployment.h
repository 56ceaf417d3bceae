/*
 * deployment.h: a deployment's life: made, moved from state to state, ended.
 *
 *	not-started -> accepted -> running -> succeeded | failed
 *	not-started -> skipped            (cancelled, superseded, waited too long)
 *	accepted    -> not-started        (lease lost before the first step)
 *	accepted | running -> failed      (cancelled, lease lost, time limit)
 *
 * Every move goes through deployment_move(), which knows the table above, refuses any other pair and writes the event
 * of the move into the outbox in the same transaction.
 *
 * Ending takes two transactions, because closing the run's updates replays journals and cannot happen inside of one:
 * the first records the wish (ending_status) and kills the tokens, so that nothing new can begin; then the updates are
 * closed; the second makes the move. A crash in between leaves ending_status behind, and the ticker goes on from there.
 */
#ifndef SLIPWAY_DEPLOY_DEPLOYMENT_H
#define SLIPWAY_DEPLOY_DEPLOYMENT_H

#include "db/queries_deploy.h"
#include "deploy/deploy.h"

enum deployment_status {
	DEPLOYMENT_NOT_STARTED,
	DEPLOYMENT_ACCEPTED,
	DEPLOYMENT_RUNNING,
	DEPLOYMENT_SUCCEEDED,
	DEPLOYMENT_FAILED,
	DEPLOYMENT_SKIPPED,
	DEPLOYMENT_STATUS_COUNT
};

/* "update", "preview", ...; NULL at the end. */
extern const char *const deployment_operations[];
/* Names of the states, in the order of the enum; NULL at the end. */
extern const char *const deployment_statuses[];

const char *deployment_status_name(enum deployment_status s);
/* DEPLOYMENT_STATUS_COUNT when there is none of that name. */
enum deployment_status deployment_status_parse(const char *name);
bool deployment_may_move(enum deployment_status from, enum deployment_status to);
bool deployment_is_over(const char *status);

/* Inside of the caller's transaction. 1 moved; 0: the row was no longer in d->status. A pair that the table does not
 * know is ERR_CONFLICT. `message` ends up in the event. */
int deployment_move(struct db_conn *c, struct arena *a, const struct deployment_get_row *d, enum deployment_status to,
		    const char *message, int64_t now_us, struct err *e);

struct deployment_new {
	const char *org_id;
	const char *stack_id;
	const char *operation;
	const char *pool_id;  /* NULL: default */
	const char *settings; /* canonical JSON text */
	bool inherit_settings;
	bool skip_intermediate;
	const char *initiator;
	const char *user_id;   /* NULL: automatic trigger, or */
	const char *org_token; /* id of the organization's token that asked for it */
};
/* Inside of the caller's transaction: queues it under `id`. deployment_queued() follows when that is committed. */
int deployment_add(struct db_conn *c, struct arena *a, const struct deployment_new *n, const char *id, int64_t now_us,
		   int64_t *ret_version, struct err *e);
/* Wakes an agent when something of the stack may run now. */
void deployment_queued(struct app *app, struct arena *a, const char *org_id, const char *stack_id);

/* Inside of the caller's transaction: leaves the queue. */
int deployment_skip(struct db_conn *c, struct arena *a, const struct deployment_get_row *d, const char *message,
		    int64_t now_us, struct err *e);

/* Ends an accepted or running one. attempt < 0: whoever runs it. Ending what has ended is 0. When an ending is already
 * in progress, that one is finished, whatever `status` says. ERR_CONFLICT: another attempt runs it. */
int deployment_end(struct app *app, struct arena *a, const char *id, int64_t attempt, enum deployment_status status,
		   const char *message, struct err *e);

/* Gives an accepted one back to the queue, if `attempt` still holds it; ends it, if somebody has cancelled it. */
int deployment_give_back(struct app *app, struct arena *a, const char *id, int64_t attempt, struct err *e);

/* queued → skipped; claimed, but without its work order → failed; running → the runner is told. ERR_NOT_FOUND when it is
 * over. */
int deployment_cancel(struct app *app, struct arena *a, const char *id, const char *who, struct err *e);

/* "<public url>/<org>/<project>/<stack>/deployments/<version>" */
const char *deployment_url(struct app *app, struct arena *a, const char *org, const char *project, const char *stack,
			   int64_t version);

#endif
