/*
 * process.h: child processes.
 *
 * A child is started by a vfork-style clone: it shares our memory until it has exec'd, makes system calls only (no
 * allocation, no locks, no libc wrapper that keeps state), and therefore may be started from any thread of a threaded
 * program. Every descriptor that is not named in the config is closed in the child; its signal mask and handlers are
 * the defaults. A failure before the exec is reported as the error of process_spawn.
 *
 * The parent-death signal counts from the thread that called process_spawn: that thread must outlive the child.
 * A struct process belongs to one thread at a time.
 */
#ifndef SLIPWAY_OS_PROCESS_H
#define SLIPWAY_OS_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

/* Descriptor `source` of ours becomes `target` (>= 3) in the child. */
struct process_fd {
	int source;
	int target;
};

struct process_limit {
	int resource;	/* RLIMIT_... */
	uint64_t value; /* soft and hard; lowered to the hard limit in force */
};

/*
 * A folder or file that the child shall see under a path that its user can reach, although the folders above the real
 * place are closed to it (a work directory under /root, say). Made inside a mount namespace of the child's own, so the
 * host sees nothing of it. Needs root. `target` is one name, it appears as PROCESS_STAGE "/" target; or, when it begins
 * with a slash, the path of something that is there and is covered.
 */
struct process_mount {
	const char *source;
	const char *target;
	bool is_file;
	bool read_only;
};
#define PROCESS_STAGE "/tmp"

struct process_config {
	const char *const *argv; /* argv[0] is looked up in `path`, or in our own PATH, unless it holds a slash */
	const char *path;	 /* search path for argv[0]; NULL: ours */
	const char *const *envp; /* NULL: ours */
	const char *cwd;	 /* NULL: ours; looked up after the mounts and the change of user */
	int stdin_fd;		 /* -1: /dev/null */
	int stdout_fd;		 /* -1: /dev/null */
	int stderr_fd;		 /* -1: /dev/null */
	const struct process_fd *fds;
	size_t fd_count;
	bool new_session; /* setsid */
	bool new_group;	  /* a process group of its own (implied by new_session) */
	int death_signal; /* sent to the child when the spawning thread ends; 0: none */
	bool drop;	  /* change to uid and gid, without supplementary groups; needs root */
	uid_t uid;
	gid_t gid;
	const int *namespaces; /* entered in this order, after the change of user (netspace.h) */
	size_t namespace_count;
	const struct process_limit *limits;
	size_t limit_count;
	const struct process_mount *mounts; /* see above */
	size_t mount_count;
	/* Open for writing: the child writes "0" to each before it does anything else, and so joins these control groups. */
	const int *join_fds;
	size_t join_count;
	int oom_score; /* oom_score_adj: above 0, the kernel ends it rather than others; only raised */
};

struct process {
	pid_t pid; /* 0: none, or reaped */
	int pidfd; /* readable once the child has ended; -1: none */
};

#define PROCESS_NONE ((struct process){ .pid = 0, .pidfd = -1 })

struct process_status {
	bool signalled;
	int code; /* exit status, or the signal's number */
};

/* ERR_NOT_FOUND: no such program. ERR_IO and others: what failed, in words. */
int process_spawn(const struct process_config *config, struct process *ret, struct err *e);
/* Waits up to timeout_ms (-1: for ever). 1: it has ended, *ret is set and the child is reaped; 0: still running. */
int process_wait(struct process *p, int timeout_ms, struct process_status *ret, struct err *e);
/* To the process, or (group) to the process group that it leads. Nothing happens when it is gone. */
void process_signal(const struct process *p, int sig, bool group);
/* Kills it (and the group that it may lead) and reaps it. Harmless on PROCESS_NONE. */
void process_kill(struct process *p);
/* SIGKILLs every descendant of `root` (not root itself) until none is left; root should be stopped, or be us. Finds
 * those that moved to other sessions, as long as their ancestors live or root is a child subreaper. Returns how many
 * were found. */
int process_kill_descendants(pid_t root);
/* SIGKILLs every process that works in `folder` (an absolute path) or below it, or has it in its environment, until none
 * is left; not ourselves. It finds what has lost its parents. Returns how many were found. */
int process_kill_in(const char *folder);
/* Orphaned descendants become our children (PR_SET_CHILD_SUBREAPER). */
int process_become_subreaper(struct err *e);
/* "exit status 3", "killed by signal 9". */
const char *process_status_text(struct process_status s, char *buf, size_t size);

/* Runs to the end with standard output and standard error collected in `out` (its maximum cuts, without an error).
 * ERR_TIMEOUT: killed after timeout_ms. */
int process_run(const struct process_config *config, int timeout_ms, struct buf *out, struct process_status *ret,
		struct err *e);

/* Finds `name` in `path` (colon separated; NULL: our PATH) as an executable file. NULL if there is none. */
char *process_find(struct arena *a, const char *name, const char *path);

#endif
