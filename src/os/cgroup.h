/*
 * cgroup.h: a run in a control group of its own, of version 2 or 1, whichever the machine has and lets us make: its memory,
 * processes and processor time are bounded, and at its end all of its processes can be found.
 *
 * Groups are made below our own one, so that the bounds around us hold for them too; with version 2, where a group that has
 * processes cannot have children with controllers, we go into a child of it first, and if somebody else is in there
 * the groups are made in /slipway at the top (which takes root). Each group's name begins with the same words, by which a
 * later life of the same agent finds and removes what a former one left. One cgroup_base per process, made while it
 * has one thread, and constant from then on; a struct cgroup belongs to one thread.
 */
#ifndef SLIPWAY_OS_CGROUP_H
#define SLIPWAY_OS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Processes first: at the end no more of them can be made, before those that are there are killed. */
enum cgroup_kind {
	CGROUP_PIDS,
	CGROUP_MEMORY,
	CGROUP_CPU,
	CGROUP_KINDS,
};

struct cgroup_base {
	const char *prefix;
	struct {
		const char *dir; /* in which groups are made; NULL: there is none */
		int version;
	} parents[CGROUP_KINDS];
};

/* 0: no limit. */
struct cgroup_limits {
	int64_t memory_bytes;
	int64_t pids;
	int64_t cpu_percent; /* 100: one processor */
};

struct cgroup {
	const struct cgroup_base *base;
	char *dirs[CGROUP_KINDS]; /* NULL: none; with version 2 the same text */
	/* Where whoever writes "0" joins; close-on-exec. */
	int join_fds[CGROUP_KINDS];
	size_t join_count;
};

#define CGROUP_NONE ((struct cgroup){ .base = NULL })

/* The places where groups would be made. `mountinfo` and `self` are the files of /proc/self, or a test's. Finding none is
 * not an error. */
int cgroup_find(struct arena *a, const char *mountinfo, const char *self, const char *prefix, struct cgroup_base *ret,
		struct err *e);
/* Drops the places where making one fails: a container often shows the hierarchies and lets nobody write to them. */
void cgroup_probe(struct cgroup_base *base);
/* Removes the groups of this prefix with every process in them. Returns how many there were. */
int cgroup_sweep(const struct cgroup_base *base);
/* The group <prefix>-<name>. Where the base has no parents, a group without folders comes out. */
int cgroup_make(const struct cgroup_base *base, const char *name, const struct cgroup_limits *limits,
		struct cgroup *ret, struct err *e);
/* Nobody else joins. */
void cgroup_close(struct cgroup *g);
/* How often the kernel ended a process of it for want of memory. */
int64_t cgroup_oom_kills(const struct cgroup *g);
/* How often a process or thread could not be made. */
int64_t cgroup_pids_refused(const struct cgroup *g);
/* Kills everything in it, and removes it. Harmless on CGROUP_NONE. */
void cgroup_remove(struct cgroup *g);

#endif
