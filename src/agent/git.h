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
	uint64_t bytes_max;  /* of a file, and of a mirror (the job's folder is watched, watch.h); 0: no limit */
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
	bool has_ca;
	const char *mirror;   /* the folder of GIT_MIRROR; NULL: none */
	const char *const *c; /* further settings ("name=value") of the next commands; NULL: none */
	struct buf tail;      /* the end of the last command's output */
};

enum git_place {
	GIT_TREE,   /* the checkout */
	GIT_MIRROR, /* a bare repository elsewhere (mirror.h) */
};

/* Makes the private folder with the credentials. */
int git_init(struct git *g, const struct git_config *config, struct arena *a, struct err *e);
/* Adds the hosts that were met to known_hosts; removes the private folder. Harmless after a failed git_init. */
void git_done(struct git *g);
/* `git <options> args` there. ERR_BAD_REQUEST: git failed; the error is git's own last word. ERR_CANCELLED, ERR_TIMEOUT,
 * ERR_TOO_LARGE: it was killed. `quiet`: the output is only kept in g->tail. */
int git_run(struct git *g, enum git_place place, const char *const *args, bool quiet, struct err *e);

/* --- git_repo.c --- */
/* An empty repository whose remote `origin` is at `url`. `head`: "ref: refs/heads/main", or a hash. */
int git_repo_make(const char *git_dir, const char *head, const char *url, bool bare, struct arena *a, struct err *e);

/* --- git_private.c --- */
/* A file in the private folder. */
int git_private_write(struct git *g, const char *name, struct str bytes, mode_t mode, struct err *e);
/* The credentials, and what git, ssh and askpass need to use them. */
int git_private_fill(struct git *g, struct err *e);

/* Whether it opens by a passphrase only. */
bool git_key_is_locked(const char *key);

/* --- git_words.c: what git said --- */
enum git_fault {
	GIT_FAULT_REFUSED, /* by the other side, for good: it would say so again */
	GIT_FAULT_NETWORK, /* may be gone a little later; what we have is as it was */
	GIT_FAULT_LARGE,   /* more than this runner takes */
	GIT_FAULT_FINAL,   /* none of these, and no second try would help */
	GIT_FAULT_UNKNOWN,
};
enum git_fault git_fault_of(struct str output);
/* Whether the same command may succeed a little later. */
bool git_failure_is_transient(struct str output);
/* A server that hands out branches and tags only. */
bool git_is_refusal_of_commit(struct str output);
/* The error for the user: ERR_TOO_LARGE, or ERR_BAD_REQUEST. */
int git_error(struct str output, const char *verb, struct err *e);

#endif
