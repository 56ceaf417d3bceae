/*
 * queue.h: who may run now, and who takes it. There is no scheduler: eligibility is the view claimable_deployments,
 * derived from rows. Waiting agents are parked requests on the key "pool:<id>"; as many are woken as there is work.
 */
#ifndef SLIPWAY_DEPLOY_QUEUE_H
#define SLIPWAY_DEPLOY_QUEUE_H

#include "deploy/deployment.h"

/* What an agent says about itself with its poll (docs/runner-protocol.md). */
struct agent_info {
	const char *name;
	const char *hostname;
	int64_t pid;
	const char *ip;
	const char *platform;
	const char *version;
	const char *isolation;
	const char *networks; /* modes, comma separated */
	const char *instance; /* its work folder, NULL: it did not say */
	const char *life;     /* its process */
};

struct claim {
	const char *deployment_id;
	const char *org_id;
	int64_t attempt;
	const char *runner_token;
};

const char *queue_key(struct arena *a, const char *pool_id);

/* Wake agents for what may run now, after a commit that may have made something claimable: on one stack, or anywhere in
 * the organization (its limit may have been what bound). They never fail: a lost wake-up is only a delay until the
 * agent's next poll. */
void queue_wake_stack(struct app *app, struct arena *a, const char *org_id, const char *stack_id);
void queue_wake(struct app *app, struct arena *a, const char *org_id);

/* Notes that the agent is there. */
int queue_agent_seen(struct app *app, const char *pool_id, const struct agent_info *agent, struct err *e);

/* Ends what an earlier process of this agent left behind: it holds the lock of that process's work folder, so nothing
 * of it runs any more, and nobody need wait for the runner time-out. */
int queue_end_former_life(struct app *app, struct arena *a, const char *pool_id, const struct agent_info *agent,
			  struct err *e);

/* Gives back what this process of the agent has claimed and not begun: it stops. */
int queue_leave(struct app *app, struct arena *a, const char *pool_id, const struct agent_info *agent, struct err *e);

/* Takes the oldest deployment that the pool may run: 1 claimed, 0 nothing there. pool_org_id NULL: a shared pool. */
int queue_claim(struct app *app, struct arena *a, const char *pool_id, const char *pool_org_id,
		const struct agent_info *agent, struct claim *ret, struct err *e);

#endif
