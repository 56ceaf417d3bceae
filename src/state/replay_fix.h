/*
 * replay_fix.h: the two passes over a finished list of resources that keep references whole.
 */
#ifndef SLIPWAY_STATE_REPLAY_FIX_H
#define SLIPWAY_STATE_REPLAY_FIX_H

#include "state/map.h"
#include "state/resource.h"

/* After a refresh resources may be gone that others still name: references to a URN that has not come before in the
 * list are dropped, and a parent that is not in the list at all. */
int fix_dependencies(struct resource *list, size_t count, struct arena *a, struct err *e);

/* Old URNs (aliases) and what has replaced them. */
struct alias_map {
	struct map map; /* old URN → index into urns */
	struct str *urns;
	size_t count, capacity;
};

/* Rewrites every reference to an aliased URN and removes `aliases`. The filled map is left for the snippets. Of two
 * resources that claim the same alias the first has it. */
int fix_aliases(struct resource *list, size_t count, struct alias_map *ret_map, struct arena *a, struct err *e);
/* A text_edit_fn over a struct alias_map. */
bool alias_edit(void *map, struct str in, struct str *ret);

#endif
