/*
 * connection.c: the library's callbacks. All of them run on the event thread and never block; what may block is a job
 * for a worker. The library's rules that this file lives by (libmicrohttpd 0.9.75):
 *
 * - An answer queued at the first call (headers only) closes the connection afterwards, so answers wait for the final
 *   call, after the body, unless we do not want to read the body at all.
 * - While a body arrives no answer can be queued: it is drained, or the connection dropped (MHD_NO).
 * - A connection suspended during the body must leave at least one byte untaken, or the library may deliver the next
 *   chunk of a chunked body to the suspended connection.
 */
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "http/internal.h"

/* Exchanges kept for reuse, with their arenas. */
#define FREE_LIST_MAX 32
/* One whose arena grew beyond this gives the memory back first. */
#define FREE_ARENA_BYTES (32 * KIB)

struct exchange *exchange_new(struct http_server *s)
{
	pthread_mutex_lock(&s->lock);
	struct exchange *x = s->free_list;
	if (x) {
		s->free_list = x->free_next;
		s->free_count--;
	}
	s->active++;
	pthread_mutex_unlock(&s->lock);
	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x) {
			pthread_mutex_lock(&s->lock);
			s->active--;
			pthread_cond_broadcast(&s->changed);
			pthread_mutex_unlock(&s->lock);
			return NULL;
		}
		arena_init(&x->arena, 0);
		arena_init(&x->run_arena, 0);
		spool_init(&x->spool, HTTP_SPOOL_MEMORY_BYTES);
		spool_init(&x->inflated, HTTP_INFLATED_MEMORY_BYTES);
		response_init(&x->response, x);
	}
	x->server = s;
	x->fd = -1;
	x->rq.arena = &x->arena;
	x->started_us = clock_mono_us();
	return x;
}

static void exchange_free(struct exchange *x)
{
	response_done(&x->response);
	spool_done(&x->spool);
	spool_done(&x->inflated);
	arena_done(&x->arena);
	arena_done(&x->run_arena);
	free(x);
}

static void exchange_reset(struct exchange *x)
{
	if (x->answer)
		MHD_destroy_response(x->answer);
	response_reset(&x->response);
	spool_reset(&x->spool);
	spool_reset(&x->inflated);
	if (x->arena.used_bytes > FREE_ARENA_BYTES)
		arena_done(&x->arena);
	arena_reset(&x->arena);
	arena_done(&x->run_arena);
	struct exchange fresh = {
		.response = x->response,
		.arena = x->arena,
		.run_arena = x->run_arena,
		.spool = x->spool,
		.inflated = x->inflated,
	};
	*x = fresh;
	x->response.headers_end = &x->response.headers;
}

void exchange_release(struct exchange *x)
{
	struct http_server *s = x->server;
	BUG_ON(x->park_state == PARK_PARKED);
	park_end(x); /* a stream whose client went while a piece was being sent */
	stream_done(x);
	exchange_reset(x);
	pthread_mutex_lock(&s->lock);
	if (s->free_count < FREE_LIST_MAX) {
		x->free_next = s->free_list;
		s->free_list = x;
		s->free_count++;
		x = NULL;
	}
	s->active--;
	if (s->active == 0)
		pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (x)
		exchange_free(x);
}

void exchanges_free(struct http_server *s)
{
	while (s->free_list) {
		struct exchange *x = s->free_list;
		s->free_list = x->free_next;
		exchange_free(x);
	}
}

bool server_suspend(struct exchange *x)
{
	struct http_server *s = x->server;
	pthread_mutex_lock(&s->lock);
	bool open = !s->closed;
	if (open)
		s->suspended++;
	pthread_mutex_unlock(&s->lock);
	if (!open)
		return false;
	x->phase = PHASE_WORKER;
	MHD_suspend_connection(x->connection);
	return true;
}

void server_resume(struct exchange *x)
{
	struct http_server *s = x->server;
	MHD_resume_connection(x->connection);
	loop_kick(s);
	/* Counted down only now: http_server_stop() stops the library when nothing is suspended. */
	pthread_mutex_lock(&s->lock);
	s->suspended--;
	if (s->suspended == 0 && atomic_load(&s->stopping))
		pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static struct peer *peer_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

/* The library drops a request whose headers or query do not fit its memory without a call of on_completed(). */
static void peer_release(struct peer *p)
{
	if (p->open)
		exchange_release(p->open);
	p->open = NULL;
}

void *on_uri(void *server, const char *uri, struct MHD_Connection *c)
{
	struct peer *p = peer_of(c);
	if (!p)
		return NULL;
	peer_release(p);
	struct exchange *x = exchange_new(server);
	if (!x)
		return NULL;
	x->connection = c;
	x->peer = p;
	p->open = x;
	const char *mark = strchr(uri, '?');
	x->rq.path = mark ? arena_strndup(&x->arena, uri, (size_t)(mark - uri)) : arena_strdup(&x->arena, uri);
	if (mark && mark[1])
		x->query = str_of(arena_strdup(&x->arena, mark + 1));
	return x;
}

static const char *header(struct exchange *x, const char *name)
{
	return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* The strings outlive the request, so that handlers may keep them. */
static const char *method_name(struct arena *a, const char *method)
{
	static const char *const known[] = { "GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS" };
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (streq(known[i], method))
			return known[i];
	}
	return arena_strdup(a, method);
}

void exchange_refuse(struct exchange *x, const struct err *e)
{
	if (x->refusal)
		return;
	x->refusal = e->code;
	x->refusal_message = arena_strdup(&x->arena, e->message);
}

int exchange_refusal(const struct exchange *x, struct err *e)
{
	if (!x->refusal)
		return 0;
	return err_set(e, x->refusal, "%s", x->refusal_message ? x->refusal_message : "out of memory");
}

size_t exchange_body_limit(const struct exchange *x)
{
	size_t row = x->rq.route ? x->rq.route->body_limit_bytes : 0, all = x->server->config.body_max_bytes;
	if (x->rq.body_limit_bytes)
		return x->rq.body_limit_bytes;
	return all && all < row ? all : row;
}

static void find_route(struct exchange *x)
{
	struct err e = { 0 };
	router_match(x->server->router, x->rq.method, str_of(x->rq.path), &x->match);
	x->rq.route = x->match.route;
	if (x->match.route)
		params_decode(&x->arena, &x->match, x->params, &e);
	else if (x->match.path_known)
		err_set(&e, ERR_METHOD, "%s is not possible here, only %s", x->rq.method, x->match.allow);
	else
		err_set(&e, ERR_NOT_FOUND, "this server has no %s", x->rq.path);
	if (e.code)
		exchange_refuse(x, &e);
}

struct length_headers {
	int lengths, transfers;
};

static enum MHD_Result count_length_header(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct length_headers *n = arg;
	n->lengths += strcasecmp(key, "Content-Length") == 0;
	n->transfers += strcasecmp(key, "Transfer-Encoding") == 0;
	return MHD_YES;
}

/* RFC 9112 §6.3: where a proxy and we could disagree about the end of the body, the connection must not be used again,
 * or what one takes for a body is a request for the other. */
static void check_length(struct exchange *x, const char *transfer)
{
	struct length_headers n = { 0 };
	MHD_get_connection_values(x->connection, MHD_HEADER_KIND, count_length_header, &n);
	x->ambiguous_length = n.lengths + n.transfers > 1 || (transfer && strcasecmp(transfer, "chunked") != 0);
	if (x->ambiguous_length)
		exchange_refuse(x, &(struct err){ ERR_BAD_REQUEST, "the length of the body is ambiguous" });
}

static void read_body_headers(struct exchange *x)
{
	const char *length = header(x, "Content-Length"), *transfer = header(x, "Transfer-Encoding");
	check_length(x, transfer);
	if (transfer)
		x->content_length = UINT64_MAX;
	else if (length)
		x->content_length = strtoull(length, NULL, 10); /* checked by the library */
	const char *expect = header(x, "Expect");
	x->expect_continue = expect && strcasecmp(expect, "100-continue") == 0;
	const char *coding = header(x, "Content-Encoding");
	if (coding && (strcasecmp(coding, "gzip") == 0 || strcasecmp(coding, "x-gzip") == 0))
		x->body_gzip = true;
	else if (coding && coding[0] && strcasecmp(coding, "identity") != 0)
		exchange_refuse(x, &(struct err){ ERR_MEDIA_TYPE, "only gzip is understood as Content-Encoding" });
}

static enum MHD_Result read_body(struct exchange *x)
{
	bool wanted = !x->refusal && exchange_body_limit(x) > 0;
	x->phase = wanted ? PHASE_BODY : PHASE_DRAIN;
	/* Grown step by step it would be copied each time. (Who was not asked yet who he is gets nothing for a promise.) */
	if (wanted && x->authorized && x->content_length <= HTTP_SPOOL_MEMORY_BYTES)
		buf_reserve(&x->spool.memory, (size_t)x->content_length);
	return MHD_YES;
}

/* First call: the headers are here. */
static enum MHD_Result begin(struct exchange *x, const char *method)
{
	x->rq.method = method_name(&x->arena, method);
	const char *id = header(x, "X-Pulumi-Request-ID");
	x->rq.id = id && request_id_sane(id) ? arena_strdup(&x->arena, id) : id_new_arena(&x->arena);
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	x->fd = info ? info->connect_fd : -1;
	info = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	x->rq.from_socket = info && info->client_addr && info->client_addr->sa_family == AF_UNIX;
	if (!x->rq.method || !x->rq.path || !x->rq.id)
		return MHD_NO;

	find_route(x);
	read_body_headers(x);
	if (x->content_length <= HTTP_SMALL_BODY_BYTES)
		return read_body(x);
	if (!server_suspend(x))
		return MHD_NO;
	worker_push(x, JOB_AUTHORIZE);
	return MHD_YES;
}

static enum MHD_Result take(struct exchange *x, const char *data, size_t *data_bytes)
{
	size_t n = *data_bytes, limit = exchange_body_limit(x);
	if (x->spool.total_bytes > limit || n > limit - x->spool.total_bytes) {
		struct err e = { 0 };
		err_set(&e, ERR_TOO_LARGE, "the body is larger than %zu bytes", limit);
		exchange_refuse(x, &e);
		x->phase = PHASE_DRAIN;
		spool_reset(&x->spool);
		*data_bytes = 0;
		x->drained_bytes = n;
		return MHD_YES;
	}
	size_t taken = spool_take(&x->spool, data, n);
	*data_bytes = n - taken;
	if (taken == n)
		return MHD_YES;
	if (!server_suspend(x))
		return MHD_NO;
	worker_push(x, JOB_FLUSH);
	return MHD_YES;
}

static enum MHD_Result complete(struct exchange *x)
{
	if (!server_suspend(x))
		return MHD_NO;
	worker_push(x, JOB_RUN);
	return MHD_YES;
}

static enum MHD_Result answer(struct exchange *x)
{
	if (!x->answer)
		return MHD_NO;
	return MHD_queue_response(x->connection, (unsigned)x->response.status, x->answer);
}

enum MHD_Result on_request(void *server, struct MHD_Connection *c, const char *url, const char *method,
			   const char *version, const char *data, size_t *data_bytes, void **context)
{
	struct exchange *x = *context;
	if (!x)
		return MHD_NO;
	switch (x->phase) {
	case PHASE_NEW:
		return begin(x, method);
	case PHASE_ADMITTED:
		return read_body(x);
	case PHASE_BODY:
		return *data_bytes ? take(x, data, data_bytes) : complete(x);
	case PHASE_DRAIN:
		if (*data_bytes == 0)
			return complete(x);
		x->drained_bytes += *data_bytes;
		*data_bytes = 0;
		return x->drained_bytes > HTTP_DRAIN_BYTES ? MHD_NO : MHD_YES;
	case PHASE_ANSWER:
		return answer(x);
	case PHASE_DROP:
		return MHD_NO;
	case PHASE_WORKER:
		break;
	}
	BUG_ON(true);
}

void on_completed(void *server, struct MHD_Connection *c, void **context, enum MHD_RequestTerminationCode code)
{
	struct exchange *x = *context;
	*context = NULL;
	if (x)
		peer_release(x->peer);
}

void on_connection(void *server, struct MHD_Connection *c, void **context, enum MHD_ConnectionNotificationCode code)
{
	struct http_server *s = server;
	struct peer *p = *context;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		s->connections++;
		*context = calloc(1, sizeof(struct peer)); /* NULL: on_uri drops its requests */
		return;
	}
	s->connections--;
	*context = NULL;
	if (p)
		peer_release(p);
	free(p);
}
