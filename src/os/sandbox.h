/*
 * sandbox.h: arguments and system call filter for bubblewrap.
 *
 * The sandbox sees the host's programs (/usr, /bin, /lib*, /etc, /opt) read-only, the folders and files that the config
 * binds, and nothing else of the host: /tmp, /run, /home and the rest are its own, in memory, and of bounded size. There is
 * no /sys, and what /proc tells of the machine's keys and timers is covered. It has user, mount, process, ipc and host
 * name namespaces; no capability; process 1 is the given command. The network is that of
 * whoever starts it (netspace.h).
 *
 * bubblewrap must be started with the descriptors of struct sandbox_fds at their numbers (process.h), as a user that
 * is not root: what root's files protect must stay closed by the ordinary file permissions too.
 */
#ifndef SLIPWAY_OS_SANDBOX_H
#define SLIPWAY_OS_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "os/process.h"

#define SANDBOX_HOME "/home/run"
#define SANDBOX_USER "slipway"
#define SANDBOX_HOSTNAME "slipway"

struct sandbox_bind {
	const char *source; /* as bubblewrap's user sees it */
	const char *target;
	bool writable;
};

struct sandbox_config {
	const char *bwrap; /* the program */
	uid_t uid;
	gid_t gid;
	const struct sandbox_bind *binds;
	size_t bind_count;
	/* Files of the host that the allow list would show (below /etc, /opt, /usr) and the run must not see. */
	const char *const *hide;
	size_t hide_count;
	/* What the run may have of memory: the file systems in memory are parts of it. 0: as large as the kernel makes them. */
	int64_t memory_bytes;
	const char *hosts;    /* lines for the front of /etc/hosts; NULL: none */
	const char *resolver; /* the text of /etc/resolv.conf; NULL: the host's */
	const char *cwd;
	const char *const *command; /* NULL-terminated, as seen inside */
};

/* Descriptors that bubblewrap reads; the caller passes each one on under the same index of `target`. */
#define SANDBOX_FD_COUNT 5
struct sandbox_fds {
	struct process_fd fds[SANDBOX_FD_COUNT];
	size_t count; /* in use: what nobody reads would stay open inside */
};

/* The first number that the descriptors get inside; SANDBOX_FD_COUNT numbers from here are in use. Below it the caller
 * passes what is meant for the command. */
#define SANDBOX_FD_FIRST 10

/* Builds the filter and the small files (passwd, group, hosts, resolv.conf) that stand in for the host's. */
int sandbox_fds_open(const struct sandbox_config *c, struct sandbox_fds *ret, struct err *e);
void sandbox_fds_close(struct sandbox_fds *fds);

/* The whole command line; strings and list in the arena. */
int sandbox_arguments(struct arena *a, const struct sandbox_config *c, const char *const **ret_argv, struct err *e);

/* The filter alone, as a BPF program in a file in memory. */
int sandbox_seccomp(int *ret_fd, struct err *e);

#endif
