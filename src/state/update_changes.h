/*
 * update_changes.h: the summary of an update whose client never sent one.
 */
#ifndef SLIPWAY_STATE_UPDATE_CHANGES_H
#define SLIPWAY_STATE_UPDATE_CHANGES_H

#include "identity/app.h"

/* Counts, by operation, the steps that the update's events tell of as done: a JSON object as in the summary event, NULL when
 * they tell of none. Each event counts once, however often it came. */
int update_changes_count(struct app *app, struct arena *a, const char *update_id, const char **ret, struct err *e);

#endif
