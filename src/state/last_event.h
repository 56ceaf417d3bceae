/*
 * last_event.h: the end of the stream of events, where its client could not send one.
 *
 * Whoever follows a deployment takes an update whose events end without a summary for one that succeeded (the CLI's
 * showDeploymentEvents); so one that failed or was cancelled gets the two events that its client would have sent: why, and a
 * summary with the result.
 */
#ifndef SLIPWAY_STATE_LAST_EVENT_H
#define SLIPWAY_STATE_LAST_EVENT_H

#include "state/update.h"

struct last_event {
	const char *id; /* of the batch; NULL: none is needed */
	int64_t sequence;
	struct str body; /* gzip */
};
/* Outside of the transaction that ends it. `changes`: JSON object, NULL: unknown. */
int last_event_prepare(struct app *app, struct arena *a, const struct update *u, const char *status, enum ending why,
		       const char *changes, struct last_event *ret, struct err *e);
/* Inside of it. */
int last_event_insert(struct db_conn *c, const char *update_id, const struct last_event *p, int64_t now_us,
		      struct err *e);

#endif
