/* The end of an update, whoever ends it: its journal becomes the stack's state. */
#include "state/update.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "db/queries_state.h"
#include "state/delta_text.h"
#include "state/deployment.h"
#include "state/drift.h"
#include "state/last_event.h"
#include "state/replay.h"
#include "state/stack.h"
#include "state/update_changes.h"

/* How often the end is tried anew because a batch of the journal came in between. Only the update's own client can
 * cause that: for everybody else the lease is ended first. */
#define END_TRIES 8
/* When an update could not be ended (no memory, no space). */
#define TICK_RETRY_US (30 * US_PER_S)
#define TICK_BATCH 64

/* --- replay --- */

struct journal {
	struct arena *a;
	const struct update *u;
	struct journal_read_row *batches;
	size_t count;
	struct checkpoint base;
	bool has_base;
};

static int read_journal_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct journal *j = arg;
	j->has_base = false;
	int rc = q_journal_read(c, j->a, &(struct journal_read_in){ j->u->id }, &j->batches, &j->count, e);
	if (rc < 0 || j->count == 0 || !j->u->base_checkpoint_id)
		return rc;
	rc = checkpoint_find(c, j->a, j->u->base_checkpoint_id, &j->base, e);
	j->has_base = rc > 0;
	if (rc == 0)
		return err_set(e, ERR_INTERNAL, "the state that update %s began with is gone", j->u->id);
	return rc < 0 ? rc : 0;
}

/* A stored text was checked when it came. */
static int stored_json(struct arena *a, struct str gzip, struct json *ret, struct err *e)
{
	struct str text;
	int rc = document_inflate(a, gzip, &text, e);
	if (rc < 0)
		return rc;
	text = str_trim(text);
	*ret = (struct json){ text.p, text.n };
	return 0;
}

static int count_resources(struct buf *text, int64_t *ret, struct err *e)
{
	struct json root;
	int rc = json_check(buf_str(text), &root, e);
	return rc < 0 ? rc : untyped_deployment_check(root, ret, e);
}

int update_replay(struct app *app, struct arena *a, const struct update *u, struct buf *out,
		  int64_t *ret_resource_count, int64_t *ret_batches, struct err *e)
{
	if (u->saved_sequence > 0) {
		int rc = delta_text_read(app, a, u, out, ret_batches, e);
		return rc < 0 || *ret_batches == 0 ? rc : count_resources(out, ret_resource_count, e);
	}
	struct journal j = { .a = a, .u = u };
	int rc = db_read(app->db, read_journal_fn, &j, e);
	if (rc < 0)
		return rc;
	*ret_batches = (int64_t)j.count;
	if (j.count == 0)
		return 0;
	struct replay_input in = { .base = JSON_ABSENT,
				   .batch_count = j.count,
				   .engine_version = u->engine_version,
				   .now_us = clock_now_us() };
	if (j.has_base) {
		struct str gzip;
		rc = checkpoint_load(app, a, &j.base, &gzip, e);
		if (rc == 0)
			rc = stored_json(a, gzip, &in.base, e);
		if (rc < 0)
			return err_wrap(e, "the state that update %s began with", u->id);
	}
	struct json *bodies = arena_array(a, j.count, sizeof(*bodies));
	if (!bodies)
		return err_nomem(e);
	for (size_t i = 0; i < j.count; i++) {
		rc = stored_json(a, j.batches[i].body, &bodies[i], e);
		if (rc < 0)
			return err_wrap(e, "the journal of update %s", u->id);
	}
	in.batches = bodies;
	rc = replay(&in, a, out, ret_resource_count, e);
	return rc < 0 ? err_wrap(e, "the journal of update %s", u->id) : 0;
}

/* --- end --- */

struct ending_tx {
	struct arena *a;
	const char *id;
	const char *stack_id;
	const char *status;
	enum ending why;
	bool fenced; /* by us */
	struct update u;
	const struct checkpoint *result; /* of the journal or the deltas; NULL: none */
	int64_t batches;
	const char *changes; /* counted by us; NULL: its client said them, or there are none */
	bool looks_for_drift;
	struct drift_changes drift; /* what it has found */
	struct last_event last;
	/* results */
	bool again;
	bool taken;	      /* the result was stored */
	const char *old_blob; /* of the checkpoint that the deltas changed */
};

/* What an update that has ended already says to one who wants to end it. */
static int has_ended(const struct ending_tx *t, const struct update *u, struct err *e)
{
	if (streq(u->status, t->status) || t->why == END_LEASE || t->why == END_DEPLOYMENT || t->fenced)
		return 0;
	return err_set(e, ERR_CONFLICT, "The update has already ended: %s.", u->status);
}

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct ending_tx *t = arg;
	return update_get(c, t->a, t->id, t->stack_id, &t->u, e);
}

static int fence_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct ending_tx *t = arg;
	int rc = q_update_fence(c, &(struct update_fence_in){ t->id, clock_now_us() }, e);
	return rc < 0 ? rc : 0;
}

static int put_events(struct db_conn *c, struct ending_tx *t, const struct update *u, const char *org_id, struct err *e)
{
	struct update_outcome outcome = { .id = u->id,
					  .org_id = org_id,
					  .stack_id = u->stack_id,
					  .dry_run = u->dry_run,
					  .version = u->version,
					  .deployment_id = u->deployment_id,
					  .result = state_update_result(t->status) };
	int rc = update_event_put(c, t->a, &outcome, e);
	return rc < 0 ? rc : drift_update_ended(c, t->a, &outcome, t->looks_for_drift ? &t->drift : NULL, e);
}

/* The rows of an update that is in progress, or was never started. */
static int end_rows(struct db_conn *c, struct ending_tx *t, const struct update *u, struct err *e)
{
	struct stack s;
	int64_t now = clock_now_us();
	const char *checkpoint_id = u->checkpoint_id;
	int rc = state_stack_by_id(c, t->a, u->stack_id, &s, e);
	if (rc <= 0)
		return rc < 0 ? rc : stack_gone(e);
	if (t->result) {
		rc = checkpoint_insert(c, t->result, s.id, u->id, u->version, now, e);
		if (rc >= 0)
			rc = q_stack_set_state(
				c, &(struct stack_set_state_in){ s.id, t->result->id, t->result->resource_count }, e);
		checkpoint_id = t->result->id;
		s.resource_count = t->result->resource_count;
		if (rc >= 0 && u->saved_sequence > 0)
			rc = checkpoint_remove(c, t->a, u->checkpoint_id, &t->old_blob, e);
		if (rc >= 0 && u->saved_sequence > 0)
			rc = q_delta_clear(c, &(struct delta_clear_in){ u->id }, e);
	}
	if (rc >= 0)
		rc = q_update_end(
			c,
			&(struct update_end_in){ .id = u->id,
						 .status = t->status,
						 .checkpoint_id = checkpoint_id,
						 .resource_count = u->dry_run ? DB_NULL_INT : s.resource_count,
						 .now_us = now },
			e);
	if (rc >= 0)
		rc = last_event_insert(c, u->id, &t->last, now, e);
	if (rc >= 0 && t->changes)
		rc = q_update_set_missing_changes(c, &(struct update_set_missing_changes_in){ u->id, t->changes }, e);
	if (rc >= 0 && !u->dry_run)
		rc = q_stack_end_update(c, &(struct stack_end_update_in){ s.id, u->id, now }, e);
	/* One that never began is told to nobody. */
	if (rc >= 0 && update_is_open(u))
		rc = put_events(c, t, u, s.org_id, e);
	if (rc < 0)
		return rc;
	return t->why == END_DEPLOYMENT ? identity_tokens_revoke_update(c, u->id, e)
					: identity_lease_tokens_expire(c, u->id, now + LEASE_END_GRACE_US, e);
}

static int end_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct ending_tx *t = arg;
	struct update u;
	struct journal_count_row journal;
	t->again = t->taken = false;
	t->old_blob = NULL;
	int rc = update_get(c, t->a, t->id, t->stack_id, &u, e);
	if (rc < 0)
		return rc;
	if (update_has_ended(&u))
		return has_ended(t, &u, e);
	if (!update_is_open(&u) && t->why != END_DEPLOYMENT)
		return err_set(e, ERR_CONFLICT, "The update has not started.");
	if (t->why == END_LEASE && u.lease_expires_us > clock_now_us())
		return 0;
	if (u.saved_sequence == 0)
		rc = q_journal_count(c, t->a, &(struct journal_count_in){ u.id }, &journal, e);
	if (rc < 0)
		return rc;
	bool moved = u.saved_sequence != t->u.saved_sequence || !streq(u.checkpoint_id, t->u.checkpoint_id);
	if (moved || (rc > 0 && journal.batches != t->batches)) {
		t->again = true;
		return 0;
	}
	rc = end_rows(c, t, &u, e);
	if (rc < 0)
		return rc;
	t->taken = t->result != NULL;
	return 0;
}

/* One try: replays what is there, and ends the update if that is still all of it. */
static int try_end(struct app *app, struct ending_tx *t, struct err *e)
{
	struct checkpoint result;
	_cleanup_buf_ struct buf text;
	int64_t resources = 0;
	buf_init(&text, HTTP_DOCUMENT_BODY_BYTES * 2);
	t->batches = 0;
	t->changes = NULL;
	t->result = NULL;
	t->again = false;
	int rc = db_read(app->db, look_fn, t, e);
	if (rc < 0)
		return rc;
	if (update_has_ended(&t->u))
		return has_ended(t, &t->u, e);
	rc = update_replay(app, t->a, &t->u, &text, &resources, &t->batches, e);
	if (rc == 0 && t->batches > 0) {
		rc = checkpoint_prepare(app, t->a, buf_str(&text), STR_NULL, resources, &result, e);
		t->result = &result;
	}
	/* Whose client vanished has sent no summary. One that ends its update itself is not made to wait for the counting. */
	if (rc == 0 && t->why != END_COMPLETE)
		rc = update_changes_count(app, t->a, t->id, &t->changes, e);
	t->looks_for_drift = t->u.dry_run && streq(t->u.kind, "refresh");
	if (rc == 0 && t->looks_for_drift && streq(t->status, "succeeded"))
		rc = drift_changes_read(app, t->a, t->id, &t->drift, e);
	if (rc == 0)
		rc = last_event_prepare(app, t->a, &t->u, t->status, t->why, t->changes, &t->last, e);
	if (rc < 0)
		return rc;
	rc = db_write(app->db, end_fn, t, e);
	if (t->result)
		checkpoint_settle(app, t->result, rc);
	if (t->result && rc == 0 && !t->taken)
		checkpoint_discard(app, t->result);
	if (rc == 0)
		checkpoint_remove_blob(app, t->old_blob);
	if (rc == 0 && !t->again && t->u.saved_sequence > 0)
		delta_text_forget(t->id);
	t->result = NULL;
	return rc;
}

int update_end(struct app *app, const char *id, const char *stack_id, const char *status, enum ending why,
	       struct err *e)
{
	int rc = 0;
	struct ending_tx t = { .id = id, .stack_id = stack_id, .status = status, .why = why };
	for (int i = 0; i < END_TRIES; i++) {
		_cleanup_arena_ struct arena a;
		arena_init(&a, 0);
		t.a = &a;
		if (i == 0 && why != END_COMPLETE) {
			rc = db_read(app->db, look_fn, &t, e);
			if (rc < 0)
				return rc;
			if (update_has_ended(&t.u))
				return has_ended(&t, &t.u, e);
			if (why != END_LEASE && update_is_open(&t.u)) {
				rc = db_write(app->db, fence_fn, &t, e);
				t.fenced = true;
			}
		}
		if (rc == 0)
			rc = try_end(app, &t, e);
		/* The state is new: its resources are to be listed. */
		if (rc == 0 && !t.again && app->poke)
			app->poke(app);
		if (rc < 0 || !t.again)
			return rc;
	}
	return err_set(e, ERR_CONFLICT, "The update's journal is still being written.");
}

/* --- for the rooms above --- */

struct open_updates {
	struct arena *a;
	const char *deployment_id;
	struct updates_open_of_deployment_row *rows;
	size_t count;
};

static int open_updates_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct open_updates *p = arg;
	return q_updates_open_of_deployment(c, p->a, &(struct updates_open_of_deployment_in){ p->deployment_id },
					    &p->rows, &p->count, e);
}

int state_abandon_deployment_updates(struct app *app, const char *deployment_id, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct open_updates p = { .a = &a, .deployment_id = deployment_id };
	int rc = db_read(app->db, open_updates_fn, &p, e);
	for (size_t i = 0; rc == 0 && i < p.count; i++)
		rc = update_end(app, p.rows[i].id, NULL, "failed", END_DEPLOYMENT, e);
	return rc;
}

struct due {
	struct arena *a;
	int64_t now_us;
	struct updates_lease_due_row *rows;
	size_t count;
	int64_t next_us;
};

static int due_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct due *p = arg;
	return q_updates_lease_due(c, p->a, &(struct updates_lease_due_in){ p->now_us, TICK_BATCH }, &p->rows,
				   &p->count, e);
}

static int next_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct due *p = arg;
	struct updates_lease_next_row row;
	int rc = q_updates_lease_next(c, p->a, &row, e);
	p->next_us = rc > 0 ? row.lease_expires_us : INT64_MAX;
	return rc < 0 ? rc : 0;
}

int state_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct due p = { .a = &a, .now_us = now_us };
	bool failed = false;
	int rc = db_read(app->db, due_fn, &p, e);
	for (size_t i = 0; rc == 0 && i < p.count; i++) {
		struct err one = { 0 };
		if (update_end(app, p.rows[i].id, NULL, "failed", END_LEASE, &one) < 0) {
			failed = true;
			if (!app_log_has(app, &one))
				log_error("state", "update %s, whose lease has ended: %s", p.rows[i].id, one.message);
		}
	}
	if (rc == 0)
		rc = db_read(app->db, next_fn, &p, e);
	if (rc < 0)
		return rc;
	/* What could not be ended is due already: not at once again. */
	*ret_next_us = failed && p.next_us <= now_us ? now_us + TICK_RETRY_US : p.next_us;
	return 0;
}

struct of_deployment {
	struct updates_of_deployment_row *rows;
	size_t count;
};

int state_updates_of_deployment(struct db_conn *c, struct arena *a, const char *deployment_id,
				struct update_summary **ret, size_t *ret_count, struct err *e)
{
	struct of_deployment p = { 0 };
	int rc = q_updates_of_deployment(c, a, &(struct updates_of_deployment_in){ deployment_id }, &p.rows, &p.count,
					 e);
	if (rc < 0)
		return rc;
	struct update_summary *list = arena_array(a, p.count, sizeof(*list));
	if (!list)
		return err_nomem(e);
	for (size_t i = 0; i < p.count; i++)
		list[i] = (struct update_summary){ .id = p.rows[i].id,
						   .kind = p.rows[i].kind,
						   .dry_run = p.rows[i].dry_run,
						   .status = p.rows[i].status,
						   .result = state_update_result(p.rows[i].status),
						   .version = p.rows[i].version,
						   .message = p.rows[i].message,
						   .environment = p.rows[i].environment,
						   .started_us = p.rows[i].started_us,
						   .ended_us = p.rows[i].ended_us };
	*ret = list;
	*ret_count = p.count;
	return 0;
}

const char *state_update_result(const char *status)
{
	return streq(status, "cancelled") ? "failed" : status;
}
