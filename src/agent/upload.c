#include "agent/upload.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/metrics.h"
#include "base/clock.h"
#include "base/log.h"

/* A batch waits for company this long. */
#define GATHER_US (100 * US_PER_MS)
/* Longer than this without an answer, and the server has given our lease away (runner-protocol "heartbeat"). */
#define PATIENCE_US (15 * US_PER_MINUTE)
#define CHUNK_MAX_BYTES (7 * MIB)

struct item {
	struct item *next;
	int step;
	char name[128]; /* empty: lines */
	const char *status;
	int64_t offset;
	int64_t count;
	int64_t born_us;
	struct buf lines;
};

struct upload {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct api api;
	int wake_fd;
	bool (*hurry)(void *arg);
	void *hurry_arg;
	struct item *head, *tail;
	size_t bytes; /* in the queue and on its way */
	bool was_full;
	bool draining;
	int64_t give_up_us; /* monotonic; while draining */
	bool unsent;	    /* something was given up */
	enum upload_state state;
	struct err why;
	/* producer only */
	int step;
	int64_t next_offset;
};

static void wake(struct upload *u)
{
	uint64_t one = 1;
	if (write(u->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is at its end: it is awake */
}

static void item_free(struct item *i)
{
	if (i)
		buf_done(&i->lines);
	free(i);
}

/* Called with the lock held. */
static struct item *push(struct upload *u, int step)
{
	struct item *i = calloc(1, sizeof(*i));
	if (!i) {
		u->state = UPLOAD_REFUSED;
		err_nomem(&u->why);
		return NULL;
	}
	i->step = step;
	i->born_us = clock_mono_us();
	buf_init(&i->lines, CHUNK_MAX_BYTES);
	if (u->tail)
		u->tail->next = i;
	else
		u->head = i;
	u->tail = i;
	return i;
}

void upload_step(struct upload *u, int step, const char *name, const char *status)
{
	pthread_mutex_lock(&u->lock);
	struct item *i = push(u, step);
	if (i) {
		snprintf(i->name, sizeof(i->name), "%s", name);
		i->status = status;
	}
	pthread_cond_signal(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

void upload_line(struct upload *u, int step, struct str line)
{
	struct json_writer w;
	pthread_mutex_lock(&u->lock);
	if (u->step != step) {
		u->step = step;
		u->next_offset = 0;
	}
	struct item *i = u->tail;
	if (!i || i->name[0] || i->step != step || i->lines.len >= UPLOAD_BATCH_BYTES) {
		i = push(u, step);
		if (i)
			i->offset = u->next_offset;
	}
	if (i && u->state == UPLOAD_GOING) {
		size_t before = i->lines.len;
		if (before)
			buf_addc(&i->lines, ',');
		jw_init(&w, &i->lines);
		jw_object(&w);
		jw_kv_int(&w, "t", clock_now_us());
		jw_kv_str(&w, "l", line);
		jw_object_end(&w);
		if (buf_failed(&i->lines)) {
			u->state = UPLOAD_REFUSED;
			buf_check(&i->lines, "a line of the log", &u->why);
		}
		i->count++;
		u->next_offset++;
		u->bytes += i->lines.len - before;
		if (before == 0 || i->lines.len >= UPLOAD_BATCH_BYTES)
			pthread_cond_signal(&u->changed);
	}
	pthread_mutex_unlock(&u->lock);
}

bool upload_full(struct upload *u)
{
	pthread_mutex_lock(&u->lock);
	bool full = u->bytes > UPLOAD_BUFFER_BYTES && u->state == UPLOAD_GOING;
	u->was_full = u->was_full || full;
	pthread_mutex_unlock(&u->lock);
	return full;
}

enum upload_state upload_state(struct upload *u, struct err *ret_why)
{
	pthread_mutex_lock(&u->lock);
	enum upload_state state = u->state;
	if (ret_why && state != UPLOAD_GOING)
		*ret_why = u->why;
	pthread_mutex_unlock(&u->lock);
	return state;
}

static void wait_until(struct upload *u, int64_t mono_us)
{
	struct timespec ts = { .tv_sec = mono_us / US_PER_S, .tv_nsec = mono_us % US_PER_S * 1000 };
	pthread_cond_timedwait(&u->changed, &u->lock, &ts);
}

/* With the lock held: the next item, removed from the queue; NULL: the end. */
static struct item *next_item(struct upload *u)
{
	for (;;) {
		struct item *i = u->head;
		if (u->state != UPLOAD_GOING || (!i && u->draining))
			return NULL;
		int64_t due = i ? i->born_us + GATHER_US : 0;
		bool open = i && !i->next && !i->name[0] && i->lines.len < UPLOAD_BATCH_BYTES && !u->draining;
		if (i && !(open && clock_mono_us() < due)) {
			u->head = i->next;
			if (!u->head)
				u->tail = NULL;
			return i;
		}
		if (i)
			wait_until(u, due);
		else
			pthread_cond_wait(&u->changed, &u->lock);
	}
}

static bool given_up(struct upload *u, int64_t since_us)
{
	pthread_mutex_lock(&u->lock);
	int64_t now = clock_mono_us();
	bool up = u->state != UPLOAD_GOING || now > since_us + PATIENCE_US ||
		  (u->draining && (now > u->give_up_us || u->hurry(u->hurry_arg)));
	pthread_mutex_unlock(&u->lock);
	return up;
}

static void pause_us(struct upload *u, int64_t us)
{
	int64_t until = clock_mono_us() + us;
	pthread_mutex_lock(&u->lock);
	/* New items signal too; only the end of everything shortens the pause. */
	while (clock_mono_us() < until && !(u->draining && clock_mono_us() > u->give_up_us))
		wait_until(u, until);
	pthread_mutex_unlock(&u->lock);
}

static void settle(struct upload *u, int r, const struct err *e)
{
	pthread_mutex_lock(&u->lock);
	bool gone = r == -ERR_CONFLICT || r == -ERR_UNAUTHORIZED || r == -ERR_NOT_FOUND || r == -ERR_FORBIDDEN;
	if (u->state == UPLOAD_GOING) {
		if (api_is_transient(r) && u->draining)
			u->unsent = true;
		else if (gone || api_is_transient(r))
			u->state = UPLOAD_LOST;
		else
			u->state = UPLOAD_REFUSED;
		u->why = *e;
	}
	pthread_mutex_unlock(&u->lock);
	wake(u);
}

/* 0, or the error after which there is no use in trying on. */
static int send_item(struct upload *u, const struct item *i, struct err *e)
{
	static const int pauses_ms[] = { 50, 100, 250, 500, 1000, 2000, 3000 };
	int64_t since = clock_mono_us();
	for (size_t tries = 0;; tries++) {
		int r = i->name[0] ? api_step(&u->api, i->step, i->name, i->status, e)
				   : api_log(&u->api, i->step, i->offset, buf_str(&i->lines), e);
		metric_add(r == 0 ? METRIC_UPLOADS : METRIC_UPLOAD_RETRIES, 1);
		if (r == 0 || !api_is_transient(r) || given_up(u, since))
			return r;
		if (tries == 0)
			log_warn("agent", "%s: the log waits: %s", u->api.deployment, e->message);
		pause_us(u, pauses_ms[tries < ARRAY_SIZE(pauses_ms) ? tries : ARRAY_SIZE(pauses_ms) - 1] * US_PER_MS);
	}
}

static void *upload_main(void *arg)
{
	struct upload *u = arg;
	for (;;) {
		pthread_mutex_lock(&u->lock);
		struct item *i = next_item(u);
		pthread_mutex_unlock(&u->lock);
		if (!i)
			return NULL;
		struct err e = { 0 };
		int r = i->count || i->name[0] ? send_item(u, i, &e) : 0;
		if (r < 0) {
			settle(u, r, &e);
			item_free(i);
			return NULL;
		}
		pthread_mutex_lock(&u->lock);
		u->bytes -= i->lines.len;
		bool room = u->was_full && u->bytes <= UPLOAD_BUFFER_BYTES;
		u->was_full = u->was_full && !room;
		pthread_mutex_unlock(&u->lock);
		item_free(i);
		if (room)
			wake(u);
	}
}

int upload_start(const char *server_url, const struct api_claim *claim, int wake_fd, bool (*hurry)(void *arg),
		 void *hurry_arg, struct upload **ret, struct err *e)
{
	struct upload *u = calloc(1, sizeof(*u));
	pthread_condattr_t attr;
	if (!u)
		return err_nomem(e);
	u->wake_fd = wake_fd;
	u->hurry = hurry;
	u->hurry_arg = hurry_arg;
	u->step = -1;
	int r = api_init(&u->api, server_url, claim->token, e);
	if (r < 0) {
		free(u);
		return r;
	}
	snprintf(u->api.deployment, sizeof(u->api.deployment), "%s", claim->deployment);
	u->api.attempt = claim->attempt;
	pthread_mutex_init(&u->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&u->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&u->thread, NULL, upload_main, u) != 0) {
		api_done(&u->api);
		free(u);
		return err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	}
	*ret = u;
	return 0;
}

bool upload_finish(struct upload *u, int64_t patience_ms)
{
	pthread_mutex_lock(&u->lock);
	u->draining = true;
	u->give_up_us = clock_mono_us() + patience_ms * US_PER_MS;
	pthread_cond_signal(&u->changed);
	pthread_mutex_unlock(&u->lock);
	pthread_join(u->thread, NULL);
	return u->state == UPLOAD_GOING && !u->unsent && !u->head;
}

void upload_free(struct upload *u)
{
	if (!u)
		return;
	while (u->head) {
		struct item *next = u->head->next;
		item_free(u->head);
		u->head = next;
	}
	api_done(&u->api);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u);
}
