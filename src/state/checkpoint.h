/*
 * checkpoint.h: stored states. A checkpoint never changes; its document is the gzip text of an UntypedDeployment, small
 * ones in the row, large ones in the blob store.
 *
 * A blob is: the checkpoint's id, a line feed, the gzip text. So no two rows ever share a blob, and it may be removed
 * as soon as its row is gone.
 *
 * Order of a write: checkpoint_prepare (compresses, writes the blob), then checkpoint_insert inside of the caller's
 * db_write, then checkpoint_settle. Order of a removal: the row inside of a db_write, then
 * checkpoint_remove_blob. A reader that finds the blob gone looks the stack up again (checkpoint_load says how).
 */
#ifndef SLIPWAY_STATE_CHECKPOINT_H
#define SLIPWAY_STATE_CHECKPOINT_H

#include "identity/app.h"
#include "db/db.h"

struct checkpoint {
	const char *id;
	struct str body;      /* gzip; absent when in the blob store */
	const char *blob_key; /* NULL when in the row */
	int64_t size_bytes;   /* of the text */
	int64_t resource_count;
};

/* `gzip` absent: `text` is compressed here. All of *ret lies in the arena, or is `gzip`. */
int checkpoint_prepare(struct app *app, struct arena *a, struct str text, struct str gzip, int64_t resource_count,
		       struct checkpoint *ret, struct err *e);
int checkpoint_insert(struct db_conn *c, const struct checkpoint *p, const char *stack_id, const char *update_id,
		      int64_t version, int64_t now_us, struct err *e);
/* The transaction did not take it. */
void checkpoint_discard(struct app *app, const struct checkpoint *p);
/* The transaction ended with `rc`. One that refused has not taken it either; after a failure nobody knows, and what may
 * be needed stays. */
void checkpoint_settle(struct app *app, const struct checkpoint *p, int rc);

/* Removes the row; *ret_blob_key: what to hand to checkpoint_remove_blob after the commit, or NULL. */
int checkpoint_remove(struct db_conn *c, struct arena *a, const char *id, const char **ret_blob_key, struct err *e);
/* A blob that cannot be removed is logged and left; NULL is fine. */
void checkpoint_remove_blob(struct app *app, const char *blob_key);

/* Row only: inside of a transaction. 1 found, 0 not. */
int checkpoint_find(struct db_conn *c, struct arena *a, const char *id, struct checkpoint *ret, struct err *e);
/* The gzip text of a found row. ERR_NOT_FOUND when a newer state took its place meanwhile: find it again. */
int checkpoint_load(struct app *app, struct arena *a, const struct checkpoint *p, struct str *ret_gzip, struct err *e);

/* Inflates a document into the arena. */
int document_inflate(struct arena *a, struct str gzip, struct str *ret_text, struct err *e);
/* Compresses what comes from us: fast rather than small, since a client waits. */
int document_deflate(struct arena *a, struct str text, struct str *ret_gzip, struct err *e);

#endif
