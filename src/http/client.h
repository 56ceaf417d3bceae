/*
 * client.h: HTTP requests of ours to others (agent → server, admin → control socket). libcurl beneath; the curl
 * handle is kept by struct http_client, one thread at a time.
 */
#ifndef SLIPWAY_HTTP_CLIENT_H
#define SLIPWAY_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/json.h"
#include "base/str.h"

struct http_client;

struct http_client_config {
	const char *base_url;	 /* "http://127.0.0.1:8420" (a path prefix is kept); "http://localhost" with a socket */
	const char *socket_path; /* unix socket instead of TCP, or NULL */
	const char *token;	 /* sent as "Authorization: token <token>"; NULL: none */
	const char *user_agent;
	int connect_timeout_ms; /* 0: 10 s */
};

/* A part of an open file, from its start. */
struct http_client_file {
	int fd;
	int64_t bytes; /* of a body; or the most that is taken of an answer, afterwards what came */
};

struct http_client_request {
	const char *method;
	const char *path;	    /* "/api/..." */
	struct str body;	    /* p == NULL: none */
	const char *content_type;   /* default application/json */
	bool gzip;		    /* compress the body */
	const char *const *headers; /* NULL-terminated "Name: value" lines, or NULL */
	int timeout_ms;		    /* whole request; 0: 60 s */
	size_t max_response_bytes;  /* 0: 64 MiB */
	/* For what is too large for memory: the body from a file instead of `body`; the body of a 2xx answer into a file. A
	 * transfer that stands still for half a minute ends as a timeout. NULL: none. */
	const struct http_client_file *body_file;
	struct http_client_file *answer_file;
	/* A body that is made as it goes out, in chunks, instead of `body`: fills up to n bytes; 0 ends it, -1 aborts. */
	ssize_t (*produce)(void *arg, char *bytes, size_t n);
	void *produce_arg;
	/* Gets the body of a 2xx answer as it comes, which then is not kept; false aborts. Others are kept as ever. */
	bool (*consume)(void *arg, struct str bytes);
	void *consume_arg;
	/* polled about every 200 ms; true aborts with ERR_CANCELLED; may be NULL */
	bool (*cancelled)(void *arg);
	void *cancelled_arg;
};

struct http_client_response {
	int status;
	struct str body;   /* in the arena; empty where it was consumed */
	int retry_after_s; /* -1 if the header was not there */
};

int http_client_new(const struct http_client_config *config, struct http_client **ret, struct err *e);
void http_client_free(struct http_client *c);
void http_client_set_token(struct http_client *c, const char *token);

/* One attempt. Transport faults are ERR_UNAVAILABLE (ERR_TIMEOUT, ERR_CANCELLED); any HTTP status is a success here. */
int http_client_send(struct http_client *c, const struct http_client_request *rq, struct arena *a,
		     struct http_client_response *ret, struct err *e);
/* The error that an answer with a status >= 400 is: with the server's message where it sent one (cli-protocol §1.4), else
 * with the beginning of what came. */
int http_client_refusal(const struct http_client_response *response, struct arena *a, struct err *e);
/* send, then a status >= 400 becomes an error of the matching code with the server's message. *ret_json (may be NULL)
 * gets the checked body, absent when empty. */
int http_client_json(struct http_client *c, const char *method, const char *path, struct str body, struct arena *a,
		     struct json *ret_json, struct err *e);

/* A connection that stops speaking HTTP once its first request is answered. */
struct http_upgrade {
	const char *socket_path; /* NULL: TCP */
	const char *host, *port;
	const char *method, *path, *protocol; /* "tcp" */
	const char *body;		      /* JSON; NULL: none */
};
/* *ret_fd: the connection, positioned behind the answer's head (101, or 200). A refusal is an error with its message. */
int http_upgrade(const struct http_upgrade *u, struct arena *a, int *ret_fd, struct err *e);

#endif
