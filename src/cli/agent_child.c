#include "cli/agent_child.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* Pauses between restarts double from the first to the last; an agent that lived longer than the last begins anew. */
#define PAUSE_FIRST_US (1 * US_PER_S)
#define PAUSE_LAST_US (30 * US_PER_S)
/* After the grace of running deployments the agent cancels them, and reports. */
#define STOP_EXTRA_US (30 * US_PER_S)
/* Somebody who tries things wants to see two of them. */
#define CONCURRENCY 2

int agent_child_init(struct agent_child *c, const struct config *config, const char *server_url, const char *token_file,
		     struct arena *a, struct err *e)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return err_errno(e, "cannot find our own program");
	enum { ARGS_MAX = 48 };
	const char **argv = arena_array(a, ARGS_MAX, sizeof(*argv));
	if (!argv)
		return err_nomem(e);
	size_t i = 0;
	argv[i++] = arena_strndup(a, self, (size_t)n);
	argv[i++] = "agent";
	argv[i++] = arena_printf(a, "--server=%s", server_url);
	argv[i++] = arena_printf(a, "--token-file=%s", token_file);
	argv[i++] = arena_printf(a, "--work=%s/agent", config->data);
	argv[i++] = arena_printf(a, "--isolation=%s", config->isolation);
	argv[i++] = arena_printf(a, "--network=%s", config->network);
	argv[i++] = arena_printf(a, "--concurrency=%lld",
				 (long long)(config->concurrency ? config->concurrency : CONCURRENCY));
	argv[i++] = arena_printf(a, "--memory-limit=%lld", (long long)config->memory_limit_mib);
	argv[i++] = arena_printf(a, "--cpu-limit=%lld", (long long)config->cpu_limit_percent);
	argv[i++] = arena_printf(a, "--pids-limit=%lld", (long long)config->pids_limit);
	argv[i++] = arena_printf(a, "--disk-limit=%lld", (long long)config->disk_limit_mib);
	argv[i++] = arena_printf(a, "--log-limit=%lld", (long long)config->log_limit_mib);
	argv[i++] = arena_printf(a, "--grace=%lldms", (long long)(config->grace_us / US_PER_MS));
	argv[i++] = arena_printf(a, "--cancel-patience=%lldms", (long long)(config->patience_us / US_PER_MS));
	argv[i++] = arena_printf(a, "--log-buffer=%lld", (long long)config->log_buffer_mib);
	argv[i++] = arena_printf(a, "--log-level=%s", config->log_level);
	argv[i++] = arena_printf(a, "--git-cache-limit=%lld", (long long)config->git_cache_mib);
	argv[i++] = "--name=dev";
	argv[i++] = "--allow-insecure-sources";
	argv[i++] = "--allow-process-isolation";
	argv[i++] = arena_printf(a, "--docker-host=%s", config->docker_host);
	argv[i++] = arena_printf(a, "--image=%s", config->image);
	argv[i++] = arena_printf(a, "--pull=%s", config->pull);
	if (config->container_read_only)
		argv[i++] = "--read-only-containers";
	if (config->allow_metadata)
		argv[i++] = "--allow-metadata";
	if (config->tools)
		argv[i++] = arena_printf(a, "--tools=%s", config->tools);
	if (config->aws_sts_url)
		argv[i++] = arena_printf(a, "--aws-sts-url=%s", config->aws_sts_url);
	if (config->azure_authority_url)
		argv[i++] = arena_printf(a, "--azure-authority-url=%s", config->azure_authority_url);
	if (config->google_sts_url)
		argv[i++] = arena_printf(a, "--google-sts-url=%s", config->google_sts_url);
	if (config->google_iam_url)
		argv[i++] = arena_printf(a, "--google-iam-url=%s", config->google_iam_url);
	if (config->executor)
		argv[i++] = arena_printf(a, "--executor=%s", config->executor);
	BUG_ON(i >= ARGS_MAX);
	if (arena_failed(a))
		return err_nomem(e);
	*c = (struct agent_child){
		.argv = argv, .process = PROCESS_NONE, .pause_us = PAUSE_FIRST_US, .grace_us = config->grace_us
	};
	return 0;
}

static void start(struct agent_child *c)
{
	struct err e = { 0 };
	struct process_config config = {
		.argv = c->argv,
		.stdin_fd = -1,
		.stdout_fd = STDERR_FILENO, /* our standard output carries the token and the address, nothing else */
		.stderr_fd = STDERR_FILENO,
		/* Ctrl-C is for us alone: the agent gets its SIGTERM in good order. */
		.new_group = true,
		.death_signal = SIGTERM,
	};
	c->started_mono_us = clock_mono_us();
	if (process_spawn(&config, &c->process, &e) < 0) {
		log_error("dev", "cannot start the agent: %s", e.message);
		c->process = PROCESS_NONE;
	}
}

/* It has ended, or could not be started: when to try again. */
static void plan_restart(struct agent_child *c)
{
	int64_t now_us = clock_mono_us();
	if (now_us - c->started_mono_us > PAUSE_LAST_US)
		c->pause_us = PAUSE_FIRST_US;
	c->restart_mono_us = now_us + c->pause_us;
	c->pause_us = c->pause_us * 2 < PAUSE_LAST_US ? c->pause_us * 2 : PAUSE_LAST_US;
}

static void reap(struct agent_child *c)
{
	struct process_status status;
	char text[64];
	if (process_wait(&c->process, 0, &status, NULL) == 0)
		return;
	plan_restart(c);
	log_warn("dev", "the agent has ended (%s); starting it again in %lld s",
		 process_status_text(status, text, sizeof(text)),
		 (long long)((c->restart_mono_us - clock_mono_us() + US_PER_S - 1) / US_PER_S));
	c->process = PROCESS_NONE;
}

int agent_child_supervise(struct agent_child *c, struct signals *signals)
{
	for (;;) {
		int timeout_ms = -1;
		if (c->process.pid == 0) {
			int64_t wait_us = c->restart_mono_us - clock_mono_us();
			if (wait_us <= 0) {
				start(c);
				if (c->process.pid == 0)
					plan_restart(c);
				continue;
			}
			timeout_ms = (int)(wait_us / US_PER_MS) + 1;
		}
		int sig = signals_wait(signals, c->process.pid ? c->process.pidfd : -1, timeout_ms);
		if (sig > 0)
			return sig;
		if (sig == 0)
			reap(c);
	}
}

void agent_child_stop(struct agent_child *c, struct signals *signals)
{
	if (c->process.pid == 0)
		return;
	process_signal(&c->process, SIGTERM, false);
	int timeout_ms = (int)((c->grace_us + STOP_EXTRA_US) / US_PER_MS);
	struct process_status status;
	if (signals_wait(signals, c->process.pidfd, timeout_ms) == 0 &&
	    process_wait(&c->process, 0, &status, NULL) > 0) {
		c->process = PROCESS_NONE;
		return;
	}
	log_warn("dev", "killing the agent");
	process_kill(&c->process);
}
