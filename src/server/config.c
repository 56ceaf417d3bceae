#include "server/config.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "identity/limits.h"

#define SERVER (COMMAND_SERVE | COMMAND_DEV | COMMAND_CONFIG)
#define RUNNER (COMMAND_AGENT | COMMAND_DEV | COMMAND_CONFIG)
#define AGENT (COMMAND_AGENT | COMMAND_CONFIG)
#define ADMIN                                                                                                       \
	(COMMAND_ORG_ADD | COMMAND_ORG_SET | COMMAND_USER_ADD | COMMAND_TOKEN_CREATE | COMMAND_POOL_CREATE |        \
	 COMMAND_KEY_ROTATE | COMMAND_BACKUP | COMMAND_RESTORE | COMMAND_VERIFY | COMMAND_EXPORT | COMMAND_IMPORT | \
	 COMMAND_LIST | COMMAND_GRANT_SET | COMMAND_GRANT_REMOVE | COMMAND_ORG_TOKEN_CREATE | COMMAND_ORG_TOKEN |   \
	 COMMAND_USER_REMOVE | COMMAND_OIDC_ROTATE)
#define PROGRAMS (SERVER | AGENT)

static const char *const isolations[] = { "auto", "docker", "bubblewrap", "process", NULL };
static const char *const pulls[] = { "always", "missing", "never", NULL };
static const char *const networks[] = { "auto", "host", "isolated", "none", NULL };
static const char *const roles[] = { "admin", "member", NULL };
static const char *const levels[] = { "none", "read", "deploy", "write", "admin", NULL };
static const char *const log_levels[] = { "debug", "info", "warn", "error", NULL };

/* Shortest and longest sensible time: the tests use short ones. */
#define TIME .min = 10 * US_PER_MS, .max = 3650 * US_PER_DAY, .argument = "TIME"

const struct option config_options[] = {
	OPTION(struct config, data, "data", OPTION_STRING, SERVER | ADMIN, .argument = "DIR",
	       .fallback = "./slipway-data", .help = "directory of everything the server keeps"),
	OPTION(struct config, listen, "listen", OPTION_ADDRESS, SERVER, .argument = "HOST:PORT",
	       .fallback = "127.0.0.1:8420", .help = "address of the API; port 0 takes a free one"),
	OPTION(struct config, public_url, "public-url", OPTION_STRING, SERVER, .argument = "URL",
	       .help = "the server's address as others see it (default: from --listen)"),
	OPTION(struct config, server, "server", OPTION_STRING, AGENT, .alias = "service_url", .argument = "URL",
	       .help = "the server to take deployments from"),
	OPTION(struct config, token, "token", OPTION_STRING, AGENT, .alias = "token", .secret = true,
	       .argument = "TOKEN",
	       .help = "the agent pool's token itself; others see a flag, better use --token-file"),
	OPTION(struct config, token_file, "token-file", OPTION_STRING, AGENT | COMMAND_IMPORT, .argument = "FILE",
	       .help = "file with the token: of the agent pool; for an import, of a user of the other service"),
	OPTION(struct config, isolation, "isolation", OPTION_CHOICE, RUNNER, .alias = "deploy_target",
	       .refused = "kubernetes",
	       .refused_why = "Slipway's agent starts no pods. Let the agent itself run in one, with the isolation "
			      "bubblewrap, or on a machine with an engine of containers, with docker",
	       .argument = "LEVEL", .fallback = "auto", .one_of = isolations,
	       .help = "how runs are kept apart: auto, docker, bubblewrap or process"),
	OPTION(struct config, network, "network", OPTION_CHOICE, RUNNER, .argument = "MODE", .fallback = "auto",
	       .one_of = networks,
	       .help = "how open the network of runs may be: auto (as the pool says), host, isolated, none"),
	OPTION(struct config, concurrency, "concurrency", OPTION_INT, RUNNER, .argument = "N", .min = 1, .max = 64,
	       .help = "deployments that run at once (default: 1; of dev: 2)"),
	OPTION(struct config, memory_limit_mib, "memory-limit", OPTION_INT, RUNNER, .argument = "MIB", .fallback = "0",
	       .min = 0, .max = 16 * 1024 * 1024, .help = "memory of one run, in MiB; 0: four fifths of the machine's"),
	OPTION(struct config, cpu_limit_percent, "cpu-limit", OPTION_INT, RUNNER, .argument = "PERCENT",
	       .fallback = "0", .min = 0, .max = 100 * 1024,
	       .help = "processor time of one run, 100 being one processor; 0: no limit"),
	OPTION(struct config, pids_limit, "pids-limit", OPTION_INT, RUNNER, .argument = "N", .fallback = "4096",
	       .min = 32, .max = 4 * 1024 * 1024, .help = "processes and threads of one run"),
	OPTION(struct config, disk_limit_mib, "disk-limit", OPTION_INT, RUNNER, .argument = "MIB", .fallback = "10240",
	       .min = 0, .max = 64 * 1024 * 1024, .help = "files of one run on the disk, in MiB; 0: no limit"),
	OPTION(struct config, log_limit_mib, "log-limit", OPTION_INT, RUNNER, .argument = "MIB", .fallback = "256",
	       .min = 1, .max = 1024 * 1024, .help = "output of one run that its log keeps, in MiB"),
	OPTION(struct config, tools, "tools", OPTION_STRING, RUNNER, .argument = "DIR",
	       .help = "folder of pulumi and its language hosts (default: where pulumi of the PATH lies)"),
	OPTION(struct config, executor, "executor", OPTION_STRING, RUNNER, .argument = "FILE",
	       .help = "the slipway-executor (default: beside this program)"),
	OPTION(struct config, grace_us, "grace", OPTION_DURATION, RUNNER, .argument = "TIME", .fallback = "10s",
	       .min = US_PER_S, .max = 24 * US_PER_HOUR,
	       .help = "how long running deployments may go on after SIGTERM"),
	OPTION(struct config, patience_us, "cancel-patience", OPTION_DURATION, RUNNER, .argument = "TIME",
	       .fallback = "30s", .min = 100 * US_PER_MS, .max = 45 * US_PER_S,
	       .help = "how long a cancelled pulumi may take to close its update"),
	OPTION(struct config, log_buffer_mib, "log-buffer", OPTION_INT, RUNNER, .argument = "MIB", .fallback = "64",
	       .min = 0, .max = 64 * KIB,
	       .help = "disk for the log of each run while the server is away; then it waits"),
	OPTION(struct config, work, "work", OPTION_STRING, AGENT, .alias = "working_directory", .argument = "DIR",
	       .fallback = "./slipway-work", .help = "directory for the runs' files"),
	OPTION(struct config, docker_host, "docker-host", OPTION_STRING, RUNNER, .argument = "URL",
	       .fallback = "unix:///var/run/docker.sock",
	       .help = "containers: the engine's socket, or tcp://host:port"),
	OPTION(struct config, image, "image", OPTION_STRING, RUNNER, .argument = "NAME",
	       .fallback = "pulumi/pulumi:latest", .help = "containers: the image of deployments that name none"),
	OPTION(struct config, pull, "pull", OPTION_CHOICE, RUNNER, .argument = "WHEN", .fallback = "always",
	       .one_of = pulls, .help = "fetch an image that is there already: always, missing (no), never (nothing)"),
	OPTION(struct config, container_read_only, "read-only-containers", OPTION_BOOL, RUNNER,
	       .help = "with docker isolation: runs cannot write to the root of their image"),
	OPTION(struct config, allow_metadata, "allow-metadata", OPTION_BOOL, RUNNER,
	       .help = "let runs reach the cloud's metadata service, 169.254.169.254"),
	OPTION(struct config, name, "name", OPTION_STRING, AGENT, .argument = "NAME",
	       .help = "the agent's name in its pool (default: the host's name)"),
	OPTION(struct config, env_forward, "env-forward", OPTION_LIST, AGENT, .alias = "env_forward_allowlist",
	       .argument = "NAMES", .help = "variables of the agent's environment that runs get, apart by commas"),
	OPTION(struct config, single_run, "single-run", OPTION_BOOL, AGENT, .alias = "single_run",
	       .help = "end after one deployment: status 0 if it succeeded, else 1"),
	OPTION(struct config, polling_interval_us, "polling-interval", OPTION_DURATION, AGENT,
	       .alias = "polling_interval", .argument = "TIME", .min = US_PER_S, .max = US_PER_HOUR,
	       .help = "pause between polls where the server does not name one (default: it holds each poll)"),
	OPTION(struct config, polling_interval_override, "polling-interval-override", OPTION_BOOL, AGENT,
	       .alias = "polling_interval_override", .fallback = "false",
	       .help = "keep to --polling-interval whatever the server says, and let it hold no poll"),
	OPTION(struct config, health_address, "health-address", OPTION_ADDRESS, AGENT, .alias = "http_server_port",
	       .argument = "HOST:PORT", .help = "listen there for /healthz and /metrics (default: nothing listens)"),
	OPTION(struct config, health_threshold_us, "health-threshold", OPTION_DURATION, AGENT,
	       .alias = "health_threshold", .argument = "TIME", .fallback = "5m", .min = US_PER_S, .max = US_PER_DAY,
	       .help = "an idle agent whose polls fail for so long is not healthy"),
	OPTION(struct config, aws_sts_url, "aws-sts-url", OPTION_STRING, RUNNER, .argument = "URL",
	       .help = "where AWS roles are assumed (default: STS of AWS, of the region that the run is set to)"),
	OPTION(struct config, azure_authority_url, "azure-authority-url", OPTION_STRING, RUNNER, .argument = "URL",
	       .help = "where Microsoft Entra takes tokens (default: https://login.microsoftonline.com)"),
	OPTION(struct config, google_sts_url, "google-sts-url", OPTION_STRING, RUNNER, .argument = "URL",
	       .help = "where Google takes tokens (default: https://sts.googleapis.com)"),
	OPTION(struct config, google_iam_url, "google-iam-url", OPTION_STRING, RUNNER, .argument = "URL",
	       .help = "where Google lets one be a service account (default: https://iamcredentials.googleapis.com)"),
	OPTION(struct config, allow_insecure_sources, "allow-insecure-sources", OPTION_BOOL, AGENT,
	       .help = "let runs clone file:// and plain http:// repositories"),
	OPTION(struct config, git_cache_mib, "git-cache-limit", OPTION_INT, RUNNER, .argument = "MIB",
	       .fallback = "10240", .min = 0, .max = 1024 * 1024 * 1024,
	       .help = "MiB of repositories that the agent keeps: the oldest go; 0: none"),
	OPTION(struct config, allow_process, "allow-process-isolation", OPTION_BOOL, AGENT,
	       .help = "with --isolation auto: run without a sandbox where none works"),
	OPTION(struct config, times.runner_timeout_us, "runner-timeout", OPTION_DURATION, SERVER, TIME,
	       .fallback = "10m", .help = "a runner that was silent for so long has lost its deployment"),
	OPTION(struct config, times.claim_timeout_us, "claim-timeout", OPTION_DURATION, SERVER, TIME, .fallback = "15s",
	       .help = "from the claim until the runner has fetched the work order"),
	OPTION(struct config, times.queue_expiry_us, "queue-expiry", OPTION_DURATION, SERVER, TIME, .fallback = "168h",
	       .help = "a deployment that nobody took for so long is skipped"),
	OPTION(struct config, times.deployment_timeout_us, "deployment-timeout", OPTION_DURATION, SERVER, TIME,
	       .fallback = "2h", .help = "the longest that a deployment may run; organizations may differ"),
	OPTION(struct config, times.deployment_timeout_max_us, "max-deployment-timeout", OPTION_DURATION, SERVER, TIME,
	       .fallback = "24h", .help = "the longest that an organization's administrator may set for its own"),
	OPTION(struct config, times.concurrency_max, "max-deployments", OPTION_INT, SERVER, .argument = "N",
	       .fallback = "100", .min = 1, .max = LIMITS_CONCURRENCY_MAX,
	       .help = "how many deployments at once such an administrator may allow"),
	OPTION(struct config, times.lease_us, "lease", OPTION_DURATION, SERVER, TIME, .fallback = "5m",
	       .help = "the longest lease of an update; less than 4m ends long updates of the CLI"),
	OPTION(struct config, times.log_retention_us, "log-retention", OPTION_DURATION, SERVER, TIME,
	       .fallback = "2160h", .help = "how long logs of deployments are kept"),
	OPTION(struct config, times.state_versions, "state-versions", OPTION_INT, SERVER, .argument = "N",
	       .fallback = "0", .min = 0, .max = INT32_MAX,
	       .help = "how many versions of a stack's state are kept; 0: all"),
	OPTION(struct config, times.state_retention_us, "state-retention", OPTION_DURATION, SERVER, TIME,
	       .help = "how long versions of a state are kept, the newest always (default: for ever)"),
	OPTION(struct config, times.event_retention_us, "event-retention", OPTION_DURATION, SERVER, TIME,
	       .help = "how long the engine events of an update are kept (default: for ever)"),
	OPTION(struct config, times.cache_entry_mib, "cache-entry-limit", OPTION_INT, SERVER, .argument = "MIB",
	       .fallback = "5120", .min = 1, .max = 1024 * 1024,
	       .help = "the largest archive of the dependency cache, in MiB"),
	OPTION(struct config, times.cache_mib, "cache-limit", OPTION_INT, SERVER, .argument = "MIB",
	       .fallback = "51200", .min = 1, .max = 1024 * 1024 * 1024,
	       .help = "the dependency cache in all, in MiB: what was read longest ago goes"),
	OPTION(struct config, times.cache_retention_us, "cache-retention", OPTION_DURATION, SERVER, TIME,
	       .fallback = "720h", .help = "an archive of the dependency cache that nobody read for so long goes"),
	OPTION(struct config, times.oidc_key_age_us, "oidc-key-age", OPTION_DURATION, SERVER, .argument = "TIME",
	       .fallback = "2160h", .min = 2 * US_PER_HOUR, .max = 3650 * US_PER_DAY,
	       .help = "how long a key of the OIDC issuer signs before the next one does"),
	OPTION(struct config, body_max_mib, "body-limit", OPTION_INT, SERVER, .argument = "MIB", .fallback = "512",
	       .min = 1, .max = HTTP_DOCUMENT_BODY_BYTES / MIB,
	       .help = "the largest state that is taken, before and after inflating, in MiB"),
	OPTION(struct config, workers, "workers", OPTION_INT, SERVER, .argument = "N", .fallback = "0", .min = 0,
	       .max = 1024, .help = "threads that handle requests; 0: from the number of processors"),
	OPTION(struct config, access_log, "access-log", OPTION_BOOL, SERVER, .fallback = "false",
	       .help = "one line per request on standard error"),
	OPTION(struct config, log_level, "log-level", OPTION_CHOICE, PROGRAMS, .argument = "LEVEL", .fallback = "info",
	       .one_of = log_levels, .help = "debug, info, warn or error"),
	OPTION(struct config, socket, "socket", OPTION_STRING, ADMIN, .argument = "FILE",
	       .help = "the server's control socket (default: slipway.sock in the data directory)"),
	OPTION(struct config, org, "org", OPTION_STRING,
	       COMMAND_USER_ADD | COMMAND_POOL_CREATE | COMMAND_IMPORT | COMMAND_ORG_TOKEN_CREATE | COMMAND_ORG_TOKEN,
	       .argument = "ORG", .flag_only = true, .help = "the organization"),
	OPTION(struct config, limit, "limit", OPTION_INT, COMMAND_ORG_SET, .argument = "N", .flag_only = true, .min = 1,
	       .max = LIMITS_CONCURRENCY_MAX, .help = "how many of its deployments may run at once"),
	OPTION(struct config, time_limit_us, "time-limit", OPTION_DURATION, COMMAND_ORG_SET, .argument = "TIME",
	       .flag_only = true, .min = 0, .max = LIMITS_TIMEOUT_MAX_S * US_PER_S,
	       .help = "the longest that one may run, in whole seconds; 0s: as the server says"),
	OPTION(struct config, from, "from", OPTION_STRING, COMMAND_IMPORT, .argument = "URL", .flag_only = true,
	       .help = "file://DIR, or the address of another Pulumi service"),
	OPTION(struct config, role, "role", OPTION_CHOICE, COMMAND_USER_ADD, .argument = "ROLE", .flag_only = true,
	       .one_of = roles, .help = "in that organization: admin or member (default: as it was, or member)"),
	OPTION(struct config, site_admin, "site-admin", OPTION_BOOL, COMMAND_USER_ADD, .flag_only = true,
	       .help = "make a site administrator; the first user is one in any case"),
	OPTION(struct config, user, "user", OPTION_STRING,
	       COMMAND_TOKEN_CREATE | COMMAND_GRANT_SET | COMMAND_GRANT_REMOVE, .argument = "NAME", .flag_only = true,
	       .help = "the user whom the token, or the grant, is for"),
	OPTION(struct config, level, "level", OPTION_CHOICE, COMMAND_GRANT_SET | COMMAND_ORG_SET, .argument = "LEVEL",
	       .flag_only = true, .one_of = levels,
	       .help = "what may be done to a stack: none, read, deploy, write or admin"),
	OPTION(struct config, admin, "admin", OPTION_BOOL, COMMAND_ORG_TOKEN_CREATE, .flag_only = true,
	       .help = "with the rights of an administrator of the organization, not those of a member"),
	OPTION(struct config, expires_us, "expires", OPTION_DURATION, COMMAND_TOKEN_CREATE | COMMAND_ORG_TOKEN_CREATE,
	       .argument = "TIME", .flag_only = true, .min = US_PER_S, .max = 3650 * US_PER_DAY,
	       .help = "how long it is good, two years at most (default: for ever)"),
	OPTION(struct config, description, "description", OPTION_STRING,
	       COMMAND_TOKEN_CREATE | COMMAND_POOL_CREATE | COMMAND_ORG_TOKEN_CREATE, .argument = "TEXT",
	       .flag_only = true, .help = "what it is for"),
	OPTION(struct config, json, "json", OPTION_BOOL, ADMIN, .flag_only = true,
	       .help = "print the whole answer as JSON"),
	OPTION(struct config, revoke, "revoke", OPTION_BOOL, COMMAND_OIDC_ROTATE, .flag_only = true,
	       .help = "take all other keys out of the JWKS at once: every token that they signed is worth nothing"),
	OPTION(struct config, openapi, "openapi", OPTION_BOOL, COMMAND_ROUTES, .flag_only = true,
	       .help = "print the OpenAPI document instead"),
	OPTION(struct config, config, "config", OPTION_STRING, PROGRAMS, .argument = "FILE", .flag_only = true,
	       .help = "read options from FILE (default: slipway.conf in the data directory)"),
	OPTION(struct config, help, "help", OPTION_BOOL, ~0u, .flag_only = true, .help = "show this"),
};
const size_t config_option_count = ARRAY_SIZE(config_options);

/* Of Pulumi's own agent (features §7.4). */
#define AGENT_PREFIX "PULUMI_AGENT_"
static const char *const agent_files[] = { "pulumi-workflow-agent.yaml", "pulumi-deployment-agent.yaml" };
static const char engine_does[] = "how images are run is said by the options for containers";
static const char own_rules[] = "the agent has its own rules: it goes on trying, with growing pauses";
static const struct option_foreign agent_foreign[] = {
	{ "shared_volume_directory", "runs get their files without one" },
	{ "workflow_runners_directory", "there is one program, slipway-executor (--executor)" },
	{ "workflow_runners_embeddable", "there is one program, slipway-executor (--executor)" },
	{ "pull_image", engine_does },
	{ "enabled_workflow_types", "there are only deployments" },
	{ "oidc_token_file", "an agent has the token of its pool (token, or --token-file)" },
	{ "organization_name", "the token says which pool it is" },
	{ "runner_pool_id", "the token says which pool it is" },
	{ "token_expiration", "the token of a pool does not expire" },
	{ "job_status_loop_interval", "the server says at once that a deployment was cancelled" },
	{ "request_timeout", own_rules },
	{ "request_retry_count", own_rules },
	{ "request_retry_wait", own_rules },
	{ "request_retry_max_wait", own_rules },
	{ "circuit_breaker_failures", own_rules },
	{ "circuit_breaker_timeout", own_rules },
	{ "syslog", "the log goes to standard error, where systemd and containers take it" },
};

static bool is_yaml(const char *path)
{
	return str_ends_with(str_of(path), ".yaml") || str_ends_with(str_of(path), ".yml");
}

static int read_named(struct options *o, struct config *config, const char *path, struct err *e)
{
	if (!is_yaml(path))
		return options_read_file(o, path, true, e);
	config->agent_file = path;
	return options_read_yaml(o, path, true, NULL, e);
}

/* In the folder where it was started, at home, in /etc, beside the program. */
static int find_agent_file(struct options *o, struct config *config, struct err *e)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(self, '/');
	const char *home = getenv("HOME");
	const char *folders[] = { ".", home && *home ? home : "/etc", "/etc", slash ? self : "/etc" };
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(folders) * ARRAY_SIZE(agent_files); i++) {
		const char *path = arena_printf(o->arena, "%s/%s", folders[i / ARRAY_SIZE(agent_files)],
						agent_files[i % ARRAY_SIZE(agent_files)]);
		bool found;
		int rc = path ? options_read_yaml(o, path, false, &found, e) : err_nomem(e);
		if (rc < 0 || found) {
			config->agent_file = path;
			return rc;
		}
	}
	return 0;
}

static int read_file(struct options *o, struct config *config, unsigned command, struct err *e)
{
	const char *env = getenv("SLIPWAY_CONFIG");
	if (config->config)
		return read_named(o, config, config->config, e);
	if (env && *env)
		return read_named(o, config, env, e);
	int rc = command & AGENT ? find_agent_file(o, config, e) : 0;
	if (rc < 0 || !(command & SERVER))
		return rc;
	const char *data = config->data;
	const char *path = arena_printf(o->arena, "%s/slipway.conf", data);
	if (!path)
		return err_nomem(e);
	rc = options_read_file(o, path, false, e);
	if (rc == 0 && !streq(config->data, data))
		return err_set(e, ERR_USAGE, "%s: the file in the data directory cannot name another data directory",
			       options_value(o, "data")->where);
	return rc;
}

int config_read(struct options *o, struct config *ret, unsigned command, int argc, char *const *argv, struct arena *a,
		const char *const **ret_rest, size_t *ret_count, struct err *e)
{
	memset(ret, 0, sizeof(*ret));
	int rc = options_init(o, config_options, config_option_count, command, ret, a, e);
	if (rc == 0 && (command & AGENT))
		rc = options_use_aliases(o, AGENT_PREFIX, agent_foreign, ARRAY_SIZE(agent_foreign), e);
	if (rc == 0)
		rc = options_read_args(o, argc, argv, ret_rest, ret_count, e);
	if (rc == 0 && ret->help)
		return 0;
	if (rc == 0)
		rc = options_read_environment(o, getenv, e);
	if (rc == 0 && (command & PROGRAMS))
		rc = read_file(o, ret, command, e);
	return rc;
}
