#include "agent/limits.h"

#include <stdio.h>
#include <unistd.h>

#include "agent/isolate.h"
#include "base/limits.h"
#include "base/log.h"

/* What is left is for the host and the agent itself. */
static int64_t four_fifths_of_memory(void)
{
	return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 5 * 4;
}

void limits_read(struct agent *agent)
{
	const struct agent_config *config = agent->config;
	agent->limits = (struct limits){
		.memory_bytes =
			config->memory_limit_mib ? config->memory_limit_mib * (int64_t)MIB : four_fifths_of_memory(),
		.cpu_percent = config->cpu_limit_percent,
		.pids = config->pids_limit,
		.disk_bytes = config->disk_limit_mib * (int64_t)MIB,
		.log_bytes = config->log_limit_mib * (int64_t)MIB,
	};
}

const char *limits_size(int64_t bytes, char *ret, size_t size)
{
	int64_t mib = bytes / (int64_t)MIB;
	if (mib >= 1024 && (mib % 1024 == 0 || mib >= 10240))
		snprintf(ret, size, "%lld GiB", (long long)(mib / 1024));
	else
		snprintf(ret, size, "%lld MiB", (long long)mib);
	return ret;
}

/* By what one kind of limit is held, where runs are descendants of ours. NULL: by nothing. */
static const char *holder(const struct agent *agent, enum cgroup_kind kind)
{
	const struct limits *l = &agent->limits;
	if (l->groups.parents[kind].dir)
		return l->groups.parents[kind].version == 2 ? "cgroup v2" : "cgroup v1";
	if (!agent->level->own_user || kind == CGROUP_CPU)
		return NULL;
	return kind == CGROUP_MEMORY ? "each process" : "rlimit";
}

static const char *describe(const struct agent *agent, struct arena *a)
{
	const struct limits *l = &agent->limits;
	char memory[32], disk[32];
	const struct {
		enum cgroup_kind kind;
		const char *name;
		const char *value; /* NULL: not asked for */
	} rows[] = {
		{ CGROUP_MEMORY, "memory",
		  l->memory_bytes ? limits_size(l->memory_bytes, memory, sizeof(memory)) : NULL },
		{ CGROUP_PIDS, "processes", l->pids ? arena_printf(a, "%lld", (long long)l->pids) : NULL },
		{ CGROUP_CPU, "cpu", l->cpu_percent ? arena_printf(a, "%lld %%", (long long)l->cpu_percent) : NULL },
	};
	_cleanup_buf_ struct buf b;
	buf_init(&b, 4 * KIB);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *by = holder(agent, rows[i].kind);
		buf_adds(&b, i ? ", " : "");
		if (rows[i].value && by)
			buf_addf(&b, "%s %s (%s)", rows[i].name, rows[i].value, by);
		else
			buf_addf(&b, "%s unlimited", rows[i].name);
	}
	if (l->disk_bytes)
		buf_addf(&b, ", disk %s (watched)", limits_size(l->disk_bytes, disk, sizeof(disk)));
	else
		buf_adds(&b, ", disk unlimited");
	return str_dup(a, buf_str(&b));
}

int limits_start(struct agent *agent, struct arena *a, struct err *e)
{
	struct cgroup_base *groups = &agent->limits.groups;
	const char *prefix = arena_printf(a, "slipway-%s", agent->instance);
	if (!prefix)
		return err_nomem(e);
	int r = cgroup_find(a, "/proc/self/mountinfo", "/proc/self/cgroup", prefix, groups, e);
	if (r < 0)
		return r;
	int left = cgroup_sweep(groups);
	if (left)
		log_warn("agent", "removed %d control group%s that a former life of this agent left", left,
			 left == 1 ? "" : "s");
	cgroup_probe(groups);
	return 0;
}

int limits_describe(struct agent *agent, struct arena *a, struct err *e)
{
	struct limits *l = &agent->limits;
	l->text = agent->level->limits ? agent->level->limits(agent, a) : describe(agent, a);
	if (!l->text)
		return err_nomem(e);
	log_info("agent", "limits of a run: %s", l->text);
	if (l->cpu_percent && agent->level->own_child && !l->groups.parents[CGROUP_CPU].dir)
		log_warn("agent", "--cpu-limit takes control groups that this agent may write to, and there are none");
	return 0;
}

int64_t limits_of_process(const struct agent *agent)
{
	const struct limits *l = &agent->limits;
	bool counted = l->groups.parents[CGROUP_MEMORY].dir != NULL;
	return agent->level->own_child && agent->level->own_user && !counted ? l->memory_bytes : 0;
}

int limits_group(const struct agent *agent, const char *name, struct cgroup *ret, struct err *e)
{
	const struct limits *l = &agent->limits;
	static const struct cgroup_base none = { .prefix = NULL };
	const struct cgroup_limits limits = { .memory_bytes = l->memory_bytes,
					      .pids = l->pids,
					      .cpu_percent = l->cpu_percent };
	return cgroup_make(agent->level->own_child ? &l->groups : &none, name, &limits, ret, e);
}
