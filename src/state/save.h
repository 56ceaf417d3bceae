/*
 * save.h: a whole state that a running update saves: full and verbatim checkpoints, and a delta in whose place the whole
 * text is stored.
 */
#ifndef SLIPWAY_STATE_SAVE_H
#define SLIPWAY_STATE_SAVE_H

#include "state/update.h"

/* ERR_BAD_REQUEST: a preview, or an update that was started to save by journal. */
int save_check_way(const struct update *u, bool journal, struct err *e);

/* Stores `checkpoint` in place of what the update has saved so far, under the client's sequenceNumber (0: it has none).
 * A sequence number that was saved already is nothing new: it was answered, and the answer was lost. */
int save_whole(struct app *app, struct arena *a, const char *update_id, const struct checkpoint *checkpoint,
	       int64_t sequence, struct err *e);

#endif
