/*
 * deployment_request.h: what a client asks for in a new deployment (features §3.5): the operation, whether the saved
 * settings count, and settings of its own. Read once, sealed; merged over the saved settings when the deployment is
 * queued, which for a schedule is much later than when it was read.
 *
 * Stored (schedules.request) it is {"operation":…,"inheritSettings":…,"agentPoolID":…,"settings":{…}}: in the settings
 * every secret is a sealed leaf (secrets.h), and the nulls that remove inherited values are still there.
 */
#ifndef SLIPWAY_DEPLOY_DEPLOYMENT_REQUEST_H
#define SLIPWAY_DEPLOY_DEPLOYMENT_REQUEST_H

#include "deploy/deployment.h"
#include "deploy/settings.h"

struct deployment_request {
	const char *operation;
	bool inherit;
	struct settings_input settings;
};

/* Checks, seals. ERR_BAD_REQUEST names what is wrong; also when the agent pool is not one of the organization's;
 * ERR_FORBIDDEN when it overrides what who asks may only run. `ig` may be NULL. */
int deployment_request_read(struct app *app, struct arena *a, const struct access *access, struct json body,
			    struct ignored_fields *ig, struct deployment_request *ret, struct err *e);

/* The stored form, NUL-terminated, and back. */
const char *deployment_request_text(const struct deployment_request *q, struct arena *a, struct err *e);
int deployment_request_parse(const char *text, struct arena *a, struct deployment_request *ret, struct err *e);
/* As clients may see it: the shape that they send, secrets redacted. */
void deployment_request_show(struct json_writer *w, const struct deployment_request *q, struct arena *a);

struct deployment_origin {
	const char *org_id;
	const char *stack_id;
	const char *initiator;
	const char *user_id;   /* whose rights the run has; NULL: an automatic trigger, or */
	const char *org_token; /* that of a token of the organization (its id) */
};
/* Inside of the caller's transaction: merges over the saved settings and queues. ERR_BAD_REQUEST when there is nothing to
 * deploy. The caller wakes the queue afterwards (deployment_queued). */
int deployment_request_queue(struct db_conn *c, struct arena *a, const struct deployment_request *q,
			     const struct deployment_origin *from, const char *id, int64_t now_us, int64_t *ret_version,
			     struct err *e);

#endif
