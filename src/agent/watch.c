#include "agent/watch.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "os/disk.h"

#define LOOK_US (200 * US_PER_MS)
/* After a walk this many times its duration passes until the next: when much was written meanwhile, and when not (others
 * may have removed as much). */
#define REST_GROWN 20
#define REST_STILL 50
#define REST_STILL_LEAST_US (5 * US_PER_S)
/* Below this much room on the disk whatever grows is ended, so that the machine lives on. */
#define RESERVE_MAX_BYTES ((int64_t)1024 * 1024 * 1024)
#define RESERVE_PART 20

struct watch {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const char *dir;
	const struct limits *limits;
	const struct cgroup *group;
	int wake_fd;
	atomic_bool stop;
	_Atomic int finding;
	struct disk_space at_start, last;
	int64_t used_bytes;		/* of the tree, at the last walk */
	int64_t next_us, next_still_us; /* when to walk: when much was written, and when not */
};

static void found(struct watch *w, enum watch_finding finding)
{
	int fine = WATCH_FINE;
	uint64_t one = 1;
	if (!atomic_compare_exchange_strong(&w->finding, &fine, (int)finding))
		return;
	if (write(w->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is at its end: it is awake */
}

void watch_look(struct watch *w)
{
	if (w && cgroup_oom_kills(w->group) > 0)
		found(w, WATCH_MEMORY);
}

static void walk(struct watch *w, const struct disk_space *now)
{
	int64_t began = clock_mono_us();
	struct err e = { 0 };
	int r = disk_use(w->dir, &w->stop, &w->used_bytes, &e);
	int64_t ended = clock_mono_us();
	w->last = *now;
	int64_t still_us = (ended - began) * REST_STILL;
	w->next_us = ended + (ended - began) * REST_GROWN;
	w->next_still_us = ended + (still_us > REST_STILL_LEAST_US ? still_us : REST_STILL_LEAST_US);
	if (r == -ERR_TOO_LARGE)
		found(w, WATCH_NESTED);
	else if (r == 0 && w->used_bytes > w->limits->disk_bytes)
		found(w, WATCH_DISK);
	else if (r < 0 && r != -ERR_CANCELLED)
		log_warn("agent", "%s: %s", w->dir, e.message);
}

static void look_at_disk(struct watch *w)
{
	struct disk_space now;
	if (disk_space(w->dir, &now, NULL) < 0)
		return;
	int64_t reserve = now.total_bytes / RESERVE_PART;
	if (reserve > RESERVE_MAX_BYTES)
		reserve = RESERVE_MAX_BYTES;
	if (now.free_bytes < reserve && w->at_start.free_bytes >= 2 * reserve)
		found(w, WATCH_FULL);
	if (!w->limits->disk_bytes)
		return;
	int64_t mono = clock_mono_us(), left = w->limits->disk_bytes - w->used_bytes;
	bool grown = now.taken - w->last.taken > left / 2;
	if (mono >= (grown ? w->next_us : w->next_still_us))
		walk(w, &now);
}

static void *watch_main(void *arg)
{
	struct watch *w = arg;
	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		int64_t until = clock_mono_us() + LOOK_US;
		struct timespec ts = { .tv_sec = until / US_PER_S, .tv_nsec = until % US_PER_S * 1000 };
		pthread_cond_timedwait(&w->changed, &w->lock, &ts);
		if (w->stop || w->finding)
			continue;
		pthread_mutex_unlock(&w->lock);
		watch_look(w);
		look_at_disk(w);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int watch_start(const char *dir, const struct limits *limits, const struct cgroup *group, int wake_fd,
		struct watch **ret, struct err *e)
{
	struct disk_space now;
	int r = disk_space(dir, &now, e);
	if (r < 0)
		return r;
	struct watch *w = calloc(1, sizeof(*w));
	if (!w)
		return err_nomem(e);
	*w = (struct watch){ .dir = dir,
			     .limits = limits,
			     .group = group,
			     .wake_fd = wake_fd,
			     .at_start = now,
			     .last = now,
			     .next_still_us = clock_mono_us() + REST_STILL_LEAST_US };
	pthread_condattr_t attr;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&w->thread, NULL, watch_main, w) != 0) {
		free(w);
		return err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	}
	*ret = w;
	return 0;
}

enum watch_finding watch_finding(const struct watch *w)
{
	return w ? (enum watch_finding)w->finding : WATCH_FINE;
}

void watch_explain(const struct watch *w, char *ret, size_t size)
{
	char limit[32];
	switch (watch_finding(w)) {
	case WATCH_FINE:
		snprintf(ret, size, "nothing was found");
		return;
	case WATCH_MEMORY:
		snprintf(ret, size, "the run was ended because it used more than %s of memory",
			 limits_size(w->limits->memory_bytes, limit, sizeof(limit)));
		return;
	case WATCH_DISK:
		snprintf(ret, size, "the run was ended because its files took more than %s of the disk",
			 limits_size(w->limits->disk_bytes, limit, sizeof(limit)));
		return;
	case WATCH_NESTED:
		snprintf(ret, size, "the run was ended because it made more than %d folders below each other",
			 DISK_DEPTH_MAX);
		return;
	case WATCH_FULL:
		snprintf(ret, size, "the run was ended because the runner's disk is nearly full");
		return;
	}
}

void watch_stop(struct watch *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
