/*
 * agent_child.h: the agent of `slipway dev`: a child process that is started again when it dies. Of the main thread, which
 * lives as long as the process: the agent gets SIGTERM when that thread ends, however it ends.
 */
#ifndef SLIPWAY_CLI_AGENT_CHILD_H
#define SLIPWAY_CLI_AGENT_CHILD_H

#include "base/mem.h"
#include "cli/signals.h"
#include "os/process.h"
#include "server/config.h"

struct agent_child {
	const char *const *argv;
	struct process process;
	int64_t started_mono_us;
	int64_t restart_mono_us; /* when it may be started (again) */
	int64_t pause_us;	 /* before the next restart */
	int64_t grace_us;	 /* how long it may take to stop */
};

int agent_child_init(struct agent_child *c, const struct config *config, const char *server_url, const char *token_file,
		     struct arena *a, struct err *e);
/* Keeps it running until a signal comes; returns the signal. */
int agent_child_supervise(struct agent_child *c, struct signals *signals);
/* SIGTERM, then waits for it; a second signal to us, or twice the grace, and it is killed. */
void agent_child_stop(struct agent_child *c, struct signals *signals);

#endif
