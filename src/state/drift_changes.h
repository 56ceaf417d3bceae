/*
 * drift_changes.h: which resources the preview of a refresh has found to differ.
 */
#ifndef SLIPWAY_STATE_DRIFT_CHANGES_H
#define SLIPWAY_STATE_DRIFT_CHANGES_H

#include "identity/app.h"

/* Of one run; what is beyond is counted. */
#define DRIFT_RESOURCES_MAX 1000
#define DRIFT_RESOURCES_BYTES ((size_t)512 * 1024)

struct drift_changes {
	int64_t count;	      /* resources that differ */
	bool cut;	      /* not everything of them is in `resources` */
	struct str resources; /* gzip; absent: none differs. In the arena */
};

/*
 * Reads the update's events: each resource whose result is anything but "same". The text is a list:
 *
 *	[{"urn":…,"type":…,"id":…,"kind":"update|delete|…","properties":[drift_diff.h]}]
 *
 * Its own transactions, a page of events at a time.
 */
int drift_changes_read(struct app *app, struct arena *a, const char *update_id, struct drift_changes *ret,
		       struct err *e);

/* Whether a summary of changes ({"same":3,"update":1}; NULL: none) has anything but "same". */
bool drift_in_summary(const char *resource_changes);

#endif
