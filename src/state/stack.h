/*
 * stack.h: stacks inside of this room: making, naming, tagging, removing. Lookups are in state.h.
 */
#ifndef SLIPWAY_STATE_STACK_H
#define SLIPWAY_STATE_STACK_H

#include "state/checkpoint.h"
#include "state/state.h"

struct update;

struct new_stack {
	const struct access *access; /* the organization, and who makes it */
	const char *project;
	const char *name;
	struct json tags;		     /* checked; absent: none */
	const struct checkpoint *checkpoint; /* its first state; NULL: none */
};
/* ERR_CONFLICT "... already exists". */
int stack_create(struct app *app, struct arena *a, const struct new_stack *n, struct err *e);

/* Inside of a transaction; tags are checked, absent or null: none. */
int stack_put_tags(struct db_conn *c, struct arena *a, const char *stack_id, struct json tags, struct err *e);

/* ERR_BAD_REQUEST with the text that the CLI knows when there are resources and not `force`; ERR_CONFLICT while an
 * update runs (*ret_holder: which one, busy.h). With a deployment under way a tombstone stays. */
int stack_delete(struct app *app, struct arena *a, const struct access *access, bool force, struct update *ret_holder,
		 struct err *e);

/* Gives it another name or moves it to another project of its organization. The old name still leads to the stack,
 * because its state's secrets provider goes on naming it, until a new stack takes that name. ERR_BAD_REQUEST when
 * nothing changes; ERR_CONFLICT when the new name is taken, or an update runs (*ret_holder). Leaves an update of the kind "rename" in
 * the history. */
int stack_rename(struct app *app, struct arena *a, const struct access *access, const char *project, const char *name,
		 const char **ret_update_id, struct update *ret_holder, struct err *e);

/* The stack is not there (any more). */
int stack_gone(struct err *e);
/* The text that clients match (cli-protocol §1.4). */
int stack_is_busy(struct err *e);

/* By its id, opened: seals and opens values of the stack. */
int stack_key_by_id(struct app *app, struct arena *a, const struct access *access, struct crypto_key *ret,
		    struct err *e);

#endif
