#include "os/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup_files.h"

/* Killed processes take a moment to be gone, above all those with much memory. */
#define REMOVE_ROUNDS 400
#define CPU_PERIOD_US 100000
#define CPU_QUOTA_MIN_US 1000

/* A bound of one kind, and the file that takes it in either version. */
static bool set_memory(const char *dir, int version, int64_t bytes)
{
	if (version == 2) {
		/* All of them at once: a run that lost one process to it is not one to go on with. */
		(void)cgroup_write(dir, "memory.oom.group", "1");
		(void)cgroup_write(dir, "memory.swap.max", "0");
		return cgroup_write_int(dir, "memory.max", bytes);
	}
	if (!cgroup_write_int(dir, "memory.limit_in_bytes", bytes))
		return false;
	/* With swap; the file is missing where swap is not counted. */
	(void)cgroup_write_int(dir, "memory.memsw.limit_in_bytes", bytes);
	return true;
}

static bool set_cpu(const char *dir, int version, int64_t percent)
{
	char text[64];
	int64_t quota_us = percent * (CPU_PERIOD_US / 100);
	if (quota_us < CPU_QUOTA_MIN_US)
		quota_us = CPU_QUOTA_MIN_US;
	if (version == 2) {
		snprintf(text, sizeof(text), "%lld %d", (long long)quota_us, CPU_PERIOD_US);
		return cgroup_write(dir, "cpu.max", text);
	}
	return cgroup_write_int(dir, "cpu.cfs_period_us", CPU_PERIOD_US) &&
	       cgroup_write_int(dir, "cpu.cfs_quota_us", quota_us);
}

static bool set_limit(enum cgroup_kind kind, const char *dir, int version, const struct cgroup_limits *limits)
{
	switch (kind) {
	case CGROUP_MEMORY:
		return !limits->memory_bytes || set_memory(dir, version, limits->memory_bytes);
	case CGROUP_PIDS:
		return !limits->pids || cgroup_write_int(dir, "pids.max", limits->pids);
	case CGROUP_CPU:
		return !limits->cpu_percent || set_cpu(dir, version, limits->cpu_percent);
	case CGROUP_KINDS:
		break;
	}
	return true;
}

static bool is_first_of_its_folder(const struct cgroup *g, int kind)
{
	for (int before = 0; before < kind; before++) {
		if (g->dirs[before] && streq(g->dirs[before], g->dirs[kind]))
			return false;
	}
	return true;
}

static int open_group(struct cgroup *g, int kind, struct err *e)
{
	char path[4096];
	if (!is_first_of_its_folder(g, kind))
		return 0;
	if (mkdir(g->dirs[kind], 0755) != 0) {
		int r = err_errno(e, "cannot make the control group %s", g->dirs[kind]);
		/* One that is there already is not ours to remove. */
		free(g->dirs[kind]);
		g->dirs[kind] = NULL;
		return r;
	}
	snprintf(path, sizeof(path), "%s/cgroup.procs", g->dirs[kind]);
	int fd = open(path, O_WRONLY | O_CLOEXEC | CGROUP_CREATE, 0600);
	if (fd < 0)
		return err_errno(e, "cannot use the control group %s", g->dirs[kind]);
	g->join_fds[g->join_count++] = fd;
	return 0;
}

int cgroup_make(const struct cgroup_base *base, const char *name, const struct cgroup_limits *limits,
		struct cgroup *ret, struct err *e)
{
	struct cgroup g = { .base = base };
	int r = 0;
	for (int kind = 0; r == 0 && kind < CGROUP_KINDS; kind++) {
		const char *parent = base->parents[kind].dir;
		if (!parent)
			continue;
		if (asprintf(&g.dirs[kind], "%s/%s-%s", parent, base->prefix, name) < 0) {
			g.dirs[kind] = NULL;
			r = err_nomem(e);
			break;
		}
		r = open_group(&g, kind, e);
		if (r == 0 && !set_limit((enum cgroup_kind)kind, g.dirs[kind], base->parents[kind].version, limits))
			r = err_errno(e, "cannot set a limit of the control group %s", g.dirs[kind]);
	}
	if (r < 0) {
		cgroup_remove(&g);
		return r;
	}
	*ret = g;
	return 0;
}

void cgroup_close(struct cgroup *g)
{
	for (size_t i = 0; i < g->join_count; i++)
		close(g->join_fds[i]);
	g->join_count = 0;
}

int64_t cgroup_oom_kills(const struct cgroup *g)
{
	if (!g->dirs[CGROUP_MEMORY])
		return 0;
	bool two = g->base->parents[CGROUP_MEMORY].version == 2;
	return cgroup_read_key(g->dirs[CGROUP_MEMORY], two ? "memory.events" : "memory.oom_control", "oom_kill");
}

int64_t cgroup_pids_refused(const struct cgroup *g)
{
	return g->dirs[CGROUP_PIDS] ? cgroup_read_key(g->dirs[CGROUP_PIDS], "pids.events", "max") : 0;
}

/* One round; true when nobody was there. */
static bool kill_all(const char *dir)
{
	char path[4096], text[32];
	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	FILE *f = fopen(path, "re");
	bool empty = true;
	if (!f)
		return true;
	while (fgets(text, sizeof(text), f)) {
		long pid = strtol(text, NULL, 10);
		if (pid > 1) {
			empty = false;
			kill((pid_t)pid, SIGKILL);
		}
	}
	fclose(f);
	return empty;
}

/* Kills and removes one folder of one hierarchy. */
static void remove_dir(const char *dir)
{
	/* No further process, so that the list of them is whole; newer kernels can kill all at once. */
	(void)cgroup_write(dir, "pids.max", "0");
	(void)cgroup_write(dir, "cgroup.kill", "1");
	for (int round = 0; round < REMOVE_ROUNDS; round++) {
		if (kill_all(dir) && (rmdir(dir) == 0 || errno == ENOENT))
			return;
		poll(NULL, 0, round < 20 ? 1 : 10);
	}
}

void cgroup_remove(struct cgroup *g)
{
	cgroup_close(g);
	for (int kind = 0; kind < CGROUP_KINDS; kind++) {
		if (g->dirs[kind] && is_first_of_its_folder(g, kind))
			remove_dir(g->dirs[kind]);
	}
	for (int kind = 0; kind < CGROUP_KINDS; kind++)
		free(g->dirs[kind]);
	*g = CGROUP_NONE;
}

static int sweep_parent(const char *parent, const char *prefix)
{
	DIR *d = opendir(parent);
	size_t n = strlen(prefix);
	int found = 0;
	if (!d)
		return 0;
	for (struct dirent *entry; (entry = readdir(d));) {
		char path[4096];
		if (strncmp(entry->d_name, prefix, n) != 0 || entry->d_name[n] != '-')
			continue;
		snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name);
		remove_dir(path);
		found++;
	}
	closedir(d);
	return found;
}

int cgroup_sweep(const struct cgroup_base *base)
{
	int most = 0;
	for (int kind = 0; kind < CGROUP_KINDS; kind++) {
		int found = base->parents[kind].dir ? sweep_parent(base->parents[kind].dir, base->prefix) : 0;
		most = found > most ? found : most;
	}
	return most;
}
