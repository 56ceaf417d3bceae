/*
 * update_event.h: the event of an update that has ended: stack.update, or stack.preview (identity/event.h).
 */
#ifndef SLIPWAY_STATE_UPDATE_EVENT_H
#define SLIPWAY_STATE_UPDATE_EVENT_H

#include "state/state.h"

/* What an update's row says at its end. */
struct update_outcome {
	const char *id;
	const char *org_id, *stack_id;
	bool dry_run;
	int64_t version;
	const char *deployment_id; /* NULL */
	const char *result;	   /* "succeeded", "failed" */
	/* filled in by update_event_put */
	const char *kind;
	const char *resource_changes; /* JSON object, NULL */
	const char *requested_by;     /* user id, NULL */
};

/* Inside of the caller's transaction, behind the writes of the end. */
int update_event_put(struct db_conn *c, struct arena *a, struct update_outcome *o, struct err *e);
/* Where its page is, for event_url: "updates/3", "previews/<id>". */
const char *update_event_page(struct arena *a, const struct update_outcome *o);

#endif
