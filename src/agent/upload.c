#include "agent/upload.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/backlog.h"
#include "agent/metrics.h"
#include "base/clock.h"
#include "base/log.h"

/* A batch waits for company this long. */
#define GATHER_US (100 * US_PER_MS)
#define CHUNK_MAX_BYTES (7 * MIB)
/* A request without an answer for so long: the server is away. */
#define AWAY_US (2 * US_PER_S)

struct item {
	struct item *next;
	int step;
	char name[128]; /* empty: lines */
	const char *status;
	int64_t offset;
	int64_t count;
	int64_t born_us;
	struct buf lines;
	size_t filed; /* so many bytes are in the file instead */
	int64_t at;
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
	struct backlog backlog;
	size_t bytes; /* in the queue and on its way, without those in the file */
	bool was_full;
	bool begun;
	bool failing;	  /* the last try failed */
	int64_t asked_us; /* when the request on its way was sent; 0: none is */
	bool warned;	  /* that the file cannot be written */
	/* Written with the lock held, read without it by is_cut_short. */
	_Atomic bool draining;
	_Atomic int64_t give_up_us; /* monotonic; while draining; -1: with the lease */
	bool unsent;		    /* something was given up */
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

/* With the lock held: a server that is only slow slows the program, and costs no disk. */
static bool is_away(const struct upload *u)
{
	return u->failing || (u->asked_us && clock_mono_us() - u->asked_us > AWAY_US);
}

/* With the lock held: into the file with all whole items, when the memory is full and the file is not. Oldest first, so that
 * they come out of it in the order in which they went in. */
static void put_aside(struct upload *u)
{
	struct err e = { 0 };
	int r = 0;
	if (u->bytes <= UPLOAD_BUFFER_BYTES || !is_away(u))
		return;
	for (struct item *i = u->head; i && r == 0; i = i->next) {
		bool whole = i->next || i->lines.len >= UPLOAD_BATCH_BYTES;
		if (!whole || i->filed || i->lines.len == 0)
			continue;
		r = backlog_put(&u->backlog, buf_str(&i->lines), &i->at, &e);
		if (r < 0)
			break;
		i->filed = i->lines.len;
		u->bytes -= i->filed;
		buf_done(&i->lines);
		buf_init(&i->lines, CHUNK_MAX_BYTES);
	}
	if (r < 0 && r != -ERR_NO_SPACE && !u->warned)
		log_warn("agent", "%s: the program waits for the server: %s", u->api.deployment, e.message);
	u->warned = u->warned || r < 0;
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
	if (!i || i->name[0] || i->step != step || i->lines.len >= UPLOAD_BATCH_BYTES || i->filed) {
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
	if (u->state == UPLOAD_GOING)
		put_aside(u);
	/* One batch that is being gathered always has room, or it would never become whole. */
	bool full = u->bytes > UPLOAD_BUFFER_BYTES + UPLOAD_BATCH_BYTES && u->state == UPLOAD_GOING;
	u->was_full = u->was_full || full;
	pthread_mutex_unlock(&u->lock);
	return full;
}

bool upload_begun(struct upload *u)
{
	pthread_mutex_lock(&u->lock);
	bool begun = u->begun;
	pthread_mutex_unlock(&u->lock);
	return begun;
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

static bool out_of_patience(const struct upload *u)
{
	return u->draining && u->give_up_us >= 0 && clock_mono_us() >= u->give_up_us;
}

/* Asked while a request is on its way: a server that has taken it may stay silent for long. */
static bool is_cut_short(void *arg)
{
	const struct upload *u = arg;
	return out_of_patience(u) || (u->draining && u->hurry(u->hurry_arg));
}

static bool given_up(struct upload *u)
{
	pthread_mutex_lock(&u->lock);
	bool up = u->state != UPLOAD_GOING || contact_is_over(u->api.contact) || is_cut_short(u);
	pthread_mutex_unlock(&u->lock);
	return up;
}

static void pause_us(struct upload *u, int64_t us)
{
	int64_t until = clock_mono_us() + us;
	pthread_mutex_lock(&u->lock);
	/* New items signal too; only the end of everything shortens the pause. */
	while (clock_mono_us() < until && !out_of_patience(u))
		wait_until(u, until);
	pthread_mutex_unlock(&u->lock);
}

static void settle(struct upload *u, int r, const struct err *e)
{
	pthread_mutex_lock(&u->lock);
	bool gone = r == -ERR_CONFLICT || r == -ERR_UNAUTHORIZED || r == -ERR_NOT_FOUND || r == -ERR_FORBIDDEN;
	if (u->state == UPLOAD_GOING) {
		if (r == -ERR_CANCELLED || (api_is_transient(r) && u->draining))
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

static void note_sending(struct upload *u, int64_t asked_us, bool failing)
{
	pthread_mutex_lock(&u->lock);
	u->asked_us = asked_us;
	u->failing = failing;
	pthread_mutex_unlock(&u->lock);
}

/* 0, or the error after which there is no use in trying on. */
static int send_item(struct upload *u, const struct item *i, struct err *e)
{
	static const int pauses_ms[] = { 50, 100, 250, 500, 1000, 2000, 3000 };
	for (size_t tries = 0;; tries++) {
		note_sending(u, clock_mono_us(), tries > 0);
		int r = i->name[0] ? api_step(&u->api, i->step, i->name, i->status, e)
				   : api_log(&u->api, i->step, i->offset, buf_str(&i->lines), e);
		note_sending(u, 0, r < 0);
		metric_add(r == 0 ? METRIC_UPLOADS : METRIC_UPLOAD_RETRIES, 1);
		if (r == 0 || !api_is_transient(r) || given_up(u))
			return r;
		if (tries == 0)
			log_warn("agent", "%s: the log waits: %s", u->api.deployment, e->message);
		pause_us(u, pauses_ms[tries < ARRAY_SIZE(pauses_ms) ? tries : ARRAY_SIZE(pauses_ms) - 1] * US_PER_MS);
	}
}

/* With the lock held: the next item, its lines in memory. NULL: the end. */
static struct item *take_item(struct upload *u)
{
	struct item *i = next_item(u);
	if (!i || !i->filed)
		return i;
	if (u->state == UPLOAD_GOING && backlog_take(&u->backlog, i->at, i->filed, &i->lines, &u->why) < 0) {
		u->state = UPLOAD_REFUSED;
		wake(u);
		item_free(i);
		return NULL;
	}
	u->bytes += i->filed;
	return i;
}

static void *upload_main(void *arg)
{
	struct upload *u = arg;
	for (;;) {
		pthread_mutex_lock(&u->lock);
		struct item *i = take_item(u);
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
		bool room = u->was_full && u->bytes <= UPLOAD_BUFFER_BYTES + UPLOAD_BATCH_BYTES;
		bool first = !u->begun;
		u->was_full = u->was_full && !room;
		u->begun = true;
		u->warned = false;
		pthread_mutex_unlock(&u->lock);
		item_free(i);
		if (room || first)
			wake(u);
	}
}

int upload_start(const struct upload_config *config, struct upload **ret, struct err *e)
{
	struct upload *u = calloc(1, sizeof(*u));
	pthread_condattr_t attr;
	if (!u)
		return err_nomem(e);
	u->wake_fd = config->wake_fd;
	u->hurry = config->hurry;
	u->hurry_arg = config->hurry_arg;
	u->step = -1;
	backlog_init(&u->backlog, config->backlog_dir, config->backlog_max_bytes);
	int r = api_init(&u->api, config->server_url, config->claim->token, e);
	if (r < 0) {
		free(u);
		return r;
	}
	snprintf(u->api.deployment, sizeof(u->api.deployment), "%s", config->claim->deployment);
	u->api.attempt = config->claim->attempt;
	u->api.contact = config->contact;
	u->api.cancelled = is_cut_short;
	u->api.cancelled_arg = u;
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
	u->give_up_us = patience_ms < 0 ? -1 : clock_mono_us() + patience_ms * US_PER_MS;
	u->draining = true;
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
	backlog_done(&u->backlog);
	api_done(&u->api);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u);
}
