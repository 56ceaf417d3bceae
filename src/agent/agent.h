/*
 * agent.h: `slipway agent`. One process with `concurrency` slots; each slot is a thread that polls the server, claims
 * one deployment at a time and runs it. Nothing listens unless asked to; nothing of a run stays behind.
 */
#ifndef SLIPWAY_AGENT_AGENT_H
#define SLIPWAY_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum agent_isolation {
	AGENT_ISOLATION_AUTO,	/* bubblewrap if its probe passes; else, only with `dev`, process with a warning */
	AGENT_ISOLATION_DOCKER, /* a container of an engine; the only level that can run in an image */
	AGENT_ISOLATION_BUBBLEWRAP,
	AGENT_ISOLATION_PROCESS,
};

/* When an image is fetched that is asked for by a tag; one asked for by its digest is fetched once. */
enum agent_pull {
	AGENT_PULL_ALWAYS, /* what is there is used when the registry cannot be reached */
	AGENT_PULL_MISSING,
	AGENT_PULL_NEVER,
};

/* Where credentials are got, without a slash at the end; NULL: at the cloud itself. */
struct agent_clouds {
	const char *aws_sts;
	const char *azure_authority;
	const char *google_sts;
	const char *google_iam;
};

/* The network of runs (network.h), the less open ones behind the others. */
enum agent_network {
	AGENT_NETWORK_AUTO, /* of an agent: isolated where that works; of a pool: whatever the agent says */
	AGENT_NETWORK_HOST,
	AGENT_NETWORK_ISOLATED,
	AGENT_NETWORK_NONE,
};

struct agent_config {
	const char *server_url; /* "http://127.0.0.1:8420" */
	const char *token;	/* pool token; or */
	const char *token_file; /* the file that holds it (white space around it is ignored) */
	enum agent_isolation isolation;
	enum agent_network network; /* no run gets a more open one; AUTO: as its pool says */
	const char *work_dir;	    /* made if absent; one agent at a time (locked). NULL: "slipway-agent" */
	const char *name;	    /* NULL: the host's name */
	const char *config_file; /* that we were configured by, NULL: none; may hold the token, so runs do not see it */
	const char *env_forward; /* names of variables that runs get, apart by commas (forward.h) */
	bool single_run;	 /* end after one deployment */
	int64_t polling_interval_us;	/* between polls where the server does not say; 0: a second */
	bool polling_interval_override; /* keep to it whatever the server says, and let it hold no poll */
	const char *health_host;	/* listen there for /healthz and /metrics; NULL: nothing listens */
	int health_port;		/* 0: any free one */
	int64_t health_threshold_us;	/* health.h */
	int concurrency;		/* 0: 1 */
	const char *tools_dir; /* folder of `pulumi` and its language hosts; NULL: where `pulumi` of our PATH lies */
	const char
		*executor; /* the program; NULL: `slipway-executor` beside our own program, else ../libexec/slipway */
	uint64_t git_cache_max_bytes; /* of all mirrors of repositories (mirror.h); 0: none are kept */
	/* Of one run each (limits.h). */
	int64_t memory_limit_mib;  /* 0: four fifths of the machine's */
	int64_t cpu_limit_percent; /* 100: one processor; 0: no limit */
	int64_t pids_limit;	   /* 0: no limit */
	int64_t disk_limit_mib;	   /* 0: no limit */
	int64_t log_limit_mib;	   /* 0: no limit */
	/* Of docker isolation. */
	const char *docker_host; /* "unix:///var/run/docker.sock" */
	const char *image;	 /* for deployments that name none */
	enum agent_pull pull;
	bool container_read_only;    /* the root of containers */
	bool allow_metadata;	     /* runs reach the cloud's metadata service */
	bool allow_insecure_sources; /* runs may clone file:// and plain http:// repositories, and local paths */
	bool dev;		     /* process isolation is allowed as a last resort */
	bool die_with_parent;	     /* SIGTERM to ourselves when the process that started us ends */
	struct agent_clouds clouds;
	int grace_s;		  /* how long running deployments may go on after SIGTERM; 0: 30 */
	int64_t patience_us;	  /* how long a cancelled pulumi may take to close its update */
	int64_t log_buffer_bytes; /* what a run's log may take on the disk while the server is away */
};

bool agent_isolation_parse(const char *text, enum agent_isolation *ret);
bool agent_pull_parse(const char *text, enum agent_pull *ret);
const char *agent_isolation_name(enum agent_isolation isolation);
bool agent_network_parse(const char *text, enum agent_network *ret);
const char *agent_network_name(enum agent_network network);

/*
 * Runs until SIGTERM or SIGINT: then nothing more is claimed, running deployments may finish for grace_s seconds, are
 * cancelled after that and reported as failed. A second signal kills them. Must be called from a process with one
 * thread (it blocks signals for the threads that it starts) and returns after all of them have ended. 0: stopped as
 * asked; 1: the deployment of a single run failed; else why it could not start (ERR_UNAUTHORIZED: the server refuses the
 * token; ERR_CONFLICT: the work directory is in use; ERR_UNAVAILABLE: the isolation does not work).
 */
int agent_main(const struct agent_config *config, struct err *e);

#endif
