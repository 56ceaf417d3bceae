/*
 * deployment.h: the shape of a stack's state on the wire (apitype.UntypedDeployment, DeploymentV3).
 *
 *	{"version":3,"features":[...],"deployment":{"manifest":..,"secrets_providers":..,"resources":[..],...}}
 *
 * Only what the service itself relies on is checked; everything else is the user's and stays as it is.
 */
#ifndef SLIPWAY_STATE_DEPLOYMENT_H
#define SLIPWAY_STATE_DEPLOYMENT_H

#include <stdint.h>

#include "base/json.h"

/* What a stack exports that never had any state (cli-protocol §3.3). */
#define DEPLOYMENT_EMPTY                                                                                 \
	"{\"version\":3,\"deployment\":{\"manifest\":{\"time\":\"0001-01-01T00:00:00Z\",\"magic\":\"\"," \
	"\"version\":\"\"},\"metadata\":{}}}"

/* Finds several members in one walk (json_get walks the whole object each time); null counts as absent. */
void json_pick(struct json object, const char *const *names, size_t count, struct json *ret_values);

/* A DeploymentV3. `where` is its name in errors. */
int deployment_check(struct json deployment, const char *where, struct err *e);

/* An UntypedDeployment, in one walk over its text. *ret_resources: how many it has. */
int untyped_deployment_check(struct json root, int64_t *ret_resources, struct err *e);

#endif
