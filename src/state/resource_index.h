/*
 * resource_index.h: the table stack_resources: what the newest state of each stack is made of.
 *
 * It is kept outside of the updates: a stack whose checkpoint is not the one that the table shows is due, and the ticker
 * (or a list of that stack) reads its state and writes the rows that differ. So the table follows the states a moment
 * later, and nothing of it is lost with a crash: what is due says the partial index stacks_unindexed.
 *
 * Any thread. Two that read the same stack do not mix: each write checks that no other came in between
 * (stacks.index_serial), and begins anew otherwise.
 */
#ifndef SLIPWAY_STATE_RESOURCE_INDEX_H
#define SLIPWAY_STATE_RESOURCE_INDEX_H

#include "identity/app.h"

/* Brings the rows of a stack up to date. A state that changes at every step of a running update is left for its end. A
 * state that cannot be read is told in the log once, and the rows stay as they were. */
int resource_index_refresh(struct app *app, const char *stack_id, struct err *e);

#endif
