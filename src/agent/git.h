/*
 * git.h: runs the git program for one source, hardened: no system or user configuration, no hooks, no file system
 * monitor, only the protocols that are allowed, no terminal, credentials by askpass from files that only git's user may
 * read. The repository and everything in it may be hostile.
 */
#ifndef SLIPWAY_AGENT_GIT_H
#define SLIPWAY_AGENT_GIT_H

#include "agent/order.h"
#include "agent/source_url.h"
#include "os/process.h"

struct git_config {
	const char *dir; /* the job's folder: tree/ is the checkout, git/ is private and removed by git_done */
	bool drop;	 /* run as uid and gid (needs root) */
	uid_t uid;
	gid_t gid;
	bool insecure;
	const char *known_hosts; /* the agent's file, read, and added to by git_done; may not exist */
	struct source_url url;
	struct order_auth auth;
	int64_t deadline_us; /* monotonic: everything together */
	int wake_fd;	     /* readable when `stopped` may have changed */
	bool (*stopped)(void *arg);
	void (*output)(void *arg, struct str bytes);
	void *arg;
};

struct git {
	const struct git_config *config;
	struct arena *a;
	const char *base; /* `dir` as git's user sees it */
	const char *const *env;
	bool has_password;
	struct buf tail; /* the end of the last command's output */
};

/* Makes the private folder with the credentials, and the empty tree. */
int git_init(struct git *g, const struct git_config *config, struct arena *a, struct err *e);
/* Adds the hosts that were met to known_hosts; removes the private folder. Harmless after a failed git_init. */
void git_done(struct git *g);
/* `git -C tree <options> args`. ERR_BAD_REQUEST: git failed; the error is git's own last word. ERR_CANCELLED,
 * ERR_TIMEOUT: it was killed. `quiet`: the output is only kept in g->tail. */
int git_run(struct git *g, const char *const *args, bool quiet, struct err *e);
/* --- git_private.c --- */
/* A file in the private folder. */
int git_private_write(struct git *g, const char *name, struct str bytes, mode_t mode, struct err *e);
/* The credentials, and the list of users that ssh wants. */
int git_private_fill(struct git *g, struct err *e);

/* Whether the same command may succeed a little later, by what git said. */
bool git_failure_is_transient(struct str output);

#endif
