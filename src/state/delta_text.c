#include "state/delta_text.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/limits.h"
#include "db/queries_state.h"
#include "state/delta.h"

/* Texts in memory, of all updates together; the one of a very large state is always built anew. */
#define KEPT_MAX_BYTES (160 * MIB)
#define KEPT_MAX 16
/* The CLI saves every few seconds at most; a text that was not asked for so long belongs to an update that died. */
#define KEPT_MAX_US (60 * US_PER_S)

static struct kept {
	char update_id[64];
	struct delta_text text;
	int64_t since_us; /* monotonic */
} kept[KEPT_MAX];
static size_t kept_bytes;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

void delta_text_done(struct delta_text *t)
{
	free(t->data);
	*t = (struct delta_text){ 0 };
}

/* With the lock. */
static void drop(struct kept *k)
{
	kept_bytes -= k->text.n;
	delta_text_done(&k->text);
	k->update_id[0] = '\0';
}

static struct kept *find(const char *update_id)
{
	for (size_t i = 0; i < KEPT_MAX; i++)
		if (kept[i].update_id[0] && streq(kept[i].update_id, update_id))
			return &kept[i];
	return NULL;
}

static bool take_kept(const char *update_id, struct delta_text *ret)
{
	pthread_mutex_lock(&kept_lock);
	struct kept *k = find(update_id);
	if (k) {
		*ret = k->text;
		kept_bytes -= k->text.n;
		k->text = (struct delta_text){ 0 };
		k->update_id[0] = '\0';
	}
	pthread_mutex_unlock(&kept_lock);
	return k != NULL;
}

void delta_text_put(const char *update_id, struct delta_text *t)
{
	int64_t now = clock_mono_us();
	struct kept *room = NULL;
	pthread_mutex_lock(&kept_lock);
	struct kept *former = find(update_id);
	if (former)
		drop(former);
	for (size_t i = 0; i < KEPT_MAX; i++) {
		if (kept[i].update_id[0] && now - kept[i].since_us > KEPT_MAX_US)
			drop(&kept[i]);
		if (!kept[i].update_id[0])
			room = &kept[i];
	}
	if (room && strlen(update_id) < sizeof(room->update_id) && kept_bytes + t->n <= KEPT_MAX_BYTES) {
		memcpy(room->update_id, update_id, strlen(update_id) + 1);
		room->text = *t;
		room->since_us = now;
		kept_bytes += t->n;
		*t = (struct delta_text){ 0 };
	}
	pthread_mutex_unlock(&kept_lock);
	delta_text_done(t);
}

void delta_text_forget(const char *update_id)
{
	pthread_mutex_lock(&kept_lock);
	struct kept *k = find(update_id);
	if (k)
		drop(k);
	pthread_mutex_unlock(&kept_lock);
}

/* --- from disk --- */

struct reading {
	struct arena *a;
	const char *update_id;
	const char *checkpoint_id; /* NULL: the update's */
	int64_t sequence;
	struct checkpoint base;
	struct delta_read_row *rows;
	size_t count;
};

static int read_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct reading *p = arg;
	struct update u;
	int rc = update_get(c, p->a, p->update_id, NULL, &u, e);
	if (rc < 0)
		return rc;
	p->sequence = u.saved_sequence;
	p->count = 0;
	if (u.saved_sequence == 0 || !u.checkpoint_id || streq(u.checkpoint_id, u.base_checkpoint_id))
		return err_set(e, ERR_BAD_REQUEST,
			       "the update has not saved a whole state that the delta could change");
	rc = q_delta_read(c, p->a, &(struct delta_read_in){ u.id }, &p->rows, &p->count, e);
	if (rc >= 0)
		rc = checkpoint_find(c, p->a, u.checkpoint_id, &p->base, e);
	if (rc == 0)
		return err_set(e, ERR_INTERNAL, "the state that the deltas of update %s change is gone", u.id);
	return rc < 0 ? rc : 0;
}

/* A stored body was checked when it came. */
static int apply_stored(struct delta_pieces *pieces, const struct delta_read_row *row, size_t *bytes, struct err *e)
{
	struct str text;
	struct json body;
	int rc = document_inflate(pieces->a, row->body, &text, e);
	if (rc == 0)
		rc = json_check(text, &body, e);
	if (rc == 0)
		rc = delta_edit(pieces, json_get(body, "deploymentDelta"), e);
	if (rc < 0)
		return err_set(e, ERR_INTERNAL, "a stored delta cannot be applied: %s", e ? e->message : "");
	*bytes += text.n;
	return 0;
}

static int build(struct app *app, struct reading *p, struct delta_text *ret, struct err *e)
{
	struct str gzip, text = STR_NULL;
	_cleanup_delta_pieces_ struct delta_pieces pieces = { 0 };
	_cleanup_buf_ struct buf out;
	buf_init(&out, HTTP_DOCUMENT_BODY_BYTES);
	int rc = checkpoint_load(app, p->a, &p->base, &gzip, e);
	if (rc == 0)
		rc = document_inflate(p->a, gzip, &text, e);
	if (rc == 0)
		rc = delta_pieces_init(&pieces, p->a, text, e);
	struct delta_text t = { .sequence = p->sequence, .base_bytes = text.n, .deltas = (int64_t)p->count };
	snprintf(t.base_id, sizeof(t.base_id), "%s", p->base.id);
	for (size_t i = 0; rc == 0 && i < p->count; i++)
		rc = apply_stored(&pieces, &p->rows[i], &t.delta_bytes, e);
	if (rc == 0)
		rc = delta_write(&pieces, &out, e);
	if (rc < 0)
		return rc;
	t.data = buf_take(&out, &t.n);
	*ret = t;
	return t.data ? 0 : err_nomem(e);
}

int delta_text_take(struct app *app, struct arena *a, const char *update_id, struct delta_text *ret, struct err *e)
{
	struct reading p = { .a = a, .update_id = update_id };
	int rc = db_read(app->db, read_fn, &p, e);
	if (rc < 0)
		return rc;
	if (take_kept(update_id, ret)) {
		/* Something else may have been saved since, also under the same number. */
		if (ret->sequence == p.sequence && streq(ret->base_id, p.base.id))
			return 0;
		delta_text_done(ret);
	}
	return build(app, &p, ret, e);
}

int delta_text_read(struct app *app, struct arena *a, const struct update *u, struct buf *out, int64_t *ret_deltas,
		    struct err *e)
{
	struct reading p = { .a = a, .update_id = u->id };
	_cleanup_delta_text_ struct delta_text t = { 0 };
	*ret_deltas = 0;
	if (u->saved_sequence == 0)
		return 0;
	int rc = db_read(app->db, read_fn, &p, e);
	if (rc < 0 || p.count == 0)
		return rc;
	rc = build(app, &p, &t, e);
	if (rc < 0)
		return rc;
	buf_add(out, t.data, t.n);
	*ret_deltas = (int64_t)p.count;
	return buf_check(out, "the state", e);
}
