/*
 * worker.c: the threads that run handlers, and the queue to them. The queue is a list through the exchanges
 * themselves: it needs no memory and is bounded by the number of connections.
 */
#include <errno.h>
#include <inttypes.h>
#include <libdeflate.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/internal.h"

static _Thread_local struct worker *self;

struct worker *worker_self(void)
{
	return self;
}

void worker_push(struct exchange *x, enum job job)
{
	struct queue *q = &x->server->queue;
	x->job = job;
	x->queue_next = NULL;
	pthread_mutex_lock(&q->lock);
	if (q->tail)
		q->tail->queue_next = x;
	else
		q->head = x;
	q->tail = x;
	struct worker *w = q->idle;
	if (w) {
		q->idle = w->next_idle;
		w->is_idle = false;
	}
	pthread_mutex_unlock(&q->lock);
	/* Behind the lock, which it would only run into. Workers live longer than those who push. */
	if (w)
		pthread_cond_signal(&w->called);
}

static struct exchange *queue_pop(struct queue *q, struct worker *w)
{
	pthread_mutex_lock(&q->lock);
	while (!q->head && !q->closed) {
		w->is_idle = true;
		w->next_idle = q->idle;
		q->idle = w;
		while (w->is_idle && !q->closed)
			pthread_cond_wait(&w->called, &q->lock);
		/* Another worker may have taken meanwhile what this one was called for. */
	}
	struct exchange *x = q->head;
	if (x) {
		q->head = x->queue_next;
		if (!q->head)
			q->tail = NULL;
	}
	pthread_mutex_unlock(&q->lock);
	return x;
}

static void log_answer(struct exchange *x, const struct err *e)
{
	int status = x->response.status;
	if (status >= 500 && x->server->config.failed)
		x->server->config.failed(&x->rq, e);
	else if (status >= 500)
		log_error("http", "%s %s: %s (request %s)", x->rq.method, x->rq.path,
			  e->code ? e->message : "answered so by its handler", x->rq.id);
	if (x->server->config.answered)
		x->server->config.answered(&x->rq, status, clock_mono_us() - x->started_us);
	if (x->server->config.access_log)
		log_info("http", "%s %s %d %" PRId64 "ms %zu %s", x->rq.method, x->rq.path, status,
			 (clock_mono_us() - x->started_us) / US_PER_MS, x->response.body.n, x->rq.id);
}

static void finish(struct exchange *x, int rc, struct err *e)
{
	if (rc < 0) {
		if (!e->code)
			err_set(e, (enum err_code) - rc, "no reason given");
		response_error(&x->response, e);
	}
	if (!response_finish(&x->response)) {
		/* Out of memory: with the little that an error needs it may work; else the connection is closed. */
		err_nomem(e);
		response_error(&x->response, e);
		response_finish(&x->response);
	}
	log_answer(x, e);
	if (x->streaming) {
		stream_send(x, rc);
		return;
	}
	x->phase = PHASE_ANSWER;
	server_resume(x);
}

static int authorize(struct exchange *x, struct err *e)
{
	if (x->authorized)
		return 0;
	int rc = 0;
	/* Who may not come in is not told about sizes either. */
	if (x->refusal != ERR_TOO_LARGE)
		rc = exchange_refusal(x, e);
	if (rc < 0)
		return rc;
	if (x->query.n && !x->args)
		rc = query_parse(&x->arena, x->query, &x->args, &x->arg_count, e);
	if (rc < 0)
		return rc;
	rc = x->server->config.authorize ? x->server->config.authorize(&x->rq, e) : 0;
	if (rc >= 0)
		rc = query_check(x->rq.route->query, x->args, x->arg_count, e);
	if (rc < 0)
		return rc;
	x->authorized = true;
	return 0;
}

/* A body of more than HTTP_SMALL_BODY_BYTES, or of unknown length, stands behind the headers. */
static void run_authorize(struct exchange *x)
{
	struct err e = { 0 };
	int rc = authorize(x, &e);
	size_t limit = exchange_body_limit(x);
	bool known = x->content_length != UINT64_MAX;
	if (rc >= 0 && known && limit > 0 && x->content_length > limit)
		rc = err_set(&e, ERR_TOO_LARGE, "the body is larger than %zu bytes", limit);
	if (rc >= 0 && known && limit == 0 && x->content_length > HTTP_DRAIN_BYTES)
		rc = err_set(&e, ERR_TOO_LARGE, "no body is expected here");
	if (rc < 0 && (x->expect_continue || (known && x->content_length > HTTP_DRAIN_BYTES))) {
		/* Nobody reads it to its end: answer now; the library closes the connection afterwards. */
		finish(x, rc, &e);
		return;
	}
	if (rc < 0)
		exchange_refuse(x, &e);
	x->phase = PHASE_ADMITTED;
	server_resume(x);
}

static const char *spool_dir(const struct exchange *x)
{
	return x->rq.spool_dir ? x->rq.spool_dir : x->server->spool_dir;
}

static void run_flush(struct exchange *x)
{
	struct err e = { 0 };
	x->phase = PHASE_BODY;
	if (spool_flush(&x->spool, spool_dir(x), &e) < 0) {
		exchange_refuse(x, &e);
		spool_reset(&x->spool);
		x->phase = PHASE_DRAIN;
	}
	server_resume(x);
}

static int prepare_body(struct exchange *x, struct err *e)
{
	struct str raw;
	int rc = spool_finish(&x->spool, spool_dir(x), &raw, e);
	if (rc < 0)
		return rc;
	if (!x->body_gzip || raw.n == 0) {
		x->rq.body = raw;
		return 0;
	}
	if (!self->inflater)
		self->inflater = libdeflate_alloc_decompressor();
	x->rq.body_gzip = raw;
	return spool_inflate(&x->inflated, raw, exchange_body_limit(x), spool_dir(x), self->inflater, &x->rq.body, e);
}

static int prepare(struct exchange *x, struct err *e)
{
	int rc = authorize(x, e);
	if (rc >= 0)
		rc = exchange_refusal(x, e);
	return rc < 0 ? rc : prepare_body(x, e);
}

/* What a run left is forgotten; only what authorize() made stays (it lies in the first arena). */
static void forget_run(struct exchange *x, struct err *e)
{
	response_reset(&x->response);
	err_reset(e);
	arena_done(&x->run_arena);
	x->rq.arena = &x->run_arena;
}

/* Until it answers or parks. True: parked, the exchange is no longer ours. */
static bool run_handler(struct exchange *x, int *ret_rc, struct err *e)
{
	for (;;) {
		if (x->streaming)
			x->rq.parked_until_us = 0;
		park_begin(x);
		int rc = x->rq.route->handler(&x->rq, &x->response, e);
		if (rc == HTTP_MORE && !x->park_failed) {
			/* A stream with nothing to say waits on; one that has not begun sends its head first. */
			if (x->streaming && !x->piece && x->park_state == PARK_SUBSCRIBED && !x->final_run)
				rc = HTTP_PARKED;
			*ret_rc = rc;
			if (rc == HTTP_MORE)
				return false;
		}
		if (rc != HTTP_PARKED) {
			park_end(x);
			*ret_rc = rc == HTTP_MORE ? err_nomem(e) : rc;
			return false;
		}
		if (x->final_run || x->park_failed || x->sub_count == 0) {
			bool memory = x->park_failed;
			park_end(x);
			*ret_rc = memory ? err_nomem(e) : err_set(e, ERR_UNAVAILABLE, "nothing to answer in time");
			return false;
		}
		forget_run(x, e);
		if (park_commit(x))
			return true;
		if (x->park_failed) {
			*ret_rc = err_nomem(e);
			return false;
		}
	}
}

static void run(struct exchange *x)
{
	struct err e = { 0 };
	int rc = 0;
	if (!x->prepared) {
		rc = prepare(x, &e);
		x->prepared = true;
	}
	if (x->streaming)
		forget_run(x, &e);
	if (rc >= 0 && run_handler(x, &rc, &e))
		return;
	if (!x->streaming) {
		finish(x, rc, &e);
		return;
	}
	if (rc < 0)
		log_warn("http", "%s %s: cut off: %s (request %s)", x->rq.method, x->rq.path, e.message, x->rq.id);
	forget_run(x, &e); /* it may take hours until the next one */
	stream_send(x, rc);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	self = w;
	pthread_setname_np(pthread_self(), "http-worker");
	struct exchange *x;
	while ((x = queue_pop(&w->server->queue, w)) != NULL) {
		switch (x->job) {
		case JOB_AUTHORIZE:
			run_authorize(x);
			break;
		case JOB_FLUSH:
			run_flush(x);
			break;
		case JOB_RUN:
			run(x);
			break;
		}
	}
	libdeflate_free_decompressor(w->inflater);
	libdeflate_free_compressor(w->deflater);
	return NULL;
}

int workers_start(struct http_server *s, int count, struct err *e)
{
	s->workers = calloc((size_t)count, sizeof(*s->workers));
	if (!s->workers)
		return err_nomem(e);
	for (int i = 0; i < count; i++) {
		s->workers[i].server = s;
		pthread_cond_init(&s->workers[i].called, NULL);
		errno = pthread_create(&s->workers[i].thread, NULL, worker_main, &s->workers[i]);
		if (errno != 0)
			return err_errno(e, "starting a worker thread");
		s->worker_count++;
	}
	return 0;
}

void workers_stop(struct http_server *s)
{
	struct queue *q = &s->queue;
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	for (int i = 0; i < s->worker_count; i++)
		pthread_cond_signal(&s->workers[i].called);
	pthread_mutex_unlock(&q->lock);
	for (int i = 0; i < s->worker_count; i++) {
		pthread_join(s->workers[i].thread, NULL);
		pthread_cond_destroy(&s->workers[i].called);
	}
	s->worker_count = 0;
	free(s->workers);
	s->workers = NULL;
}
