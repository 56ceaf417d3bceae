/*
 * isolate.h: the levels of isolation. One row per level: what it needs, how it starts an executor, how it ends one with
 * everything that it has started, and what it says of itself. isolate.c has the table and chooses; each level has a
 * file of its own, isolate_NAME.c. A level is chosen once, before the slots run, and is the same for all of them.
 */
#ifndef SLIPWAY_AGENT_ISOLATE_H
#define SLIPWAY_AGENT_ISOLATE_H

#include "agent/internal.h"

/* A running executor. What a level does not use is empty. */
struct isolated {
	struct process process;
	struct docker_run *docker;
};
#define ISOLATED_NONE ((struct isolated){ .process = PROCESS_NONE })

struct isolate_config {
	struct job *job; /* NULL: none, a probe */
	const char *dir; /* the job's folder: tree/ is the checkout */
	uid_t uid;
	gid_t gid;
	const struct cgroup *group;    /* NULL: none */
	const struct network *network; /* only for a level that takes one; NULL: the host's */
	int plan_fd;	/* the plan, as a file in memory; -1: the executor is only asked whether it can run (--probe) */
	int frame_fd;	/* -1: none */
	int control_fd; /* -1: none */
	int stdout_fd;	/* -1: none */
	int stderr_fd;	/* -1: none */
};

/* Where a run finds things, as it sees them itself. */
struct isolate_places {
	const char *root; /* of the executor: the file PULUMI_ENV lies there */
	const char *tree; /* the checkout */
	const char *home;
	const char *tmp;  /* for TMPDIR; NULL: the usual one */
	const char *path; /* the PATH of the run */
	const char *user; /* its name; NULL: the sandbox's */
	bool drop;	  /* the executor begins as root and becomes: */
	uint32_t uid, gid;
	/* "NAME=value", NULL-terminated: what else is set unless somebody set it otherwise; NULL: nothing. */
	const char *const *env;
};

struct isolation {
	enum agent_isolation id;
	bool own_user;	/* where the agent is root, runs have the user of their slot */
	bool own_child; /* what runs are descendants of ours, so that control groups and limits of processes hold them */
	bool takes_network; /* start() puts the executor into isolate_config.network (network.h) */
	bool own_network;   /* makes one itself that is like the mode `isolated`, and no other */
	/* Whether it works here; once, at the agent's start. The error says what is missing, advice what to do then. */
	const char *advice;
	int (*probe)(struct agent *agent, struct err *e);
	/* What an earlier life of this agent left behind is removed, at its start and at its end. NULL: nothing can be left. */
	void (*sweep)(struct agent *agent);
	/* In a job's Setup: whatever takes long or depends on the order, an image above all; without it, a deployment that
	 * needs an image is refused. What it makes is undone by dispose, which is called at the job's end in any case. */
	int (*prepare)(struct job *j, struct err *e);
	void (*dispose)(struct job *j);
	int (*places)(struct job *j, struct isolate_places *ret, struct err *e);
	/* Starts the executor. The caller's thread must live as long as it. */
	int (*start)(const struct agent *agent, const struct isolate_config *c, struct isolated *ret, struct err *e);
	/* Like process_wait. */
	int (*wait)(struct isolated *p, int timeout_ms, struct process_status *ret, struct err *e);
	/* Kills it with everything that it has started; not called when nothing runs. */
	void (*kill)(const struct agent *agent, struct isolated *p);
	/* Kills what outlived its executor: what works in the folder of a job, or has it in its environment. NULL: nothing can. */
	void (*end_in)(const char *dir);
	/* What it protects and what not: lines for the log of each run. NULL-terminated. */
	const char *const *(*text)(const struct agent *agent);
	/* Which limits are in force, and by what, where runs are not descendants of ours; NULL: limits.c knows. */
	const char *(*limits)(const struct agent *agent, struct arena *a);
};

extern const struct isolation isolation_bubblewrap;
extern const struct isolation isolation_docker;
extern const struct isolation isolation_process;

/* Chooses the level that config asks for into agent->level. The error says what to do. */
int isolate_choose(struct agent *agent, struct err *e);
/* Whether runs have a user of their own. */
bool isolate_drops(const struct agent *agent);
/* The three for whoever runs a job; kill is harmless on ISOLATED_NONE, and finds what is left of one
 * that has ended; dir as it was started (NULL: nothing was). */
int isolate_start(const struct agent *agent, const struct isolate_config *c, struct isolated *ret, struct err *e);
int isolate_wait(const struct agent *agent, struct isolated *p, int timeout_ms, struct process_status *ret,
		 struct err *e);
void isolate_kill(const struct agent *agent, struct isolated *p, const char *dir);

/* --- for levels whose executor is a child of ours --- */
/* The executor's command, descriptors and control group, as a child that inherits nothing else. Points into itself and to c. */
struct isolate_command {
	const char *argv[3];
	const char *envp[1];
	struct process_fd fds[2];
	struct process_limit limits[4];
	struct process_config config;
};
void isolate_command_init(struct isolate_command *ret, const struct agent *agent, const struct isolate_config *c);
/* Limits of processes, for what no control group holds. They count by user: only where runs have one of their own. */
void isolate_command_limits(struct isolate_command *c, const struct agent *agent);
int isolate_wait_process(struct isolated *p, int timeout_ms, struct process_status *ret, struct err *e);
void isolate_kill_process(const struct agent *agent, struct isolated *p);

#endif
