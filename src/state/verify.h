/*
 * verify.h: whether everything that this room has stored can be read: `slipway admin verify`.
 *
 * Every document is inflated (gzip's CRC; the SHA-256 of a blob), checked as JSON, a state also as a deployment whose
 * secrets open with its stack's key; the journal of a running update is replayed. Reads a row at a time, writes nothing.
 */
#ifndef SLIPWAY_STATE_VERIFY_H
#define SLIPWAY_STATE_VERIFY_H

#include "state/state.h"

struct verify {
	/* One sentence that names what is wrong and where. */
	void (*problem)(void *arg, const char *text);
	void *arg;
	int64_t problems;
	int64_t organizations, stacks, states, journals, events, drift, settings, logs, cache_entries,
		oidc_keys; /* looked at */
};
/* Counts and tells a problem. */
void verify_problem(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Where a walk over a table has come to: the key of the last row. */
struct verify_cursor {
	char id[64];
	char second[64];
	int64_t step, line;
};
void verify_at(struct verify_cursor *at, const char *id, const char *second);

/* A page of rows behind the cursor. The first member of a room's own page, which has a list for each kind of row. */
#define VERIFY_PAGE 100
struct verify_page {
	struct arena *a;
	struct verify_cursor at;
	size_t count;
};
/* Looks at row i of the page, and moves the cursor there. */
typedef void (*verify_row_fn)(struct app *app, struct verify *v, struct verify_page *page, size_t i);
/* Walks a table: `fn` reads the page behind page->at. */
int verify_walk(struct app *app, struct verify *v, db_fn fn, verify_row_fn row, struct verify_page *page,
		struct err *e);

/* Negative only when the looking itself failed (the database cannot be read). */
int state_verify(struct app *app, struct verify *v, struct err *e);

#endif
