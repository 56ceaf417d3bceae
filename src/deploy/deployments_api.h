/*
 * deployments_api.h: what the handlers about deployments share.
 */
#ifndef SLIPWAY_DEPLOY_DEPLOYMENTS_API_H
#define SLIPWAY_DEPLOY_DEPLOYMENTS_API_H

#include "deploy/deployment.h"
#include "deploy/waiting.h"

/* The deployment of the path ({deploymentId}: an id, or its number), which must belong to the stack of the
 * path; a route of the site's administrators has none, and takes an id alone. */
int deploy_find(struct request *r, const char **ret_id, struct err *e);

/* One deployment with everything that an answer shows of it. */
struct shown {
	struct deployment_get_row d;
	struct step_list_row *steps;
	size_t step_count;
	struct update_summary *updates;
	size_t update_count;
	struct waiting waiting; /* of one that is queued */
};
/* Inside of a transaction. 1 found, 0 not. memo NULL: it is the only one. */
int shown_load(struct db_conn *c, struct arena *a, const char *id, struct waiting_memo *memo, struct shown *ret,
	       struct err *e);
/* The members that every shape has, without braces. `listed`: as an element of a list. */
void shown_write(struct json_writer *j, struct arena *a, const struct shown *s, bool listed);

/* The member "jobs" of a deployment: always one job; absent before it has started. */
void deploy_put_jobs(struct json_writer *j, struct arena *a, const struct deployment_get_row *d,
		     const struct step_list_row *steps, size_t count);

#endif
