/*
 * internal.h: the agent as its own files see it. One struct agent per process; after agent_main has filled it, only the
 * atomics change. A struct job belongs to its slot's thread; what its other threads touch is atomic or has a lock.
 */
#ifndef SLIPWAY_AGENT_INTERNAL_H
#define SLIPWAY_AGENT_INTERNAL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/limits.h"
#include "agent/lines.h"
#include "agent/mirror.h"
#include "agent/upload.h"
#include "agent/watch.h"
#include "base/id.h"
#include "os/process.h"

/* The user of slot N is SLOT_UID_FIRST + N: above the ranges of Debian's and Ubuntu's users and services, below 65534. */
#define SLOT_UID_FIRST 64800
#define CONCURRENCY_MAX 100

struct isolation;
struct network;

/* What network_probe found. */
struct agent_networks {
	bool works[AGENT_NETWORK_NONE + 1];
	char why[AGENT_NETWORK_NONE + 1][400]; /* not, and what to do */
	enum agent_network usual;	       /* of runs whose pool says nothing */
	char attacher[256];		       /* the program of isolated networks */
	int variant;			       /* of its own isolation */
};

struct agent {
	const struct agent_config *config;
	const char *server_url;
	const char *token;
	const char *name;
	char hostname[256];
	const char *work_dir; /* absolute */
	const char *jobs_dir; /* below it */
	const char *instance; /* id of the work folder, kept in it */
	char life[ID_SIZE];   /* id of this process */
	const char *known_hosts;
	struct mirror_cache mirrors;
	const char *tools_dir; /* NULL: there is no pulumi */
	const char *executor;
	const char *bwrap;
	const char *path;	       /* our PATH */
	const struct isolation *level; /* isolate.h; chosen at the start */
	const char *isolation;	       /* the level and what it limits, for the pool */
	struct agent_networks networks;
	struct limits limits; /* of each run */
	pid_t parent;
	bool root;
	bool insecure;
	_Atomic int stopping;	      /* 0, 1: after the grace period, 2: at once */
	_Atomic int64_t stop_mono_us; /* when running deployments are cancelled */
	_Atomic bool refused;	      /* the server does not know our token (first poll) */
	_Atomic int single;	      /* what became of the deployment of a single run: enum job_result */
};

/* --- agent.c --- */
/* Gives back what this process has claimed and not begun. false: the server was not reached. */
bool agent_leave(const struct agent *agent);

/* --- tools.c --- */
int tools_find(struct agent *agent, struct arena *a, struct err *e);
/* "v3.259.0" of the pulumi in tools_dir, or NULL. */
const char *tools_pulumi_version(const struct agent *agent, struct arena *a);

/* --- heart.c: heartbeats, by a thread of their own --- */
struct heart;
struct heart_state {
	_Atomic bool cancel; /* somebody wants the deployment to stop */
	_Atomic bool lost;   /* the attempt is no longer ours */
};
int heart_start(const char *server_url, const struct api_claim *claim, struct contact *contact, int interval_s,
		int wake_fd, struct heart_state *state, struct heart **ret, struct err *e);
/* Before the result is reported: what a heartbeat hears from now on says nothing about the run. */
void heart_leave(struct heart *h);
void heart_stop(struct heart *h);

/* --- job.c --- */
enum job_stop {
	JOB_RUNS,
	JOB_CANCELLED,	   /* by a user */
	JOB_DEADLINE,	   /* its time limit */
	JOB_RUNNER_STOPS,  /* SIGTERM and the grace period is over */
	JOB_CUT_OFF,	   /* the server was not reached for so long that the lease will soon be over */
	JOB_KILL_RUNNER,   /* second SIGTERM: at once */
	JOB_KILL_LOST,	   /* lease lost: at once, and silently */
	JOB_KILL_REFUSED,  /* the server does not take our log: at once */
	JOB_KILL_CUT_OFF,  /* … that the server may give the stack to somebody else now */
	JOB_KILL_OVERTIME, /* was asked to stop long ago */
	JOB_KILL_LIMIT,	   /* used more than it may (watch.h) */
};

struct credentials;
struct refresh;
/* An OIDC token that the run has, or had. */
struct job_token {
	const char *text;
	const struct job_token *before;
};

struct job {
	const struct agent *agent;
	int slot;
	struct api_claim claim;
	struct api api;
	struct contact contact;
	struct arena arena;
	struct order order;
	const char *dir;
	uid_t uid;
	gid_t gid;
	const char *repo_dir;
	struct network *network; /* NULL: the host's */
	struct mask_set *mask;
	struct upload *upload;
	struct heart *heart;
	struct credentials *credentials;       /* credentials.h; NULL before they are fetched */
	const struct job_token *tokens;	       /* those that came while it ran, newest first */
	bool token_waits;		       /* the newest is not with the run yet */
	int64_t oidc_due_us, oidc_lifetime_us; /* wall clock: when to get another token */
	struct refresh *refresh;
	struct heart_state state;
	struct cgroup group;
	struct watch *watch;
	int64_t printed_bytes; /* output that went into the log */
	int cut_step;	       /* the last step in which the log was full; -1: none */
	int wake_fd;
	int64_t deadline_us;
	int64_t stop_since_us; /* when job_stop first said to stop; 0: not yet */
	int64_t step_began_us; /* monotonic */
	int step;	       /* number of the running or last step, -1: none yet */
	char step_name[128];
	bool step_open;
	struct docker_run *docker; /* its container, if that is the level; from prepare to kill or dispose */
	bool out_of_memory;	   /* something of it was killed for that */
	struct lines lines;
	bool hand_back;	    /* the agent stops, and nothing of it was begun */
	struct err failure; /* why the deployment failed; code 0: it did not */
};

enum job_result {
	JOB_NONE, /* there was no work order: nothing ran */
	JOB_SUCCEEDED,
	JOB_FAILED,
};

/* Runs a claimed deployment from its order to its finish. */
enum job_result job_run(const struct agent *agent, int slot, const struct api_claim *claim);
/* Whether, and why, it has to stop. */
enum job_stop job_stop(struct job *j);
bool job_stop_is_kill(enum job_stop s);
/* Runs fn as a step, which fails with it. */
int job_run_step(struct job *j, const char *name, int (*fn)(struct job *j, struct err *e), struct err *e);

/* --- job_log.c: steps and lines --- */
void job_step_begin(struct job *j, const char *name);
void job_step_end(struct job *j, bool ok);
/* A step that will not run. */
void job_step_skipped(struct job *j, const char *name);
void job_line(struct job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void job_output(struct job *j, struct str bytes);
/* All secrets of the order into j->mask. *ret_short names the variables whose values are too short to mask. */
int job_mask_init(struct job *j, struct buf *ret_short, struct err *e);

/* --- job_cache.c: archives of dependencies between executor and server (executor/plan.h "Cache") --- */
struct job_cache {
	struct job *job;
	int control_fd;
	int file; /* the archive that passes, -1: none */
	int64_t bytes, max;
	const char *put_path;
	struct err failure; /* of taking what the executor sends */
};
void job_cache_init(struct job_cache *c, struct job *j, int control_fd);
void job_cache_done(struct job_cache *c);
void job_cache_get(struct job_cache *c, struct str key);
void job_cache_put(struct job_cache *c, struct str key);
void job_cache_data(struct job_cache *c, struct str bytes);
void job_cache_end(struct job_cache *c, bool whole);
/* A message to the executor. false: it is gone, or the run is to be killed. */
bool job_cache_send(struct job_cache *c, char type, struct str payload);

/* --- job_credentials.c --- */
/* The step, when the settings ask for a cloud; else the token alone, silently. */
int job_credentials(struct job *j, struct err *e);
/* Adds their secrets to j->mask, which is not built yet. */
int job_credentials_mask(struct job *j, struct err *e);
/* New tokens for the file of a run that goes on for long. turn: the payload of a CONTROL_FILE, when there is one to send. */
void job_refresh_start(struct job *j);
int job_refresh_turn(struct job *j, struct buf *ret_file, struct err *e);
void job_refresh_stop(struct job *j);

/* --- job_run.c: the executor's part --- */
int job_execute(struct job *j, struct err *e);

/* --- plan_write.c --- */
int plan_write(struct job *j, struct buf *out, struct err *e);

#endif
