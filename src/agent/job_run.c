#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/frames.h"
#include "agent/network.h"
#include "base/clock.h"
#include "executor/plan.h"
#include "os/file.h"

#define SAID_MAX_BYTES (4 * KIB)
/* After its last frame the executor only kills what its steps left. */
#define END_TIMEOUT_MS 15000

struct execution {
	struct job *job;
	struct isolated process;
	struct frames frames;
	int frame_fd, said_fd, control_fd;
	struct buf said; /* standard error of the executor, or of what should have started it */
	bool asked;	 /* the cancel was sent */
	struct job_cache cache;
	int tick_ms; /* until lines_tick() wants to be called again */
	bool ok;
	struct err why;
};

static const char *text_of(struct execution *x, struct str s)
{
	const char *z = arena_strndup(&x->job->arena, s.p, s.n);
	return z ? z : "";
}

static void on_step_begin(void *arg, struct str name)
{
	struct execution *x = arg;
	job_step_begin(x->job, text_of(x, name));
}

static void on_output(void *arg, struct str bytes)
{
	struct execution *x = arg;
	job_output(x->job, bytes);
}

/* A command that failed says what the kernel refused or ended at best by chance. */
static void explain_limits(struct job *j)
{
	char text[256];
	watch_look(j->watch);
	if (watch_finding(j->watch)) {
		watch_explain(j->watch, text, sizeof(text));
		job_line(j, "Error: %s", text);
	}
	if (cgroup_pids_refused(&j->group) > 0)
		job_line(j, "The run reached its limit of %lld processes and threads.",
			 (long long)j->agent->limits.pids);
}

static void on_step_end(void *arg, bool ok, struct str why)
{
	struct execution *x = arg;
	if (!ok)
		explain_limits(x->job);
	if (!ok && why.n)
		job_line(x->job, "Error: %s", text_of(x, why));
	job_step_end(x->job, ok);
}

static void on_step_skipped(void *arg, struct str name)
{
	struct execution *x = arg;
	job_step_skipped(x->job, text_of(x, name));
}

static void on_finish(void *arg, bool ok, struct str why)
{
	struct execution *x = arg;
	x->ok = ok;
	if (!ok)
		err_set(&x->why, ERR_BAD_REQUEST, "%s", why.n ? text_of(x, why) : "it failed without a reason");
}

static void on_cache_get(void *arg, struct str key)
{
	struct execution *x = arg;
	job_cache_get(&x->cache, key);
}

static void on_cache_put(void *arg, struct str key)
{
	struct execution *x = arg;
	job_cache_put(&x->cache, key);
}

static void on_cache_data(void *arg, struct str bytes)
{
	struct execution *x = arg;
	job_cache_data(&x->cache, bytes);
}

static void on_cache_end(void *arg, bool whole)
{
	struct execution *x = arg;
	job_cache_end(&x->cache, whole);
}

/* Opens the pipes and starts it. The plan goes through a file in memory that only the executor reads. */
static int start(struct execution *x, struct err *e)
{
	struct job *j = x->job;
	int frames[2] = { -1, -1 }, said[2] = { -1, -1 }, control[2] = { -1, -1 };
	_cleanup_buf_ struct buf plan;
	int plan_fd = -1;
	buf_init(&plan, PLAN_MAX_BYTES);
	int r = plan_write(j, &plan, e);
	if (r == 0)
		r = file_memory("plan", buf_str(&plan), &plan_fd, e);
	if (plan.data)
		explicit_bzero(plan.data, plan.cap);
	if (r == 0 && (pipe2(frames, O_CLOEXEC) != 0 || pipe2(said, O_CLOEXEC) != 0 || pipe2(control, O_CLOEXEC) != 0))
		r = err_errno(e, "cannot make a pipe");
	if (r == 0) {
		struct isolate_config c = { .job = j,
					    .dir = j->dir,
					    .group = &j->group,
					    .uid = j->uid,
					    .gid = j->gid,
					    .network = j->network,
					    .plan_fd = plan_fd,
					    .frame_fd = frames[1],
					    .control_fd = control[0],
					    .stdout_fd = said[1],
					    .stderr_fd = said[1] };
		r = isolate_start(j->agent, &c, &x->process, e);
	}
	int theirs[] = { plan_fd, frames[1], said[1], control[0] };
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
		if (theirs[i] >= 0)
			close(theirs[i]);
	}
	x->frame_fd = frames[0];
	x->said_fd = said[0];
	x->control_fd = control[1];
	return r;
}

static void read_said(struct execution *x)
{
	char chunk[1024];
	ssize_t n = read(x->said_fd, chunk, sizeof(chunk));
	if (n > 0 && x->said.len + (size_t)n <= SAID_MAX_BYTES) {
		buf_add(&x->said, chunk, (size_t)n);
	} else if (n <= 0) {
		close(x->said_fd);
		x->said_fd = -1;
	}
}

static void ask_to_stop(struct execution *x)
{
	const char cancel = CONTROL_CANCEL;
	if (x->asked)
		return;
	x->asked = true;
	/* A pipe that is closed means that it has ended, which the frames will tell. */
	if (write(x->control_fd, &cancel, 1) < 0)
		return;
}

/* 1: go on, 0: the stream has ended. */
static int read_frames(struct execution *x, const struct frame_handler *h, struct err *e)
{
	char chunk[64 * KIB];
	ssize_t n = read(x->frame_fd, chunk, sizeof(chunk));
	if (n < 0 && errno != EINTR)
		return err_errno(e, "cannot read from the executor");
	if (n == 0)
		return 0;
	int r = n > 0 ? frames_feed(&x->frames, (struct str){ chunk, (size_t)n }, h, e) : 0;
	return r < 0 ? r : 1;
}

/* A new token for a file of the run. An executor that is gone is what the frames will tell. */
static int hand_over(struct execution *x, struct err *e)
{
	_cleanup_buf_ struct buf file;
	buf_init(&file, FRAME_MAX_BYTES);
	int r = job_refresh_turn(x->job, &file, e);
	if (r == 0 && file.len)
		job_cache_send(&x->cache, CONTROL_FILE, buf_str(&file));
	return r;
}

/* 1: go on, 0: the stream has ended. */
static int turn(struct execution *x, const struct frame_handler *h, struct err *e)
{
	struct job *j = x->job;
	bool full = upload_full(j->upload);
	struct pollfd watch[] = { { .fd = full ? -1 : x->frame_fd, .events = POLLIN },
				  { .fd = x->said_fd, .events = POLLIN },
				  { .fd = j->wake_fd, .events = POLLIN } };
	poll(watch, ARRAY_SIZE(watch), x->tick_ms >= 0 && x->tick_ms < 500 ? x->tick_ms : 500);
	if (watch[2].revents) {
		uint64_t ignored;
		if (read(j->wake_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
			return err_errno(e, "eventfd");
	}
	network_say_refused(j);
	if (watch[1].revents)
		read_said(x);
	enum job_stop stop = job_stop(j);
	if (job_stop_is_kill(stop))
		return err_set(e, ERR_CANCELLED, "killed");
	if (stop != JOB_RUNS)
		ask_to_stop(x);
	int r = hand_over(x, e);
	if (r == 0)
		r = watch[0].revents ? read_frames(x, h, e) : 1;
	/* Only now, and not while we ourselves do not read: a line stands still when there was nothing more to read. */
	x->tick_ms = r > 0 && j->step_open && !full ? lines_tick(&j->lines) : -1;
	return r;
}

/* Nothing of the user's runs before the server knows that the deployment has begun: until then it would give it to
 * another runner, should this one vanish, and it would run twice. It mostly knows it long before. */
static int wait_begun(struct job *j, struct err *e)
{
	while (!upload_begun(j->upload)) {
		uint64_t ignored;
		j->hand_back = j->agent->stopping != 0;
		if (j->hand_back || job_stop(j) != JOB_RUNS)
			return err_set(e, ERR_CANCELLED, "stopped before it began");
		poll(&(struct pollfd){ .fd = j->wake_fd, .events = POLLIN }, 1, 500);
		if (read(j->wake_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
			return err_errno(e, "eventfd");
	}
	return job_stop(j) == JOB_RUNS ? 0 : err_set(e, ERR_CANCELLED, "stopped before its commands ran");
}

/* The stream has ended without its last frame: what is known of the reason. */
static int died(struct execution *x, struct err *e)
{
	struct process_status s;
	char text[64] = "it is still there";
	int r = isolate_wait(x->job->agent, &x->process, END_TIMEOUT_MS, &s, NULL);
	while (x->said_fd >= 0 && poll(&(struct pollfd){ .fd = x->said_fd, .events = POLLIN }, 1, 0) > 0)
		read_said(x);
	if (r == 1)
		process_status_text(s, text, sizeof(text));
	struct str said = str_trim(buf_str(&x->said));
	return err_set(e, ERR_INTERNAL, "the executor ended early (%s)%s%.*s", text, said.n ? ": " : "",
		       (int)(said.n > 600 ? 600 : said.n), said.p);
}

static int run(struct execution *x, struct err *e)
{
	const struct frame_handler handler = { .step_begin = on_step_begin,
					       .output = on_output,
					       .step_end = on_step_end,
					       .step_skipped = on_step_skipped,
					       .finish = on_finish,
					       .cache_get = on_cache_get,
					       .cache_put = on_cache_put,
					       .cache_data = on_cache_data,
					       .cache_end = on_cache_end,
					       .arg = x };
	int r = start(x, e);
	if (r < 0)
		return err_wrap(e, "cannot start the executor");
	job_cache_init(&x->cache, x->job, x->control_fd);
	do {
		r = turn(x, &handler, e);
	} while (r > 0);
	if (r < 0)
		return r;
	if (!x->frames.finished)
		return died(x, e);
	struct process_status s;
	isolate_wait(x->job->agent, &x->process, END_TIMEOUT_MS, &s, NULL);
	return x->ok ? 0 : err_set(e, x->why.code, "%s", x->why.message);
}

int job_execute(struct job *j, struct err *e)
{
	struct execution x = {
		.job = j, .process = ISOLATED_NONE, .frame_fd = -1, .said_fd = -1, .control_fd = -1, .tick_ms = -1
	};
	x.cache.file = -1;
	frames_init(&x.frames);
	buf_init(&x.said, SAID_MAX_BYTES);
	int r = wait_begun(j, e);
	job_refresh_start(j);
	if (r == 0)
		r = run(&x, e);
	job_refresh_stop(j);
	isolate_kill(j->agent, &x.process, j->dir);
	job_cache_done(&x.cache);
	if (r < 0 && j->out_of_memory) {
		char text[32];
		err_set(e, ERR_TOO_LARGE, "the run was ended because it used more than %s of memory",
			limits_size(j->agent->limits.memory_bytes, text, sizeof(text)));
	}
	if (r < 0 && j->step_open) {
		explain_limits(j);
		if (!watch_finding(j->watch))
			job_line(j, "Error: %s", e->message);
		job_step_end(j, false);
	}
	int fds[] = { x.frame_fd, x.said_fd, x.control_fd };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	buf_done(&x.said);
	frames_done(&x.frames);
	return r;
}
