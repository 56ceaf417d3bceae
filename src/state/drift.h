/*
 * drift.h: drift runs. Each preview of a refresh that ends leaves one, whoever made it: a schedule, a deployment, somebody's
 * own CLI, another CI.
 *
 * A remediation is an update that a deployment makes which was asked to remediate: the second step of a detection, whose run
 * it belongs to, or an operation of its own. That belongs to the stack's newest run if it has found drift which nobody has
 * remediated yet, else to a run of its own, which has detected nothing.
 */
#ifndef SLIPWAY_STATE_DRIFT_H
#define SLIPWAY_STATE_DRIFT_H

#include "state/drift_changes.h"
#include "state/update_event.h"

/* Inside of the transaction that ends the update, behind update_event_put: the run that it is, or the remediation. `found`:
 * of the preview of a refresh (NULL for other updates). Writes their events. */
int drift_update_ended(struct db_conn *c, struct arena *a, const struct update_outcome *o,
		       const struct drift_changes *found, struct err *e);

#endif
