/*
 * http.h: the HTTP server as the rooms above see it. Libmicrohttpd is wholly hidden behind this header.
 *
 * Threads: the library's event threads only move bytes. A complete request is suspended and handed to a worker thread;
 * there the route's handler runs, plainly and synchronously; what it put into the response resumes the connection. A
 * `struct request` and its `struct response` belong to the worker while the handler runs, and their memory comes from
 * request->arena.
 *
 * Order of one request: route found (else 404/405) → `authorize` hook (authentication, permission; sets
 * request->context) → query checked by the route's table → body read, its limit checked, inflated when it came with Content-Encoding: gzip → handler. A body
 * of up to 64 KiB may be read before the authorize hook; a larger one is authorised first, then spooled (memory, then an
 * unlinked file that is mapped), so that `body` is always one span. Over the limit: drained up to HTTP_DRAIN_BYTES, 413.
 *
 * Errors: a handler returns a negative code with *e filled; the answer is {"code":N,"message":"<Status Text>: <detail>"}
 * (cli-protocol §1.4). Every answer carries X-Pulumi-Request-ID; 5xx are logged once, here.
 *
 * Long polls: see http_park(). Answers that are made piece by piece: see response_stream().
 */
#ifndef SLIPWAY_HTTP_HTTP_H
#define SLIPWAY_HTTP_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fields.h"
#include "base/json.h"
#include "base/str.h"

struct http_server;
struct request;
struct response;

/* No client is held longer, whatever it prefers: proxies give up on an answer after a minute or so. */
#define HTTP_WAIT_MAX_S 60

/* Returned by a handler that parked its request. */
#define HTTP_PARKED 1
/* Returned by a handler that has more to say than it gave: see response_stream(). */
#define HTTP_MORE 2

typedef int (*http_handler)(struct request *r, struct response *w, struct err *e);

/* One row of api/routes.def. */
struct route {
	const char *method;  /* "GET" ... ; HEAD falls back to GET's row unless it has one of its own */
	const char *pattern; /* "/api/stacks/{orgName}/{projectName}": static segments win over {parameters} */
	http_handler handler;
	const char *name;	  /* of the handler: for documentation */
	int auth;		  /* enum route_auth of identity/access.h */
	int permission;		  /* enum permission of identity/access.h */
	const struct field *body; /* for documentation and ROUTE-level decoding; NULL: none or decoded by the handler */
	size_t body_limit_bytes;  /* after inflating too; 0: no body expected (one is drained and ignored) */
	const char *summary;
	const struct field
		*query;	     /* arguments of the query, checked before the handler runs (query_check); NULL: none */
	const char *answers; /* for documentation, as the rest: in the notation of server/shape.h */
	const char *operation;
	const char *tag;
};

/* A row of route.query; such a table has no destination, the handler reads by name. A FIELD_STRING_LIST may be repeated,
 * everything else stands once at most. FIELD_BOOL: as request_query_bool. */
#define QUERY(name_, kind_, ...)                                \
	{                                                       \
		.name = (name_), .type = (kind_), ##__VA_ARGS__ \
	}

struct http_config {
	const char *listen_host; /* "127.0.0.1" */
	int listen_port;	 /* 0: any free one */
	const char *socket_path; /* also listen on this unix socket (0600), or NULL */
	int workers;		 /* 0: chosen from the number of cores */
	const struct route *routes;
	size_t route_count;
	/* Runs on a worker before the body is read. 0 lets the request in. */
	int (*authorize)(struct request *r, struct err *e);
	void *app; /* request_app() */
	/* Logs an answer of 5xx, on the worker; e->code is 0 if the handler made the answer itself. NULL: a line for each. */
	void (*failed)(const struct request *r, const struct err *e);
	/* Each answer, on the worker: its status, and the time since the request's head. NULL: nobody counts. */
	void (*answered)(const struct request *r, int status, int64_t took_us);
	const char *public_url; /* request_origin(): as others see us, without a trailing slash; NULL: not told */
	size_t body_max_bytes;	/* no row's limit counts beyond this; 0: the rows' alone */
	const char *spool_dir;	/* for large bodies, as unlinked files; NULL: $TMPDIR, else /var/tmp */
	bool access_log;
};

int http_server_start(const struct http_config *config, struct http_server **ret, struct err *e);
int http_server_port(const struct http_server *s);
/* Stops accepting, wakes parked requests (they are answered as at their deadline), lets running ones finish. */
void http_server_stop(struct http_server *s);
void http_server_free(struct http_server *s);

/* --- request --- */
struct request {
	struct arena *arena;
	const struct route *route;
	const char *method;
	const char *path;     /* decoded nowhere: as it came, without the query */
	const char *id;	      /* X-Pulumi-Request-ID: taken from the client if sane, else made */
	struct str body;      /* whole, inflated */
	struct str body_gzip; /* as it came, if it came compressed (else p == NULL) */
	bool from_socket;     /* came over the control socket */
	void *context;	      /* set by the authorize hook */
	/* Set by the authorize hook for a body that is stored as it is: its own limit instead of the row's and the
	 * server's, and the folder of its spool, so that the file need not be copied. 0 and NULL: as elsewhere. */
	size_t body_limit_bytes;
	const char *spool_dir;
	int64_t parked_until_us; /* 0: has not been parked yet (http_park) */
	void *stream;		 /* NULL in the first run of a stream (request_stream_state) */
};

void *request_app(const struct request *r);
/* Value of {name} in the pattern, percent-decoded; BUG if the pattern has no such parameter. */
const char *request_param(const struct request *r, const char *name);
bool request_has_param(const struct request *r, const char *name);
/* First value of the query argument, decoded; NULL if absent. */
const char *request_query(const struct request *r, const char *name);
/* All values of the argument, up to `max`; returns how many there are. */
size_t request_query_all(const struct request *r, const char *name, const char **ret, size_t max);
/* Integer argument within [min, max]; absent → fallback; else ERR_BAD_REQUEST that names it. */
int request_query_int(const struct request *r, const char *name, int64_t min, int64_t max, int64_t fallback,
		      int64_t *ret, struct err *e);
/* "true"/"1"/"" → true, "false"/"0" → false; anything else ERR_BAD_REQUEST. */
int request_query_bool(const struct request *r, const char *name, bool fallback, bool *ret, struct err *e);
const char *request_header(const struct request *r, const char *name); /* any case; NULL if absent */
const char *request_cookie(const struct request *r, const char *name);
const char *request_peer(const struct request *r); /* address as text, "unix" for the control socket */
bool request_accepts_gzip(const struct request *r);
/* The spool of a large body: its content is `body`, which then need not be touched. -1 when it is in memory. It may be
 * written to and linked; it is closed with the request. */
int request_body_file(const struct request *r);
/* "Prefer: wait=N" (RFC 7240): how many seconds the client wants the answer to be held, at most HTTP_WAIT_MAX_S;
 * fallback if it says nothing. */
int64_t request_wait_s(const struct request *r, int64_t fallback_s);
/* The address that the client calls us by, without a trailing slash: the public URL when the Host header is its host;
 * http://Host where there is no public URL. NULL when that is not known: the control socket, or another Host than the
 * public URL's, which a proxy may have put there. */
const char *request_origin(const struct request *r);
/* Checks that the body is JSON; an empty body is ERR_BAD_REQUEST unless `may_be_empty` (then *ret is absent). */
int request_json(struct request *r, bool may_be_empty, struct json *ret, struct err *e);
/* request_json + fields_decode; sets Slipway-Ignored on the response; with `Prefer: handling=strict` ignored fields are
 * ERR_BAD_REQUEST. An absent body decodes as {}. */
int request_decode(struct request *r, struct response *w, const struct field *table, void *out, struct err *e);
/* For handlers with decoders of their own: same treatment of the ignored fields. */
int request_note_ignored(struct request *r, struct response *w, const struct ignored_fields *ig, struct err *e);

/* --- response --- */
void response_status(struct response *w, int status); /* default 200 */
/* Both are copied. No header without a value (NULL, empty); bytes that may not stand in one become '?'. */
void response_header(struct response *w, const char *name, const char *value);
/* A JSON body: returns the writer (Content-Type: application/json). The framework compresses large answers when the
 * client accepts gzip. */
struct json_writer *response_json(struct response *w);
/* A finished body; copied unless it lies in the request's arena or is part of its body. */
void response_body(struct response *w, const char *content_type, struct str body);
/* A body that is gzip already: sent as it lies when the client accepts gzip, else inflated. */
void response_body_gzip(struct response *w, const char *content_type, struct str gzip);
void response_empty(struct response *w, int status); /* e.g. 204 */
/* The first `bytes` bytes of a file, sent from where they lie. The descriptor is the response's from now on. */
void response_file(struct response *w, const char *content_type, int fd, size_t bytes);

/* --- waiting ---
 * A handler that has nothing to answer yet subscribes to a key first, looks again, and then returns HTTP_PARKED:
 *
 *	http_park(r, key, deadline_us);        // monotonic clock; kept from the first time when called again
 *	found = look(...);
 *	if (!found && clock_mono_us() < r->parked_until_us && !request_stopping(r)) return HTTP_PARKED;
 *
 * The request then holds no thread. It is run again from the start of its handler when http_wake() names the key (a
 * wake that comes between http_park and the return is not lost), at the deadline, and when the server stops. A handler
 * that answers after all simply returns 0: its subscription ends. One that parks again at its deadline, or when the
 * server stops, is answered 503. A request may wait for up to four keys. Memory of one run is gone in the next; what the
 * authorize hook made stays.
 *
 * A client that hangs up while it waits is dropped without running the handler. One that hangs up after it was woken is
 * not: a handler that finds its client gone (request_alive) puts back what it took and wakes the next. */
void http_park(struct request *r, const char *key, int64_t deadline_mono_us);
/* Ends what http_park() began in this run. */
void http_unpark(struct request *r);
bool request_stopping(const struct request *r);
/* Whether the client's connection still stands: the claim asks it before it answers (architecture §2.3). */
bool request_alive(const struct request *r);
/* Wakes up to `max` requests parked on key, oldest first (0: all). Any thread. */
void http_wake(struct http_server *s, const char *key, int max);

/* --- streams ---
 * An answer of unknown length, made piece by piece. A handler that has more to say calls response_stream(), gives a piece
 * (or none), and returns HTTP_MORE. Once the piece was sent it is run again from its start: at once, or, if it
 * subscribed to keys in that run, when one of them is woken or the deadline has come (each run has a new one). In between
 * it holds no thread, however slow the client is, and one piece of memory, which many streams may share. 0 ends the answer
 * behind the piece; an error cuts it off, so that the client sees that something is missing (in the first run it is
 * answered like any other). A stream that is not over when the server stops is cut off, too.
 *
 * The status and the headers of the first run count. A client that goes away is told by request_stream_state's `done`. */
struct http_piece;
/* A copy of the bytes, or NULL. References may be counted by any thread. */
struct http_piece *http_piece_new(struct str bytes);
struct http_piece *http_piece_ref(struct http_piece *p);
void http_piece_unref(struct http_piece *p); /* NULL is fine */
struct str http_piece_str(const struct http_piece *p);

void response_stream(struct response *w, const char *content_type);
/* Takes the reference. One of each run counts. */
void response_piece(struct response *w, struct http_piece *piece);
/* In the first run: memory (zeroed) that stays until the stream has ended, then in r->stream. `done` (or NULL) is called
 * with it in the end, however it comes, on any thread; it must not block. NULL: out of memory. */
void *request_stream_state(struct request *r, size_t size, void (*done)(void *state));
/* Asks the authorize hook once more: what was allowed in the beginning may be taken away in the hours of a stream. */
int request_authorize_again(struct request *r, struct err *e);

#endif
