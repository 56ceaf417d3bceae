/*
 * executor.h: the program that runs the steps of one deployment, inside of the sandbox. It is linked statically (it
 * must run in any image), has one thread, and links only base/ and os/.
 *
 * It survives every step: signals are read from a descriptor, the steps have process groups of their own. As process 1
 * (or as a child subreaper) it reaps what the steps leave behind, and kills all of it before it ends.
 */
#ifndef SLIPWAY_EXECUTOR_EXECUTOR_H
#define SLIPWAY_EXECUTOR_EXECUTOR_H

#include <stdbool.h>

#include "base/str.h"
#include "os/process.h"

struct env_set;

/* --- plan.c --- */
struct plan {
	const char *root;
	const char *tree;
	const char *work_dir;
	const char *stack;
	const char *operation;
	const char *shell;
	int64_t patience_ms;	    /* of a cancel (plan.h) */
	const char *home;	    /* HOME, unless the user's variables say otherwise */
	bool fixed_paths;	    /* the tree has the same path in every run */
	bool cache;		    /* keep dependencies for later runs */
	const char *const *pre_run; /* NULL-terminated */
	int64_t memory_bytes;
	bool drop; /* to uid and gid */
	int64_t uid, gid;
	bool skip_install_dependencies;
	bool delete_after_destroy;
	bool remediate_if_drift_detected;
	struct env_set *env;
	const struct plan_file {
		const char *path;
		struct str content;
	} * files;
	size_t file_count;
	bool files_required;
};

/* `source` as on the command line. Everything in the arena. */
int plan_load(const char *source, struct arena *a, struct plan *ret, struct err *e);
int plan_parse(struct str text, struct arena *a, struct plan *ret, struct err *e);

/* --- files.c --- */
/* As root: makes the folders of the files for the user of the run, who may not make them himself. */
void files_prepare(const struct plan *plan, struct arena *a);
/* Makes the files of the plan. Fails only when the run needs them. */
int files_write(const struct plan *plan, struct arena *a, struct err *e);
/* Payload of CONTROL_FILE. */
void files_replace(struct str path_and_content);

/* --- env.c: an environment that grows --- */
struct env_set {
	struct arena *a;
	const char **list; /* "NAME=value", NULL-terminated: fit for envp */
	size_t n;
	size_t cap;
};

struct env_set *env_set_new(struct arena *a);
/* Replaces an earlier value. false: out of memory. */
bool env_set_put(struct env_set *s, struct str name, struct str value);
const char *env_set_get(const struct env_set *s, const char *name);
bool env_name_valid(struct str name);
/* Takes over the NAME=value lines (features §2.3). `said` gets the sentence for the log: which names are new or changed,
 * and how many lines were not understood; nothing when there is nothing to say. Values never appear in it. */
bool env_set_load(struct env_set *s, struct str text, struct buf *said);

/* --- project.c --- */
struct project {
	bool found;		     /* there is a Pulumi.yaml */
	const char *runtime;	     /* "nodejs"; NULL if the file does not say */
	const char *virtualenv;	     /* python: runtime.options.virtualenv, or NULL */
	const char *toolchain;	     /* python: runtime.options.toolchain, or NULL */
	const char *package_manager; /* nodejs: runtime.options.packagemanager, or NULL */
	const char *binary;	     /* go, dotnet, java: runtime.options.binary, or NULL */
};

/* Reads Pulumi.yaml (or .yml) of the folder. ERR_BAD_REQUEST: it is no YAML. */
int project_load(const char *folder, struct arena *a, struct project *ret, struct err *e);
int project_parse(struct str yaml, struct arena *a, struct project *ret, struct err *e);

/* --- dependencies.c --- */
struct dependency_plan {
	const char *said;	 /* a line for the log, or NULL */
	const char *dir;	 /* where the commands run */
	const char *commands[4]; /* for `sh`, run in order; NULL ends */
	const char *check;    /* instead of them when node_modules came from the cache under this lock file; or NULL */
	const char *tool;     /* the program that the commands need; NULL: none */
	const char *activate; /* folder of a Python environment that later steps run in, or NULL */
};

/* Decides by the project and the files that are there; looks for lock files no further up than `tree`. */
int dependencies_plan(const char *tree, const char *work_dir, const struct project *project, struct arena *a,
		      struct dependency_plan *ret, struct err *e);

/* --- frame_out.c: frames out, control in --- */
struct channel {
	int out_fd;
	int control_fd;
	struct buf pending; /* frames that were not written yet */
	struct buf control; /* what came and was not taken yet */
	size_t taken;	    /* bytes of it that channel_receive gave out */
	bool in_line;	    /* the last output had no line break at its end */
	bool cancelled;
	bool dead; /* the agent is gone */
};

void channel_init(struct channel *c, int out_fd, int control_fd);
void channel_frame(struct channel *c, char type, struct str payload);
/* Output of the running step; longer texts than a frame holds are cut. */
void channel_output(struct channel *c, struct str bytes);
/* Whole lines of our own, which begin on a line of their own. */
void channel_say(struct channel *c, struct str lines);
void channel_line(struct channel *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool channel_full(const struct channel *c);
/* Writes what goes without waiting, reads control bytes that are there. */
void channel_pump(struct channel *c);
/* Waits until all is written or the agent is gone. */
void channel_flush(struct channel *c);
/* Waits for the next message of the agent (plan.h, "Control"); *ret_payload is good until the channel is
 * pumped. ERR_CANCELLED when there will be none. */
int channel_receive(struct channel *c, char *ret_type, struct str *ret_payload, struct err *e);
void channel_done(struct channel *c);

/* --- runner.c: one command at a time --- */
struct runner {
	struct channel *channel;
	int output[2]; /* one pipe for all steps: what runs on in the background may still write */
	int signal_fd; /* SIGCHLD */
	bool process_one;
	struct process_limit memory;
	const char *path; /* where argv[0] is looked up: PATH of the plan */
};

int runner_init(struct runner *r, struct channel *c, struct err *e);
/* Runs argv in work_dir and forwards its output until it ends. On cancel: SIGINT to its group, after `term_ms` SIGTERM,
 * after `kill_ms` more SIGKILL. ERR_NOT_FOUND: no such program. */
struct runner_patience {
	int64_t term_ms, kill_ms;
};
int runner_run(struct runner *r, const char *const *argv, const char *work_dir, const struct env_set *env,
	       struct runner_patience patience, struct process_status *ret, struct err *e);
/* Kills everything that is left. */
void runner_end(struct runner *r);

/* --- metadata.c --- */
/* Takes the way to the cloud's metadata service (169.254.0.0/16, fd00:ec2::/32) out of the network that we are in, for
 * good as far as those are concerned who may not change it: a run has no right to. Needs CAP_NET_ADMIN. */
int metadata_close(struct err *e);

/* --- privileges.c --- */
/* Becomes that user, without any capability, for good. Needs CAP_SETPCAP, CAP_SETUID and CAP_SETGID. */
int privileges_drop(uint32_t uid, uint32_t gid, struct err *e);

/* --- reach.c --- */
/* Listens on the address, and relays what connects over standard input and output (os/relay.h), until those end. */
int reach_run(const char *address, const char *port, struct err *e);

/* --- steps.c --- */
/* All steps of the plan. 0: succeeded; else the error has the sentence of the F frame. */
int steps_run(struct runner *r, struct plan *plan, struct arena *a, struct err *e);

#endif
