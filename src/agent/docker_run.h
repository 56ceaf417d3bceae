/*
 * docker_run.h: the container of one run, from its image to its removal. Belongs to the thread of the run's slot.
 *
 *	docker_run_prepare	in Setup: image, container (created, attached, started; the executor waits for its plan)
 *	docker_run_start	the tree goes in, then the plan; the executor begins
 *	docker_run_free		the container is gone, whatever state it was in
 */
#ifndef SLIPWAY_AGENT_DOCKER_RUN_H
#define SLIPWAY_AGENT_DOCKER_RUN_H

#include "agent/docker_engine.h"
#include "agent/docker_reach.h"
#include "agent/docker_stream.h"
#include "agent/isolate.h"

/* A user of the image. */
struct docker_user {
	uint32_t uid, gid;
	const char *name;
	const char *home; /* "" if there is none */
};

struct docker_run {
	struct job *job;
	struct docker_engine *engine;
	struct docker docker;
	struct docker_image image;
	struct docker_user user;
	const char *container; /* its id; NULL: none yet */
	const char *home;      /* of the run */
	int attached_fd;       /* until the stream takes it */
	struct docker_stream *stream;
	struct docker_reach *reach; /* NULL: the server needs none */
};

int docker_run_prepare(struct job *j, struct docker_engine *engine, struct docker_run **ret, struct err *e);
int docker_run_start(struct docker_run *run, const struct isolate_config *c, struct err *e);
int docker_run_wait(struct docker_run *run, int timeout_ms, struct process_status *ret, struct err *e);
/* Whether the engine's kernel killed something of it for memory. */
bool docker_run_out_of_memory(struct docker_run *run);
void docker_run_free(struct docker_run *run);

/* --- docker_create.c --- */
/* Makes run->container. */
int docker_create(struct docker_run *run, struct err *e);

/* --- docker_user.c --- */
/* Who the image's User is, by the container's own /etc/passwd and /etc/group. */
int docker_user_find(struct docker_run *run, struct docker_user *ret, struct err *e);
/* For tests: the same from the texts of the two files. */
int docker_user_parse(const char *user, struct str passwd, struct str group, struct arena *a, struct docker_user *ret,
		      struct err *e);

#endif
