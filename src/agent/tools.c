#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/limits.h"
#include "os/file.h"

#define VERSION_TIMEOUT_MS 30000

/* The folder of a program, links resolved: the language hosts lie beside the program, not beside the link. */
static const char *folder_of(struct arena *a, const char *program)
{
	char real[PATH_MAX];
	if (!program || !realpath(program, real))
		return NULL;
	*strrchr(real, '/') = '\0';
	return arena_strdup(a, real[0] ? real : "/");
}

static const char *find_executor(struct agent *agent, struct arena *a)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (agent->config->executor)
		return agent->config->executor;
	if (n <= 0)
		return NULL;
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	const char *places[] = { arena_printf(a, "%s/slipway-executor", self),
				 arena_printf(a, "%s/../libexec/slipway/slipway-executor", self) };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (places[i] && access(places[i], X_OK) == 0)
			return places[i];
	}
	return NULL;
}

int tools_find(struct agent *agent, struct arena *a, struct err *e)
{
	char real[PATH_MAX];
	const char *executor = find_executor(agent, a);
	if (!executor || !realpath(executor, real) || access(real, X_OK) != 0)
		return err_set(e, ERR_NOT_FOUND, "the program slipway-executor was not found%s%s",
			       executor ? " at " : " beside slipway", executor ? executor : "");
	agent->executor = arena_strdup(a, real);
	agent->path = getenv("PATH") ? getenv("PATH") : "/usr/local/bin:/usr/bin:/bin";
	agent->bwrap = process_find(a, "bwrap", NULL);
	const char *dir = agent->config->tools_dir;
	if (dir && !realpath(dir, real))
		return err_errno(e, "tools folder %s", dir);
	agent->tools_dir = dir ? arena_strdup(a, real) : folder_of(a, process_find(a, "pulumi", NULL));
	return arena_failed(a) ? err_nomem(e) : 0;
}

const char *tools_pulumi_version(const struct agent *agent, struct arena *a)
{
	const char *program = agent->tools_dir ? arena_printf(a, "%s/pulumi", agent->tools_dir) : NULL;
	if (!program || access(program, X_OK) != 0)
		return NULL;
	const char *argv[] = { program, "version", NULL };
	const char *envp[] = { "PULUMI_SKIP_UPDATE_CHECK=true",
			       arena_printf(a, "PULUMI_HOME=%s/pulumi-home", agent->work_dir),
			       arena_printf(a, "HOME=%s", agent->work_dir), NULL };
	struct process_config config = { .argv = argv, .envp = envp, .stdin_fd = -1, .new_session = true, .cwd = "/" };
	struct process_status s;
	_cleanup_buf_ struct buf out;
	buf_init(&out, 4 * KIB);
	if (arena_failed(a) || process_run(&config, VERSION_TIMEOUT_MS, &out, &s, NULL) < 0 || s.signalled ||
	    s.code != 0)
		return NULL;
	struct str rest, line = str_trim(str_cut(buf_str(&out), '\n', &rest));
	return line.n && line.n < 64 ? str_dup(a, line) : NULL;
}
