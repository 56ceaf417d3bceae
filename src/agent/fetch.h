/*
 * fetch.h: the step "Get source" as its own files see it. One struct fetch for one run, on its thread.
 */
#ifndef SLIPWAY_AGENT_FETCH_H
#define SLIPWAY_AGENT_FETCH_H

#include "agent/mirror.h"
#include "agent/source.h"

struct fetch {
	const struct source_config *config;
	const struct order_git *source;
	struct git_config git_config;
	struct git git;
	struct arena *a;
	struct mirror mirror;
	bool copied;	    /* the tree's objects came from the mirror */
	const char *branch; /* that HEAD is on; NULL: detached */
	const char *ref;    /* what is asked for, in full; NULL: a commit */
	const char *start;  /* what is checked out: a hash, or a name in the tree */
};

void fetch_say(struct fetch *f, const char *line);
const char *fetch_path(struct fetch *f, const char *name); /* below the job's folder */

/* --- source_get.c --- */
/* An empty repository in tree/, with everything that the checkout needs. */
int source_get(struct fetch *f, struct err *e);
/* Directly, without a mirror, from nothing. */
int source_get_directly(struct fetch *f, struct err *e);
/* A command that talks to the other side: what may pass is tried again four times. The log's words are those of the
 * hosted service (features §2.1). `again` is called before each further try; NULL: nothing. */
int source_run_remote(struct fetch *f, enum git_place place, const char *const *args,
		      int (*again)(struct fetch *f, struct err *e), struct err *e);

/* --- source_tree.c --- */
/* An empty tree with an empty repository. */
int source_tree_make(struct fetch *f, struct err *e);
/* The tree and its .git to the run's user. */
int source_tree_give(struct fetch *f, struct err *e);
int source_tree_check_out(struct fetch *f, struct err *e);
int source_tree_submodules(struct fetch *f, struct err *e);

/* --- source_lfs.c --- */
/* In the place of pointers to Git LFS the files, where git-lfs is installed. */
int source_lfs(struct fetch *f, struct err *e);

#endif
