/* The agent's part of the dependency cache: archives go through a file without a name, and are not looked into here. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/internal.h"
#include "executor/plan.h"
#include "os/file.h"

/* How often it is looked whether the run has to stop, while the executor takes nothing. */
#define LOOK_MS 200

static bool is_stopped(void *arg)
{
	return job_stop(arg) != JOB_RUNS;
}

/* The job's own connection; a stop interrupts it. */
static struct api *api_of(struct job_cache *c)
{
	c->job->api.cancelled = is_stopped;
	c->job->api.cancelled_arg = c->job;
	return &c->job->api;
}

static void leave_api(struct job_cache *c)
{
	c->job->api.cancelled = NULL;
}

/* All of it, unless the run is to be killed or the executor is gone: then the stream has ended anyway. */
static bool send_all(struct job_cache *c, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t wrote = write(c->control_fd, p, n);
		if (wrote > 0) {
			p += wrote;
			n -= (size_t)wrote;
			continue;
		}
		if (wrote < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (job_stop_is_kill(job_stop(c->job)))
			return false;
		poll(&(struct pollfd){ .fd = c->control_fd, .events = POLLOUT }, 1, LOOK_MS);
	}
	return true;
}

bool job_cache_send(struct job_cache *c, char type, struct str payload)
{
	const char header[FRAME_HEADER_BYTES] = { type, (char)(payload.n & 0xFF), (char)(payload.n >> 8 & 0xFF),
						  (char)(payload.n >> 16 & 0xFF), (char)(payload.n >> 24 & 0xFF) };
	return send_all(c, header, sizeof(header)) && send_all(c, payload.p, payload.n);
}

static void answer(struct job_cache *c, char kind, const char *text)
{
	char payload[ERR_MESSAGE_MAX + 1];
	int n = snprintf(payload, sizeof(payload), "%c%s", kind, text);
	job_cache_send(c, CONTROL_ANSWER,
		       (struct str){ payload, n < (int)sizeof(payload) ? (size_t)n : sizeof(payload) - 1 });
}

static void answer_size(struct job_cache *c, int64_t bytes)
{
	char text[32];
	snprintf(text, sizeof(text), "%lld", (long long)bytes);
	answer(c, ANSWER_YES, text);
}

void job_cache_init(struct job_cache *c, struct job *j, int control_fd)
{
	*c = (struct job_cache){ .job = j, .control_fd = control_fd, .file = -1 };
	fcntl(control_fd, F_SETFL, fcntl(control_fd, F_GETFL) | O_NONBLOCK);
}

void job_cache_done(struct job_cache *c)
{
	if (c->file >= 0)
		close(c->file);
	c->file = -1;
}

/* A new file in the job's folder that nobody can find. */
static int open_file(struct job_cache *c, struct err *e)
{
	job_cache_done(c);
	const char *path = arena_printf(&c->job->arena, "%s/cache", c->job->dir);
	if (!path)
		return err_nomem(e);
	(void)unlink(path);
	c->file = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (c->file < 0)
		return err_errno(e, "cannot make a file for the archive");
	(void)unlink(path);
	c->bytes = 0;
	return 0;
}

static void send_file(struct job_cache *c, int64_t bytes)
{
	char piece[FRAME_MAX_BYTES];
	int64_t at = 0;
	while (at < bytes && !is_stopped(c->job)) {
		ssize_t n = pread(c->file, piece, sizeof(piece), (off_t)at);
		if (n <= 0)
			break;
		if (!job_cache_send(c, CONTROL_DATA, (struct str){ piece, (size_t)n }))
			return;
		at += n;
	}
	const char end = at == bytes ? ANSWER_YES : ANSWER_NO;
	job_cache_send(c, CONTROL_END, (struct str){ &end, 1 });
}

void job_cache_get(struct job_cache *c, struct str key)
{
	struct arena *a = &c->job->arena;
	struct err e = { 0 };
	const char *path, *name = arena_strndup(a, key.p, key.n);
	int64_t max, bytes = 0;
	struct api *api = api_of(c);
	int r = name ? api_cache_place(api, false, name, a, &path, &max, &e) : err_nomem(&e);
	if (r == 0)
		r = open_file(c, &e);
	if (r == 0)
		r = api_cache_get(api, path, c->file, max, &bytes, &e);
	leave_api(c);
	if (r > 0) {
		answer_size(c, bytes);
		send_file(c, bytes);
	} else if (r == 0) {
		answer(c, ANSWER_NO, "");
	} else {
		answer(c, ANSWER_FAILED, e.message);
	}
	job_cache_done(c);
}

void job_cache_put(struct job_cache *c, struct str key)
{
	struct arena *a = &c->job->arena;
	struct err e = { 0 };
	const char *path, *name = arena_strndup(a, key.p, key.n);
	struct api *api = api_of(c);
	int r = name ? api_cache_place(api, false, name, a, &path, &c->max, &e) : err_nomem(&e);
	if (r == 0)
		r = api_cache_has(api, path, &e);
	bool known = r > 0;
	if (r == 0)
		r = api_cache_place(api, true, name, a, &c->put_path, &c->max, &e);
	leave_api(c);
	if (r == 0)
		r = open_file(c, &e);
	if (r < 0)
		answer(c, ANSWER_FAILED, e.message);
	else if (known)
		answer(c, ANSWER_NO, "");
	else
		answer_size(c, c->max);
	err_reset(&c->failure);
}

void job_cache_data(struct job_cache *c, struct str bytes)
{
	if (c->file < 0 || c->failure.code)
		return;
	if ((int64_t)bytes.n > c->max - c->bytes)
		err_set(&c->failure, ERR_TOO_LARGE, "the archive is larger than %lld bytes", (long long)c->max);
	else if (file_write_all(c->file, bytes, &c->failure) == 0)
		c->bytes += (int64_t)bytes.n;
}

void job_cache_end(struct job_cache *c, bool whole)
{
	struct err e = { 0 };
	if (!whole || c->file < 0) {
		job_cache_done(c);
		return;
	}
	int r = c->failure.code ? -(int)c->failure.code : 0;
	if (r < 0)
		e = c->failure;
	else
		r = api_cache_put(api_of(c), c->put_path, c->file, c->bytes, &e);
	leave_api(c);
	job_cache_done(c);
	if (r < 0)
		answer(c, ANSWER_FAILED, e.message);
	else
		answer(c, ANSWER_YES, "");
}
