/*
 * limits.h: what one run may use of the machine, and who sees to it. Decided once, at the agent's start; the same for all
 * runs. Memory, processes and processor time are held by control groups (os/cgroup.h) where we may make some, else by
 * limits of each process as far as there are any; the disk is watched (watch.h). A level whose runs are not descendants
 * of ours (isolate.h) sees to them itself.
 */
#ifndef SLIPWAY_AGENT_LIMITS_H
#define SLIPWAY_AGENT_LIMITS_H

#include <stdint.h>

#include "os/cgroup.h"

struct agent;

/* 0: no limit. */
struct limits {
	int64_t memory_bytes;
	int64_t cpu_percent; /* 100: one processor */
	int64_t pids;
	int64_t disk_bytes;
	int64_t log_bytes;
	struct cgroup_base groups;
	const char *text; /* all of it in a line, and by what: for our log, each run's log, and the pool */
};

/* What the options ask for, defaults filled in. */
void limits_read(struct agent *agent);
/* Finds the control groups, and removes those of a former life with what runs in them. */
int limits_start(struct agent *agent, struct arena *a, struct err *e);
/* Once the level is chosen: what holds, as `text` and in our log. */
int limits_describe(struct agent *agent, struct arena *a, struct err *e);
/* The group of a run; without folders where there are none to be had. */
int limits_group(const struct agent *agent, const char *name, struct cgroup *ret, struct err *e);
/* What each process may write to of its memory, where no group counts that of all; 0: no limit. */
int64_t limits_of_process(const struct agent *agent);
/* "19 GiB", "512 MiB". */
const char *limits_size(int64_t bytes, char *ret, size_t size);

#endif
