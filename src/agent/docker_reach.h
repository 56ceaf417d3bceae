/*
 * docker_reach.h: the way of a container to a server that listens where only its runner reaches it: on the loopback. A second
 * program in the container listens at the same address there; what connects to it comes to us over the engine's connection
 * and goes on to the server, and nowhere else (os/relay.h).
 */
#ifndef SLIPWAY_AGENT_DOCKER_REACH_H
#define SLIPWAY_AGENT_DOCKER_REACH_H

#include "agent/docker.h"

struct docker_reach;
struct docker_user;

/* Whether `url` names this machine's loopback. */
bool docker_reach_needed(const char *url);
/* Returns when connections are taken. *ret must be stopped before the container is gone. */
int docker_reach_start(struct docker *d, const char *container, const struct docker_user *user, const char *url,
		       struct arena *a, struct docker_reach **ret, struct err *e);
/* NULL is fine. */
void docker_reach_stop(struct docker_reach *r);

#endif
