/*
 * upload.h: carries the steps and lines of one job to the server, in order, by a thread of its own. Lines are gathered
 * into batches (a tenth of a second, or UPLOAD_BATCH_BYTES). A server that is away is waited for as long as the lease may
 * last; meanwhile what is more than UPLOAD_BUFFER_BYTES goes to a file (backlog.h), up to its bound. When that is reached,
 * or the disk is full, upload_full() says so, and the producer stops reading from the program: nothing is cut out.
 *
 * The producing functions are for one thread, the job's. They wait for nothing but that file.
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

struct upload_config {
	const char *server_url;
	const struct api_claim *claim;
	struct contact *contact;
	const char *backlog_dir; /* where the file is made */
	int64_t backlog_max_bytes;
	int wake_fd; /* an eventfd: written when there is room again, when the first item arrived, when the state changes */
	/* Once it says true, the end does not wait for a server that is away. Asked by the thread, meanwhile. */
	bool (*hurry)(void *arg);
	void *hurry_arg;
};

int upload_start(const struct upload_config *config, struct upload **ret, struct err *e);
/* A step's status; the name is copied. */
void upload_step(struct upload *u, int step, const char *name, const char *status);
/* The next line of that step. */
void upload_line(struct upload *u, int step, struct str line);
bool upload_full(struct upload *u);
/* Whether the server has the first item. Before that the deployment may still be given to somebody else. */
bool upload_begun(struct upload *u);
/* *ret_why (may be NULL) is filled unless it is UPLOAD_GOING. */
enum upload_state upload_state(struct upload *u, struct err *ret_why);
/* Sends what is left and ends the thread. A server that is away is waited for patience_ms; -1: while the lease may last.
 * false: not all arrived. */
bool upload_finish(struct upload *u, int64_t patience_ms);
void upload_free(struct upload *u);

#endif
