#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/network.h"
#include "base/limits.h"
#include "os/file.h"
#include "os/sandbox.h"

#define PROBE_TIMEOUT_MS 20000
#define HIDE_MAX 5

/* Places inside of the sandbox. */
#define INSIDE_TREE "/deployment"
#define INSIDE_TOOLS "/slipway/tools"
#define INSIDE_EXECUTOR "/slipway/slipway-executor"

static const char *const text[] = {
	"Isolation: bubblewrap. The run has a user, processes and a file tree of its own: it cannot see other runs, the",
	"runner, its credentials or the host's files, except for the host's programs and /etc, which are read-only.",
	NULL,
};

static const char *const *said(const struct agent *agent)
{
	(void)agent;
	return text;
}

/* The token's file, our work folder (other runs are in it), in `dev` the server's data around it, and our own settings,
 * should they lie where the sandbox shows the host. */
static size_t hidden(const struct agent *agent, struct arena *a, const char **list)
{
	const char *candidates[HIDE_MAX] = {
		agent->config->token_file,
		agent->config->config_file,
		agent->config->dev ? arena_printf(a, "%s/..", agent->work_dir) : NULL,
		agent->work_dir,
		"/etc/slipway",
	};
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

static int spawn(const struct agent *agent, const struct isolate_config *c, struct process_config *config,
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
	const char *hide[HIDE_MAX];
	const char *const command[] = { INSIDE_EXECUTOR, config->argv[1], NULL };
	struct sandbox_config sandbox = { .bwrap = agent->bwrap,
					  .uid = c->uid,
					  .gid = c->gid,
					  .binds = binds,
					  .bind_count = agent->tools_dir ? 3 : 2,
					  .hide = hide,
					  .hide_count = hidden(agent, &a, hide),
					  .memory_bytes = agent->limits.memory_bytes,
					  .hosts = c->network ? network_hosts(c->network) : NULL,
					  .resolver = c->network ? network_resolver(c->network) : NULL,
					  .cwd = INSIDE_TREE,
					  .command = command };
	int r = sandbox_arguments(&a, &sandbox, &config->argv, e);
	if (r == 0)
		r = sandbox_fds_open(&sandbox, &files, e);
	if (r < 0)
		return r;
	struct process_fd fds[SANDBOX_FD_COUNT + 2];
	memcpy(fds, config->fds, config->fd_count * sizeof(*fds));
	memcpy(fds + config->fd_count, files.fds, files.count * sizeof(*fds));
	config->fds = fds;
	config->fd_count += files.count;
	config->mounts = mounts;
	config->mount_count = !stage ? 0 : agent->tools_dir ? 3 : 2;
	config->drop = agent->root;
	config->uid = c->uid;
	config->gid = c->gid;
	config->cwd = "/";
	if (c->network) {
		config->namespaces = network_space(c->network)->fds;
		config->namespace_count = ARRAY_SIZE(network_space(c->network)->fds);
	}
	r = process_spawn(config, ret, e);
	sandbox_fds_close(&files);
	return r;
}

static int start(const struct agent *agent, const struct isolate_config *c, struct isolated *ret, struct err *e)
{
	struct isolate_command command;
	isolate_command_init(&command, agent, c);
	isolate_command_limits(&command, agent);
	return spawn(agent, c, &command.config, &ret->process, e);
}

static int probe(struct agent *agent, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, MIB);
	if (!agent->bwrap)
		return err_set(e, ERR_UNAVAILABLE, "the program bwrap is not installed");
	const char *dir = arena_printf(&a, "%s/probe", agent->jobs_dir);
	const char *tree = arena_printf(&a, "%s/tree", dir);
	struct isolate_config c = { .dir = dir, .plan_fd = -1, .frame_fd = -1, .control_fd = -1 };
	struct isolated p = ISOLATED_NONE;
	struct process_status s;
	char out[512];
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
	r = start(agent, &c, &p, e);
	close(fds[1]);
	if (r == 0) {
		r = process_wait(&p.process, PROBE_TIMEOUT_MS, &s, e);
		if (r == 0)
			err_set(e, ERR_TIMEOUT, "it does not end");
	}
	process_kill(&p.process);
	ssize_t n = r >= 0 ? read(fds[0], out, sizeof(out) - 1) : 0;
	close(fds[0]);
	out[n > 0 ? n : 0] = '\0';
	(void)file_remove_tree(dir, NULL);
	if (r == 1 && (s.signalled || s.code != 0))
		return err_set(e, ERR_UNAVAILABLE, "%.*s", (int)strcspn(out, "\n"),
			       out[0] ? out : "it fails without a word");
	return r == 1 ? 0 : r < 0 ? r : -ERR_TIMEOUT;
}

/* The tools first; then of the agent's own PATH what the sandbox shows, so that a Go in /usr/local/go is found there too. */
static const char *sandbox_path(const struct agent *agent, struct arena *a)
{
	static const char *const shown[] = { "/usr/", "/opt/" };
	const char *path = INSIDE_TOOLS;
	for (struct str rest = str_of(agent->path); rest.p;) {
		struct str one = str_cut(rest, ':', &rest);
		bool known = str_is(one, "/usr/local/sbin") || str_is(one, "/usr/local/bin") ||
			     str_is(one, "/usr/sbin") || str_is(one, "/usr/bin");
		for (size_t i = 0; i < ARRAY_SIZE(shown) && !known; i++) {
			if (str_starts_with(one, shown[i]))
				path = arena_printf(a, "%s:%.*s", path, STR_ARG(one));
		}
	}
	return arena_printf(a, "%s:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", path);
}

static int places(struct job *j, struct isolate_places *ret, struct err *e)
{
	const char *asked = j->order.executor_root;
	*ret = (struct isolate_places){
		.root = asked && asked[0] == '/' ? asked : "/",
		.tree = INSIDE_TREE,
		.home = SANDBOX_HOME,
		.path = sandbox_path(j->agent, &j->arena),
	};
	return ret->path ? 0 : err_nomem(e);
}

const struct isolation isolation_bubblewrap = {
	.id = AGENT_ISOLATION_BUBBLEWRAP,
	.own_user = true,
	.own_child = true,
	.advice = "install bubblewrap and allow user namespaces, or ask for the isolation 'process' by name",
	.takes_network = true,
	.probe = probe,
	.places = places,
	.start = start,
	.wait = isolate_wait_process,
	.kill = isolate_kill_process,
	.text = said,
};
