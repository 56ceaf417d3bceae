/*
 * internal.h: what the files of the HTTP server share. No other room includes it.
 *
 * An `exchange` is one request with its answer, from the request line to the last byte sent. Exactly one thread owns
 * it at any time, and only the owner touches it:
 *
 *	event thread   while bytes move: every phase but PHASE_WORKER
 *	worker thread  PHASE_WORKER, from worker_push() on: the connection is suspended, the library leaves it alone
 *	park table     PHASE_WORKER as well, between park_commit() and the moment somebody takes it out (park.c)
 *
 * A stream goes round: a worker makes a piece, the event thread sends it, then it is the worker's again, with a stay in the
 * park table in between if it waits for something (stream.c).
 *
 * A worker gives the exchange back by MHD_resume_connection(), after which it does not look at it again. The library
 * then calls on_request() for the connection, on the event thread, or closes it. on_completed() is the only place
 * that frees an exchange, but for a request that the library itself gave up before its headers were whole: it calls
 * on_completed() for no such one, so the next request or the end of the connection frees it (struct peer). Neither
 * happens while the connection is suspended.
 */
#ifndef SLIPWAY_HTTP_INTERNAL_H
#define SLIPWAY_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/limits.h"
#include "base/str.h"
#include "http/http.h"
#include "http/router.h"

struct exchange;

/* One connection: the exchange that on_uri() made and nobody has released yet. Event thread only. */
struct peer {
	struct exchange *open;
};

/* Simultaneous connections; lowered to what RLIMIT_NOFILE allows. This bounds the queue to the workers too, since a
 * connection has at most one request in it. */
#define CONNECTIONS_MAX 16384
/* Of these so many are kept free for the control socket, so that an operator gets in when the port is flooded. */
#define CONNECTIONS_SOCKET_RESERVE 64
/* Silence of a client after which its connection is closed; a suspended (running, parked) one is not watched. */
#define CONNECTION_TIMEOUT_S 120
/* Request line and headers of one connection, and the pieces in which a body arrives. Each connection has it at once,
 * all of it touched from its second request on: it is most of what a parked agent costs. Longer headers are a 431, as with other servers of this limit. */
#define CONNECTION_MEMORY_BYTES (8 * KIB)
/* Answers smaller than this are not worth compressing. */
#define COMPRESS_MIN_BYTES 1024
/* How long http_server_stop() lets clients fetch answers that are ready or send bodies that they began. */
#define STOP_GRACE_MS 2000

/* --- body.c: a body on its way in --- */
struct spool {
	struct buf memory; /* all of it, or what has not yet been written to the file */
	int fd;		   /* unlinked file, -1 while everything fits in memory */
	size_t file_bytes; /* written to fd */
	size_t total_bytes;
	void *map; /* after spool_finish() of a file */
};

void spool_init(struct spool *s, size_t memory_bytes);
void spool_done(struct spool *s);
void spool_reset(struct spool *s); /* empty again; keeps a small memory buffer */
/* Takes up to n bytes; returns how many fitted. Less than n means: spool_flush() on a thread that may block. */
size_t spool_take(struct spool *s, const char *p, size_t n);
int spool_flush(struct spool *s, const char *dir, struct err *e);
/* The whole as one span, valid until done or reset. */
int spool_finish(struct spool *s, const char *dir, struct str *ret, struct err *e);

struct libdeflate_decompressor;
struct libdeflate_compressor;
/* Inflates gzip (one or more members) into `out` (initialised, empty). ERR_TOO_LARGE above max, ERR_BAD_REQUEST when
 * damaged. The decompressor may be NULL: then zlib does all of it. */
int spool_inflate(struct spool *out, struct str gzip, size_t max, const char *dir, struct libdeflate_decompressor *d,
		  struct str *ret, struct err *e);

/* --- uri.c: pure functions over the request target and header values --- */
struct query_arg {
	const char *name;
	const char *value;
};
/* Splits and decodes "a=b&c"; broken escapes, NUL bytes and bytes that are not UTF-8 are ERR_BAD_REQUEST. */
int query_parse(struct arena *a, struct str query, struct query_arg **ret_args, size_t *ret_count, struct err *e);
/* "true", "1", ""; "false", "0"; nothing else. */
bool query_bool(const char *text, bool *ret);
/* The arguments against the table of the route: ERR_BAD_REQUEST names the one that is wrong. Others are ignored. */
int query_check(const struct field *table, const struct query_arg *args, size_t count, struct err *e);
/* Decodes the segments that matched parameters. */
int params_decode(struct arena *a, const struct route_match *m, const char **ret_values, struct err *e);
/* Accept-Encoding: gzip or x-gzip or *, unless q=0. */
bool accepts_gzip(const char *accept_encoding);
/* 1 to 64 of [A-Za-z0-9._-]. */
bool request_id_sane(const char *id);
bool host_sane(const char *host);

/* --- response.c --- */
struct header {
	struct header *next;
	const char *name;
	char *value;
};

struct response {
	struct exchange *x;
	int status;
	struct header *headers;
	struct header **headers_end;
	struct buf json;
	struct json_writer writer;
	bool is_json;
	const char *content_type;
	struct str body;
	bool body_is_gzip;
	bool is_stream;
	int file; /* the body is the first file_bytes of it; -1: it is not */
	size_t file_bytes;
	struct buf copy;    /* copied or compressed body */
	struct spool plain; /* inflated body */
};

void response_init(struct response *w, struct exchange *x);
void response_done(struct response *w);
/* Back to an empty 200. */
void response_reset(struct response *w);
/* The error answer (cli-protocol §1.4). */
void response_error(struct response *w, const struct err *e);
/* Makes x->answer of it; false when out of memory. */
bool response_finish(struct response *w);

/* --- exchange --- */
enum phase {
	PHASE_NEW,	/* the headers have not been seen */
	PHASE_ADMITTED, /* a worker has looked at the headers of a large body: now it may come */
	PHASE_BODY,	/* bytes go into the spool */
	PHASE_DRAIN,	/* bytes are counted and forgotten */
	PHASE_WORKER,	/* suspended */
	PHASE_ANSWER,	/* `answer` is to be queued, or a further piece of it to be sent */
	PHASE_DROP,	/* the client is gone */
};

/* What the worker is to do. */
enum job {
	JOB_AUTHORIZE, /* a large body waits behind the headers: let it in? */
	JOB_FLUSH,     /* the spool's memory is full: write it out */
	JOB_RUN,       /* everything is here */
};

enum park_state {
	PARK_NONE,	 /* in no table */
	PARK_SUBSCRIBED, /* a worker runs the handler, which called http_park() */
	PARK_PARKED,	 /* nobody runs: the park table owns it */
};

struct park_key;
struct subscription {
	struct exchange *x;
	struct park_key *key;
	struct subscription *prev, *next; /* of the same key, oldest first */
};
/* Keys that one request may wait for. */
#define PARK_KEYS_MAX 4

struct exchange {
	struct request rq; /* first: the handlers' view is cast back */
	struct response response;
	struct http_server *server;
	struct MHD_Connection *connection;
	struct peer *peer;
	bool ambiguous_length; /* answered 400, and the connection closed */
	int fd;
	enum phase phase;
	enum job job;
	struct arena arena;
	struct arena run_arena; /* of the handler's second and further runs (after parking) */
	struct spool spool;	/* as it came */
	struct spool inflated;

	struct str query;
	struct query_arg *args; /* parsed by the worker before it asks for authorisation */
	size_t arg_count;
	struct route_match match;
	const char *params[ROUTE_PARAMS_MAX];

	bool authorized;
	bool prepared; /* admission is over: only the handler is to run (again) */
	bool body_gzip;
	bool expect_continue;	 /* the client waits with the body for our word */
	uint64_t content_length; /* UINT64_MAX: chunked */
	size_t drained_bytes;
	/* Not ERR_NONE: the answer, whatever the body. */
	enum err_code refusal;
	const char *refusal_message; /* NULL: no memory for it */

	struct MHD_Response *answer;
	bool streaming; /* the head of a stream was handed over: all that can come is pieces */
	bool stream_last,
		stream_cut;	  /* what comes behind the piece: the end; nothing any more, to be seen as an error */
	struct http_piece *piece; /* NULL: none is being sent */
	size_t piece_sent;
	void (*stream_done)(void *state);
	int64_t started_us;
	struct exchange *queue_next;
	struct exchange *free_next;

	bool final_run;	  /* started after the deadline or the stop: this run must answer */
	bool park_failed; /* no memory for a subscription */

	/* Changed under park.lock only; see park.c. While PARK_SUBSCRIBED others change nothing but `woken`, so that the
	 * owner may read the rest without the lock. */
	bool woken; /* while PARK_SUBSCRIBED: run again instead of parking */
	enum park_state park_state;
	struct subscription subs[PARK_KEYS_MAX];
	int sub_count;
	uint32_t slot;	   /* of the hang-up watch, while PARK_PARKED */
	size_t heap_index; /* of the deadlines, while PARK_PARKED */
};

static inline struct exchange *exchange_of(const struct request *r)
{
	return (struct exchange *)(uintptr_t)r;
}

/* --- worker.c --- */
struct worker {
	struct http_server *server;
	pthread_t thread;
	struct libdeflate_decompressor *inflater; /* made when first needed */
	struct libdeflate_compressor *deflater;
	/* Under queue.lock: */
	pthread_cond_t called;
	bool is_idle;
	struct worker *next_idle;
};
/* The worker that runs on this thread, or NULL. */
struct worker *worker_self(void);

struct queue {
	pthread_mutex_t lock;
	struct exchange *head, *tail;
	struct worker *idle; /* last gone to sleep first: its stack and its memory are still warm */
	bool closed;
	bool untidy; /* something ran since the allocator was last asked to give memory back */
};

int workers_start(struct http_server *s, int count, struct err *e);
void workers_stop(struct http_server *s);
/* Hands the exchange to the workers; its connection is suspended. */
void worker_push(struct exchange *x, enum job job);

/* --- park.c --- */
struct park_slot {
	struct exchange *x; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

#define PARK_BUCKETS 1024

struct park {
	pthread_mutex_t lock;
	struct park_key *buckets[PARK_BUCKETS];
	struct exchange **heap; /* earliest deadline first */
	size_t heap_len, heap_cap;
	struct park_slot *slots;
	uint32_t slot_count, first_free;
	bool stopping;
	int epoll_fd; /* the event thread's */
};

#define PARK_NO_SLOT UINT32_MAX

void park_init(struct park *p, int epoll_fd);
void park_done(struct park *p);
/* Before each run of the handler. */
void park_begin(struct exchange *x);
/* The handler returned HTTP_PARKED. True: the table owns the exchange now, hands off. False: run the handler again. */
bool park_commit(struct exchange *x);
/* The handler answered: its subscriptions end. */
void park_end(struct exchange *x);
/* For the event thread: wakes what is due; returns milliseconds until the next deadline, -1 if there is none. */
int park_tick(struct http_server *s);
/* For the event thread: the client behind this epoll token hung up. */
void park_hangup(struct http_server *s, uint64_t token);
void park_stop(struct http_server *s);

/* --- stream.c --- */
struct MHD_Response *stream_response(struct exchange *x);
/* A run of the handler is over, the head was sent: on with its piece. */
void stream_send(struct exchange *x, int rc);
/* The exchange is released. */
void stream_done(struct exchange *x);

/* --- loop.c: the event thread --- */
/* epoll data of its own descriptors; tokens of parked requests are below. */
#define LOOP_TCP UINT64_MAX
#define LOOP_SOCKET (UINT64_MAX - 1)
#define LOOP_KICK (UINT64_MAX - 2)
#define LOOP_LIBRARY (UINT64_MAX - 3)

int loop_init(struct http_server *s, struct err *e);
void loop_done(struct http_server *s);
int loop_listen(struct http_server *s, struct err *e);
int loop_start(struct http_server *s, struct err *e);
/* Has the event thread go round once more: a connection was resumed, a deadline came nearer. Any thread. */
void loop_kick(struct http_server *s);
/* Has the listeners closed, soon. */
void loop_stop_accepting(struct http_server *s);
void loop_stop(struct http_server *s);

/* --- server.c --- */
struct http_server {
	struct http_config config;
	struct router *router;
	struct MHD_Daemon *daemon;
	struct park park;
	struct queue queue;
	struct worker *workers;
	int worker_count;

	int tcp_fd, socket_fd;
	int port;
	char *spool_dir;
	int epoll_fd, kick_fd; /* of the event thread */
	pthread_t loop_thread;
	bool loop_running;
	int connections; /* the event thread's */
	int connections_max;
	atomic_bool kicked;
	atomic_bool accepting;
	atomic_bool loop_quit;
	atomic_bool stopping;

	/* Exchanges: live ones are counted, a few dead ones kept for reuse. */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* one of the counters below went down */
	int active;		/* between on_uri and on_completed */
	int suspended;		/* of these not with an event thread */
	bool closed;		/* stop is nearly done: nothing may be suspended any more */
	struct exchange *free_list;
	int free_count;
};

/* Suspends the connection, unless the server is closed: then false, and the request must be dropped. */
bool server_suspend(struct exchange *x);
/* Gives the exchange back to the event thread; x must not be touched afterwards. */
void server_resume(struct exchange *x);

/* --- connection.c: the library's callbacks --- */
struct exchange *exchange_new(struct http_server *s);
/* The first refusal counts. */
void exchange_refuse(struct exchange *x, const struct err *e);
/* -code with *e filled, or 0 if it was not refused. */
int exchange_refusal(const struct exchange *x, struct err *e);
/* In bytes, after inflating too; 0: no body is expected, or there is no such route. */
size_t exchange_body_limit(const struct exchange *x);
void exchange_release(struct exchange *x);
void exchanges_free(struct http_server *s);
void *on_uri(void *server, const char *uri, struct MHD_Connection *c);
enum MHD_Result on_request(void *server, struct MHD_Connection *c, const char *url, const char *method,
			   const char *version, const char *data, size_t *data_bytes, void **context);
void on_completed(void *server, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode code);
void on_connection(void *server, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode code);

#endif
