/*
 * drift_diff.h: what differs between the two states of a resource that an engine event tells of, property by property.
 *
 * The event of a refresh has the resource as the state knows it ("old") and as its provider finds it ("new"): inputs and
 * outputs with their secrets closed. Outputs are compared first, then inputs where the outputs have told nothing. What
 * only the provider knows to differ (the two sides of a secret look the same) is taken from its own list ("detailedDiff",
 * else "diffs").
 */
#ifndef SLIPWAY_STATE_DRIFT_DIFF_H
#define SLIPWAY_STATE_DRIFT_DIFF_H

#include <stdbool.h>

#include "base/json.h"

/* Of one resource; of a value, of which more is left out. */
#define DRIFT_PROPERTIES_MAX 100
#define DRIFT_VALUE_BYTES (2 * (size_t)1024)

/*
 * Appends a list: [{"path":"tags.Name","kind":"add|delete|update","old":…,"new":…,"input":true}]. A secret is "[secret]";
 * a value that is too long is left out and "cut" stands in its place. "input": the outputs do not tell of it.
 * *ret_cut: something was left out. Returns how many there are.
 *
 * `metadata` is that of a resource's event, out of json_check.
 */
size_t drift_diff_write(struct json metadata, struct arena *a, struct json_writer *w, bool *ret_cut);

#endif
