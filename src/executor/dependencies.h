/*
 * dependencies.h: what has to be installed before a program can run, by the runtime of the project and by the files that
 * are there. Nothing is run here; the plan says what steps.c runs. Internal to the files dependencies*.c and cache_key.c.
 */
#ifndef SLIPWAY_EXECUTOR_DEPENDENCIES_H
#define SLIPWAY_EXECUTOR_DEPENDENCIES_H

#include "executor/executor.h"

/* Where the project lies: work_dir is tree or below it. */
struct place {
	const char *tree;
	const char *work_dir;
};

/* A regular file of that name in the folder (links are followed, as the tools do). */
bool dependencies_has(const char *folder, const char *name, struct arena *a);
/* The folder above `dir`, or NULL when that is no longer in the tree. */
const char *dependencies_parent(const struct place *at, const char *dir, struct arena *a);

struct node_manager {
	const char *name;
	const char *locks[3]; /* any of them selects it */
	const char *locked;   /* with a lock file */
	const char *loose;    /* without */
	const char *
		check; /* looks whether the lock file fits, and leaves node_modules; NULL: `locked` does not remove it */
};

struct node_choice {
	const struct node_manager *manager;
	const char *dir;  /* where it is run: the project's folder, or the root of the workspace that it belongs to */
	const char *lock; /* name of the lock file in dir, or NULL */
};

/* ERR_BAD_REQUEST: Pulumi.yaml asks for a manager that nobody knows. */
int dependencies_node_choose(const struct place *at, const struct project *p, struct arena *a, struct node_choice *ret,
			     struct err *e);
int dependencies_node(const struct place *at, const struct project *p, struct arena *a, struct dependency_plan *ret,
		      struct err *e);
int dependencies_python(const struct place *at, const struct project *p, struct arena *a, struct dependency_plan *ret,
			struct err *e);

#endif
