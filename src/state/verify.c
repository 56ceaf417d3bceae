#include "state/verify.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"
#include "db/queries_verify.h"
#include "state/deployment.h"
#include "state/secrets.h"
#include "state/update.h"

void verify_problem(struct verify *v, const char *fmt, ...)
{
	char text[ERR_MESSAGE_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	v->problems++;
	v->problem(v->arg, text);
}

void verify_at(struct verify_cursor *at, const char *id, const char *second)
{
	snprintf(at->id, sizeof(at->id), "%s", id);
	snprintf(at->second, sizeof(at->second), "%s", second);
}

/* A page of rows behind the cursor; the fn of each kind of row fills its own list. */
struct page {
	struct arena *a;
	struct verify_cursor at;
	struct verify_orgs_row *orgs;
	struct verify_stacks_row *stacks;
	struct verify_states_row *states;
	struct verify_batches_row *journals;
	struct verify_deltas_row *deltas;
	struct verify_events_row *events;
	struct verify_open_row *open;
	size_t count;
};

#define PAGE_FN(name, list, ...)                                                                       \
	static int name##_fn(struct db_conn *c, void *arg, struct err *e)                              \
	{                                                                                              \
		struct page *p = arg;                                                                  \
		struct verify_##list##_in in = { .after = p->at.id, .n = VERIFY_PAGE, ##__VA_ARGS__ }; \
		return q_verify_##list(c, p->a, &in, &p->name, &p->count, e);                          \
	}
PAGE_FN(orgs, orgs)
PAGE_FN(stacks, stacks)
PAGE_FN(states, states)
PAGE_FN(journals, batches, .after_id = p->at.second)
PAGE_FN(deltas, deltas, .after_number = p->at.line)
PAGE_FN(events, events, .after_id = p->at.second)
PAGE_FN(open, open)

/* Walks all pages: `row` looks at row i of the page and moves the cursor there. */
static int walk(struct app *app, struct verify *v, db_fn fn,
		void (*row)(struct app *app, struct verify *v, struct page *p, size_t i), struct err *e)
{
	struct page p = { .count = VERIFY_PAGE };
	while (p.count == VERIFY_PAGE) {
		_cleanup_arena_ struct arena a;
		arena_init(&a, 0);
		p.a = &a;
		int rc = db_read(app->db, fn, &p, e);
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < p.count; i++)
			row(app, v, &p, i);
	}
	return 0;
}

/* --- one of each kind --- */

static void org_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_orgs_row *o = &p->orgs[i];
	struct org org = { .id = o->id, .name = o->name, .data_key = o->data_key };
	struct crypto_key key;
	struct err e = { 0 };
	v->organizations++;
	if (identity_org_key(app->identity, &org, &key, &e) < 0)
		verify_problem(v, "organization %s: its key does not open: %s", o->name, e.message);
	crypto_wipe(&key, sizeof(key));
	verify_at(&p->at, o->id, "");
}

static int key_of(struct app *app, const struct verify_stacks_row *s, struct crypto_key *ret, struct err *e)
{
	struct org org = { .id = s->org_id, .name = s->org, .data_key = s->org_key };
	struct stack stack = { .id = s->id, .org_id = s->org_id, .data_key = s->data_key };
	return state_stack_key(app->identity, &org, &stack, ret, e);
}

static void stack_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_stacks_row *s = &p->stacks[i];
	struct crypto_key key;
	struct err e = { 0 };
	v->stacks++;
	if (key_of(app, s, &key, &e) < 0)
		verify_problem(v, "stack %s/%s/%s: its key does not open: %s", s->org, s->project, s->name, e.message);
	crypto_wipe(&key, sizeof(key));
	if (s->lost_state)
		verify_problem(v, "stack %s/%s/%s: the row of its newest state is missing", s->org, s->project,
			       s->name);
	verify_at(&p->at, s->id, "");
}

static int check_state(struct app *app, struct arena *a, const struct verify_states_row *s, struct err *e)
{
	struct checkpoint c = { .id = s->id, .body = s->body, .blob_key = s->blob_key };
	struct verify_stacks_row stack = {
		.id = s->stack_id, .org_id = s->org_id, .org = s->org, .org_key = s->org_key, .data_key = s->data_key
	};
	struct sealer sealer = { .owner = arena_printf(a, "state:%s", s->stack_id) };
	struct str gzip, text;
	struct json root;
	int64_t resources;
	int rc = checkpoint_load(app, a, &c, &gzip, e);
	if (rc == 0)
		rc = document_inflate(a, gzip, &text, e);
	if (rc == 0)
		rc = json_check(text, &root, e);
	if (rc == 0)
		rc = untyped_deployment_check(root, &resources, e);
	if (rc == 0 && (int64_t)text.n != s->size_bytes)
		rc = err_set(e, ERR_IO, "has %zu bytes, and should have %" PRId64, text.n, s->size_bytes);
	if (rc == 0 && resources != s->resource_count)
		rc = err_set(e, ERR_IO, "has %" PRId64 " resources, and should have %" PRId64, resources,
			     s->resource_count);
	if (rc == 0)
		rc = key_of(app, &stack, &sealer.key, e);
	if (rc == 0)
		rc = secrets_check(&sealer, json_get(root, "deployment"), e);
	sealer_done(&sealer);
	return rc;
}

static void state_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_states_row *s = &p->states[i];
	_cleanup_arena_ struct arena a;
	struct err e = { 0 };
	arena_init(&a, 0);
	v->states++;
	if (check_state(app, &a, s, &e) < 0)
		verify_problem(v, "stack %s/%s/%s: the state of version %" PRId64 ": %s", s->org, s->project, s->name,
			       s->version, e.message);
	verify_at(&p->at, s->id, "");
}

static int check_document(struct str gzip, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct str text;
	struct json root;
	arena_init(&a, 0);
	int rc = document_inflate(&a, gzip, &text, e);
	return rc < 0 ? rc : json_check(text, &root, e);
}

static void journal_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_batches_row *b = &p->journals[i];
	struct err e = { 0 };
	v->journals++;
	if (check_document(b->body, &e) < 0)
		verify_problem(v, "update %s: journal %s: %s", b->update_id, b->id, e.message);
	verify_at(&p->at, b->update_id, b->id);
}

static void delta_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_deltas_row *d = &p->deltas[i];
	struct err e = { 0 };
	v->journals++;
	if (check_document(d->body, &e) < 0)
		verify_problem(v, "update %s: delta %" PRId64 ": %s", d->update_id, d->sequence, e.message);
	verify_at(&p->at, d->update_id, "");
	p->at.line = d->sequence;
}

static void event_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_events_row *b = &p->events[i];
	struct err e = { 0 };
	v->events++;
	if (check_document(b->body, &e) < 0)
		verify_problem(v, "update %s: events %s: %s", b->update_id, b->id, e.message);
	verify_at(&p->at, b->update_id, b->id);
}

/* What a running update has saved so far becomes its state when it ends. */
static void open_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	struct update u = { .id = p->open[i].id,
			    .stack_id = p->open[i].stack_id,
			    .journal_version = p->open[i].journal_version,
			    .base_checkpoint_id = p->open[i].base_checkpoint_id,
			    .checkpoint_id = p->open[i].checkpoint_id,
			    .saved_sequence = p->open[i].saved_sequence,
			    .engine_version = "" };
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf text;
	int64_t resources, batches;
	struct err e = { 0 };
	arena_init(&a, 0);
	buf_init(&text, HTTP_DOCUMENT_BODY_BYTES * 2);
	if (update_replay(app, &a, &u, &text, &resources, &batches, &e) < 0)
		verify_problem(v, "update %s, which is running: %s", u.id, e.message);
	verify_at(&p->at, p->open[i].id, "");
}

int state_verify(struct app *app, struct verify *v, struct err *e)
{
	int rc = walk(app, v, orgs_fn, org_row, e);
	if (rc == 0)
		rc = walk(app, v, stacks_fn, stack_row, e);
	if (rc == 0)
		rc = walk(app, v, states_fn, state_row, e);
	if (rc == 0)
		rc = walk(app, v, journals_fn, journal_row, e);
	if (rc == 0)
		rc = walk(app, v, deltas_fn, delta_row, e);
	if (rc == 0)
		rc = walk(app, v, events_fn, event_row, e);
	if (rc == 0)
		rc = walk(app, v, open_fn, open_row, e);
	return rc;
}
