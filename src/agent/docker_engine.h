/*
 * docker_engine.h: the container engine of this agent: what it can do, found out at the start, and what outlives one run on
 * it: the network of each slot, and the volumes with the executor and pulumi.
 *
 * Everything that we make is labelled with the id of the agent's work folder (LABEL_INSTANCE), by which a later life of the
 * agent finds it; the volumes are for all agents of the engine and have LABEL_VOLUME alone.
 */
#ifndef SLIPWAY_AGENT_DOCKER_ENGINE_H
#define SLIPWAY_AGENT_DOCKER_ENGINE_H

#include "agent/docker_image.h"
#include "agent/internal.h"

#define DOCKER_LABEL_INSTANCE "slipway.instance"
#define DOCKER_LABEL_DEPLOYMENT "slipway.deployment"
#define DOCKER_LABEL_VOLUME "slipway.volume"

/* Places inside of a container. */
#define DOCKER_TREE "/deployment"
#define DOCKER_OURS_EXECUTOR "/slipway/executor"
#define DOCKER_OURS_TOOLS "/slipway/tools"
#define DOCKER_EXECUTOR DOCKER_OURS_EXECUTOR "/slipway-executor"

struct docker_engine {
	struct arena arena;
	struct docker_address at;
	const char *api;     /* "/v1.41" */
	const char *version; /* "Docker 20.10.24" */
	bool limits_memory, limits_swap, limits_cpu, limits_pids;
	_Atomic bool limits_disk;
	const char *executor_volume, *tools_volume; /* tools: NULL without pulumi on this machine */
	_Atomic bool network_ready[CONCURRENCY_MAX];
};

/* Asks the engine; the error says what to do. *ret lives as long as the agent. */
int docker_engine_open(struct agent *agent, struct docker_engine **ret, struct err *e);
/* Removes containers and networks of this agent, and volumes of ours that nobody needs any more. */
void docker_engine_sweep(const struct agent *agent, struct docker_engine *engine);
/* The network that this slot's runs have for themselves, one after the other. */
const char *docker_network_name(const struct agent *agent, int slot, struct arena *a);
int docker_network_make(const struct agent *agent, struct docker_engine *engine, struct docker *d, int slot,
			struct arena *a, struct err *e);
/* Member "Labels". */
void docker_labels(struct json_writer *w, const struct agent *agent, const char *deployment);

#endif
