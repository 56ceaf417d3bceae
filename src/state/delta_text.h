/*
 * delta_text.h: the text that an update has saved so far by verbatim and delta checkpoints.
 *
 * On disk it is the update's checkpoint (the last text that was saved whole) and the rows of checkpoint_deltas since.
 * Every delta needs the whole text, to apply its edits and to check the hash of the result; so the text of the last one
 * is kept in memory until the next one comes. Who takes a text owns it, so that no two requests ever share one; what is
 * lost (evicted, another server, a restart) is built anew from disk.
 */
#ifndef SLIPWAY_STATE_DELTA_TEXT_H
#define SLIPWAY_STATE_DELTA_TEXT_H

#include "base/id.h"
#include "state/update.h"

struct delta_text {
	int64_t sequence;      /* of the save that made it */
	char base_id[ID_SIZE]; /* of the checkpoint that was last saved whole */
	char *data;	       /* heap */
	size_t n;
	size_t base_bytes;  /* of the text that was last saved whole */
	size_t delta_bytes; /* of the bodies stored since */
	int64_t deltas;
};
void delta_text_done(struct delta_text *t);
#define _cleanup_delta_text_ __attribute__((cleanup(delta_text_done)))

/* What is kept, else built. ERR_BAD_REQUEST when the update has not saved a whole text yet. */
int delta_text_take(struct app *app, struct arena *a, const char *update_id, struct delta_text *ret, struct err *e);
/* Keeps it for the next delta; *t is empty afterwards. */
void delta_text_put(const char *update_id, struct delta_text *t);
/* An update that has ended saves no more. */
void delta_text_forget(const char *update_id);

/* Appends the text of an update to `out`, when deltas were saved since it was saved whole. *ret_deltas 0: there are none,
 * the update's checkpoint is the text, and nothing was appended. */
int delta_text_read(struct app *app, struct arena *a, const struct update *u, struct buf *out, int64_t *ret_deltas,
		    struct err *e);

#endif
