#include "agent/git.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "os/disk.h"
#include "os/file.h"

#define TAIL_MAX_BYTES (16 * KIB)
#define ARGUMENTS_MAX 96
/* git maps packs, which does not count; what it holds beside them is some hundred bytes for each file, and files below the
 * threshold. As much as the disk that they may have, within these bounds. */
#define DATA_MIN_BYTES (256 * MIB)
#define DATA_MAX_BYTES (1024 * MIB)
#define KNOWN_HOSTS_MAX_BYTES (4 * MIB)
#define LOOK_EVERY_US (500 * US_PER_MS)

static const char *const options[] = {
	"core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.allow=never", "protocol.https.allow=always",
	"protocol.ssh.allow=always", "http.followRedirects=initial",
	/* A transfer that stands still is over; the deadline is for those that crawl. */
	"http.lowSpeedLimit=1000", "http.lowSpeedTime=60", "credential.helper=", "gc.auto=0", "maintenance.auto=false",
	"advice.detachedHead=false", "init.defaultBranch=main", "submodule.recurse=false",
	/* A folder of the tree that looks like a bare repository, with a configuration of its own, is none. */
	"safe.bareRepository=explicit", "core.protectNTFS=true", "core.protectHFS=true",
	/* Packs are copied from a mirror to a tree whole; loose objects would be thousands of files. */
	"fetch.unpackLimit=1", "core.bigFileThreshold=64m", "core.abbrev=no", /* "HEAD is now at" and the whole hash */
};

static const char *const insecure_options[] = { "protocol.file.allow=always", "protocol.http.allow=always" };

/* What git, ssh and libcurl need of the agent's own environment. */
static const char *const passed_on[] = {
	"PATH",	    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
	"NO_PROXY", "no_proxy",	  "ALL_PROXY",	"all_proxy",
};

static const char *ssh_command(struct git *g)
{
	bool asks = g->config->auth.ssh_password != NULL;
	return arena_printf(g->a, "ssh -F %s/git/ssh_config%s", g->base, asks ? "" : " -o BatchMode=yes");
}

static int make_environment(struct git *g, struct err *e)
{
	struct arena *a = g->a;
	bool insecure = g->config->insecure;
	const char *askpass_path = arena_printf(a, "%s/git/askpass", g->base);
	/* Without anything to answer, git says in its own words that it would need credentials. */
	bool answers = g->has_password || g->config->auth.ssh_password;
	const char *own[] = {
		arena_printf(a, "HOME=%s/git/home", g->base),
		arena_printf(a, "GIT_CONFIG_GLOBAL=%s/git/config", g->base),
		answers ? arena_printf(a, "GIT_ASKPASS=%s", askpass_path) : "GIT_ASKPASS=",
		answers ? arena_printf(a, "SSH_ASKPASS=%s", askpass_path) : "SSH_ASKPASS=",
		arena_printf(a, "GIT_SSH_COMMAND=%s", ssh_command(g)),
		insecure ? "GIT_ALLOW_PROTOCOL=https:ssh:http:file" : "GIT_ALLOW_PROTOCOL=https:ssh",
		"SSH_ASKPASS_REQUIRE=force",
		"DISPLAY=none:0", /* older ssh asks by a program only if there is a display */
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"LC_ALL=C", /* git_words.c reads it */
	};
	const char **list = arena_array(a, ARRAY_SIZE(own) + ARRAY_SIZE(passed_on) + 3, sizeof(*list));
	size_t n = 0;
	for (size_t i = 0; list && i < ARRAY_SIZE(own); i++)
		list[n++] = own[i];
	for (size_t i = 0; list && i < ARRAY_SIZE(passed_on); i++) {
		const char *value = getenv(passed_on[i]);
		if (value)
			list[n++] = arena_printf(a, "%s=%s", passed_on[i], value);
	}
	if (list && g->has_ca) {
		list[n++] = arena_printf(a, "GIT_SSL_CAINFO=%s/git/ca.pem", g->base);
		list[n++] = arena_printf(a, "SSL_CERT_FILE=%s/git/ca.pem", g->base); /* git-lfs */
	}
	g->env = list;
	return arena_failed(a) ? err_nomem(e) : 0;
}

int git_init(struct git *g, const struct git_config *config, struct arena *a, struct err *e)
{
	*g = (struct git){ .config = config, .a = a, .base = config->drop ? PROCESS_STAGE : config->dir };
	buf_init(&g->tail, TAIL_MAX_BYTES);
	struct str hosts = STR("");
	/* A repository of the file system belongs to whom it belongs; the operator has allowed it. */
	struct str global = config->insecure ? STR("[safe]\n\tdirectory = *\n") : STR("");
	int r = file_mkdir_p(arena_printf(a, "%s/git/home", config->dir), 0700, e);
	if (r == 0)
		r = git_private_write(g, "config", global, 0600, e);
	if (r == 0)
		r = git_private_fill(g, e);
	if (r == 0 && config->known_hosts)
		(void)file_read(a, config->known_hosts, KNOWN_HOSTS_MAX_BYTES, &hosts, NULL);
	if (r == 0)
		r = git_private_write(g, "known_hosts", hosts, 0600, e);
	if (r == 0 && config->drop)
		r = file_chown_tree(arena_printf(a, "%s/git", config->dir), config->uid, config->gid, e);
	return r < 0 ? r : make_environment(g, e);
}

/* The lines that ssh added go to the agent's own file. Slots come one after the other. */
static void keep_known_hosts(struct git *g)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	const struct git_config *c = g->config;
	_cleanup_arena_ struct arena a;
	struct str before = STR(""), after, rest;
	arena_init(&a, 4 * KNOWN_HOSTS_MAX_BYTES);
	if (!c->known_hosts || c->url.scheme != SOURCE_SSH ||
	    file_read(&a, arena_printf(&a, "%s/git/known_hosts", c->dir), KNOWN_HOSTS_MAX_BYTES, &after, NULL) < 0)
		return;
	pthread_mutex_lock(&lock);
	(void)file_read(&a, c->known_hosts, KNOWN_HOSTS_MAX_BYTES, &before, NULL);
	_cleanup_buf_ struct buf b;
	buf_init(&b, 2 * KNOWN_HOSTS_MAX_BYTES);
	buf_add_str(&b, before);
	for (rest = after; rest.p && rest.n;) {
		struct str line = str_cut(rest, '\n', &rest);
		if (line.n && (!before.n || !memmem(before.p, before.n, line.p, line.n)))
			buf_addf(&b, "%.*s\n", STR_ARG(line));
	}
	if (b.len > before.n && !buf_failed(&b))
		(void)file_write_atomic(c->known_hosts, buf_str(&b), 0600, NULL);
	pthread_mutex_unlock(&lock);
}

void git_done(struct git *g)
{
	if (!g->config)
		return;
	keep_known_hosts(g);
	const char *private = arena_printf(g->a, "%s/git", g->config->dir);
	if (private)
		(void)file_remove_tree(private, NULL);
	buf_done(&g->tail);
	g->config = NULL;
}

static void add_options(const char **list, size_t *n, const char *const *more, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		BUG_ON(*n + 3 >= ARGUMENTS_MAX);
		list[(*n)++] = "-c";
		list[(*n)++] = more[i];
	}
}

static const char *const *arguments(struct git *g, enum git_place place, const char *const *args)
{
	const char **list = arena_array(g->a, ARGUMENTS_MAX, sizeof(*list));
	size_t n = 0, more = 0;
	if (!list)
		return NULL;
	list[n++] = "git";
	if (place == GIT_TREE) {
		list[n++] = "-C";
		list[n++] = arena_printf(g->a, "%s/tree", g->base);
	} else {
		list[n++] = arena_printf(g->a, "--git-dir=%s", g->config->drop ? PROCESS_STAGE "/mirror" : g->mirror);
	}
	add_options(list, &n, options, ARRAY_SIZE(options));
	if (g->config->insecure)
		add_options(list, &n, insecure_options, ARRAY_SIZE(insecure_options));
	while (g->c && g->c[more])
		more++;
	add_options(list, &n, g->c, more);
	for (size_t i = 0; args[i]; i++) {
		BUG_ON(n + 1 >= ARGUMENTS_MAX);
		list[n++] = args[i];
	}
	return arena_failed(g->a) ? NULL : list;
}

static void keep_tail(struct git *g, const char *p, size_t n)
{
	if (n > TAIL_MAX_BYTES) {
		p += n - TAIL_MAX_BYTES;
		n = TAIL_MAX_BYTES;
	}
	if (g->tail.len + n > TAIL_MAX_BYTES)
		buf_consume(&g->tail, g->tail.len + n - TAIL_MAX_BYTES);
	buf_add(&g->tail, p, n);
}

static int too_large(struct git *g, struct err *e)
{
	return err_set(e, ERR_TOO_LARGE,
		       "the repository is larger than the %llu MiB that a run may have (--disk-limit of the agent)",
		       (unsigned long long)(g->config->bytes_max / MIB));
}

/* Whether a mirror may be as large as it is now. Looking costs something: the larger it is, the rarer. */
static int check_size(struct git *g, int64_t *next_us, struct err *e)
{
	const struct git_config *c = g->config;
	int64_t began_us = clock_mono_us(), bytes = 0;
	if (!c->bytes_max || began_us < *next_us)
		return 0;
	(void)disk_use(g->mirror, NULL, &bytes, NULL);
	if ((uint64_t)bytes > c->bytes_max)
		return too_large(g, e);
	int64_t now_us = clock_mono_us();
	*next_us = now_us + LOOK_EVERY_US + 10 * (now_us - began_us);
	return 0;
}

/* Reads until the process has ended. */
static int follow(struct git *g, enum git_place place, struct process *p, int in, bool quiet,
		  struct process_status *ret, struct err *e)
{
	const struct git_config *c = g->config;
	char chunk[16 * KIB];
	int64_t look_us = clock_mono_us() + LOOK_EVERY_US;
	for (bool open = true;;) {
		struct pollfd watch[] = { { .fd = open ? in : -1, .events = POLLIN },
					  { .fd = p->pidfd, .events = POLLIN },
					  { .fd = c->wake_fd, .events = POLLIN } };
		int64_t left = c->deadline_us - clock_mono_us();
		if (c->stopped(c->arg))
			return err_set(e, ERR_CANCELLED, "cancelled");
		if (left <= 0)
			return err_set(e, ERR_TIMEOUT, "git took too long");
		int size = place == GIT_MIRROR ? check_size(g, &look_us, e) : 0;
		if (size < 0)
			return size;
		poll(watch, ARRAY_SIZE(watch), left > 500 * US_PER_MS ? 500 : (int)(left / US_PER_MS) + 1);
		if (watch[0].revents) {
			ssize_t n = read(in, chunk, sizeof(chunk));
			if (n <= 0) {
				open = false;
				continue;
			}
			keep_tail(g, chunk, (size_t)n);
			if (!quiet)
				c->output(c->arg, (struct str){ chunk, (size_t)n });
		} else {
			int r = process_wait(p, 0, ret, e);
			if (r != 0)
				return r < 0 ? r : 0;
			if (watch[2].revents)
				poll(NULL, 0, 50); /* its owner reads it; do not spin meanwhile */
		}
	}
}

static uint64_t data_max(uint64_t bytes_max)
{
	if (!bytes_max || bytes_max > DATA_MAX_BYTES)
		return DATA_MAX_BYTES;
	return bytes_max < DATA_MIN_BYTES ? DATA_MIN_BYTES : bytes_max;
}

static bool said(struct git *g, const char *words)
{
	return g->tail.len && memmem(g->tail.data, g->tail.len, words, strlen(words));
}

/* A child that was ended for writing too much says nothing, and git only that something is wrong with it. */
static bool outgrew(struct git *g, enum git_place place)
{
	const struct git_config *c = g->config;
	const char *folder = place == GIT_MIRROR ? g->mirror : arena_printf(g->a, "%s/tree", c->dir);
	int64_t bytes = 0;
	if (!c->bytes_max || !folder || !said(g, "invalid index-pack output"))
		return false;
	return disk_use(folder, NULL, &bytes, NULL) == 0 && (uint64_t)bytes > c->bytes_max / 4 * 3;
}

/* git's own last word; but ssh does not say that it could not open the key. */
static int explain(struct git *g, enum git_place place, const char *verb, struct err *e)
{
	const struct order_auth *auth = &g->config->auth;
	if (outgrew(g, place))
		return too_large(g, e);
	if (auth->ssh_private_key && git_key_is_locked(auth->ssh_private_key) && said(g, "Permission denied ("))
		return err_set(e, ERR_BAD_REQUEST,
			       "git %s failed: the passphrase of the ssh key (sshAuth.password) is %s, or the server "
			       "does not accept the key",
			       verb, auth->ssh_password ? "wrong" : "missing");
	return git_error(buf_str(&g->tail), verb, e);
}

int git_run(struct git *g, enum git_place place, const char *const *args, bool quiet, struct err *e)
{
	const struct git_config *c = g->config;
	const struct process_mount mounts[] = {
		{ .source = arena_printf(g->a, "%s/tree", c->dir), .target = "tree" },
		{ .source = arena_printf(g->a, "%s/git", c->dir), .target = "git" },
		{ .source = arena_printf(g->a, "%s/git/passwd", c->dir),
		  .target = "/etc/passwd",
		  .is_file = true,
		  .read_only = true },
		{ .source = g->mirror, .target = "mirror" },
	};
	const struct process_limit limits[] = {
		{ RLIMIT_CORE, 0 },
		{ RLIMIT_DATA, data_max(c->bytes_max) },
		{ RLIMIT_FSIZE, c->bytes_max },
	};
	int fds[2];
	const char *const *argv = arguments(g, place, args);
	if (!argv || arena_failed(g->a))
		return err_nomem(e);
	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_errno(e, "cannot make a pipe");
	struct process_config config = { .argv = argv,
					 .envp = g->env,
					 .cwd = "/",
					 .stdin_fd = -1,
					 .stdout_fd = fds[1],
					 .stderr_fd = fds[1],
					 .new_session = true,
					 .death_signal = SIGKILL,
					 .drop = c->drop,
					 .uid = c->uid,
					 .gid = c->gid,
					 .limits = limits,
					 .limit_count = ARRAY_SIZE(limits) - !c->bytes_max,
					 .mounts = mounts,
					 .mount_count = c->drop ? ARRAY_SIZE(mounts) - (place == GIT_TREE) : 0 };
	struct process p = PROCESS_NONE;
	struct process_status s;
	int r = process_spawn(&config, &p, e);
	close(fds[1]);
	_cleanup_close_ int in = fds[0];
	if (r == -ERR_NOT_FOUND)
		return err_set(e, ERR_NOT_FOUND, "git is not installed on this runner");
	if (r < 0)
		return r;
	buf_reset(&g->tail);
	r = follow(g, place, &p, in, quiet, &s, e);
	process_kill(&p);
	if (r == 0 && s.signalled && s.code == SIGXFSZ)
		return too_large(g, e);
	if (r == 0 && (s.signalled || s.code != 0))
		r = explain(g, place, args[0], e);
	return r;
}
