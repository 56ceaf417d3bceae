/*
 * docker.h: a container engine, by the Docker Engine API (version 1.41 and later; Podman's answers to it are good enough)
 * on a unix socket or by plain TCP. Nothing here knows what a deployment is.
 *
 * struct docker is one conversation: one thread at a time; each run has its own. The engine may be another machine: files
 * go in and out by its archive calls.
 */
#ifndef SLIPWAY_AGENT_DOCKER_H
#define SLIPWAY_AGENT_DOCKER_H

#include <stdbool.h>

#include "base/json.h"
#include "http/client.h"

struct docker_address {
	const char *text;   /* as it was configured, for messages */
	const char *socket; /* NULL: TCP */
	const char *host;
	const char *port;
};

struct docker {
	struct http_client *http;
	struct docker_address at;
	const char *api; /* "/v1.41" */
	/* Asked every 200 ms of a long call: whether nobody waits for it any more. */
	bool (*cancelled)(void *arg);
	void *cancelled_arg;
};

/* "unix:///run/docker.sock", a path, "tcp://host:port". Everything in the arena. */
int docker_address_parse(const char *text, struct arena *a, struct docker_address *ret, struct err *e);
/* Opens nothing yet. `api` must outlive it. */
int docker_open(const struct docker_address *at, const char *api, struct docker *ret, struct err *e);
void docker_close(struct docker *d);

struct docker_query {
	const char *method;
	const char *path;   /* behind the version */
	struct str body;    /* JSON; p == NULL: none */
	const char *header; /* one more, or NULL */
	int timeout_ms;	    /* 0: a minute */
	bool (*consume)(void *arg, struct str bytes);
	void *consume_arg;
};
/* A status of 400 and more is an error with the engine's own message (ERR_NOT_FOUND for 404, ERR_CONFLICT for 409). *ret_json
 * (may be NULL): the checked answer, absent where there is none. */
int docker_send(struct docker *d, const struct docker_query *q, struct arena *a, struct json *ret_json, struct err *e);
int docker_get(struct docker *d, struct arena *a, struct json *ret, struct err *e, const char *path, ...)
	__attribute__((format(printf, 5, 6)));
/* POST or DELETE without a body, answer ignored. */
int docker_do(struct docker *d, struct arena *a, struct err *e, const char *method, const char *path, ...)
	__attribute__((format(printf, 5, 6)));

/* Unpacks what `write` puts to the descriptor (a tar archive) into the container's folder. `write` runs on a thread of
 * its own. */
int docker_put(struct docker *d, const char *container, const char *folder,
	       int (*write)(void *arg, int fd, struct err *e), void *arg, struct arena *a, struct err *e);
/* A small file of the container, links not followed. ERR_NOT_FOUND if there is none, or it is no file. */
int docker_read_file(struct docker *d, const char *container, const char *path, struct arena *a, struct str *ret,
		     struct err *e);

/* Takes a connection over: what the container prints comes out of *ret_fd in frames of DOCKER_STREAM_HEADER_BYTES and a
 * payload; what is written to it is the container's standard input. */
int docker_attach(struct docker *d, const char *container, struct arena *a, int *ret_fd, struct err *e);
#define DOCKER_STREAM_HEADER_BYTES 8
/* Likewise for a further program of a container, which this starts. */
int docker_exec_attach(struct docker *d, const char *exec, struct arena *a, int *ret_fd, struct err *e);

#endif
