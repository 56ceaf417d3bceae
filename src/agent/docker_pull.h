/*
 * docker_pull.h: fetching an image, with what is seen of it meanwhile.
 */
#ifndef SLIPWAY_AGENT_DOCKER_PULL_H
#define SLIPWAY_AGENT_DOCKER_PULL_H

#include "agent/docker_image.h"

int docker_pull(struct docker *d, const struct docker_image_request *rq, const struct docker_reference *ref,
		struct arena *a, struct err *e);

#endif
