#include "server/storage.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "blob/blob.h"
#include "db/db.h"

#define RETRY_US (1 * US_PER_S)

struct storage {
	struct app *app;
	pthread_mutex_t lock; /* of what follows; held while the disk is tried, so that one does and the others wait */
	bool broken;
	struct err why; /* of the last try */
	unsigned failures;
};

int storage_new(struct app *app, struct storage **ret, struct err *e)
{
	struct storage *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e);
	s->app = app;
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

void storage_free(struct storage *s)
{
	if (!s)
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* With the lock: whether it can be written now. */
static bool try(struct storage *s)
{
	struct err e = { 0 };
	int rc = db_probe(s->app->db, &e);
	if (rc == 0)
		rc = blob_probe(s->app->blobs, &e);
	if (rc < 0) {
		if (!s->broken)
			log_error("storage", "the data directory cannot be written, and what needs that is refused: %s",
				  e.message);
		s->broken = true;
		s->why = e;
		return false;
	}
	if (s->broken)
		log_info("storage", "the data directory can be written again; %u failures meanwhile", s->failures);
	s->broken = false;
	s->failures = 0;
	return true;
}

bool storage_failed(struct storage *s, const struct err *why)
{
	if (why->code != ERR_IO && why->code != ERR_NO_SPACE)
		return false;
	pthread_mutex_lock(&s->lock);
	bool was_broken = s->broken;
	bool known = was_broken || !try(s);
	if (known)
		s->failures++;
	pthread_mutex_unlock(&s->lock);
	if (known && !was_broken && s->app->poke)
		s->app->poke(s->app);
	return known;
}

int storage_ready(struct storage *s, struct err *e)
{
	int rc = 0;
	pthread_mutex_lock(&s->lock);
	if (s->broken && !try(s))
		rc = err_set(e, ERR_UNAVAILABLE, "the data directory cannot be written: %s", s->why.message);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int storage_tick(struct storage *s, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	if (s->broken && !try(s))
		*ret_next_us = now_us + RETRY_US;
	pthread_mutex_unlock(&s->lock);
	return 0;
}
