/*
 * rename.h: a state under another stack's or project's name.
 *
 * The URNs of resources hold both names, so a renamed stack's state is rewritten; otherwise the next update would
 * replace everything. Texts of the user that look like URNs are no references and stay.
 */
#ifndef SLIPWAY_STATE_RENAME_H
#define SLIPWAY_STATE_RENAME_H

#include "base/json.h"

struct rename_names {
	const char *old_project, *old_name;
	const char *project, *name;
};

/* Pure: appends the document (an UntypedDeployment) to `out`, with every URN of the old stack renamed. */
int rename_document(struct json root, const struct rename_names *names, struct arena *a, struct buf *out,
		    struct err *e);

#endif
