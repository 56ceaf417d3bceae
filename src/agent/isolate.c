#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/limits.h"
#include "base/log.h"
#include "executor/plan.h"
#include "os/file.h"
#include "os/sandbox.h"

#define PROBE_TIMEOUT_MS 20000
#define PLAN_FD 4

/* Places inside of the sandbox. */
#define INSIDE_TREE "/deployment"
#define INSIDE_TOOLS "/slipway/tools"
#define INSIDE_EXECUTOR "/slipway/slipway-executor"

static const struct process_limit limits[] = {
	{ RLIMIT_CORE, 0 },
	{ RLIMIT_NOFILE, 65536 },
	{ RLIMIT_NPROC, 16384 },
};

bool isolate_drops(const struct agent *agent)
{
	return agent->root && agent->isolation == AGENT_ISOLATION_BUBBLEWRAP;
}

const char *const *isolate_text(const struct agent *agent)
{
	static const char *const bubblewrap[] = {
		"Isolation: bubblewrap. The run has a user, processes and a file tree of its own: it cannot see other runs, the",
		"runner, its credentials or the host's files, except for the host's programs and /etc, which are read-only.",
		"Not isolated: the network is the host's, and memory and disk are not limited.",
		NULL,
	};
	static const char *const process[] = {
		"Isolation: none (process). The run is an ordinary process of the runner's user and can read and change",
		"whatever that user can. Only for programs that you would run there by hand.",
		NULL,
	};
	return agent->isolation == AGENT_ISOLATION_BUBBLEWRAP ? bubblewrap : process;
}

/* The token's file and our own settings, should they lie where the sandbox shows the host. */
static size_t hidden(const struct agent *agent, struct arena *a, const char **list)
{
	const char *candidates[] = { agent->config->token_file, "/etc/slipway" };
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		char real[PATH_MAX];
		if (!candidates[i] || !realpath(candidates[i], real))
			continue;
		struct str path = str_of(real);
		if (str_starts_with(path, "/etc/") || str_starts_with(path, "/opt/") || str_starts_with(path, "/usr/"))
			list[n++] = arena_strdup(a, real);
	}
	return n;
}

static int start_bubblewrap(const struct agent *agent, const struct isolate_config *c, struct process_config *config,
			    struct process *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct sandbox_fds files;
	arena_init(&a, 4 * MIB);
	bool stage = agent->root;
	const char *tree = arena_printf(&a, "%s/tree", c->dir);
	const struct process_mount mounts[] = {
		{ .source = tree, .target = "tree" },
		{ .source = agent->executor, .target = "slipway-executor", .is_file = true, .read_only = true },
		{ .source = agent->tools_dir, .target = "tools", .read_only = true },
	};
	const struct sandbox_bind binds[] = {
		{ stage ? PROCESS_STAGE "/tree" : tree, INSIDE_TREE, true },
		{ stage ? PROCESS_STAGE "/slipway-executor" : agent->executor, INSIDE_EXECUTOR, false },
		{ stage ? PROCESS_STAGE "/tools" : agent->tools_dir, INSIDE_TOOLS, false },
	};
	const char *hide[2];
	const char *command[8] = { INSIDE_EXECUTOR };
	for (size_t i = 0; c->arguments[i]; i++)
		command[i + 1] = c->arguments[i];
	struct sandbox_config sandbox = { .bwrap = agent->bwrap,
					  .uid = c->uid,
					  .gid = c->gid,
					  .binds = binds,
					  .bind_count = agent->tools_dir ? 3 : 2,
					  .hide = hide,
					  .hide_count = hidden(agent, &a, hide),
					  .cwd = INSIDE_TREE,
					  .command = command };
	int r = sandbox_arguments(&a, &sandbox, &config->argv, e);
	if (r == 0)
		r = sandbox_fds_open(&sandbox, &files, e);
	if (r < 0)
		return r;
	struct process_fd fds[SANDBOX_FD_COUNT + 2];
	memcpy(fds, config->fds, config->fd_count * sizeof(*fds));
	memcpy(fds + config->fd_count, files.fds, sizeof(files.fds));
	config->fds = fds;
	config->fd_count += SANDBOX_FD_COUNT;
	config->mounts = mounts;
	config->mount_count = !stage ? 0 : agent->tools_dir ? 3 : 2;
	config->drop = agent->root;
	config->uid = c->uid;
	config->gid = c->gid;
	config->cwd = "/";
	r = process_spawn(config, ret, e);
	sandbox_fds_close(&files);
	return r;
}

int isolate_start(const struct agent *agent, const struct isolate_config *c, struct process *ret, struct err *e)
{
	/* All that the steps get is in the plan; bubblewrap itself needs nothing. */
	const char *const empty[] = { NULL };
	const char *argv[8] = { agent->executor };
	struct process_fd fds[2];
	size_t n = 0;
	for (size_t i = 0; c->arguments[i]; i++)
		argv[i + 1] = c->arguments[i];
	if (c->frame_fd >= 0)
		fds[n++] = (struct process_fd){ c->frame_fd, FRAME_FD };
	if (c->plan_fd >= 0)
		fds[n++] = (struct process_fd){ c->plan_fd, PLAN_FD };
	struct process_config config = { .argv = argv,
					 .envp = empty,
					 .cwd = c->dir,
					 .stdin_fd = c->control_fd,
					 .stdout_fd = c->stdout_fd,
					 .stderr_fd = c->stderr_fd,
					 .fds = fds,
					 .fd_count = n,
					 .new_session = true,
					 .limits = limits,
					 .limit_count = ARRAY_SIZE(limits) };
	if (agent->isolation == AGENT_ISOLATION_BUBBLEWRAP)
		return start_bubblewrap(agent, c, &config, ret, e);
	/* The number of processes is counted per user: it would count those of the agent's user elsewhere. No death signal
	 * either: the executor notices that its control is closed, and ends its steps in order. */
	config.limit_count = 1;
	return process_spawn(&config, ret, e);
}

void isolate_kill(const struct agent *agent, struct process *p)
{
	if (p->pid <= 0)
		return;
	if (agent->isolation == AGENT_ISOLATION_PROCESS) {
		/* Stopped first, so that it starts nothing meanwhile; it is their subreaper, so all are below it. */
		process_signal(p, SIGSTOP, false);
		process_kill_descendants(p->pid);
	}
	process_kill(p);
}

static int probe(struct agent *agent, struct err *e)
{
	static const char *const arguments[] = { "--probe", NULL };
	_cleanup_arena_ struct arena a;
	arena_init(&a, MIB);
	const char *dir = arena_printf(&a, "%s/probe", agent->jobs_dir);
	const char *tree = arena_printf(&a, "%s/tree", dir);
	struct isolate_config c = {
		.dir = dir, .arguments = arguments, .plan_fd = -1, .frame_fd = -1, .control_fd = -1
	};
	struct process p = PROCESS_NONE;
	struct process_status s;
	char said[512];
	int fds[2];
	c.uid = agent->root ? SLOT_UID_FIRST : getuid();
	c.gid = agent->root ? SLOT_UID_FIRST : getgid();
	if (!tree)
		return err_nomem(e);
	int r = file_mkdir_p(tree, 0700, e);
	if (r == 0 && agent->root)
		r = file_chown_tree(tree, c.uid, c.gid, e);
	if (r < 0)
		return r;
	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_errno(e, "cannot make a pipe");
	c.stdout_fd = c.stderr_fd = fds[1];
	r = isolate_start(agent, &c, &p, e);
	close(fds[1]);
	if (r == 0) {
		r = process_wait(&p, PROBE_TIMEOUT_MS, &s, e);
		if (r == 0)
			err_set(e, ERR_TIMEOUT, "it does not end");
	}
	isolate_kill(agent, &p);
	ssize_t n = r >= 0 ? read(fds[0], said, sizeof(said) - 1) : 0;
	close(fds[0]);
	said[n > 0 ? n : 0] = '\0';
	(void)file_remove_tree(dir, NULL);
	if (r == 1 && (s.signalled || s.code != 0))
		return err_set(e, ERR_UNAVAILABLE, "%.*s", (int)strcspn(said, "\n"),
			       said[0] ? said : "it fails without a word");
	return r == 1 ? 0 : r < 0 ? r : -ERR_TIMEOUT;
}

static int choose_bubblewrap(struct agent *agent, struct err *e)
{
	if (!agent->bwrap)
		return err_set(e, ERR_UNAVAILABLE, "the program bwrap is not installed");
	agent->isolation = AGENT_ISOLATION_BUBBLEWRAP;
	return probe(agent, e);
}

int isolate_choose(struct agent *agent, struct err *e)
{
	switch (agent->config->isolation) {
	case AGENT_ISOLATION_DOCKER:
		return err_set(e, ERR_NOT_BUILT, "docker isolation is not built yet: use bubblewrap");
	case AGENT_ISOLATION_PROCESS:
		agent->isolation = AGENT_ISOLATION_PROCESS;
		log_warn("agent",
			 "isolation process: programs run with the rights of this user and see all of its files");
		return 0;
	case AGENT_ISOLATION_BUBBLEWRAP:
	case AGENT_ISOLATION_AUTO:
		break;
	}
	int r = choose_bubblewrap(agent, e);
	if (r == 0)
		return 0;
	if (agent->config->isolation == AGENT_ISOLATION_BUBBLEWRAP || !agent->config->dev)
		return err_wrap(
			e, "bubblewrap does not work here (install bubblewrap and allow user namespaces, or ask for "
			   "the isolation 'process' by name)");
	log_warn("agent",
		 "bubblewrap does not work here (%s): falling back to the isolation 'process'. Programs run with the "
		 "rights of this user and see all of its files",
		 e->message);
	err_reset(e);
	agent->isolation = AGENT_ISOLATION_PROCESS;
	return 0;
}
