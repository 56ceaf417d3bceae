/*
 * replay.h: the state that a journal leaves (cli-protocol §3.6.4). Pure: no database, no clock of its own.
 *
 * The result equals what the CLI's own replayer makes, resource for resource, but for the text: what the user's engine
 * wrote is copied, never printed anew.
 */
#ifndef SLIPWAY_STATE_REPLAY_H
#define SLIPWAY_STATE_REPLAY_H

#include "base/json.h"

struct replay_input {
	struct json base;	    /* an UntypedDeployment; absent: the stack had no state */
	const struct json *batches; /* bodies {"entries":[..]} that journal_body_check() let pass, as they arrived */
	size_t batch_count;
	const char *engine_version; /* of the CLI that ran the update ("v3.259.0"), for the manifest; "" if unknown */
	int64_t now_us;		    /* time of the manifest */
};

/* Appends an UntypedDeployment to `out`. Entries may come in any order and repeatedly: they are sorted by sequence id,
 * and of equal ones the first to arrive counts. */
int replay(const struct replay_input *in, struct arena *a, struct buf *out, int64_t *ret_resource_count, struct err *e);

#endif
