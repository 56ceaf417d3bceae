#include <signal.h>

#include "agent/isolate.h"
#include "base/log.h"

static const char *const text[] = {
	"Isolation: none (process). The run is an ordinary process of the runner's user and can read and change",
	"whatever that user can. Only for programs that you would run there by hand.",
	NULL,
};

static const char *const *said(const struct agent *agent)
{
	(void)agent;
	return text;
}

static int probe(struct agent *agent, struct err *e)
{
	(void)agent;
	(void)e;
	log_warn("agent", "isolation process: programs run with the rights of this user and see all of its files");
	return 0;
}

/* The host's root is not ours to write to, so the executor's root is the job's folder. */
static int places(struct job *j, struct isolate_places *ret, struct err *e)
{
	struct arena *a = &j->arena;
	*ret = (struct isolate_places){
		.root = j->dir,
		.tree = arena_printf(a, "%s/tree", j->dir),
		.home = arena_printf(a, "%s/home", j->dir),
		.tmp = arena_printf(a, "%s/tmp", j->dir),
		.path = arena_printf(a, "%s:%s", j->agent->tools_dir, j->agent->path),
	};
	return arena_failed(a) ? err_nomem(e) : 0;
}

static int start(const struct agent *agent, const struct isolate_config *c, struct isolated *ret, struct err *e)
{
	struct isolate_command command;
	isolate_command_init(&command, agent, c);
	/* The number of processes is counted per user: it would count those of the agent's user elsewhere, so there is no
	 * isolate_command_limits. No death signal either: the executor notices that its control is closed, and ends its
	 * steps in order. */
	return process_spawn(&command.config, &ret->process, e);
}

static void kill_all(const struct agent *agent, struct isolated *p)
{
	/* Stopped first, so that it starts nothing meanwhile; it is their subreaper, so all are below it. */
	process_signal(&p->process, SIGSTOP, false);
	process_kill_descendants(p->process.pid);
	isolate_kill_process(agent, p);
}

/* An executor that somebody else has killed leaves them without a parent by whom they could be found. */
static void end_in(const char *dir)
{
	int left = process_kill_in(dir);
	if (left)
		log_warn("agent", "%d processes had outlived their executor: killed", left);
}

const struct isolation isolation_process = {
	.id = AGENT_ISOLATION_PROCESS,
	.own_child = true,
	.probe = probe,
	.places = places,
	.start = start,
	.wait = isolate_wait_process,
	.kill = kill_all,
	.end_in = end_in,
	.text = said,
};
