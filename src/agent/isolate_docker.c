#include <stdio.h>

#include "agent/docker_run.h"
#include "agent/docker_volume.h"
#include "base/log.h"

#define LINES_MAX 8

static struct docker_engine *engine;
static char lines[LINES_MAX][200];
static const char *text[LINES_MAX + 1];

static const char *const *said(const struct agent *agent)
{
	(void)agent;
	return text;
}

/* "memory 4096 MiB, processors 2.5" of those limits that are there and (or not) in force. */
static size_t list_limits(const struct agent *agent, bool in_force, char *out, size_t size)
{
	const struct limits *l = &agent->limits;
	const struct {
		int64_t n;
		bool works;
		const char *name, *unit;
	} rows[] = {
		{ l->memory_bytes / (1024 * 1024), engine->limits_memory, "memory", " MiB" },
		{ l->cpu_percent, engine->limits_cpu, "processor", " %" },
		{ l->pids, engine->limits_pids, "processes", "" },
	};
	size_t n = 0;
	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].n && rows[i].works == in_force)
			n += (size_t)snprintf(out + n, size - n, "%s%s %lld%s", n ? ", " : "", rows[i].name,
					      (long long)rows[i].n, rows[i].unit);
	}
	return n;
}

static void describe(const struct agent *agent)
{
	const struct agent_config *c = agent->config;
	char limits[120];
	size_t n = 0;
	snprintf(
		lines[n++], sizeof(lines[0]),
		"Isolation: docker (%s). The run is a container of its own without capabilities: it cannot see other runs,",
		engine->version);
	snprintf(lines[n++], sizeof(lines[0]), "the runner, its credentials, the engine or the host's files.%s",
		 c->container_read_only ? " Its root is read-only." : "");
	snprintf(lines[n++], sizeof(lines[0]),
		 "Network: a bridge of its own, from which it reaches what the host reaches%s.",
		 c->allow_metadata ? ", the cloud's metadata service too" : ", but not the cloud's metadata service");
	if (list_limits(agent, false, limits, sizeof(limits)))
		snprintf(lines[n++], sizeof(lines[0]), "Not limited, because the engine cannot: %s.", limits);
	for (size_t i = 0; i < n; i++)
		text[i] = lines[i];
	text[n] = NULL;
}

static const char *limits_in_force(const struct agent *agent, struct arena *a)
{
	char held[120];
	bool any = list_limits(agent, true, held, sizeof(held)) > 0;
	return any ? arena_printf(a, "%s (the engine)", held) : "none that the engine could hold";
}

static int probe(struct agent *agent, struct err *e)
{
	int r = docker_engine_open(agent, &engine, e);
	if (r == 0)
		r = docker_volumes_name(agent, engine, e);
	if (r < 0)
		return r;
	describe(agent);
	log_info("agent", "container engine %s at %s", engine->version, agent->config->docker_host);
	for (size_t i = 0; text[i]; i++) {
		if (strncmp(text[i], "Not limited", 11) == 0)
			log_warn("agent", "%s", text[i]);
	}
	return 0;
}

static void sweep(struct agent *agent)
{
	docker_engine_sweep(agent, engine);
}

static int prepare(struct job *j, struct err *e)
{
	int r = docker_run_prepare(j, engine, &j->docker, e);
	if (r == 0 && engine->limits_disk == false && j->agent->limits.disk_bytes)
		job_line(j, "The engine's storage driver cannot limit what this run writes to disk.");
	return r;
}

/* Names of the image's variables and values. */
static int places(struct job *j, struct isolate_places *ret, struct err *e)
{
	const struct docker_run *run = j->docker;
	const char *const *env = run->image.env;
	const char *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	const char *asked = j->order.executor_root;
	bool read_only = j->agent->config->container_read_only;
	for (size_t i = 0; env[i]; i++) {
		if (strncmp(env[i], "PATH=", 5) == 0)
			path = env[i] + 5;
	}
	*ret = (struct isolate_places){
		.root = asked && asked[0] == '/' ? asked
			: read_only		 ? run->home
						 : "/",
		.tree = j->order.has_source ? DOCKER_TREE : run->image.work_dir,
		.home = run->home,
		/* A pulumi that the image brings is found first. */
		.path = arena_printf(&j->arena, "%s:%s", path, DOCKER_OURS_TOOLS),
		.user = run->user.name,
		.drop = true,
		.uid = run->user.uid,
		.gid = run->user.gid,
		.env = env,
	};
	return arena_failed(&j->arena) ? err_nomem(e) : 0;
}

static int start(const struct agent *agent, const struct isolate_config *c, struct isolated *ret, struct err *e)
{
	(void)agent;
	ret->docker = c->job->docker;
	return docker_run_start(ret->docker, c, e);
}

static int wait_for(struct isolated *p, int timeout_ms, struct process_status *ret, struct err *e)
{
	return docker_run_wait(p->docker, timeout_ms, ret, e);
}

/* The engine ends everything in it; dispose() is where it is told to. */
static void kill_all(const struct agent *agent, struct isolated *p)
{
	(void)agent;
	struct job *j = p->docker->job;
	if (docker_run_out_of_memory(p->docker))
		j->out_of_memory = true;
	docker_run_free(p->docker);
	p->docker = NULL;
	j->docker = NULL;
}

static void dispose(struct job *j)
{
	if (j->docker)
		docker_run_free(j->docker);
	j->docker = NULL;
}

const struct isolation isolation_docker = {
	.id = AGENT_ISOLATION_DOCKER,
	.own_network = true,
	.own_user = true,
	.advice = "start a container engine, or say where it listens with --docker-host",
	.probe = probe,
	.sweep = sweep,
	.prepare = prepare,
	.dispose = dispose,
	.places = places,
	.start = start,
	.wait = wait_for,
	.kill = kill_all,
	.text = said,
	.limits = limits_in_force,
};
