#include "agent/docker_run.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/docker_volume.h"
#include "base/limits.h"
#include "base/log.h"
#include "executor/plan.h"
#include "os/file.h"
#include "os/sandbox.h"
#include "os/tar.h"

#define START_TIMEOUT_MS (2 * 60 * 1000)
#define REMOVE_TIMEOUT_MS (2 * 60 * 1000)

static bool is_stopped(void *arg)
{
	return job_stop(arg) != JOB_RUNS;
}

static void say(void *arg, const char *line)
{
	job_line(arg, "%s", line);
}

static int get_image(struct docker_run *run, struct err *e)
{
	struct job *j = run->job;
	const struct agent_config *config = j->agent->config;
	const struct docker_image_request rq = {
		.reference = j->order.image.reference ? j->order.image.reference : config->image,
		.username = j->order.image.username,
		.password = j->order.image.password,
		.pull = config->pull,
		.say = say,
		.arg = j,
	};
	if (!rq.reference || !rq.reference[0])
		return err_set(
			e, ERR_BAD_REQUEST,
			"this deployment names no image and this runner has none for such ones: set executorImage "
			"in the deployment settings, or start the agent with --image");
	job_line(j, "Image %s%s", rq.reference, j->order.image.reference ? "" : " (of this runner)");
	int r = docker_image_get(&run->docker, &rq, &j->arena, &run->image, e);
	if (r == 0 && run->image.volume_over_us)
		return err_set(e, ERR_BAD_REQUEST,
			       "the image %s declares a volume below /slipway, where the runner's own "
			       "programs lie: remove it from the image",
			       rq.reference);
	if (r == 0)
		job_line(j, "Using %s", run->image.digest ? run->image.digest : run->image.id);
	return r;
}

/* The executor runs, and waits for its plan. */
static int start_container(struct docker_run *run, struct err *e)
{
	struct job *j = run->job;
	struct docker *d = &run->docker;
	const char *path = arena_printf(&j->arena, "/containers/%s/start", run->container);
	struct docker_query q = { .method = "POST", .path = path, .timeout_ms = START_TIMEOUT_MS };
	int r = path ? docker_attach(d, run->container, &j->arena, &run->attached_fd, e) : err_nomem(e);
	if (r == 0)
		r = docker_send(d, &q, &j->arena, NULL, e);
	if (r == -ERR_NOT_FOUND && strstr(e->message, "network")) {
		/* Somebody has pruned it. */
		run->engine->network_ready[j->slot] = false;
		err_reset(e);
		r = docker_network_make(j->agent, run->engine, d, j->slot, &j->arena, e);
		if (r == 0)
			r = docker_send(d, &q, &j->arena, NULL, e);
	}
	return r < 0 ? err_wrap(e, "cannot start the container") : 0;
}

static int prepare(struct docker_run *run, struct err *e)
{
	struct job *j = run->job;
	struct docker_engine *g = run->engine;
	struct docker *d = &run->docker;
	int r = get_image(run, e);
	if (r == 0)
		r = docker_network_make(j->agent, g, d, j->slot, &j->arena, e);
	run->home = SANDBOX_HOME;
	if (r == 0)
		r = docker_create(run, e);
	if (r == 0)
		r = docker_volumes_fill(j->agent, g, d, run->container, run->image.id, &j->arena, e);
	if (r == 0)
		r = docker_user_find(run, &run->user, e);
	if (r < 0)
		return r;
	/* A home in the image may hold what its maker installed there, plugins above all. */
	if (!j->agent->config->container_read_only && run->user.home[0] && !streq(run->user.home, "/") &&
	    !streq(run->user.home, "/nonexistent"))
		run->home = run->user.home;
	job_line(j, "Container created: %.12s", run->container);
	r = start_container(run, e);
	if (r == 0)
		job_line(j, "Container started, user %s (%u)", run->user.name, (unsigned)run->user.uid);
	return r;
}

int docker_run_prepare(struct job *j, struct docker_engine *engine, struct docker_run **ret, struct err *e)
{
	struct docker_run *run = arena_new(&j->arena, struct docker_run);
	if (!run)
		return err_nomem(e);
	*run = (struct docker_run){ .job = j, .engine = engine, .attached_fd = -1 };
	int r = docker_open(&engine->at, engine->api, &run->docker, e);
	if (r < 0)
		return r;
	*ret = run;
	run->docker.cancelled = is_stopped;
	run->docker.cancelled_arg = j;
	r = prepare(run, e);
	run->docker.cancelled = NULL;
	return r;
}

/* What the run finds: its tree, its home, and the file that its steps pass variables by. */
static int write_files(void *arg, int fd, struct err *e)
{
	const struct docker_run *run = arg;
	const struct job *j = run->job;
	const struct tar_owner owner = { run->user.uid, run->user.gid };
	bool read_only = j->agent->config->container_read_only;
	char tree[4096];
	char env[4096];
	snprintf(tree, sizeof(tree), "%s/tree", j->dir);
	const char *root = j->order.executor_root && j->order.executor_root[0] == '/' ? j->order.executor_root + 1 : "";
	snprintf(env, sizeof(env), "%s%sPULUMI_ENV", root, root[0] && !str_ends_with(str_of(root), "/") ? "/" : "");
	int r = tar_put_tree(fd, tree, read_only ? "." : &DOCKER_TREE[1], owner, e);
	if (r == 0 && !read_only && streq(run->home, SANDBOX_HOME))
		r = tar_put_folder(fd, &SANDBOX_HOME[1], 0700, owner, e);
	if (r == 0 && !read_only)
		r = tar_put_text(fd, env, STR(""), 0600, owner, e);
	return r < 0 ? r : tar_end(fd, e);
}

static int send_plan(struct docker_run *run, int plan_fd, struct err *e)
{
	_cleanup_buf_ struct buf plan;
	buf_init(&plan, PLAN_MAX_BYTES + 4);
	buf_add(&plan, "\0\0\0\0", 4);
	for (;;) {
		if (!buf_reserve(&plan, 64 * KIB))
			break;
		ssize_t n = read(plan_fd, plan.data + plan.len, 64 * KIB);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot read the plan");
		if (n == 0)
			break;
		plan.len += (size_t)n;
	}
	int r = buf_check(&plan, "the plan", e);
	if (r < 0)
		return r;
	size_t n = plan.len - 4;
	for (size_t i = 0; i < 4; i++)
		plan.data[i] = (char)(n >> 8 * i & 0xFF);
	r = file_write_all(run->attached_fd, buf_str(&plan), e);
	explicit_bzero(plan.data, plan.cap);
	return r;
}

/* An executor that has ended already said why. */
static int explain(struct docker_run *run, struct err *e)
{
	char bytes[1024];
	struct docker_demux demux = { 0 };
	int kind;
	struct str piece;
	struct pollfd watch = { .fd = run->attached_fd, .events = POLLIN };
	ssize_t n = run->attached_fd >= 0 && poll(&watch, 1, 0) > 0 ? read(run->attached_fd, bytes, sizeof(bytes)) : 0;
	struct str rest = { bytes, n > 0 ? (size_t)n : 0 };
	if (docker_demux(&demux, &rest, &kind, &piece, NULL) == 1)
		return err_set(e, ERR_UNAVAILABLE, "%.*s", STR_ARG(str_trim(piece)));
	return -(int)e->code;
}

int docker_run_start(struct docker_run *run, const struct isolate_config *c, struct err *e)
{
	struct job *j = run->job;
	const char *into = j->agent->config->container_read_only ? DOCKER_TREE : "/";
	const struct docker_stream_pipes pipes = { .frame_fd = c->frame_fd,
						   .said_fd = c->stderr_fd,
						   .control_fd = c->control_fd };
	run->docker.cancelled = is_stopped;
	int r = docker_put(&run->docker, run->container, into, write_files, run, &j->arena, e);
	run->docker.cancelled = NULL;
	if (r < 0)
		err_wrap(e, "cannot bring the source into the container");
	if (r == 0 && docker_reach_needed(j->order.backend_url))
		r = docker_reach_start(&run->docker, run->container, &run->user, j->order.backend_url, &j->arena,
				       &run->reach, e);
	if (r == 0)
		r = send_plan(run, c->plan_fd, e);
	return r < 0 ? explain(run, e) : docker_stream_start(TAKE_FD(run->attached_fd), &pipes, &run->stream, e);
}

int docker_run_wait(struct docker_run *run, int timeout_ms, struct process_status *ret, struct err *e)
{
	struct arena *a = &run->job->arena;
	struct docker_query q = { .method = "POST",
				  .path = arena_printf(a, "/containers/%s/wait", run->container),
				  .timeout_ms = timeout_ms > 0 ? timeout_ms : 1 };
	struct json answer;
	int64_t code = 0;
	int r = q.path ? docker_send(&run->docker, &q, a, &answer, e) : err_nomem(e);
	if (r == -ERR_TIMEOUT) {
		err_reset(e);
		return 0;
	}
	if (r < 0)
		return r;
	json_int64(json_get(answer, "StatusCode"), &code);
	*ret = (struct process_status){ .signalled = code > 128, .code = (int)(code > 128 ? code - 128 : code) };
	return 1;
}

bool docker_run_out_of_memory(struct docker_run *run)
{
	struct json answer;
	struct err ignored = { 0 };
	return run->container &&
	       docker_get(&run->docker, &run->job->arena, &answer, &ignored, "/containers/%s/json", run->container) ==
		       0 &&
	       json_is_true(json_path(answer, "State", "OOMKilled", NULL));
}

void docker_run_free(struct docker_run *run)
{
	struct err e = { 0 };
	struct arena *a = &run->job->arena;
	docker_reach_stop(run->reach);
	docker_stream_stop(run->stream);
	run->reach = NULL;
	run->stream = NULL;
	if (run->attached_fd >= 0)
		close(run->attached_fd);
	run->attached_fd = -1;
	if (run->container) {
		struct docker_query q = { .method = "DELETE",
					  .path = arena_printf(a, "/containers/%s?force=1&v=1", run->container),
					  .timeout_ms = REMOVE_TIMEOUT_MS };
		int r = q.path ? docker_send(&run->docker, &q, a, NULL, &e) : err_nomem(&e);
		if (r < 0 && r != -ERR_NOT_FOUND)
			log_warn(
				"agent",
				"%s: the container %.12s could not be removed, which the next start will try again: %s",
				run->job->claim.deployment, run->container, e.message);
	}
	run->container = NULL;
	docker_close(&run->docker);
}
