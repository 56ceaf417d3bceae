#include "state/verify.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/limits.h"
#include "blob/blob.h"
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

struct page {
	struct verify_page p;
	struct verify_orgs_row *orgs;
	struct verify_stacks_row *stacks;
	struct verify_states_row *states;
	struct verify_batches_row *journals;
	struct verify_deltas_row *deltas;
	struct verify_events_row *events;
	struct verify_drift_row *drift;
	struct verify_open_row *open;
};

#define PAGE_FN(name, list, ...)                                                                         \
	static int name##_fn(struct db_conn *c, void *arg, struct err *e)                                \
	{                                                                                                \
		struct page *p = arg;                                                                    \
		struct verify_##list##_in in = { .after = p->p.at.id, .n = VERIFY_PAGE, ##__VA_ARGS__ }; \
		return q_verify_##list(c, p->p.a, &in, &p->name, &p->p.count, e);                        \
	}
PAGE_FN(orgs, orgs)
PAGE_FN(stacks, stacks)
PAGE_FN(states, states)
PAGE_FN(journals, batches, .after_id = p->p.at.second)
PAGE_FN(deltas, deltas, .after_number = p->p.at.line)
PAGE_FN(events, events, .after_id = p->p.at.second)
PAGE_FN(drift, drift)
PAGE_FN(open, open)

int verify_walk(struct app *app, struct verify *v, db_fn fn, verify_row_fn row, struct verify_page *page, struct err *e)
{
	page->at = (struct verify_cursor){ 0 };
	do {
		_cleanup_arena_ struct arena a;
		arena_init(&a, 0);
		page->a = &a;
		int rc = db_read(app->db, fn, page, e);
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < page->count; i++)
			row(app, v, page, i);
	} while (page->count == VERIFY_PAGE);
	return 0;
}

/* --- one of each kind --- */

static void org_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_orgs_row *o = &p->orgs[i];
	struct org org = { .id = o->id, .name = o->name, .data_key = o->data_key };
	struct crypto_key key;
	struct err e = { 0 };
	v->organizations++;
	if (identity_org_key(app->identity, &org, &key, &e) < 0)
		verify_problem(v, "organization %s: its key does not open: %s", o->name, e.message);
	crypto_wipe(&key, sizeof(key));
	verify_at(&page->at, o->id, "");
}

static int key_of(struct app *app, const struct verify_stacks_row *s, struct crypto_key *ret, struct err *e)
{
	struct org org = { .id = s->org_id, .name = s->org, .data_key = s->org_key };
	struct stack stack = { .id = s->id, .org_id = s->org_id, .data_key = s->data_key };
	return state_stack_key(app->identity, &org, &stack, ret, e);
}

static void stack_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
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
	verify_at(&page->at, s->id, "");
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

static void state_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_states_row *s = &p->states[i];
	_cleanup_arena_ struct arena a;
	struct err e = { 0 };
	arena_init(&a, 0);
	v->states++;
	if (check_state(app, &a, s, &e) < 0)
		verify_problem(v, "stack %s/%s/%s: the state of version %" PRId64 ": %s", s->org, s->project, s->name,
			       s->version, e.message);
	verify_at(&page->at, s->id, "");
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

static void journal_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_batches_row *b = &p->journals[i];
	struct err e = { 0 };
	v->journals++;
	if (check_document(b->body, &e) < 0)
		verify_problem(v, "update %s: journal %s: %s", b->update_id, b->id, e.message);
	verify_at(&page->at, b->update_id, b->id);
}

static void delta_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_deltas_row *d = &p->deltas[i];
	struct err e = { 0 };
	v->journals++;
	if (check_document(d->body, &e) < 0)
		verify_problem(v, "update %s: delta %" PRId64 ": %s", d->update_id, d->sequence, e.message);
	verify_at(&page->at, d->update_id, "");
	page->at.line = d->sequence;
}

static void event_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_events_row *b = &p->events[i];
	struct err e = { 0 };
	v->events++;
	if (check_document(b->body, &e) < 0)
		verify_problem(v, "update %s: events %s: %s", b->update_id, b->id, e.message);
	verify_at(&page->at, b->update_id, b->id);
}

static void drift_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_drift_row *d = &p->drift[i];
	struct err e = { 0 };
	v->drift++;
	if (check_document(d->resources, &e) < 0)
		verify_problem(v, "drift run %s: its resources: %s", d->id, e.message);
	verify_at(&page->at, d->id, "");
}

struct still {
	struct arena *a;
	const char *id;
	bool open;
};

static int still_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct still *s = arg;
	struct update u;
	int rc = update_find(c, s->a, s->id, &u, e);
	s->open = rc > 0 && update_is_open(&u);
	return rc < 0 ? rc : 0;
}

/* What a running update has saved so far becomes its state when it ends. */
static void open_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
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
	struct still still = { .a = &a, .id = u.id };
	/* One that has ended since has taken with it what was looked for. */
	if (update_replay(app, &a, &u, &text, &resources, &batches, &e) < 0 &&
	    (db_read(app->db, still_fn, &still, NULL) < 0 || still.open))
		verify_problem(v, "update %s, which is running: %s", u.id, e.message);
	verify_at(&page->at, p->open[i].id, "");
}

int state_verify(struct app *app, struct verify *v, struct err *e)
{
	static const struct {
		db_fn page;
		verify_row_fn row;
	} tables[] = {
		{ orgs_fn, org_row },	      { stacks_fn, stack_row }, { states_fn, state_row },
		{ journals_fn, journal_row }, { deltas_fn, delta_row }, { events_fn, event_row },
		{ drift_fn, drift_row },      { open_fn, open_row },
	};
	struct page page = { 0 };
	int rc = 0;
	/* A server goes on meanwhile: what the rows of a page name stays until they have been looked at. */
	blob_hold(app->blobs);
	for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(tables); i++)
		rc = verify_walk(app, v, tables[i].page, tables[i].row, &page.p, e);
	blob_release(app->blobs);
	return rc;
}
