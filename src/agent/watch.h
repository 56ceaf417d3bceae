/*
 * watch.h: looks after a run while it goes on, from a thread of its own: whether the kernel ended a process of it for want
 * of memory, and how much its folder takes on the disk.
 *
 * A large tree is not walked over and over: the file system is asked how much of it is taken (one system call), and the tree
 * is walked when so much came to it that the limit might be reached, and now and then, never for more than a small
 * part of the time. Files without a name are not found by walking; when they fill the disk itself, that is noticed.
 */
#ifndef SLIPWAY_AGENT_WATCH_H
#define SLIPWAY_AGENT_WATCH_H

#include "agent/limits.h"

enum watch_finding {
	WATCH_FINE,
	WATCH_MEMORY,
	WATCH_DISK,
	WATCH_NESTED,
	WATCH_FULL,
};

struct watch;

/* What is found is written to wake_fd (an eventfd), once. `group` and `limits` outlive the watch. */
int watch_start(const char *dir, const struct limits *limits, const struct cgroup *group, int wake_fd,
		struct watch **ret, struct err *e);
/* The first thing that was found. NULL is fine, in both senses. */
enum watch_finding watch_finding(const struct watch *w);
/* Looks at the memory now: whoever was ended for it may have ended the run before the thread looked. */
void watch_look(struct watch *w);
/* In a sentence: "the run was ended because …". */
void watch_explain(const struct watch *w, char *ret, size_t size);
void watch_stop(struct watch *w);

#endif
