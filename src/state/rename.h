/*
 * rename.h: a stack gets another name, or moves to another project of its organization.
 *
 * The URNs of its resources hold both names, so the newest state is rewritten; otherwise the next update would replace
 * everything. The old name still leads to the stack, because the state's secrets provider goes on naming it, until a
 * new stack takes that name.
 */
#ifndef SLIPWAY_STATE_RENAME_H
#define SLIPWAY_STATE_RENAME_H

#include "state/state.h"

/* ERR_BAD_REQUEST when nothing changes; ERR_CONFLICT when the new name is taken, or an update runs. Leaves an update
 * of the kind "rename" in the history. */
int stack_rename(struct app *app, struct arena *a, const struct access *access, const char *project, const char *name,
		 const char **ret_update_id, struct err *e);

/* Pure: the document with every URN of the old stack renamed. Appends to `out`. */
struct rename_names {
	const char *old_project, *old_name;
	const char *project, *name;
};
int rename_document(struct json root, const struct rename_names *names, struct arena *a, struct buf *out,
		    struct err *e);

#endif
