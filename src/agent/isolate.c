#include "agent/isolate.h"

#include <sys/resource.h>

#include "base/log.h"
#include "executor/plan.h"

#define PLAN_FD 4

static const struct isolation *const levels[] = { &isolation_bubblewrap, &isolation_docker, &isolation_process };

/* Where a control group counts the processes of a run; the kernel's own limit is then only there against slips. */
#define PROCESSES_MAX 16384
/* Runs are ended sooner than we are, where the machine has no memory left. */
#define OOM_SCORE 500

void isolate_command_init(struct isolate_command *ret, const struct agent *agent, const struct isolate_config *c)
{
	size_t n = 0;
	/* All that the steps get is in the plan: nothing is inherited. */
	*ret = (struct isolate_command){ .argv = { agent->executor, c->plan_fd >= 0 ? "fd:4" : "--probe", NULL } };
	if (c->frame_fd >= 0)
		ret->fds[n++] = (struct process_fd){ c->frame_fd, FRAME_FD };
	if (c->plan_fd >= 0)
		ret->fds[n++] = (struct process_fd){ c->plan_fd, PLAN_FD };
	ret->config = (struct process_config){ .argv = ret->argv,
					       .envp = ret->envp,
					       .cwd = c->dir,
					       .stdin_fd = c->control_fd,
					       .stdout_fd = c->stdout_fd,
					       .stderr_fd = c->stderr_fd,
					       .fds = ret->fds,
					       .fd_count = n,
					       .new_session = true,
					       .limits = ret->limits,
					       .limit_count = 1,
					       .oom_score = OOM_SCORE };
	ret->limits[0] = (struct process_limit){ RLIMIT_CORE, 0 };
	if (c->group) {
		ret->config.join_fds = c->group->join_fds;
		ret->config.join_count = c->group->join_count;
	}
}

void isolate_command_limits(struct isolate_command *c, const struct agent *agent)
{
	const struct limits *l = &agent->limits;
	int64_t processes = l->groups.parents[CGROUP_PIDS].dir ? PROCESSES_MAX : l->pids;
	size_t n = c->config.limit_count;
	c->limits[n++] = (struct process_limit){ RLIMIT_NOFILE, 65536 };
	if (processes)
		c->limits[n++] =
			(struct process_limit){ RLIMIT_NPROC, (uint64_t)(processes > l->pids ? processes : l->pids) };
	/* The walk over the tree does not see a file without a name. */
	if (l->disk_bytes)
		c->limits[n++] = (struct process_limit){ RLIMIT_FSIZE, (uint64_t)l->disk_bytes };
	c->config.limit_count = n;
}

int isolate_wait_process(struct isolated *p, int timeout_ms, struct process_status *ret, struct err *e)
{
	return process_wait(&p->process, timeout_ms, ret, e);
}

void isolate_kill_process(const struct agent *agent, struct isolated *p)
{
	(void)agent;
	process_kill(&p->process);
}

bool isolate_drops(const struct agent *agent)
{
	return agent->root && agent->level->own_user;
}

int isolate_start(const struct agent *agent, const struct isolate_config *c, struct isolated *ret, struct err *e)
{
	return agent->level->start(agent, c, ret, e);
}

int isolate_wait(const struct agent *agent, struct isolated *p, int timeout_ms, struct process_status *ret,
		 struct err *e)
{
	return agent->level->wait(p, timeout_ms, ret, e);
}

void isolate_kill(const struct agent *agent, struct isolated *p, const char *dir)
{
	if (p->process.pid > 0 || p->docker)
		agent->level->kill(agent, p);
	if (dir && agent->level->end_in)
		agent->level->end_in(dir);
}

static int use(struct agent *agent, const struct isolation *level, struct err *e)
{
	int r = level->probe(agent, e);
	if (r < 0)
		return level->advice ? err_wrap(e, "%s does not work here (%s)", agent_isolation_name(level->id),
						level->advice)
				     : r;
	agent->level = level;
	if (level->sweep)
		level->sweep(agent);
	return 0;
}

/* The best that works; without a sandbox only where that was allowed. */
static int choose_best(struct agent *agent, struct err *e)
{
	int r = use(agent, &isolation_bubblewrap, e);
	if (r == 0 || !agent->config->dev)
		return r;
	log_warn("agent", "bubblewrap does not work here (%s): falling back to the isolation 'process'", e->message);
	err_reset(e);
	return use(agent, &isolation_process, e);
}

int isolate_choose(struct agent *agent, struct err *e)
{
	enum agent_isolation asked = agent->config->isolation;
	if (asked == AGENT_ISOLATION_AUTO)
		return choose_best(agent, e);
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		if (levels[i]->id == asked)
			return use(agent, levels[i], e);
	}
	BUG_ON(true); /* agent_isolation_parse knows no others */
}
