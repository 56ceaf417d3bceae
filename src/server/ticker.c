#include "server/ticker.h"

#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/log.h"

/* The wall clock may be set while we sleep by the monotonic one: this bounds how late we notice. */
#define SLEEP_MAX_US (60 * US_PER_S)
/* After an error, a room is asked again. */
#define RETRY_US (1 * US_PER_S)
#ifdef SLIPWAY_TEST_CLOCK_BUILD
/* How soon a clock that a test has moved is noticed. */
#define SLICE_US (20 * US_PER_MS)
#endif

struct ticker {
	struct app *app;
	const struct tick *ticks;
	size_t count;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;	      /* under lock */
	int64_t poke_mono_us; /* under lock: INT64_MAX, or when somebody wants a tick */
};

/* Does what is due; returns how long nothing more will be. */
static int64_t tick_all(struct ticker *t)
{
	int64_t next_us = INT64_MAX;
	for (size_t i = 0; i < t->count; i++) {
		struct err e = { 0 };
		int64_t now_us = clock_now_us();
		int64_t room_next_us = INT64_MAX;
		if (t->ticks[i].fn(t->app, now_us, &room_next_us, &e) < 0) {
			if (!app_log_has(t->app, &e))
				log_error("ticker", "%s: %s", t->ticks[i].name, e.message);
			room_next_us = now_us + RETRY_US;
		}
		if (room_next_us < next_us)
			next_us = room_next_us;
	}
	int64_t now_us = clock_now_us();
	if (next_us <= now_us)
		return 0;
	return next_us - now_us < SLEEP_MAX_US ? next_us - now_us : SLEEP_MAX_US;
}

static void wait_until(struct ticker *t, int64_t mono_us)
{
	struct timespec ts = { .tv_sec = mono_us / US_PER_S, .tv_nsec = (mono_us % US_PER_S) * 1000 };
	pthread_cond_timedwait(&t->wake, &t->lock, &ts);
}

/* With the lock held: sleeps until the deadline, a poke's time, the end, or (test builds) a clock that was moved since
 * its offset was offset_us. */
static void sleep_until(struct ticker *t, int64_t deadline_us, int64_t offset_us)
{
	int64_t now_us;
	for (;;) {
		now_us = clock_mono_us();
		int64_t until_us = t->poke_mono_us < deadline_us ? t->poke_mono_us : deadline_us;
		if (t->stopping || now_us >= until_us)
			break;
#ifdef SLIPWAY_TEST_CLOCK_BUILD
		if (clock_offset_us() != offset_us)
			break;
		if (until_us > now_us + SLICE_US)
			until_us = now_us + SLICE_US;
#endif
		wait_until(t, until_us);
	}
	/* One for later stays: it may have come while the last tick had its room behind it already. */
	if (t->poke_mono_us <= now_us)
		t->poke_mono_us = INT64_MAX;
}

static void *ticker_main(void *arg)
{
	struct ticker *t = arg;
	pthread_mutex_lock(&t->lock);
	while (!t->stopping) {
		pthread_mutex_unlock(&t->lock);
		/* Before the tick: a clock that is moved while it runs is noticed too. */
		int64_t offset_us = clock_offset_us();
		int64_t pause_us = tick_all(t);
		pthread_mutex_lock(&t->lock);
		/* A room that is always due must not take the whole processor. */
		sleep_until(t, clock_mono_us() + (pause_us > US_PER_MS ? pause_us : US_PER_MS), offset_us);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int ticker_start(struct app *app, const struct tick *ticks, size_t count, struct ticker **ret, struct err *e)
{
	struct ticker *t = calloc(1, sizeof(*t));
	if (!t)
		return err_nomem(e);
	*t = (struct ticker){ .app = app, .ticks = ticks, .count = count, .poke_mono_us = INT64_MAX };
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&t->lock, NULL);
	int rc = pthread_create(&t->thread, NULL, ticker_main, t);
	if (rc != 0) {
		free(t);
		errno = rc;
		return err_errno(e, "cannot start the ticker");
	}
	*ret = t;
	return 0;
}

void ticker_poke(struct ticker *t, int64_t delay_us)
{
	int64_t when_us = clock_mono_us() + delay_us;
	pthread_mutex_lock(&t->lock);
	if (when_us < t->poke_mono_us) {
		t->poke_mono_us = when_us;
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
}

void ticker_stop(struct ticker *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
