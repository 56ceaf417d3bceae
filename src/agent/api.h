/*
 * api.h: the calls of the runner protocol, one attempt each. A struct api belongs to one thread; each thread that
 * talks for a job makes its own.
 */
#ifndef SLIPWAY_AGENT_API_H
#define SLIPWAY_AGENT_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/order.h"
#include "http/client.h"

/* When the server was last heard of, by any thread of a job: what the lease is counted from. Monotonic times. */
struct contact {
	_Atomic int64_t asked_us; /* the last request that succeeded was sent: the lease began then, or later */
	_Atomic int64_t heard_us; /* its answer came: the lease began before */
	int64_t lease_us;	  /* 0: not known yet */
};

struct api {
	struct http_client *client;
	struct contact *contact; /* NULL: nobody wants to know */
	char deployment[64];
	int64_t attempt;
	bool gzip; /* the server is on another machine: bytes cost more than cycles */
	bool (*cancelled)(void *arg);
	void *cancelled_arg;
};

struct api_claim {
	char deployment[64];
	char token[256];
	int64_t attempt;
};

/* What a pool sees of its agents. */
struct api_identity {
	const char *name, *hostname, *isolation;
	const char *networks; /* modes, comma separated */
	const char *instance; /* of the work folder: stays over restarts */
	const char *life;     /* of this process */
};

/* `token` is the pool's or the runner's. */
int api_init(struct api *api, const char *server_url, const char *token, struct err *e);
void api_done(struct api *api);
/* 1: claimed; 0: nothing to do, *ret_retry_after_s may say when to come back (-1: it does not). */
int api_poll(struct api *api, const struct api_identity *identity, int wait_s, struct api_claim *ret,
	     int *ret_retry_after_s, struct err *e);
/* The process that `identity` names stops: what it has claimed and not begun goes back to the queue. */
int api_leave(struct api *api, const struct api_identity *identity, struct err *e);
int api_order(struct api *api, struct arena *a, struct order *ret, struct err *e);
/* A token that proves to clouds which deployment this is. Everything in the arena. */
struct api_oidc {
	const char *token, *issuer, *subject, *audience;
	int64_t lifetime_s;
};
int api_oidc(struct api *api, struct arena *a, struct api_oidc *ret, struct err *e);
/* The server may hold the answer for wait_s seconds, and gives it at once when somebody cancels. */
int api_heartbeat(struct api *api, int wait_s, bool *ret_cancel, struct err *e);
int api_step(struct api *api, int step, const char *name, const char *status, struct err *e);
/* `lines` is the inside of the JSON array. */
int api_log(struct api *api, int step, int64_t offset, struct str lines, struct err *e);
int api_finish(struct api *api, bool succeeded, const char *message, struct err *e);

/* Whether the server, which was not heard of since, may have given the lease away `margin_us` from now; and whether it
 * has done so for certain. */
bool contact_may_be_over(const struct contact *c, int64_t margin_us);
bool contact_is_over(const struct contact *c);

/* --- api_cache.c: the dependency cache --- */
/* Where to read (else write) the archive of the key: a path on the server, in the arena. *ret_max: the most bytes that one
 * may have. */
int api_cache_place(struct api *api, bool put, const char *key, struct arena *a, const char **ret_path,
		    int64_t *ret_max, struct err *e);
/* 1: it is there; 0: not. */
int api_cache_has(struct api *api, const char *path, struct err *e);
/* Into the file. 0: there is none. */
int api_cache_get(struct api *api, const char *path, int fd, int64_t max, int64_t *ret_bytes, struct err *e);
int api_cache_put(struct api *api, const char *path, int fd, int64_t bytes, struct err *e);

/* --- for api_cache.c --- */
/* One request; an answer of 400 and more is an error with the server's words. */
int api_call(struct api *api, const struct http_client_request *base, struct arena *a, struct http_client_response *rs,
	     struct err *e);
/* {"attempt":N and what the caller adds behind api_begin and ends; POSTs it, gives the answer. */
void api_begin(struct api *api, struct buf *b, struct json_writer *w);
int api_post(struct api *api, const char *what, struct buf *body, struct arena *a, struct json *ret_root,
	     struct err *e);

/* The same call may succeed later: the server is away, overloaded, or out of something. */
bool api_is_transient(int r);

#endif
