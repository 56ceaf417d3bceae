/*
 * mirror.h: bare repositories that the agent keeps, so that a repository comes over the network once.
 *
 * A mirror belongs to one URL and one set of credentials: its name is a hash of both, salted with the id of the work
 * folder. Whoever has other credentials, or none, gets another one. Each run asks the server anew, with its own
 * credentials, what its branch is and whether it may read the repository; only what the server still shows is taken.
 *
 * One run at a time uses a mirror. While it does, the file `ready` is away; so a mirror whose user was killed, or failed,
 * begins anew. It belongs to the agent's user, and to the run's user while its git writes there. The tree gets copies of
 * the packs, never links: what a run does to them stays there.
 *
 * Nothing of it is ever a reason to fail: where no mirror is to be had, the tree is fetched directly.
 */
#ifndef SLIPWAY_AGENT_MIRROR_H
#define SLIPWAY_AGENT_MIRROR_H

#include "agent/git.h"

struct mirror_cache {
	const char *dir;    /* of all mirrors */
	const char *salt;   /* secret */
	uint64_t bytes_max; /* of all; 0: no mirrors */
};

struct mirror {
	const struct mirror_cache *cache;
	char key[68];
	const char *path; /* NULL: not open */
	bool warm;	  /* somebody has fetched into it before */
	bool changed;	  /* it may be larger than before; set by its user */
	uint64_t first_bytes;
};

/* At the start of an agent: removes what a former life was using when it was killed. */
void mirror_sweep(const struct mirror_cache *cache);

/* Waits while another run uses it, for as long as is sensible. 1: it is ours until mirror_close, 0: there is none. */
int mirror_open(const struct mirror_cache *cache, const struct git_config *git, struct arena *a, struct mirror *ret,
		struct err *e);
/* `good`: kept for the next run; else removed. Makes room where all together are too large. Harmless if not open. */
void mirror_close(struct mirror *m, bool good);
/* Removes it, if nobody uses it: what came from it was no good. Works on one that is closed. */
void mirror_forget(struct mirror *m);
/* The hash that `ref` (one of ours, see mirror_ref_name) has there; NULL: none. */
const char *mirror_hash(const struct mirror *m, const char *ref, struct arena *a);
/* Remembers the hash under one of our names. */
int mirror_put(const struct mirror *m, const char *ref, const char *hash, const struct git_config *git, struct arena *a,
	       struct err *e);
/* A name of ours for a branch, tag or commit of the other side: flat, so that "a" and "a/b" do not meet. */
const char *mirror_ref_name(const char *name, struct arena *a);
/* Everything that it holds, into an empty .git. */
int mirror_copy(const struct mirror *m, const struct git_config *git, const char *git_dir, struct arena *a,
		struct err *e);

#endif
