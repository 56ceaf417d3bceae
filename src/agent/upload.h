/*
 * upload.h: carries the steps and lines of one job to the server, in order, by a thread of its own. Lines are gathered
 * into batches (a tenth of a second, or UPLOAD_BATCH_BYTES). A server that is away is waited for; meanwhile the buffer
 * fills up to UPLOAD_BUFFER_BYTES, upload_full() says so, and the producer stops reading from the program.
 *
 * The producing functions are for one thread, the job's. They never block.
 */
#ifndef SLIPWAY_AGENT_UPLOAD_H
#define SLIPWAY_AGENT_UPLOAD_H

#include "agent/api.h"
#include "base/limits.h"

#define UPLOAD_BATCH_BYTES (256 * KIB)
#define UPLOAD_BUFFER_BYTES (4 * MIB)

enum upload_state {
	UPLOAD_GOING,
	UPLOAD_LOST,	/* the attempt is no longer ours (409, 401, 404): kill the run, write nothing more */
	UPLOAD_REFUSED, /* the server does not take what we send: our fault, the run fails */
};

struct upload;

/* `wake_fd` is an eventfd that is written when there is room again, and when the state changes. Once `hurry` says true
 * (asked while a server that is away is waited for), the end is not waited for any longer; it is called by the thread. */
int upload_start(const char *server_url, const struct api_claim *claim, int wake_fd, bool (*hurry)(void *arg),
		 void *hurry_arg, struct upload **ret, struct err *e);
/* A step's status; the name is copied. */
void upload_step(struct upload *u, int step, const char *name, const char *status);
/* The next line of that step. */
void upload_line(struct upload *u, int step, struct str line);
bool upload_full(struct upload *u);
/* *ret_why (may be NULL) is filled unless it is UPLOAD_GOING. */
enum upload_state upload_state(struct upload *u, struct err *ret_why);
/* Sends what is left, as long as the server is away at most patience_ms, and ends the thread. false: not all arrived. */
bool upload_finish(struct upload *u, int64_t patience_ms);
void upload_free(struct upload *u);

#endif
