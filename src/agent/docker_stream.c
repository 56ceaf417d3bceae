#include "agent/docker_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/docker.h"
#include "base/limits.h"
#include "base/log.h"

#define CHUNK_BYTES (64 * KIB)
#define KIND_OUTPUT 1
#define KIND_ERRORS 2

struct docker_stream {
	pthread_t thread;
	int fd;
	int to[3]; /* by kind */
	int control_fd;
	int stop_fd; /* eventfd: docker_stream_stop was called */
	struct docker_demux demux;
	char chunk[CHUNK_BYTES];
	struct str rest;  /* of the chunk, not taken apart yet */
	struct str piece; /* on its way to to[kind] */
	int kind;
	char control[CHUNK_BYTES];
	struct str control_left; /* of it, on its way to the container */
};

int docker_demux(struct docker_demux *d, struct str *bytes, int *ret_kind, struct str *ret_piece, struct err *e)
{
	while (bytes->n) {
		if (d->left) {
			size_t n = bytes->n < d->left ? bytes->n : d->left;
			*ret_kind = d->head[0];
			*ret_piece = (struct str){ bytes->p, n };
			*bytes = (struct str){ bytes->p + n, bytes->n - n };
			d->left -= n;
			return 1;
		}
		d->head[d->have++] = (unsigned char)*bytes->p;
		*bytes = (struct str){ bytes->p + 1, bytes->n - 1 };
		if (d->have < sizeof(d->head))
			continue;
		const unsigned char *h = d->head;
		d->have = 0;
		if (h[0] > KIND_ERRORS || h[1] || h[2] || h[3])
			return err_set(e, ERR_BAD_REQUEST, "the container engine sends something that is no stream");
		d->left = (size_t)h[4] << 24 | (size_t)h[5] << 16 | (size_t)h[6] << 8 | (size_t)h[7];
	}
	return 0;
}

/* What can be handed on without waiting. false: it has to wait. */
static bool hand_on(struct docker_stream *s)
{
	struct err e = { 0 };
	for (;;) {
		while (s->piece.n) {
			int fd = s->to[s->kind];
			ssize_t n = fd >= 0 ? write(fd, s->piece.p, s->piece.n) : (ssize_t)s->piece.n;
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && errno == EAGAIN)
				return false;
			/* Whoever read it is gone: the rest is for nobody. */
			n = n < 0 ? (ssize_t)s->piece.n : n;
			s->piece = (struct str){ s->piece.p + n, s->piece.n - (size_t)n };
		}
		int r = docker_demux(&s->demux, &s->rest, &s->kind, &s->piece, &e);
		if (r < 0) {
			log_warn("agent", "%s", e.message);
			s->rest = STR_NULL;
		}
		if (r <= 0)
			return true;
	}
}

/* false: the connection has ended. */
static bool receive(struct docker_stream *s)
{
	ssize_t n;
	do {
		n = read(s->fd, s->chunk, sizeof(s->chunk));
	} while (n < 0 && errno == EINTR);
	s->rest = (struct str){ s->chunk, n > 0 ? (size_t)n : 0 };
	return n > 0;
}

/* The executor ends when its standard input does. */
static void end_control(struct docker_stream *s)
{
	shutdown(s->fd, SHUT_WR);
	close(s->control_fd);
	s->control_fd = -1;
	s->control_left = STR_NULL;
}

static void read_control(struct docker_stream *s)
{
	ssize_t n = read(s->control_fd, s->control, sizeof(s->control));
	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0)
		end_control(s);
	else
		s->control_left = (struct str){ s->control, (size_t)n };
}

/* Without waiting: an archive of the cache may stand here while the executor wants to be read. */
static void write_control(struct docker_stream *s)
{
	ssize_t n = send(s->fd, s->control_left.p, s->control_left.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0)
		end_control(s);
	else
		s->control_left = (struct str){ s->control_left.p + n, s->control_left.n - (size_t)n };
}

static void *stream_main(void *arg)
{
	struct docker_stream *s = arg;
	for (;;) {
		bool waits = !hand_on(s);
		struct pollfd watch[] = { { .fd = waits ? -1 : s->fd, .events = POLLIN },
					  { .fd = waits ? s->to[s->kind] : -1, .events = POLLOUT },
					  { .fd = s->control_left.n ? -1 : s->control_fd, .events = POLLIN },
					  { .fd = s->stop_fd, .events = POLLIN },
					  { .fd = s->control_left.n ? s->fd : -1, .events = POLLOUT } };
		poll(watch, ARRAY_SIZE(watch), -1);
		if (watch[3].revents)
			break;
		if (watch[2].revents)
			read_control(s);
		if (watch[4].revents)
			write_control(s);
		if (watch[0].revents && !receive(s))
			break;
	}
	/* The end of the pipes is how job_run.c hears that it is over. */
	for (int kind = KIND_OUTPUT; kind <= KIND_ERRORS; kind++) {
		if (s->to[kind] >= 0)
			close(s->to[kind]);
		s->to[kind] = -1;
	}
	return NULL;
}

static int duplicate(int fd, bool blocks, int *ret, struct err *e)
{
	*ret = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd >= 0 && *ret < 0)
		return err_errno(e, "cannot duplicate a descriptor");
	if (*ret >= 0 && !blocks)
		fcntl(*ret, F_SETFL, fcntl(*ret, F_GETFL) | O_NONBLOCK);
	return 0;
}

static void release(struct docker_stream *s)
{
	int fds[] = { s->fd, s->to[KIND_OUTPUT], s->to[KIND_ERRORS], s->control_fd, s->stop_fd };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(s);
}

int docker_stream_start(int fd, const struct docker_stream_pipes *pipes, struct docker_stream **ret, struct err *e)
{
	struct docker_stream *s = calloc(1, sizeof(*s));
	if (!s) {
		close(fd);
		return err_nomem(e);
	}
	s->fd = fd;
	s->to[0] = s->to[KIND_OUTPUT] = s->to[KIND_ERRORS] = s->control_fd = -1;
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	int r = s->stop_fd < 0 ? err_errno(e, "eventfd") : 0;
	if (r == 0)
		r = duplicate(pipes->frame_fd, false, &s->to[KIND_OUTPUT], e);
	if (r == 0)
		r = duplicate(pipes->said_fd, false, &s->to[KIND_ERRORS], e);
	if (r == 0)
		r = duplicate(pipes->control_fd, true, &s->control_fd, e);
	if (r == 0 && pthread_create(&s->thread, NULL, stream_main, s) != 0)
		r = err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	if (r < 0) {
		release(s);
		return r;
	}
	*ret = s;
	return 0;
}

void docker_stream_stop(struct docker_stream *s)
{
	const uint64_t one = 1;
	if (!s)
		return;
	if (write(s->stop_fd, &one, sizeof(one)) < 0)
		log_warn("agent", "cannot stop a stream");
	/* It may be within a write to the engine. */
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	release(s);
}
