/*
 * limits.h: what one run may use of the machine, and who sees to it. Decided once, at the agent's start; the same for all
 * runs. Memory, processes and processor time are held by control groups (os/cgroup.h) where the agent may make some, else
 * by limits of each process as far as there are any; the disk is watched (watch.h).
 */
#ifndef SLIPWAY_AGENT_LIMITS_H
#define SLIPWAY_AGENT_LIMITS_H

#include <stdint.h>

#include "base/err.h"

struct agent_config;
struct arena;

/* 0: no limit. */
struct limits {
	int64_t memory_bytes;
	int64_t cpu_percent; /* 100: one processor */
	int64_t pids;
	int64_t disk_bytes;
	int64_t log_bytes;
};

/* What the options ask for, defaults filled in. */
void limits_read(const struct agent_config *config, struct limits *ret);

#endif
