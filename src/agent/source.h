/*
 * source.h: the step "Get source": fetches one commit of a repository into dir/tree.
 */
#ifndef SLIPWAY_AGENT_SOURCE_H
#define SLIPWAY_AGENT_SOURCE_H

#include "agent/git.h"
#include "agent/mirror.h"

struct source_config {
	struct git_config git; /* `url` and `auth` are filled here; `arg` belongs to all functions */
	const struct order_git *source;
	const struct mirror_cache *mirrors;	  /* NULL: none */
	int retry_pause_ms;			  /* before the first further try; each later pause is twice as long */
	void (*say)(void *arg, const char *line); /* a line of ours, without its break */
};

/*
 * *ret_dir: repoDir, cleaned: relative to the tree, "" for its root; it is a folder and lies within the tree. Faults that
 * may pass are retried four times. The error is the sentence for the user.
 */
int source_fetch(const struct source_config *config, struct arena *a, const char **ret_dir, struct err *e);

/* The URL alone is looked at first, for what must be masked. */
int source_parse(const struct order_git *source, bool insecure, struct arena *a, struct source_url *ret, struct err *e);

/* Cleans repoDir: no absolute path, no "..", no empty parts. */
int source_dir_clean(const char *repo_dir, struct arena *a, const char **ret, struct err *e);

#endif
