#include "state/resource_index.h"

#include "base/clock.h"
#include "base/log.h"
#include "db/queries_resources.h"
#include "state/checkpoint.h"
#include "state/document.h"
#include "state/map.h"
#include "state/resource_view.h"
#include "state/state.h"

/* Rows per transaction: other writes do not wait for a large state. */
#define BATCH_ROWS 200
/* Refreshes that meet on one stack: each try but one means that another got ahead. */
#define TRIES 8
/* After its last change, a stack is given so long to change again. */
#define DELAY_US (500 * US_PER_MS)
#define TICK_BATCH 16
#define TICK_RETRY_US (30 * US_PER_S)

struct refresh {
	struct app *app;
	struct arena *a;
	const char *stack_id;
	/* what was read */
	bool found;
	struct index_state_row state;
	bool has_checkpoint;
	struct checkpoint checkpoint;
	struct resource_view *old;
	size_t old_count;
	/* what the state has */
	struct resource_view *new;
	size_t new_count;
	/* what is to be written: indices into new and old */
	size_t *put, *remove;
	size_t put_count, remove_count;
	/* progress; `serial` is counted up after each commit */
	int64_t serial;
	size_t put_done, remove_done;
};

/* --- reading --- */

static int read_rows(struct db_conn *c, struct refresh *p, struct err *e)
{
	struct index_rows_row *rows;
	int rc = q_index_rows(c, p->a, &(struct index_rows_in){ p->stack_id }, &rows, &p->old_count, e);
	if (rc < 0)
		return rc;
	p->old = arena_array(p->a, p->old_count, sizeof(*p->old));
	if (!p->old)
		return err_nomem(e);
	for (size_t i = 0; i < p->old_count; i++)
		p->old[i] = (struct resource_view){ .urn = rows[i].urn,
						    .ordinal = rows[i].ordinal,
						    .type = rows[i].type,
						    .id = rows[i].external_id,
						    .parent = rows[i].parent,
						    .provider = rows[i].provider,
						    .created = rows[i].created,
						    .modified = rows[i].modified,
						    .custom = rows[i].custom,
						    .external = rows[i].external,
						    .protect = rows[i].protect,
						    .pending_delete = rows[i].pending_delete };
	return 0;
}

static int read_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct refresh *p = arg;
	p->has_checkpoint = false;
	int rc = q_index_state(c, p->a, &(struct index_state_in){ p->stack_id }, &p->state, e);
	p->found = rc > 0;
	if (rc <= 0 || !p->state.settled || streq(p->state.checkpoint_id, p->state.indexed_checkpoint_id))
		return rc < 0 ? rc : 0;
	if (p->state.checkpoint_id) {
		rc = checkpoint_find(c, p->a, p->state.checkpoint_id, &p->checkpoint, e);
		p->has_checkpoint = rc > 0;
	}
	return rc < 0 ? rc : read_rows(c, p, e);
}

static int read_state(struct refresh *p, struct err *e)
{
	struct document d = { 0 };
	struct json root;
	if (!p->state.checkpoint_id)
		return 0;
	if (!p->has_checkpoint)
		return err_set(e, ERR_NOT_FOUND, "state %s has no row", p->state.checkpoint_id);
	int rc = checkpoint_load(p->app, p->a, &p->checkpoint, &d.gzip, e);
	if (rc == 0)
		rc = document_open(&d, p->a, &root, e);
	return rc < 0 ? rc : resource_views_read(root, p->a, &p->new, &p->new_count, e);
}

/* --- what differs --- */

static const char *key_of(struct arena *a, const struct resource_view *v)
{
	return v->ordinal ? arena_printf(a, "%s\n%lld", v->urn, (long long)v->ordinal) : v->urn;
}

static int find_differences(struct refresh *p, struct err *e)
{
	struct map at;
	int64_t i;
	map_init(&at, p->a);
	p->put = arena_array(p->a, p->new_count, sizeof(*p->put));
	p->remove = arena_array(p->a, p->old_count, sizeof(*p->remove));
	bool *kept = arena_array(p->a, p->old_count, sizeof(*kept));
	if (!p->put || !p->remove || !kept)
		return err_nomem(e);
	for (size_t k = 0; k < p->old_count; k++) {
		const char *key = key_of(p->a, &p->old[k]);
		if (!key || !map_put(&at, str_of(key), (int64_t)k))
			return err_nomem(e);
	}
	for (size_t k = 0; k < p->new_count; k++) {
		const char *key = key_of(p->a, &p->new[k]);
		if (!key)
			return err_nomem(e);
		bool known = map_get(&at, str_of(key), &i);
		if (known)
			kept[i] = true;
		if (!known || !resource_view_equal(&p->new[k], &p->old[i]))
			p->put[p->put_count++] = k;
	}
	for (size_t k = 0; k < p->old_count; k++)
		if (!kept[k])
			p->remove[p->remove_count++] = k;
	return 0;
}

/* --- writing --- */

static int put_row(struct db_conn *c, const struct refresh *p, const struct resource_view *v, struct err *e)
{
	return q_index_put(c,
			   &(struct index_put_in){ .stack_id = p->stack_id,
						   .urn = v->urn,
						   .ordinal = v->ordinal,
						   .type = v->type,
						   .external_id = v->id,
						   .parent = v->parent,
						   .provider = v->provider,
						   .custom = v->custom,
						   .external = v->external,
						   .protect = v->protect,
						   .pending_delete = v->pending_delete,
						   .created = v->created,
						   .modified = v->modified },
			   e);
}

/* The next rows; with the last of them, the table shows the checkpoint. */
static int write_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct refresh *p = arg;
	size_t rows = 0, i = p->remove_done, k = p->put_done;
	int rc = q_index_claim(c, &(struct index_claim_in){ p->stack_id, p->serial }, e);
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "the resources of the stack are being read by another");
	for (; rc >= 0 && rows < BATCH_ROWS && i < p->remove_count; i++, rows++) {
		const struct resource_view *v = &p->old[p->remove[i]];
		rc = q_index_remove(c, &(struct index_remove_in){ p->stack_id, v->urn, v->ordinal }, e);
	}
	for (; rc >= 0 && rows < BATCH_ROWS && k < p->put_count; k++, rows++)
		rc = put_row(c, p, &p->new[p->put[k]], e);
	if (rc >= 0 && i == p->remove_count && k == p->put_count)
		rc = q_index_set(c, &(struct index_set_in){ p->stack_id, p->state.checkpoint_id }, e);
	return rc < 0 ? rc : 0;
}

static int write_rows(struct refresh *p, struct err *e)
{
	p->serial = p->state.index_serial;
	for (;;) {
		int rc = db_write(p->app->db, write_fn, p, e);
		if (rc < 0)
			return rc;
		p->serial++;
		size_t rows = p->remove_count - p->remove_done;
		rows = rows < BATCH_ROWS ? rows : BATCH_ROWS;
		p->remove_done += rows;
		size_t left = BATCH_ROWS - rows, more = p->put_count - p->put_done;
		p->put_done += more < left ? more : left;
		if (p->remove_done == p->remove_count && p->put_done == p->put_count)
			return 0;
	}
}

/* What another try may mend: no memory, no space. What cannot be read now from a good disk will not be read later either. */
static bool is_lasting(int rc)
{
	return rc == -ERR_IO || rc == -ERR_NOT_FOUND || rc == -ERR_INTERNAL || rc == -ERR_BAD_REQUEST ||
	       rc == -ERR_TOO_LARGE;
}

static int try_refresh(struct refresh *p, bool last, struct err *e)
{
	int rc = db_read(p->app->db, read_fn, p, e);
	if (rc < 0 || !p->found || !p->state.settled || streq(p->state.checkpoint_id, p->state.indexed_checkpoint_id))
		return rc;
	rc = read_state(p, e);
	/* It may have been replaced meanwhile. */
	if (rc == -ERR_NOT_FOUND && !last)
		return -ERR_CONFLICT;
	if (rc == 0)
		rc = find_differences(p, e);
	if (rc < 0 && is_lasting(rc) && !app_log_has(p->app, e)) {
		log_error("state", "the resources of stack %s are not listed anew: %s", p->stack_id,
			  e ? e->message : "its state cannot be read");
		err_reset(e);
		p->put_count = p->remove_count = 0;
		rc = 0;
	}
	return rc < 0 ? rc : write_rows(p, e);
}

int resource_index_refresh(struct app *app, const char *stack_id, struct err *e)
{
	int rc = -ERR_CONFLICT;
	for (int i = 1; rc == -ERR_CONFLICT && i <= TRIES; i++) {
		_cleanup_arena_ struct arena a;
		arena_init(&a, 0);
		struct refresh p = { .app = app, .a = &a, .stack_id = stack_id };
		rc = try_refresh(&p, i == TRIES, e);
	}
	return rc;
}

/* --- the ticker --- */

struct due {
	struct arena *a;
	int64_t before_us;
	struct index_due_row *rows;
	size_t count;
	int64_t next_us; /* DB_NULL_INT: none */
};

static int due_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct due *p = arg;
	struct index_next_row next;
	int rc = q_index_due(c, p->a, &(struct index_due_in){ p->before_us, TICK_BATCH }, &p->rows, &p->count, e);
	if (rc == 0)
		rc = q_index_next(c, p->a, &(struct index_next_in){ p->before_us }, &next, e);
	if (rc < 0)
		return rc;
	p->next_us = rc > 0 ? next.last_update_us : DB_NULL_INT;
	return 0;
}

int state_index_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct due p = { .a = &a, .before_us = now_us - DELAY_US };
	bool failed = false;
	int rc = db_read(app->db, due_fn, &p, e);
	for (size_t i = 0; rc == 0 && i < p.count; i++) {
		struct err one = { 0 };
		if (resource_index_refresh(app, p.rows[i].id, &one) < 0) {
			failed = true;
			if (!app_log_has(app, &one))
				log_warn("state", "listing the resources of stack %s: %s", p.rows[i].id, one.message);
		}
	}
	if (rc < 0)
		return rc;
	*ret_next_us = p.next_us == DB_NULL_INT ? INT64_MAX : p.next_us + DELAY_US;
	if (failed && *ret_next_us > now_us + TICK_RETRY_US)
		*ret_next_us = now_us + TICK_RETRY_US;
	/* The other rooms have their turn in between. */
	if (p.count == TICK_BATCH && !failed)
		*ret_next_us = now_us;
	return 0;
}
