/*
 * past.h: versions of a stack that another backend made, taken over with their numbers, times and states.
 *
 * Such an update has a derived id (base/id.h). As long as the newest update of a stack has one, the stack has not been
 * used here, and further versions may be taken; afterwards its history is its own and stays as it is.
 */
#ifndef SLIPWAY_STATE_PAST_H
#define SLIPWAY_STATE_PAST_H

#include "state/checkpoint.h"
#include "state/state.h"

struct past {
	const char *stack_id;
	const char *update_id; /* derived */
	int64_t version;       /* 0: the next one */
	const char *kind;
	const char *status; /* "succeeded", "failed" */
	const char *message;
	const char *environment; /* JSON object */
	struct str config;	 /* gzip; absent: none */
	const char *changes;	 /* JSON object; NULL: unknown */
	const char *author;	 /* a login; NULL: unknown */
	int64_t resource_count;	 /* DB_NULL_INT: unknown */
	int64_t started_us;
	int64_t ended_us;
	const struct checkpoint *checkpoint; /* NULL: the state is not to be had; `export --version` says so */
};
struct past_result {
	int64_t version;
	bool taken; /* false: it was here already, and nothing has changed */
	bool author_known;
};
/* ERR_CONFLICT when an update runs, when the stack has been used here, or when the version is not newer than all of the
 * stack's. */
int past_take(struct app *app, struct arena *a, const struct past *n, struct past_result *ret, struct err *e);

#endif
