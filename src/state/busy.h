/*
 * busy.h: a stack is one update's at a time. Whoever comes meanwhile hears who has it: the 409 with the text that clients
 * match, and with `currentUpdate`.
 */
#ifndef SLIPWAY_STATE_BUSY_H
#define SLIPWAY_STATE_BUSY_H

#include "http/http.h"
#include "state/update.h"

/* Inside of a transaction: 0 when no update runs, else ERR_CONFLICT and who has the stack (id NULL: unknown). */
int busy_check(struct db_conn *c, struct arena *a, const struct stack *s, struct update *ret_holder, struct err *e);
/* For a handler whose work ended with rc: answers that conflict and returns 0; anything else it returns as it is. */
int busy_answer(struct response *w, int rc, const struct update *holder, const struct err *e);

#endif
