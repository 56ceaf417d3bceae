#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
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

/* Asking takes a quarter of a second, so the answer is kept for as long as the file is the same. */
static struct {
	pthread_mutex_t lock;
	struct stat of;
	char version[64];
} known = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool ask_version(const struct agent *agent, const char *program, char ret[64])
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf out;
	arena_init(&a, MIB);
	buf_init(&out, 4 * KIB);
	const char *home = arena_printf(&a, "%s/version", agent->jobs_dir);
	const char *argv[] = { program, "version", NULL };
	const char *envp[] = { "PULUMI_SKIP_UPDATE_CHECK=true", arena_printf(&a, "PULUMI_HOME=%s", home),
			       arena_printf(&a, "HOME=%s", home), NULL };
	struct process_config config = { .argv = argv, .envp = envp, .stdin_fd = -1, .new_session = true, .cwd = "/" };
	struct process_status s;
	int r = arena_failed(&a) ? -1 : process_run(&config, VERSION_TIMEOUT_MS, &out, &s, NULL);
	(void)file_remove_tree(home, NULL);
	struct str rest, line = str_trim(str_cut(buf_str(&out), '\n', &rest));
	if (r < 0 || s.signalled || s.code != 0 || line.n == 0 || line.n >= 64)
		return false;
	memcpy(ret, line.p, line.n);
	ret[line.n] = '\0';
	return true;
}

const char *tools_pulumi_version(const struct agent *agent, struct arena *a)
{
	const char *program = agent->tools_dir ? arena_printf(a, "%s/pulumi", agent->tools_dir) : NULL;
	struct stat st;
	if (!program || stat(program, &st) != 0 || access(program, X_OK) != 0)
		return NULL;
	pthread_mutex_lock(&known.lock);
	bool same = known.version[0] && known.of.st_ino == st.st_ino && known.of.st_size == st.st_size &&
		    known.of.st_mtime == st.st_mtime;
	if (!same && ask_version(agent, program, known.version)) {
		known.of = st;
		same = true;
	}
	const char *version = same ? arena_strdup(a, known.version) : NULL;
	pthread_mutex_unlock(&known.lock);
	return version;
}
