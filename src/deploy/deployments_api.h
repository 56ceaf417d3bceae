/*
 * deployments_api.h: what the handlers about deployments share.
 */
#ifndef SLIPWAY_DEPLOY_DEPLOYMENTS_API_H
#define SLIPWAY_DEPLOY_DEPLOYMENTS_API_H

#include "deploy/deployment.h"

/* The deployment of the path ({deploymentId}: an id, or its number), which must belong to the stack of the
 * path; a route of the site's administrators has none, and takes an id alone. */
int deploy_find(struct request *r, const char **ret_id, struct err *e);

#endif
