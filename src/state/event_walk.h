/*
 * event_walk.h: the results of an update's steps (resOutputsEvent), out of the events that its client sent.
 */
#ifndef SLIPWAY_STATE_EVENT_WALK_H
#define SLIPWAY_STATE_EVENT_WALK_H

#include "base/json.h"
#include "identity/app.h"

/* `page` is gone after some more events. */
typedef void (*event_walk_fn)(void *arg, struct json metadata, struct arena *page);

/* Calls `fn` with the metadata of each such event, in the order in which they came; one that came twice counts once. Few
 * batches are held at once. `a`: for what lives as long as the walk. */
int event_walk(struct app *app, struct arena *a, const char *update_id, event_walk_fn fn, void *arg, struct err *e);

#endif
