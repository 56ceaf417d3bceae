#include "deploy/cache.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "blob/blob.h"
#include "db/queries_cache.h"

/* Removed in one transaction. */
#define EVICT_STEP 50

/* For reading by who writes an archive, from before its file is there until its row is; for writing by the sweep, which
 * must not take it for left over. */
static pthread_rwlock_t writing = PTHREAD_RWLOCK_INITIALIZER;

size_t cache_entry_max(const struct app *app)
{
	const struct app_options *o = &app->options;
	int64_t mib = o->cache_entry_mib < o->cache_mib ? o->cache_entry_mib : o->cache_mib;
	return (size_t)mib * MIB;
}

static void remove_file(struct app *app, const char *blob_key)
{
	struct err e = { 0 };
	if (blob_delete(app->cache, blob_key, &e) < 0 && !app_log_has(app, &e))
		log_warn("cache", "removing a file: %s", e.message);
}

/* --- one entry --- */

struct entry {
	struct arena *a;
	const struct cache_ticket *t;
	const char *id;
	const char *blob_key;
	int64_t size_bytes;
	int64_t now_us;
	bool found;
	struct cache_get_row row; /* what is, or was, there */
};

static int get_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct entry *n = arg;
	struct cache_get_in in = { .org_id = n->t->org_id, .project = n->t->project, .key = n->t->key };
	int rc = q_cache_get(c, n->a, &in, &n->row, e);
	n->found = rc > 0;
	return rc < 0 ? rc : 0;
}

static int put_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct entry *n = arg;
	struct cache_org_row org;
	struct cache_put_in put = { .id = n->id,
				    .org_id = n->t->org_id,
				    .project = n->t->project,
				    .key = n->t->key,
				    .blob_key = n->blob_key,
				    .size_bytes = n->size_bytes,
				    .now_us = n->now_us };
	int rc = q_cache_org(c, n->a, &(struct cache_org_in){ n->t->org_id }, &org, e);
	if (rc == 0)
		return err_set(e, ERR_FORBIDDEN, "the organization does not exist any more");
	if (rc > 0)
		rc = get_fn(c, n, e);
	if (rc >= 0)
		rc = q_cache_put(c, &put, e);
	return rc < 0 ? rc : 0;
}

/* The archive's file, with the id of its row behind it. */
static int store(struct app *app, const struct entry *n, struct str content, int fd, char key[BLOB_KEY_SIZE],
		 struct err *e)
{
	const char *tail = arena_printf(n->a, "\n%s", n->id);
	if (!tail)
		return err_nomem(e);
	if (fd >= 0) {
		ssize_t written = pwrite(fd, tail, strlen(tail), (off_t)content.n);
		if (written != (ssize_t)strlen(tail))
			return err_errno(e, "writing an archive of the cache");
		return blob_put_file(app->cache, fd, key, e);
	}
	_cleanup_buf_ struct buf whole;
	buf_init(&whole, 2 * HTTP_INFLATED_MEMORY_BYTES);
	buf_add_str(&whole, content);
	buf_adds(&whole, tail);
	int rc = buf_check(&whole, "an archive of the cache", e);
	return rc < 0 ? rc : blob_put(app->cache, buf_str(&whole), key, e);
}

int cache_put(struct app *app, struct arena *a, const struct cache_ticket *t, struct str content, int fd, struct err *e)
{
	char key[BLOB_KEY_SIZE];
	bool stored;
	struct entry n = {
		.a = a, .t = t, .id = id_new_arena(a), .size_bytes = (int64_t)content.n, .now_us = clock_now_us()
	};
	if (!n.id)
		return err_nomem(e);
	if (content.n > cache_entry_max(app))
		return err_set(e, ERR_TOO_LARGE, "the archive is larger than %zu bytes", cache_entry_max(app));
	pthread_rwlock_rdlock(&writing);
	int rc = store(app, &n, content, fd, key, e);
	stored = rc == 0;
	n.blob_key = key;
	if (stored)
		rc = db_write(app->db, put_fn, &n, e);
	if (stored && rc < 0)
		remove_file(app, key);
	pthread_rwlock_unlock(&writing);
	if (rc < 0)
		return rc;
	if (n.found)
		remove_file(app, n.row.blob_key);
	bool more = true;
	int64_t oldest_us;
	while (rc == 0 && more)
		rc = cache_evict(app, a, app->options.cache_mib * (int64_t)MIB, 0, &more, &oldest_us, e);
	return rc;
}

static int touch_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct entry *n = arg;
	return q_cache_touch(c, &(struct cache_touch_in){ .id = n->row.id, .now_us = n->now_us }, e);
}

static int forget_fn(struct db_conn *c, void *arg, struct err *e)
{
	return q_cache_remove(c, &(struct cache_remove_in){ arg }, e);
}

/* 1 found, 0 not. An entry whose file is not there, or was cut (its reader would wait for the rest), goes. */
static int open_entry(struct app *app, struct entry *n, int *ret_fd, struct err *e)
{
	int64_t bytes;
	int fd, rc = db_read(app->db, get_fn, n, e);
	if (rc < 0 || !n->found)
		return rc;
	rc = blob_open_file(app->cache, n->row.blob_key, &fd, &bytes, e);
	if (rc == 0 && bytes > n->row.size_bytes) {
		*ret_fd = fd;
		return 1;
	}
	if (rc == 0) {
		close(fd);
		remove_file(app, n->row.blob_key);
	}
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return rc;
	err_reset(e);
	rc = db_write(app->db, forget_fn, (void *)(uintptr_t)n->row.id, e);
	return rc < 0 ? rc : 0;
}

int cache_get(struct app *app, struct arena *a, const struct cache_ticket *t, bool peek, int *ret_fd,
	      int64_t *ret_bytes, struct err *e)
{
	struct entry n = { .a = a, .t = t, .now_us = clock_now_us() };
	int rc = open_entry(app, &n, ret_fd, e);
	/* Somebody may have replaced it between the look at the row and the look at the file: then there is a newer one. */
	if (rc == 0 && n.found)
		rc = open_entry(app, &n, ret_fd, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, ERR_NOT_FOUND, "nothing is cached under the key '%s'", t->key);
	/* A disk that cannot be written to must not keep anybody from reading. */
	if (!peek)
		db_write(app->db, touch_fn, &n, NULL);
	*ret_bytes = n.row.size_bytes;
	return 0;
}

/* --- many --- */

struct clearing {
	struct arena *a;
	const char *org_id;
	const char *project;
	struct cache_clear_row *rows;
	size_t count;
};

static int clear_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct clearing *k = arg;
	struct cache_clear_in in = { .org_id = k->org_id, .project = k->project };
	return q_cache_clear(c, k->a, &in, &k->rows, &k->count, e);
}

int cache_clear(struct app *app, struct arena *a, const char *org_id, const char *project, struct err *e)
{
	struct clearing k = { .a = a, .org_id = org_id, .project = project };
	int rc = db_write(app->db, clear_fn, &k, e);
	for (size_t i = 0; rc >= 0 && i < k.count; i++)
		remove_file(app, k.rows[i].blob_key);
	return rc < 0 ? rc : 0;
}

struct evicting {
	struct arena *a;
	int64_t max_bytes;
	int64_t before_us;
	struct cache_oldest_row *rows;
	size_t count, removed;
	int64_t oldest_us;
};

static int evict_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct evicting *v = arg;
	struct cache_total_row total;
	int rc = q_cache_total(c, v->a, &total, e);
	if (rc >= 0)
		rc = q_cache_oldest(c, v->a, &(struct cache_oldest_in){ EVICT_STEP }, &v->rows, &v->count, e);
	v->oldest_us = INT64_MAX;
	v->removed = 0;
	for (size_t i = 0; rc >= 0 && i < v->count; i++) {
		if (total.size_bytes <= v->max_bytes && v->rows[i].read_us > v->before_us) {
			v->oldest_us = v->rows[i].read_us;
			break;
		}
		rc = q_cache_remove(c, &(struct cache_remove_in){ v->rows[i].id }, e);
		total.size_bytes -= v->rows[i].size_bytes;
		v->removed++;
	}
	return rc < 0 ? rc : 0;
}

int cache_evict(struct app *app, struct arena *a, int64_t max_bytes, int64_t before_us, bool *ret_more,
		int64_t *ret_oldest_us, struct err *e)
{
	struct evicting v = { .a = a, .max_bytes = max_bytes, .before_us = before_us };
	int rc = db_write(app->db, evict_fn, &v, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < v.removed; i++)
		remove_file(app, v.rows[i].blob_key);
	if (v.removed > 0)
		log_debug("cache", "%zu archives removed", v.removed);
	*ret_more = v.removed == EVICT_STEP;
	*ret_oldest_us = v.oldest_us;
	return 0;
}

/* --- what belongs to nothing --- */

struct sweeping {
	struct app *app;
	const char *blob_key;
	bool named;
	size_t removed;
};

static int named_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct sweeping *s = arg;
	_cleanup_arena_ struct arena a;
	struct cache_named_row row;
	arena_init(&a, 0);
	int rc = q_cache_named(c, &a, &(struct cache_named_in){ s->blob_key }, &row, e);
	s->named = rc > 0 && row.n > 0;
	return rc < 0 ? rc : 0;
}

static int sweep_one(void *arg, const char *key, struct err *e)
{
	struct sweeping *s = arg;
	s->blob_key = key;
	int rc = db_read(s->app->db, named_fn, s, e);
	if (rc == 0 && !s->named) {
		remove_file(s->app, key);
		s->removed++;
	}
	return rc;
}

int cache_sweep(struct app *app, bool *ret_done, struct err *e)
{
	struct sweeping s = { .app = app };
	*ret_done = pthread_rwlock_trywrlock(&writing) == 0;
	if (!*ret_done)
		return 0;
	int rc = blob_each(app->cache, sweep_one, &s, e);
	pthread_rwlock_unlock(&writing);
	if (s.removed > 0)
		log_info("cache", "%zu files without an entry removed", s.removed);
	return rc;
}
