/*
 * docker_image.h: the image of a run: found on the engine or pulled, and what it says of itself.
 */
#ifndef SLIPWAY_AGENT_DOCKER_IMAGE_H
#define SLIPWAY_AGENT_DOCKER_IMAGE_H

#include "agent/agent.h"
#include "agent/docker.h"

struct docker_image_request {
	const char *reference;		 /* "name", "registry:5000/name:tag", "name@sha256:…" */
	const char *username, *password; /* for its registry; NULL: none */
	enum agent_pull pull;
	void (*say)(void *arg, const char *line); /* progress, a line every few seconds */
	void *arg;
};

struct docker_image {
	const char *id;		/* "sha256:…" */
	const char *digest;	/* of the registry, "name@sha256:…"; NULL: it never was in one */
	const char *user;	/* as the image names it: "", "1000", "node", "node:node" */
	const char *work_dir;	/* "/" if it names none */
	const char *const *env; /* "NAME=value", NULL-terminated */
	bool volume_over_us;	/* it declares a volume below /slipway, where our own things go */
};

struct docker_reference {
	struct str name;     /* without tag and digest */
	struct str tag;	     /* "latest" where neither is given; empty beside a digest */
	struct str digest;   /* "sha256:…", or empty */
	struct str registry; /* "registry:5000"; empty: the engine's default */
};
int docker_reference_parse(const char *text, struct docker_reference *ret, struct err *e);

/* The error says what the registry or the engine said. */
int docker_image_get(struct docker *d, const struct docker_image_request *rq, struct arena *a, struct docker_image *ret,
		     struct err *e);

#endif
