/*
 * cache.h: the dependency cache (features §2.6): archives under a key, shared by the stacks of a project. The newest write of
 * a key counts. Everything of it may be lost at any time: a run whose archive is not there does without.
 *
 * A run asks for a URL (POST …/deployments/cache/url) and uses it without further authentication: the path holds a ticket,
 * which says what may be done, sealed with the master key for this purpose alone. It is good for CACHE_TICKET_US, and knows
 * the method, the organization, the project and the key.
 *
 * The archives lie in a store of their own (app->cache), which no backup copies. A file is the archive, a line feed and the
 * id of its row, so that it belongs to that row alone and goes with it. What a crash left behind without a row, and rows
 * without their file (as after a restore), go in a sweep at the start and once a day.
 */
#ifndef SLIPWAY_DEPLOY_CACHE_H
#define SLIPWAY_DEPLOY_CACHE_H

#include "base/clock.h"
#include "deploy/deploy.h"

#define CACHE_TICKET_US (1 * US_PER_HOUR)
#define CACHE_KEY_MAX 512

struct cache_ticket {
	bool put; /* else get */
	int64_t expires_us;
	const char *org_id;
	const char *project;
	const char *key;
};

/* Safe in a path. */
int cache_ticket_write(struct app *app, struct arena *a, const struct cache_ticket *t, const char **ret, struct err *e);
/* ERR_FORBIDDEN when it is none of ours. Whether it has expired is for the caller to look at. */
int cache_ticket_read(struct app *app, struct arena *a, const char *text, struct cache_ticket *ret, struct err *e);

/* The largest archive that is taken. */
size_t cache_entry_max(const struct app *app);
/* `fd`: the file that holds the content, which becomes the store's; -1: `content` is all of it. */
int cache_put(struct app *app, struct arena *a, const struct cache_ticket *t, struct str content, int fd,
	      struct err *e);
/* Notes that it was read. ERR_NOT_FOUND when there is none. */
int cache_get(struct app *app, struct arena *a, const struct cache_ticket *t, bool peek, int *ret_fd,
	      int64_t *ret_bytes, struct err *e);
int cache_clear(struct app *app, struct arena *a, const char *org_id, const char *project, struct err *e);

/* Removes what was read longest ago until no more than max_bytes are left, and what was read before before_us; at most a
 * few at a time. *ret_more: there may be more of it. *ret_oldest_us: when the oldest of the rest was read (INT64_MAX). */
int cache_evict(struct app *app, struct arena *a, int64_t max_bytes, int64_t before_us, bool *ret_more,
		int64_t *ret_oldest_us, struct err *e);
/* False: archives are being written, come again. */
int cache_sweep(struct app *app, bool *ret_done, struct err *e);

#endif
