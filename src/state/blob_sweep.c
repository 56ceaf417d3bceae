/*
 * Blobs that no row names go away. A kill, or a commit that failed, between the writing of a large state and its row
 * leaves one; so does a removal that could not be done.
 *
 * A state whose row is about to be written is in no danger: a blob is only looked at when it is an hour old, goes only when
 * two looks, minutes apart, found it unnamed, and only if it has not been written anew. It must have the shape of a state of
 * ours (checkpoint.c): what another room may keep in the store is not touched.
 */
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "blob/blob.h"
#include "db/queries_retention.h"
#include "state/state.h"

#define AGE_US (1 * US_PER_HOUR)
/* The first look comes so long after the start, the next ones so often. */
#define START_US (1 * US_PER_MINUTE)
#define ROUND_US (24 * US_PER_HOUR)
#define SECOND_LOOK_US (10 * US_PER_MINUTE)
/* The store is read in parts (by the first byte of the keys), as many at once as have so many blobs. */
#define PARTS 256
#define STEP_BLOBS 2000
#define PAUSE_US (50 * US_PER_MS)
/* More are left to the round after that, which then comes at once. */
#define SUSPECTS_MAX 1000
/* id, line feed, the two bytes that gzip begins with */
#define HEAD_BYTES (ID_SIZE + 2)

/* Of the ticker's thread alone. */
struct sweep {
	unsigned part; /* PARTS: all were looked at, the second look comes */
	int64_t due_us;
	char suspects[SUSPECTS_MAX][BLOB_KEY_SIZE];
	size_t count;
};

struct look {
	struct arena *a;
	const char **keys;
	size_t count;
	bool *named;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *l = arg;
	struct checkpoint_of_blob_row row;
	for (size_t i = 0; i < l->count; i++) {
		int rc = q_checkpoint_of_blob(c, l->a, &(struct checkpoint_of_blob_in){ l->keys[i] }, &row, e);
		if (rc < 0)
			return rc;
		l->named[i] = rc > 0;
	}
	return 0;
}

static int look(struct app *app, struct look *l, struct err *e)
{
	l->named = arena_array(l->a, l->count + 1, sizeof(*l->named));
	return l->named ? db_read(app->db, look_fn, l, e) : err_nomem(e);
}

static bool is_state(struct app *app, const char *key)
{
	char head[HEAD_BYTES];
	size_t n;
	return blob_head(app->blobs, key, head, sizeof(head), &n, NULL) == 0 && n == sizeof(head) &&
	       id_valid((struct str){ head, ID_SIZE - 1 }) && memcmp(head + ID_SIZE - 1, "\n\x1f\x8b", 3) == 0;
}

/* One part of the store. *ret_looked: how many old blobs it has. */
static int first_look(struct app *app, struct sweep *s, int64_t before_us, size_t *ret_looked, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct look l = { .a = &a };
	arena_init(&a, 0);
	int rc = blob_older(app->blobs, s->part, before_us, &a, &l.keys, &l.count, e);
	*ret_looked = rc < 0 ? 0 : l.count;
	if (rc == 0 && l.count > 0)
		rc = look(app, &l, e);
	for (size_t i = 0; rc == 0 && i < l.count && s->count < SUSPECTS_MAX; i++)
		if (!l.named[i] && is_state(app, l.keys[i]))
			memcpy(s->suspects[s->count++], l.keys[i], BLOB_KEY_SIZE);
	return rc;
}

static int second_look(struct app *app, struct sweep *s, int64_t before_us, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct look l = { .a = &a, .keys = arena_array(&a, s->count, sizeof(*l.keys)), .count = s->count };
	int64_t removed = 0, bytes = 0;
	if (!l.keys)
		return err_nomem(e);
	for (size_t i = 0; i < s->count; i++)
		l.keys[i] = s->suspects[i];
	int rc = look(app, &l, e);
	for (size_t i = 0; rc == 0 && i < l.count; i++) {
		int64_t size = 0;
		if (!l.named[i])
			rc = blob_delete_older(app->blobs, l.keys[i], before_us, &size, e);
		bytes += size;
		removed += size > 0;
	}
	if (removed > 0)
		log_info("state", "%lld blobs (%lld bytes) that nothing named were removed", (long long)removed,
			 (long long)bytes);
	return rc;
}

int state_blob_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	static struct sweep s;
	int rc = 0;
	/* A start has other things to do. */
	if (s.due_us == 0)
		s.due_us = now_us + START_US;
	*ret_next_us = s.due_us;
	if (now_us < s.due_us)
		return 0;
	if (s.part == PARTS) {
		bool more = s.count == SUSPECTS_MAX;
		rc = s.count > 0 ? second_look(app, &s, now_us - AGE_US, e) : 0;
		s.part = 0;
		s.count = 0;
		s.due_us = now_us + (more && rc == 0 ? PAUSE_US : ROUND_US);
	} else {
		size_t looked = 0, n;
		while (rc == 0 && s.part < PARTS && looked < STEP_BLOBS && s.count < SUSPECTS_MAX) {
			rc = first_look(app, &s, now_us - AGE_US, &n, e);
			looked += n;
			s.part += rc == 0;
		}
		if (s.count == SUSPECTS_MAX)
			s.part = PARTS;
		if (s.part == PARTS)
			log_debug("state", "%zu blobs that nothing names are looked at again later", s.count);
		s.due_us = now_us + (s.part < PARTS ? PAUSE_US : s.count > 0 ? SECOND_LOOK_US : 0);
	}
	/* What cannot be read now is tried again, but not each second. */
	if (rc < 0)
		s.due_us = now_us + SECOND_LOOK_US;
	*ret_next_us = s.due_us;
	return rc;
}
