/*
 * event_filter.h: which engine events a reader wants: `type` (repeated) and `urn`, as `pulumi stack history events` sends
 * them.
 */
#ifndef SLIPWAY_STATE_EVENT_FILTER_H
#define SLIPWAY_STATE_EVENT_FILTER_H

#include "base/json.h"

struct event_filter {
	uint32_t types;	 /* bit per kind of event; 0: all */
	const char *urn; /* NULL: all */
};

/* A kind by its member ("diagnosticEvent") or by its number. Pulumi has published no numbers: ours count the kinds in the
 * order of apitype.EngineEvent, from 0. ERR_BAD_REQUEST for any other text. */
int event_filter_add_type(struct event_filter *f, const char *type, struct err *e);
static inline bool event_filter_is_set(const struct event_filter *f)
{
	return f->types || f->urn;
}
bool event_filter_wants(const struct event_filter *f, struct json event);

#endif
