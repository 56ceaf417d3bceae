/*
 * waiting.h: why a queued deployment waits, in words and as data.
 */
#ifndef SLIPWAY_DEPLOY_WAITING_H
#define SLIPWAY_DEPLOY_WAITING_H

#include "deploy/deployment.h"

/* In the order in which they are told: the first one is what has to change first. */
enum waiting_reason {
	WAITING_ORGANIZATION_PAUSED,
	WAITING_STACK_PAUSED,
	WAITING_STACK_BUSY, /* another deployment of the stack is active */
	WAITING_IN_QUEUE,   /* older ones of the stack wait */
	WAITING_LIMIT,	    /* as many are active in the organization as it may have at once */
	WAITING_NO_AGENT,   /* no agent that lives may take it */
	WAITING_FOR_AGENT,  /* none of the above: the next free agent takes it, or one that takes turns with others */
	WAITING_REASON_COUNT
};

struct waiting {
	bool holds[WAITING_REASON_COUNT];
	int64_t position;     /* in the queue of its stack, 1: the next one */
	const char *front_id; /* of the active deployment, NULL */
	int64_t front_version;
	const char *front_status;
	int64_t active, limit;		 /* of the organization */
	const char *pool_id, *pool_name; /* that has to run it; NULL: any */
	int64_t live_agents;
};

/* What was found for others of the same transaction, so that a page of them costs little more than one: an organization's
 * limit, a pool's agents, and of each stack how many wait before one version. Zeroed at first. */
#define WAITING_MEMO 16
struct waiting_memo {
	const char *org_id;
	int64_t active, limit;
	struct waiting_memo_pool {
		const char *pool_id; /* NULL: any */
		int64_t live;
	} pools[WAITING_MEMO];
	struct waiting_memo_stack {
		const char *stack_id;
		int64_t version, ahead;
		const char *front_id;
		int64_t front_version;
		const char *front_status;
	} stacks[WAITING_MEMO];
	size_t pool_count, stack_count;
};

/* Inside of a transaction; `d` is not-started. memo NULL: it is the only one. */
int waiting_read(struct db_conn *c, struct arena *a, const struct deployment_get_row *d, int64_t now_us,
		 struct waiting_memo *memo, struct waiting *ret, struct err *e);
/* {"position","text","reasons":[{"kind","text",...}]} */
void waiting_write(struct json_writer *j, struct arena *a, const struct waiting *w);

#endif
