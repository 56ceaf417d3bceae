/*
 * compare.h: what differs between two states, resource by resource.
 */
#ifndef SLIPWAY_STATE_COMPARE_H
#define SLIPWAY_STATE_COMPARE_H

#include "base/json.h"

/*
 * Writes the members "added", "removed" and "changed" (of an object that the caller has begun), each a list in the order of
 * the state that the resource is in:
 *
 *	{"urn":…,"type":…,"id":…}        and of changed ones {"inputs":[names],"outputs":[names],"other":[names]}
 *
 * Of properties the names alone are told: what is secret stays closed. A resource is known by its URN, and by whether it
 * waits for its deletion; `from` and `to` are checked documents of an UntypedDeployment, or absent (no resources).
 */
int compare_states(struct json from, struct json to, struct arena *a, struct json_writer *w, struct err *e);

#endif
