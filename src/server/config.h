/*
 * config.h: every option of every command of `slipway`, in one table (config.c). What the table does not say, nobody
 * accepts: flags, environment, file, --help and `slipway config` come from it.
 */
#ifndef SLIPWAY_SERVER_CONFIG_H
#define SLIPWAY_SERVER_CONFIG_H

#include "identity/app.h"
#include "server/options.h"

/* Bits of the commands in struct option. */
enum {
	COMMAND_SERVE = 1 << 0,
	COMMAND_DEV = 1 << 1,
	COMMAND_AGENT = 1 << 2,
	COMMAND_CONFIG = 1 << 3,
	COMMAND_ORG_ADD = 1 << 4,
	COMMAND_USER_ADD = 1 << 5,
	COMMAND_TOKEN_CREATE = 1 << 6,
	COMMAND_POOL_CREATE = 1 << 7,
	COMMAND_ROUTES = 1 << 8,
	COMMAND_KEY_ROTATE = 1 << 10,
	COMMAND_BACKUP = 1 << 11,
	COMMAND_RESTORE = 1 << 12,
	COMMAND_VERIFY = 1 << 13,
	COMMAND_EXPORT = 1 << 14,
	COMMAND_IMPORT = 1 << 15,
	COMMAND_ORG_SET = 1 << 16,
	COMMAND_LIST = 1 << 17, /* users, organizations, members, grants: nothing but an argument */
	COMMAND_GRANT_SET = 1 << 18,
	COMMAND_GRANT_REMOVE = 1 << 19,
	COMMAND_ORG_TOKEN_CREATE = 1 << 20,
	COMMAND_ORG_TOKEN = 1 << 21, /* list, revoke */
	COMMAND_USER_REMOVE = 1 << 22,
	COMMAND_OIDC_ROTATE = 1 << 23,
	COMMAND_PLAIN = 1 << 9, /* version, help: nothing but --help */
};

struct config {
	/* serve, dev */
	const char *data;
	struct address listen;
	const char *public_url; /* NULL: made from where it listens */
	int64_t body_max_mib;	/* the largest body, above all a state */
	int64_t workers;	/* 0: chosen from the number of cores */
	bool access_log;
	struct app_options times; /* executor_path is not an option */
	/* dev, agent */
	const char *isolation;
	const char *network;
	int64_t concurrency;	  /* 0: not said */
	int64_t memory_limit_mib; /* 0: from the machine's memory */
	int64_t cpu_limit_percent;
	int64_t pids_limit;
	int64_t disk_limit_mib;
	int64_t log_limit_mib;
	const char *tools;    /* NULL: where pulumi of PATH lies */
	const char *executor; /* NULL: beside our own program */
	const char *docker_host;
	const char *image;
	const char *pull;
	bool container_read_only;
	bool allow_metadata;
	int64_t grace_us;
	int64_t patience_us;
	int64_t log_buffer_mib;
	const char *aws_sts_url, *azure_authority_url, *google_sts_url, *google_iam_url; /* NULL: the clouds' own */
	/* agent */
	int64_t git_cache_mib;
	bool allow_insecure_sources;
	bool allow_process;
	const char *server;
	const char *token;
	const char *token_file;
	const char *env_forward; /* names, apart by commas */
	bool single_run;
	int64_t polling_interval_us; /* 0: the server holds each poll */
	bool polling_interval_override;
	struct address health_address; /* host NULL: nothing listens */
	int64_t health_threshold_us;
	const char *work;
	const char *name;
	/* all of these */
	const char *config;
	const char *agent_file; /* the file with a configuration in YAML that was read; NULL: none */
	const char *log_level;
	/* admin */
	const char *socket;
	const char *org;
	const char *user;
	const char *role;
	int64_t limit;
	int64_t time_limit_us;
	const char *description;
	const char *level;
	int64_t expires_us; /* from now; 0: never */
	bool admin;
	const char *from;
	bool revoke;
	bool site_admin;
	bool json;
	/* routes */
	bool openapi;
	bool help;
};

extern const struct option config_options[];
extern const size_t config_option_count;

/*
 * Reads everything for `command`: flags, then the environment, then the file: --config or SLIPWAY_CONFIG, in YAML if its name ends
 * so; else slipway.conf in the data directory, and for an agent the first file of the names that Pulumi's own agent
 * looks for (docs/install.md). *ret_rest: the arguments that are no flags. With --help among the flags the rest is not read.
 * ERR_USAGE names the flag, the variable, or the file and line.
 */
int config_read(struct options *o, struct config *ret, unsigned command, int argc, char *const *argv, struct arena *a,
		const char *const **ret_rest, size_t *ret_count, struct err *e);

#endif
