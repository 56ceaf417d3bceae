/*
 * docker_volume.h: our own programs on a container engine. The executor, and pulumi with its language hosts, lie in a
 * volume each, named by what is in it, filled once, and mounted read-only into every container: to copy 300 MB for each
 * run would take longer than most runs. A file put last says that a volume is whole; it is looked for before each run,
 * since anybody may prune volumes at any time.
 */
#ifndef SLIPWAY_AGENT_DOCKER_VOLUME_H
#define SLIPWAY_AGENT_DOCKER_VOLUME_H

#include "agent/docker_engine.h"

/* Sets the names in `engine`. */
int docker_volumes_name(const struct agent *agent, struct docker_engine *engine, struct err *e);
/* Sees to it that the volumes which `container` has mounted are whole; where they are not, by a container of `image`. */
int docker_volumes_fill(const struct agent *agent, struct docker_engine *engine, struct docker *d,
			const char *container, const char *image, struct arena *a, struct err *e);
/* One member of a container's "Mounts". */
void docker_mount(struct json_writer *w, const char *volume, const char *target, bool read_only);

#endif
