/*
 * state.h: the state backend as the rooms above see it: stacks, updates, leases.
 *
 * Everything that a stack's row, its updates and its documents need goes through this room. Functions that take a
 * `struct db_conn` run inside of the caller's transaction; functions that take a `struct app` make their own.
 */
#ifndef SLIPWAY_STATE_STATE_H
#define SLIPWAY_STATE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "identity/app.h"
#include "identity/identity.h"

struct stack {
	const char *id;
	const char *org_id;
	const char *project;
	const char *name;
	const char *tags;    /* JSON object */
	struct str data_key; /* sealed */
	int64_t version;
	const char *checkpoint_id;
	const char *latest_update_id;
	const char *running_update_id;
	int64_t resource_count;
	bool deleted; /* a tombstone: only found by id */
};

/* 1 found, 0 not. A former name finds the renamed stack, unless a live stack has that name now. */
int state_stack_by_name(struct db_conn *c, struct arena *a, const char *org_id, const char *project, const char *name,
			struct stack *ret, struct err *e);
int state_stack_by_id(struct db_conn *c, struct arena *a, const char *stack_id, struct stack *ret, struct err *e);

/* Seals and opens values for a stack with its own key (secrets of state, secrets of deployment settings). `purpose`
 * becomes part of the associated data: "state", "settings". */
int state_stack_key(struct identity *id, const struct org *org, const struct stack *s, struct crypto_key *ret,
		    struct err *e);

/* The org of a stack, for code that has only the stack (ticker). 1 found, 0 not. */
int state_org_of_stack(struct db_conn *c, struct arena *a, const char *org_id, struct org *ret, struct err *e);

/* Updates that were made with the run token of a deployment, oldest first. */
struct update_summary {
	const char *id;
	const char *kind; /* "update", "preview" ... */
	bool dry_run;
	const char *status;
	const char *result; /* not-started, in-progress, succeeded, failed: what history shows */
	int64_t version;
	const char *message;
	const char *environment; /* JSON object */
	int64_t started_us;	 /* DB_NULL_INT */
	int64_t ended_us;	 /* DB_NULL_INT */
};
/* What history shows for a status: there a cancelled update has failed. */
const char *state_update_result(const char *status);
int state_updates_of_deployment(struct db_conn *c, struct arena *a, const char *deployment_id,
				struct update_summary **ret, size_t *ret_count, struct err *e);

/* Drift (drift.h): what the newest run of a stack has found. */
struct drift_status {
	const char *run_id; /* NULL: there was none */
	bool detected;
	bool remediated; /* since */
	bool in_progress;
};
int state_drift_status(struct db_conn *c, struct arena *a, const char *stack_id, struct drift_status *ret,
		       struct err *e);
/* StackDriftStatus of the API. */
void state_drift_write(struct json_writer *j, const struct drift_status *s);

/* A deployment that has failed: one that should have looked for drift, or done away with it, and came to no update, leaves a
 * failed run, or the event of a failed remediation. */
struct drift_deployment {
	const char *id;
	const char *org_id, *stack_id;
	const char *operation;
	int64_t version;
	const char *user_id; /* who asked for it; NULL */
};
int state_drift_deployment_failed(struct db_conn *c, struct arena *a, const struct drift_deployment *d, struct err *e);

/* Ends every update of the deployment that still runs: its journal is replayed, the resulting state stored, its lease
 * tokens revoked, its status becomes "failed". Harmless when there is none, and when repeated. */
int state_abandon_deployment_updates(struct app *app, const char *deployment_id, struct err *e);

/*
 * A stack that is removed while a deployment of it is under way (one that removes it, most often) leaves a tombstone: its
 * deployments, their updates and logs, under the name that it had. Everything else of it goes at once. It stays as long as
 * a log of it is kept.
 *
 * The tombstone that had that name, and has the deployment or the update (either may be NULL). 1 found, 0 not.
 */
int state_stack_buried(struct db_conn *c, struct arena *a, const char *org_id, const char *project, const char *name,
		       const char *deployment_id, const char *update_id, struct stack *ret, struct err *e);
/* Removes a tombstone; nothing for a live stack. */
int state_stack_forget(struct db_conn *c, const char *stack_id, struct err *e);
/* Set by deploy/: whether the stack has a deployment that is accepted or running (then a delete leaves a tombstone). */
extern int (*state_stack_is_deploying)(struct db_conn *c, const char *stack_id, bool *ret, struct err *e);
/* Set by deploy/: an update of that deployment has been started (its log may go on now). On a worker, after the commit. */
extern void (*state_deployment_update_started)(struct app *app, struct arena *a, const char *deployment_id);
/* Set by deploy/: in the transaction that makes a tombstone of the stack: what belongs to a live one alone goes. */
extern int (*state_stack_burying)(struct db_conn *c, const char *stack_id, struct err *e);
/* Set by deploy/: in the transaction that removes a stack's row, and with it everything that refers to it, just before. */
extern int (*state_stack_removing)(struct db_conn *c, const char *stack_id, struct err *e);

/* Removes states of versions that are no longer kept. */
int state_retention_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);
/* Likewise events of updates, and blobs that no row names. */
int state_event_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);
int state_blob_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);

/* Ends updates whose lease ran out. *ret_next_us: when to come again (INT64_MAX: nothing waits). */
int state_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);

/* Brings the lists of resources up to date (resource_index.h). As state_tick. */
int state_index_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);

#endif
