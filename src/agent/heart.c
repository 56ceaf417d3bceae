#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/clock.h"
#include "base/log.h"

/* At most one heartbeat in this time. */
#define PAUSE_US US_PER_S

struct heart {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct api api;
	int interval_s;
	int wake_fd;
	struct heart_state *state;
	_Atomic bool stop;
};

static bool is_stopped(void *arg)
{
	struct heart *h = arg;
	return h->stop;
}

static void wake(struct heart *h)
{
	uint64_t one = 1;
	if (write(h->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is at its end: it is awake */
}

static void beat(struct heart *h, bool *away)
{
	struct err e = { 0 };
	bool cancel = false;
	int r = api_heartbeat(&h->api, h->interval_s, &cancel, &e);
	if (r == 0) {
		*away = false;
		if (cancel && !h->state->cancel) {
			h->state->cancel = true;
			wake(h);
		}
	} else if (r == -ERR_CANCELLED || h->stop) {
		return; /* the end of the job also ends the wait, with "lease lost" */
	} else if (api_is_transient(r)) {
		if (!*away)
			log_warn("agent", "%s: heartbeat: %s", h->api.deployment, e.message);
		*away = true;
	} else {
		log_warn("agent", "%s: heartbeat: %s", h->api.deployment, e.message);
		h->state->lost = true;
		wake(h);
	}
}

static void *heart_main(void *arg)
{
	struct heart *h = arg;
	bool away = false;
	while (!h->stop && !h->state->lost) {
		int64_t began = clock_mono_us();
		beat(h, &away);
		if (clock_mono_us() - began >= PAUSE_US)
			continue;
		/* It was answered at once: the wish to stop, a server that does not wait, or none at all. */
		int64_t next = began + PAUSE_US;
		struct timespec ts = { .tv_sec = next / US_PER_S, .tv_nsec = next % US_PER_S * 1000 };
		pthread_mutex_lock(&h->lock);
		if (!h->stop)
			pthread_cond_timedwait(&h->changed, &h->lock, &ts);
		pthread_mutex_unlock(&h->lock);
	}
	return NULL;
}

int heart_start(const char *server_url, const struct api_claim *claim, struct contact *contact, int interval_s,
		int wake_fd, struct heart_state *state, struct heart **ret, struct err *e)
{
	struct heart *h = calloc(1, sizeof(*h));
	pthread_condattr_t attr;
	if (!h)
		return err_nomem(e);
	int r = api_init(&h->api, server_url, claim->token, e);
	if (r < 0) {
		free(h);
		return r;
	}
	snprintf(h->api.deployment, sizeof(h->api.deployment), "%s", claim->deployment);
	h->api.attempt = claim->attempt;
	h->api.contact = contact;
	h->api.cancelled = is_stopped;
	h->api.cancelled_arg = h;
	h->interval_s = interval_s;
	h->wake_fd = wake_fd;
	h->state = state;
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&h->thread, NULL, heart_main, h) != 0) {
		api_done(&h->api);
		free(h);
		return err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	}
	*ret = h;
	return 0;
}

void heart_leave(struct heart *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_signal(&h->changed);
	pthread_mutex_unlock(&h->lock);
}

void heart_stop(struct heart *h)
{
	if (!h)
		return;
	heart_leave(h);
	pthread_join(h->thread, NULL);
	api_done(&h->api);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
	free(h);
}
