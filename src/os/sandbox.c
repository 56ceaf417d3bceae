#include "os/sandbox.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"

enum { FD_SECCOMP = SANDBOX_FD_FIRST, FD_PASSWD, FD_GROUP, FD_HOSTS, FD_RESOLVER };

#define ARGUMENTS_MAX 256

struct arguments {
	struct arena *a;
	const char **list;
	size_t n;
	bool full;
};

static void add(struct arguments *args, const char *text)
{
	if (!text || args->n + 1 >= ARGUMENTS_MAX) {
		args->full = true;
		return;
	}
	args->list[args->n++] = text;
}

static void add2(struct arguments *args, const char *option, const char *one)
{
	add(args, option);
	add(args, one);
}

static void add3(struct arguments *args, const char *option, const char *one, const char *two)
{
	add2(args, option, one);
	add(args, two);
}

/* A file system in memory; `share` is the part of the run's memory that it may take. */
static void add_tmpfs(struct arguments *args, const struct sandbox_config *c, const char *perms, const char *path,
		      int share)
{
	add2(args, "--perms", perms);
	if (c->memory_bytes)
		add2(args, "--size", arena_printf(args->a, "%lld", (long long)(c->memory_bytes / share)));
	add2(args, "--tmpfs", path);
}

static void add_devices(struct arguments *args, const struct sandbox_config *c)
{
	/* Files that tell more of the machine and of others than a program needs. */
	static const char *const covered[] = { "/proc/kcore",	      "/proc/keys",	   "/proc/timer_list",
					       "/proc/latency_stats", "/proc/sched_debug", "/proc/kmsg" };
	add2(args, "--proc", "/proc");
	for (size_t i = 0; i < ARRAY_SIZE(covered); i++) {
		if (access(covered[i], F_OK) == 0)
			add3(args, "--ro-bind", "/dev/null", covered[i]);
	}
	add2(args, "--dev", "/dev");
	add_tmpfs(args, c, "1777", "/dev/shm", 8);
	/* Its size cannot be set, so nothing is made in it. */
	add2(args, "--remount-ro", "/dev");
}

/* A folder of the host as it is there: a link stays a link (merged /usr), a folder is bound, nothing is nothing. */
static void add_host_folder(struct arguments *args, const char *path)
{
	struct stat st;
	char target[PATH_MAX];
	if (lstat(path, &st) != 0)
		return;
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		if (n > 0)
			add3(args, "--symlink", arena_strndup(args->a, target, (size_t)n), path);
	} else if (S_ISDIR(st.st_mode)) {
		add3(args, "--ro-bind", path, path);
	}
}

/* /etc/resolv.conf is often a link into /run, which the sandbox has for itself: the file it leads to is shown. */
static void add_resolver(struct arguments *args, bool own)
{
	char real[PATH_MAX];
	if (own && realpath("/etc/resolv.conf", real))
		add3(args, "--ro-bind-data", arena_printf(args->a, "%d", FD_RESOLVER), arena_strdup(args->a, real));
	else if (realpath("/etc/resolv.conf", real) && strncmp(real, "/etc/", 5) != 0) {
		const char *path = arena_strdup(args->a, real);
		add3(args, "--ro-bind", path, path);
	}
}

int sandbox_arguments(struct arena *a, const struct sandbox_config *c, const char *const **ret_argv, struct err *e)
{
	static const char *const namespaces[] = {
		"--unshare-user", "--unshare-pid", "--unshare-ipc",	"--unshare-uts", "--unshare-cgroup-try",
		"--new-session",  "--as-pid-1",	   "--die-with-parent", "--clearenv",
	};
	static const char *const host[] = { "/usr",   "/bin",	 "/sbin", "/lib", "/lib32",
					    "/lib64", "/libx32", "/etc",  "/opt" };
	struct arguments args = { .a = a, .list = arena_array(a, ARGUMENTS_MAX, sizeof(char *)) };
	if (!args.list)
		return err_nomem(e);
	add(&args, c->bwrap);
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		add(&args, namespaces[i]);
	add2(&args, "--cap-drop", "ALL");
	add2(&args, "--hostname", SANDBOX_HOSTNAME);
	/* First of all, for it covers what was put there before. */
	add_tmpfs(&args, c, "755", "/", 8);
	for (size_t i = 0; i < ARRAY_SIZE(host); i++)
		add_host_folder(&args, host[i]);
	add_devices(&args, c);
	add_tmpfs(&args, c, "1777", "/tmp", 4);
	add_tmpfs(&args, c, "700", SANDBOX_HOME, 2);
	add2(&args, "--dir", "/run");
	add2(&args, "--perms", "1777");
	add2(&args, "--dir", "/var/tmp");
	add_resolver(&args, c->resolver != NULL);
	add3(&args, "--ro-bind-data", arena_printf(a, "%d", FD_PASSWD), "/etc/passwd");
	add3(&args, "--ro-bind-data", arena_printf(a, "%d", FD_GROUP), "/etc/group");
	/* A minimal system may lack it, and nothing can be made in the read-only /etc to lay ours over. */
	if (access("/etc/hosts", F_OK) == 0)
		add3(&args, "--ro-bind-data", arena_printf(a, "%d", FD_HOSTS), "/etc/hosts");
	for (size_t i = 0; i < c->hide_count; i++) {
		if (file_is_dir(c->hide[i])) {
			add2(&args, "--tmpfs", c->hide[i]);
			add2(&args, "--remount-ro", c->hide[i]);
		} else {
			add3(&args, "--ro-bind", "/dev/null", c->hide[i]);
		}
	}
	for (size_t i = 0; i < c->bind_count; i++)
		add3(&args, c->binds[i].writable ? "--bind" : "--ro-bind", c->binds[i].source, c->binds[i].target);
	add2(&args, "--seccomp", arena_printf(a, "%d", FD_SECCOMP));
	add2(&args, "--chdir", c->cwd);
	add(&args, "--");
	for (size_t i = 0; c->command[i]; i++)
		add(&args, c->command[i]);
	if (arena_failed(a))
		return err_nomem(e);
	if (args.full)
		return err_set(e, ERR_INTERNAL, "too many arguments for the sandbox");
	*ret_argv = args.list;
	return 0;
}

/* Programs ask for the name and the home of their user; the host's list has no row for it. */
static int open_user_files(const struct sandbox_config *c, struct sandbox_fds *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 4 * 1024 * 1024);
	struct str hosts = STR("127.0.0.1 localhost\n");
	(void)file_read(&a, "/etc/hosts", 1024 * 1024, &hosts, NULL);
	const struct {
		const char *name;
		char *text;
	} files[] = {
		{ "passwd", arena_printf(&a,
					 "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n%s:x:%u:%u:run:%s:/bin/sh\n"
					 "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
					 SANDBOX_USER, (unsigned)c->uid, (unsigned)c->gid, SANDBOX_HOME) },
		{ "group",
		  arena_printf(&a, "root:x:0:\n%s:x:%u:\nnogroup:x:65534:\n", SANDBOX_USER, (unsigned)c->gid) },
		{ "hosts", arena_printf(&a, "%s%.*s\n127.0.1.1 %s\n", c->hosts ? c->hosts : "", STR_ARG(hosts),
					SANDBOX_HOSTNAME) },
		{ "resolv.conf", arena_strdup(&a, c->resolver ? c->resolver : "") },
	};
	if (arena_failed(&a))
		return err_nomem(e);
	for (size_t i = 0; i + 1 < ret->count; i++) {
		int r = file_memory(files[i].name, str_of(files[i].text), &ret->fds[i + 1].source, e);
		if (r < 0)
			return r;
		ret->fds[i + 1].target = FD_PASSWD + (int)i;
	}
	return 0;
}

int sandbox_fds_open(const struct sandbox_config *c, struct sandbox_fds *ret, struct err *e)
{
	struct sandbox_fds fds;
	for (size_t i = 0; i < SANDBOX_FD_COUNT; i++)
		fds.fds[i] = (struct process_fd){ -1, -1 };
	fds.count = c->resolver ? SANDBOX_FD_COUNT : SANDBOX_FD_COUNT - 1;
	int r = sandbox_seccomp(&fds.fds[0].source, e);
	fds.fds[0].target = FD_SECCOMP;
	if (r == 0)
		r = open_user_files(c, &fds, e);
	if (r < 0) {
		sandbox_fds_close(&fds);
		return r;
	}
	*ret = fds;
	return 0;
}

void sandbox_fds_close(struct sandbox_fds *fds)
{
	for (size_t i = 0; i < SANDBOX_FD_COUNT; i++) {
		if (fds->fds[i].source >= 0)
			close(fds->fds[i].source);
		fds->fds[i].source = -1;
	}
}
