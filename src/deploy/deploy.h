/*
 * deploy.h: settings, the queue, jobs, logs, agent pools, as the rooms above see them.
 */
#ifndef SLIPWAY_DEPLOY_DEPLOY_H
#define SLIPWAY_DEPLOY_DEPLOY_H

#include "state/state.h"

/* Registers the hooks that lower rooms offer (state/state.h, identity/limits.h); once, before requests run. */
void deploy_init(void);

/* Leases of runners, claims whose work order nobody fetched, queue expiry, time limits, log retention. */
int deploy_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);

/* Schedules: queues what is due. */
int schedule_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);

/* The dependency cache (cache.h): whether a sealed path is good, before the body is read; what nobody reads. */
int deploy_cache_admit(struct request *r, struct err *e);
int cache_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);

/* The part of `slipway admin verify` about settings and logs (state/verify.h). */
struct verify;
int deploy_verify(struct app *app, struct verify *v, struct err *e);

/* Makes a pool and its token. network: pool_network.h. org_id NULL: a shared pool that serves every organization (slipway dev). */
int deploy_pool_add(struct app *app, struct arena *a, const char *org_id, const char *name, const char *description,
		    const char *network, const char **ret_id, const char **ret_token, struct err *e);

/* What an operator wants to see of the queue (server/metrics.c). */
struct deploy_numbers {
	int64_t queued, accepted, running;
	int64_t claimable; /* of the queued ones: nothing but a free agent is missing */
	int64_t oldest_us; /* when the first queued one was made; 0: the queue is empty */
	int64_t agents;	   /* online */
	int64_t pools;
};
int deploy_numbers(struct app *app, struct arena *a, int64_t now_us, struct deploy_numbers *ret, struct err *e);

/* Cancels what a removed user asked for; *ret_count: how many. */
int deploy_cancel_of_user(struct app *app, struct arena *a, const char *user_id, const char *login, int64_t *ret_count,
			  struct err *e);

/* For the console's plain page: state and log so far. */
struct deployment_step_view {
	const char *name;
	const char *status;
	int64_t started_us; /* DB_NULL_INT */
	int64_t updated_us;
	struct str text; /* the step's lines so far, at most the last 2 MiB of the log */
};
struct deployment_view {
	const char *id;
	int64_t version;
	const char *operation;
	const char *status;
	const char *message;
	const char *requested_by;
	const char *agent_name;			  /* NULL */
	int64_t created_us, started_us, ended_us; /* DB_NULL_INT when not yet */
	struct deployment_step_view *steps;
	size_t step_count;
};
/* 1 found, 0 not. */
int deploy_view(struct app *app, struct arena *a, const char *stack_id, int64_t version, struct deployment_view *ret,
		struct err *e);

/* The newest deployments of a stack, or (stack_id NULL) of all organizations of a user. */
struct deployment_summary {
	const char *org, *project, *stack;
	int64_t version;
	const char *operation;
	const char *status;
	const char *requested_by;		  /* "": an automatic trigger */
	int64_t created_us, started_us, ended_us; /* DB_NULL_INT when not yet */
};
int deploy_recent(struct app *app, struct arena *a, const char *stack_id, const char *user_id, int64_t n,
		  struct deployment_summary **ret, size_t *ret_count, struct err *e);

/* One update of a stack. id NULL: by version. 1 found, 0 not. */
struct update_view {
	const char *id;
	const char *kind;
	bool dry_run;
	const char *status;
	int64_t version;
	const char *message;
	const char *resource_changes; /* JSON object, NULL */
	const char *requested_by;
	int64_t created_us, started_us, ended_us; /* DB_NULL_INT when not yet */
	int64_t deployment_version;		  /* DB_NULL_INT: made by somebody's own CLI */
};
int deploy_update_view(struct app *app, struct arena *a, const char *stack_id, const char *id, int64_t version,
		       struct update_view *ret, struct err *e);

#endif
