/*
 * save.h: a whole state that a running update saves: full and verbatim checkpoints, and a delta in whose place the whole
 * text is stored.
 */
#ifndef SLIPWAY_STATE_SAVE_H
#define SLIPWAY_STATE_SAVE_H

#include "state/update.h"

/* ERR_BAD_REQUEST: a preview, or an update that was started to save by journal. */
int save_check_way(const struct update *u, bool journal, struct err *e);

/*
 * Stores `checkpoint` in place of what the update has saved so far, under the client's sequenceNumber (0: it has none).
 *
 * The client goes on to the next number when a save was answered. So a number below the last is an old request that came
 * twice, and changes nothing. The last number itself is one whose answer was lost: sent again it may hold a newer text,
 * of which the client would believe that it was saved, and is stored.
 *
 * former: ERR_BAD_REQUEST unless that number was the last; SAVE_ANY: whatever it was.
 */
#define SAVE_ANY DB_NULL_INT
int save_whole(struct app *app, struct arena *a, const char *update_id, const struct checkpoint *checkpoint,
	       int64_t sequence, int64_t former, struct err *e);
/* A delta of this text came too late: something else was saved since. */
int save_check_former(const struct update *u, int64_t former, struct err *e);

#endif
