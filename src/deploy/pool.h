/*
 * pool.h: agent pools: who may run what. A pool belongs to one organization, or is shared by the whole site (org NULL);
 * its token lets an agent poll for it, and nothing else.
 */
#ifndef SLIPWAY_DEPLOY_POOL_H
#define SLIPWAY_DEPLOY_POOL_H

#include "base/clock.h"
#include "deploy/deployment.h"

/* An agent that has not been heard of for this long is offline; after two hours it is forgotten (features §7.2). */
#define AGENT_ONLINE_US (150 * US_PER_S)
#define AGENT_FORGET_US (2 * US_PER_HOUR)

/* Whether the organization may use the pool. In a transaction of its own. */
int pool_exists(struct app *app, struct arena *a, const char *org_id, const char *pool_id, bool *ret, struct err *e);
/* NULL, -1: stays. `network` as the row has it (pool_network.h). is_default 0 leaves another pool's being the default alone. */
int pool_rename(struct app *app, struct arena *a, const char *org_id, const char *pool_id, const char *name,
		const char *description, const char *network, int is_default, struct err *e);
/* Refused while settings or waiting deployments name it, unless `force`: then those fall back to the default,
 * which the history of the settings tells. */
int pool_remove(struct app *app, struct arena *a, const struct access *access, const char *pool_id, bool force,
		struct err *e);

#endif
