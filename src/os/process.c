#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define CHILD_STACK_BYTES (256 * 1024)
#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"
#define FDS_MAX 16

extern char **environ;

/* What the child works from; all of it made by the parent. The child writes only `failed` and `error`. */
struct launch {
	const struct process_config *config;
	const char *const *candidates; /* absolute names of the program, in search order */
	const char *const *envp;
	struct process_limit limits[8];
	sigset_t mask;
	int null_fd;
	pid_t parent;
	const char *volatile failed;
	volatile int error;
};

/* The child's stack is freed under it: instrumentation would leave its marks there. */
#define IN_CHILD __attribute__((no_sanitize("address", "undefined", "thread"), noinline))

/* The child shares our memory. Only system calls from here on; libc's setuid and friends would signal the other
 * threads of the parent, so the raw calls are used. */
IN_CHILD static int child_fail(struct launch *l, const char *what)
{
	l->error = errno;
	l->failed = what;
	_exit(127);
}

IN_CHILD static void append(char *to, size_t size, size_t *n, const char *text)
{
	while (*text && *n < size - 1)
		to[(*n)++] = *text++;
	to[*n] = '\0';
}

IN_CHILD static int child_mount_one(struct launch *l, const struct process_mount *m, int source)
{
	char digits[16] = "", from[64], to[256];
	size_t n = 0, first = sizeof(digits) - 1;
	for (int rest = source; first && (rest || first == sizeof(digits) - 1); rest /= 10)
		digits[--first] = (char)('0' + rest % 10);
	append(from, sizeof(from), &n, "/proc/self/fd/");
	append(from, sizeof(from), &n, digits + first);
	n = 0;
	if (m->target[0] != '/')
		append(to, sizeof(to), &n, PROCESS_STAGE "/");
	append(to, sizeof(to), &n, m->target);
	if (m->target[0] != '/' && m->is_file) {
		int made = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (made < 0)
			return child_fail(l, m->target);
		close(made);
	} else if (m->target[0] != '/' && mkdir(to, 0755) != 0) {
		return child_fail(l, m->target);
	}
	if (mount(from, to, NULL, MS_BIND | MS_REC, NULL) != 0)
		return child_fail(l, m->target);
	if (m->read_only && mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, NULL) != 0)
		return child_fail(l, m->target);
	return 0;
}

IN_CHILD static int child_mounts(struct launch *l)
{
	const struct process_config *c = l->config;
	int sources[FDS_MAX];
	if (syscall(SYS_unshare, CLONE_NEWNS) != 0)
		return child_fail(l, "cannot make a mount namespace");
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return child_fail(l, "cannot make the mounts private");
	/* Opened first: the stage may hide the places that they come from. */
	for (size_t i = 0; i < c->mount_count; i++) {
		sources[i] = open(c->mounts[i].source, O_PATH | O_CLOEXEC);
		if (sources[i] < 0)
			return child_fail(l, c->mounts[i].source);
	}
	if (mount("tmpfs", PROCESS_STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=16m") != 0)
		return child_fail(l, "cannot mount the stage");
	for (size_t i = 0; i < c->mount_count; i++) {
		child_mount_one(l, &c->mounts[i], sources[i]);
	}
	return 0;
}

/* Moves every descriptor to its place. Sources are first copied above all targets, so that none is overwritten before
 * it was used. */
IN_CHILD static int child_fds(struct launch *l)
{
	const struct process_config *c = l->config;
	int from[3 + FDS_MAX], to[3 + FDS_MAX];
	int n = 0;
	int top = 3;
	int std[3] = { c->stdin_fd, c->stdout_fd, c->stderr_fd };
	for (int i = 0; i < 3; i++, n++) {
		from[n] = std[i] >= 0 ? std[i] : l->null_fd;
		to[n] = i;
	}
	for (size_t i = 0; i < c->fd_count; i++, n++) {
		from[n] = c->fds[i].source;
		to[n] = c->fds[i].target;
		if (to[n] >= top)
			top = to[n] + 1;
	}
	for (int i = 0; i < n; i++) {
		from[i] = fcntl(from[i], F_DUPFD, top);
		if (from[i] < 0)
			return child_fail(l, "cannot duplicate a descriptor");
	}
	for (int i = 0; i < n; i++) {
		if (dup2(from[i], to[i]) < 0)
			return child_fail(l, "cannot move a descriptor");
	}
	/* Close on exec rather than now: the range may hold what exec itself needs (a script's interpreter does not). */
	for (int fd = 3; fd < top; fd++) {
		bool wanted = false;
		for (int i = 3; i < n; i++)
			wanted = wanted || to[i] == fd;
		if (!wanted)
			close(fd);
	}
	if (syscall(SYS_close_range, (unsigned int)top, ~0U, CLOSE_RANGE_UNSHARE) != 0) {
		struct rlimit rl;
		int max = getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < 65536 ? (int)rl.rlim_cur : 65536;
		for (int fd = top; fd < max; fd++)
			close(fd);
	}
	return 0;
}

IN_CHILD static void child_oom_score(int score)
{
	char digits[8];
	size_t at = sizeof(digits);
	for (int rest = score; rest && at; rest /= 10)
		digits[--at] = (char)('0' + rest % 10);
	int fd = score ? open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	/* Where it is refused, others are ended just as soon. */
	if (syscall(SYS_write, fd, digits + at, sizeof(digits) - at) < 0)
		errno = 0;
	close(fd);
}

IN_CHILD static int child_main(void *arg)
{
	struct launch *l = arg;
	const struct process_config *c = l->config;
	/* SIG_DFL, no flags, no restorer, empty mask, as the kernel's own struct: the sanitizers keep a table of handlers
	 * behind sigaction(), and that table is the parent's. */
	const uint64_t dfl[4] = { 0 };
	for (int sig = 1; sig < NSIG; sig++) {
		if (sig != SIGKILL && sig != SIGSTOP)
			syscall(SYS_rt_sigaction, sig, dfl, NULL, sizeof(uint64_t));
	}
	for (size_t i = 0; i < c->join_count; i++) {
		if (syscall(SYS_write, c->join_fds[i], "0", 1) != 1)
			return child_fail(l, "cannot join its control group");
	}
	child_oom_score(c->oom_score);
	if (c->new_session)
		setsid();
	else if (c->new_group)
		setpgid(0, 0);
	if (c->mount_count)
		child_mounts(l);
	for (size_t i = 0; i < c->limit_count; i++) {
		struct rlimit rl = { .rlim_cur = l->limits[i].value, .rlim_max = l->limits[i].value };
		struct rlimit old;
		if (syscall(SYS_prlimit64, 0, l->limits[i].resource, NULL, &old) == 0 && rl.rlim_max > old.rlim_max)
			rl.rlim_cur = rl.rlim_max = old.rlim_max;
		if (syscall(SYS_prlimit64, 0, l->limits[i].resource, &rl, NULL) != 0)
			child_fail(l, "cannot set a limit");
	}
	if (c->drop) {
		if (syscall(SYS_setgroups, 0, NULL) != 0)
			child_fail(l, "cannot drop the groups");
		if (syscall(SYS_setresgid, c->gid, c->gid, c->gid) != 0)
			child_fail(l, "cannot change the group");
		if (syscall(SYS_setresuid, c->uid, c->uid, c->uid) != 0)
			child_fail(l, "cannot change the user");
	}
	for (size_t i = 0; i < c->namespace_count; i++) {
		if (syscall(SYS_setns, c->namespaces[i], 0) != 0)
			child_fail(l, "cannot enter a namespace");
	}
	if (c->cwd && chdir(c->cwd) != 0)
		child_fail(l, c->cwd);
	child_fds(l);
	/* After the change of user, which clears it. */
	if (c->death_signal) {
		prctl(PR_SET_PDEATHSIG, c->death_signal, 0, 0, 0);
		if (syscall(SYS_getppid) != l->parent)
			_exit(127);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &l->mask, NULL, sizeof(uint64_t));
	errno = ENOENT;
	int found = ENOENT;
	for (size_t i = 0; l->candidates[i]; i++) {
		execve(l->candidates[i], (char *const *)c->argv, (char *const *)l->envp);
		if (errno != ENOENT && errno != ENOTDIR)
			found = errno;
	}
	errno = found;
	return child_fail(l, c->argv[0]);
}

/* The absolute names that argv[0] may stand for, NULL-terminated. */
static const char *const *candidates(struct arena *a, const char *name, const char *path)
{
	if (strchr(name, '/')) {
		const char **one = arena_array(a, 2, sizeof(*one));
		if (one)
			one[0] = name;
		return one;
	}
	if (!path)
		path = getenv("PATH");
	if (!path)
		path = PATH_DEFAULT;
	size_t n = 2;
	for (const char *p = path; *p; p++)
		n += *p == ':';
	const char **list = arena_array(a, n, sizeof(*list));
	struct str rest = str_of(path);
	for (size_t i = 0; list && rest.p;) {
		struct str dir = str_cut(rest, ':', &rest);
		/* An empty or relative element would mean the current folder, which belongs to somebody else. */
		if (dir.n == 0 || dir.p[0] != '/')
			continue;
		list[i] = arena_printf(a, "%.*s/%s", STR_ARG(dir), name);
		i += list[i] != NULL;
	}
	return arena_failed(a) ? NULL : list;
}

char *process_find(struct arena *a, const char *name, const char *path)
{
	const char *const *list = candidates(a, name, path);
	for (size_t i = 0; list && list[i]; i++) {
		struct stat st;
		if (stat(list[i], &st) == 0 && S_ISREG(st.st_mode) && access(list[i], X_OK) == 0)
			return arena_strdup(a, list[i]);
	}
	return NULL;
}

static int launch_error(const struct launch *l, struct err *e)
{
	errno = l->error;
	if (l->failed == l->config->argv[0]) {
		if (l->error == ENOENT)
			return err_set(e, ERR_NOT_FOUND, "%s: program not found", l->failed);
		return err_errno(e, "cannot start %s", l->failed);
	}
	return err_errno(e, "cannot start %s: %s", l->config->argv[0], l->failed);
}

int process_spawn(const struct process_config *config, struct process *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct launch l = { .config = config, .envp = config->envp ? config->envp : (const char *const *)environ };
	arena_init(&a, 1 << 20);
	BUG_ON(config->fd_count > FDS_MAX || config->limit_count > ARRAY_SIZE(l.limits) ||
	       config->mount_count > FDS_MAX);
	for (size_t i = 0; i < config->limit_count; i++)
		l.limits[i] = config->limits[i];
	l.candidates = candidates(&a, config->argv[0], config->path);
	if (!l.candidates)
		return err_nomem(e);
	if (!l.candidates[0])
		return err_set(e, ERR_NOT_FOUND, "%s: program not found", config->argv[0]);
	_cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return err_errno(e, "cannot open /dev/null");
	l.null_fd = null_fd;
	l.parent = getpid();

	void *stack =
		mmap(NULL, CHILD_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return err_errno(e, "cannot start %s", config->argv[0]);
	/* No handler of ours may run in the child; the child opens its mask when it has restored the defaults. */
	sigset_t all, before;
	sigfillset(&all);
	sigemptyset(&l.mask);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pid_t pid = clone(child_main, (char *)stack + CHILD_STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, &l);
	int error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	munmap(stack, CHILD_STACK_BYTES);
	if (pid < 0) {
		errno = error;
		return err_errno(e, "cannot start %s", config->argv[0]);
	}
	if (l.failed) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return launch_error(&l, e);
	}
	*ret = (struct process){ .pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0) };
	return 0;
}

int process_wait(struct process *p, int timeout_ms, struct process_status *ret, struct err *e)
{
	BUG_ON(p->pid <= 0);
	int64_t until = clock_mono_us() + (int64_t)timeout_ms * US_PER_MS;
	for (;;) {
		int status;
		pid_t got = waitpid(p->pid, &status, timeout_ms < 0 ? 0 : WNOHANG);
		if (got == p->pid) {
			p->pid = 0;
			if (p->pidfd >= 0)
				close(p->pidfd);
			p->pidfd = -1;
			ret->signalled = WIFSIGNALED(status);
			ret->code = ret->signalled ? WTERMSIG(status) : WEXITSTATUS(status);
			return 1;
		}
		if (got < 0 && errno != EINTR)
			return err_errno(e, "cannot wait for process %d", (int)p->pid);
		if (got == 0) {
			int64_t left = until - clock_mono_us();
			if (left <= 0)
				return 0;
			int ms = (int)((left + US_PER_MS - 1) / US_PER_MS);
			if (p->pidfd >= 0)
				poll(&(struct pollfd){ .fd = p->pidfd, .events = POLLIN }, 1, ms);
			else
				poll(NULL, 0, ms < 10 ? ms : 10);
		}
	}
}

void process_signal(const struct process *p, int sig, bool group)
{
	if (p->pid > 0)
		kill(group ? -p->pid : p->pid, sig);
}

void process_kill(struct process *p)
{
	struct process_status ignored;
	if (p->pid <= 0)
		return;
	kill(-p->pid, SIGKILL);
	kill(p->pid, SIGKILL);
	process_wait(p, -1, &ignored, NULL);
}

const char *process_status_text(struct process_status s, char *buf, size_t size)
{
	snprintf(buf, size, s.signalled ? "killed by signal %d" : "exit status %d", s.code);
	return buf;
}

int process_become_subreaper(struct err *e)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
		return err_errno(e, "cannot become a subreaper");
	return 0;
}

int process_run(const struct process_config *config, int timeout_ms, struct buf *out, struct process_status *ret,
		struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_errno(e, "cannot make a pipe");
	struct process_config c = *config;
	struct process p = PROCESS_NONE;
	c.stdout_fd = c.stderr_fd = fds[1];
	int r = process_spawn(&c, &p, e);
	close(fds[1]);
	_cleanup_close_ int in = fds[0];
	if (r < 0)
		return r;
	int64_t until = clock_mono_us() + (int64_t)timeout_ms * US_PER_MS;
	char chunk[4096];
	for (;;) {
		int64_t left = until - clock_mono_us();
		struct pollfd watch[2] = { { .fd = in, .events = POLLIN }, { .fd = p.pidfd, .events = POLLIN } };
		if (left <= 0) {
			process_kill(&p);
			return err_set(e, ERR_TIMEOUT, "%s took longer than %d s", c.argv[0], timeout_ms / 1000);
		}
		if (poll(watch, 2, (int)(left / US_PER_MS) + 1) < 0 && errno != EINTR)
			break;
		if (watch[0].revents) {
			ssize_t n = read(in, chunk, sizeof(chunk));
			if (n <= 0)
				break;
			if (out->len + (size_t)n <= out->max)
				buf_add(out, chunk, (size_t)n);
		} else if (watch[1].revents) {
			/* It has ended and the pipe is empty: what a child in the background may still write is not ours. */
			break;
		}
	}
	int64_t left = until - clock_mono_us();
	r = process_wait(&p, left > 0 ? (int)(left / US_PER_MS) : 0, ret, e);
	if (r == 1)
		return 0;
	process_kill(&p);
	return r < 0 ? r : err_set(e, ERR_TIMEOUT, "%s took longer than %d s", c.argv[0], timeout_ms / 1000);
}
