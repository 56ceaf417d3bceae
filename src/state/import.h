/*
 * import.h: a state that takes the place of the stack's, outside of any update of a client.
 */
#ifndef SLIPWAY_STATE_IMPORT_H
#define SLIPWAY_STATE_IMPORT_H

#include "state/update.h"

struct import {
	const char *stack_id;
	const char *message;
	const char *requested_by;  /* user id, NULL */
	const char *deployment_id; /* NULL */
	const struct checkpoint *checkpoint;
};
struct imported {
	const char *update_id;
	int64_t version;
	struct update holder; /* ERR_CONFLICT: who has the stack (busy.h) */
};
/* A new version of the stack, of the kind "import". ERR_CONFLICT while an update runs. */
int state_import(struct app *app, struct arena *a, const struct import *n, struct imported *ret, struct err *e);

#endif
