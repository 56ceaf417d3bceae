/*
 * stream.c: answers that are made piece by piece (http.h).
 *
 * The library pulls: it calls read_piece() on the event thread whenever the client can take more. When the piece is
 * through, the connection is suspended there and goes to whoever has the next word: to the park table if the handler
 * subscribed (its subscription has stood since its last run, so no wake was lost meanwhile), else to a worker. What the
 * worker made is sent after the connection was resumed.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "http/internal.h"

/* What the library asks for at once where it sends without chunks, to clients of HTTP/1.0. Every stream has it. */
#define PLAIN_BLOCK_BYTES (2 * KIB)

struct http_piece {
	atomic_int refs;
	size_t n;
	char bytes[];
};

struct http_piece *http_piece_new(struct str bytes)
{
	struct http_piece *p = malloc(sizeof(*p) + bytes.n);
	if (!p)
		return NULL;
	atomic_init(&p->refs, 1);
	p->n = bytes.n;
	if (bytes.n)
		memcpy(p->bytes, bytes.p, bytes.n);
	return p;
}

struct http_piece *http_piece_ref(struct http_piece *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void http_piece_unref(struct http_piece *p)
{
	if (p && atomic_fetch_sub(&p->refs, 1) == 1)
		free(p);
}

struct str http_piece_str(const struct http_piece *p)
{
	return (struct str){ p->bytes, p->n };
}

void response_stream(struct response *w, const char *content_type)
{
	w->is_json = false;
	w->is_stream = true;
	w->content_type = arena_strdup(w->x->rq.arena, content_type);
}

void response_piece(struct response *w, struct http_piece *piece)
{
	struct exchange *x = w->x;
	http_piece_unref(x->piece);
	x->piece = piece;
	x->piece_sent = 0;
}

void *request_stream_state(struct request *r, size_t size, void (*done)(void *state))
{
	struct exchange *x = exchange_of(r);
	BUG_ON(r->stream);
	/* Not from the run's arena: a handler may have parked before it began its stream. */
	r->stream = arena_alloc(&x->arena, size);
	x->stream_done = r->stream ? done : NULL;
	return r->stream;
}

int request_authorize_again(struct request *r, struct err *e)
{
	const struct http_config *config = &exchange_of(r)->server->config;
	struct arena *arena = r->arena;
	void *context = r->context;
	_cleanup_arena_ struct arena scratch;
	arena_init(&scratch, 0);
	r->arena = &scratch;
	int rc = config->authorize ? config->authorize(r, e) : 0;
	r->arena = arena;
	r->context = context;
	return rc;
}

/* Everything was sent: to whoever goes on. The connection is suspended; x is not ours afterwards. */
static void hand_on(struct exchange *x)
{
	if (x->park_state != PARK_NONE && park_commit(x))
		return;
	if (x->park_failed) {
		x->stream_cut = true;
		x->phase = PHASE_ANSWER;
		server_resume(x);
		return;
	}
	worker_push(x, JOB_RUN);
}

static ssize_t read_piece(void *arg, uint64_t pos, char *buf, size_t max)
{
	struct exchange *x = arg;
	if (x->phase == PHASE_DROP)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	size_t left = x->piece ? x->piece->n - x->piece_sent : 0;
	if (left > 0) {
		size_t n = left < max ? left : max;
		memcpy(buf, x->piece->bytes + x->piece_sent, n);
		x->piece_sent += n;
		return (ssize_t)n;
	}
	http_piece_unref(x->piece);
	x->piece = NULL;
	if (x->stream_cut)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (x->stream_last)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (!server_suspend(x))
		return MHD_CONTENT_READER_END_WITH_ERROR;
	hand_on(x);
	return 0;
}

struct MHD_Response *stream_response(struct exchange *x)
{
	return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PLAIN_BLOCK_BYTES, read_piece, x, NULL);
}

void stream_send(struct exchange *x, int rc)
{
	x->stream_last = rc == 0;
	x->stream_cut = rc < 0 || (rc == HTTP_MORE && request_stopping(&x->rq));
	x->phase = PHASE_ANSWER;
	server_resume(x);
}

void stream_done(struct exchange *x)
{
	http_piece_unref(x->piece);
	x->piece = NULL;
	if (x->stream_done)
		x->stream_done(x->rq.stream);
	x->stream_done = NULL;
}
