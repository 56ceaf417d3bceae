#include "os/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* While more than this waits for the stream, no connection is read. */
#define PENDING_HIGH_BYTES ((size_t)256 * 1024)
#define PENDING_MAX_BYTES ((size_t)16 * 1024 * 1024)

enum { READY = 'R', OPENED = 'O', DATA = 'D', ENDED = 'E', CLOSED = 'X', WINDOW = 'W' };

struct connection {
	bool used;
	int fd; /* -1: closed here; the other side has still to say so */
	bool connecting;
	bool our_end;	/* E was sent */
	bool their_end; /* E came: the socket is shut down once `in` is written */
	bool shut;
	bool gone;     /* X came */
	size_t credit; /* what may still be sent */
	struct buf in; /* came, and waits for the socket */
};

struct relay {
	const struct relay_config *c;
	struct connection list[RELAY_CONNECTIONS_MAX];
	struct buf in, out;
	bool over;
};

static void put(struct relay *r, char type, size_t number, struct str payload)
{
	const unsigned char head[RELAY_HEADER_BYTES] = {
		(unsigned char)type,	0,
		number & 0xFF,		number >> 8 & 0xFF,
		payload.n & 0xFF,	payload.n >> 8 & 0xFF,
		payload.n >> 16 & 0xFF, payload.n >> 24 & 0xFF,
	};
	buf_add(&r->out, head, sizeof(head));
	buf_add_str(&r->out, payload);
}

static void put_window(struct relay *r, size_t number, size_t n)
{
	const char bytes[4] = { (char)(n & 0xFF), (char)(n >> 8 & 0xFF), (char)(n >> 16 & 0xFF),
				(char)(n >> 24 & 0xFF) };
	put(r, WINDOW, number, (struct str){ bytes, sizeof(bytes) });
}

static void nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void forget(struct connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	buf_done(&c->in);
	*c = (struct connection){ .fd = -1 };
}

/* Closed here; its number is free again when the other side knows. */
static void finish(struct relay *r, size_t number)
{
	struct connection *c = &r->list[number];
	if (c->fd < 0)
		return;
	put(r, CLOSED, number, STR(""));
	close(c->fd);
	c->fd = -1;
}

static void take(struct connection *c, int fd)
{
	*c = (struct connection){ .used = true, .fd = fd, .credit = RELAY_WINDOW_BYTES };
	buf_init(&c->in, RELAY_WINDOW_BYTES + 1);
}

static void accept_one(struct relay *r)
{
	size_t i = 0;
	int fd = accept4(r->c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	while (i < RELAY_CONNECTIONS_MAX && r->list[i].used)
		i++;
	if (i == RELAY_CONNECTIONS_MAX) {
		close(fd);
		return;
	}
	take(&r->list[i], fd);
	put(r, OPENED, i, STR(""));
}

static void dial(struct relay *r, size_t number)
{
	struct connection *c = &r->list[number];
	int fd = socket(r->c->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	take(c, fd);
	if (fd < 0) {
		put(r, CLOSED, number, STR(""));
		return;
	}
	c->connecting = connect(fd, (const struct sockaddr *)&r->c->to, r->c->to_size) != 0;
	if (c->connecting && errno != EINPROGRESS)
		finish(r, number);
}

/* Bytes that came go to the socket as far as it takes them. */
static void write_in(struct relay *r, size_t number)
{
	struct connection *c = &r->list[number];
	while (c->fd >= 0 && c->in.len) {
		ssize_t n = send(c->fd, c->in.data, c->in.len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			finish(r, number);
			return;
		}
		buf_consume(&c->in, (size_t)n);
		put_window(r, number, (size_t)n);
	}
	if (c->fd >= 0 && c->their_end && !c->shut) {
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
	if (c->shut && (c->our_end || c->gone))
		finish(r, number);
	if (c->fd < 0 && c->gone)
		forget(c);
}

static void read_out(struct relay *r, size_t number)
{
	struct connection *c = &r->list[number];
	char bytes[RELAY_CHUNK_BYTES];
	size_t want = c->credit < sizeof(bytes) ? c->credit : sizeof(bytes);
	ssize_t n = recv(c->fd, bytes, want, 0);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		finish(r, number);
		return;
	}
	if (n == 0) {
		c->our_end = true;
		put(r, ENDED, number, STR(""));
		if (c->shut)
			finish(r, number);
		return;
	}
	c->credit -= (size_t)n;
	put(r, DATA, number, (struct str){ bytes, (size_t)n });
}

static int unexpected(char type, struct err *e)
{
	return err_set(e, ERR_BAD_REQUEST, "the relay's stream has an unexpected frame (%d)", (unsigned char)type);
}

static int on_frame(struct relay *r, char type, size_t number, struct str payload, struct err *e)
{
	if (type == READY)
		return 0;
	if (number >= RELAY_CONNECTIONS_MAX)
		return unexpected(type, e);
	struct connection *c = &r->list[number];
	if (type == OPENED) {
		if (c->used || r->c->listen_fd >= 0)
			return unexpected(type, e);
		dial(r, number);
		return 0;
	}
	if (!c->used)
		return unexpected(type, e);
	switch (type) {
	case DATA:
		if (c->fd < 0)
			return 0;
		if (payload.n > RELAY_WINDOW_BYTES - c->in.len || c->their_end)
			return unexpected(type, e);
		buf_add_str(&c->in, payload);
		if (!c->connecting)
			write_in(r, number);
		return buf_check(&c->in, "a connection", e);
	case ENDED:
		c->their_end = true;
		if (!c->connecting)
			write_in(r, number);
		return 0;
	case CLOSED:
		/* What it said before still goes to the socket. */
		c->gone = c->their_end = true;
		if (c->connecting)
			finish(r, number);
		write_in(r, number);
		return 0;
	case WINDOW:
		if (payload.n != 4)
			return unexpected(type, e);
		const unsigned char *p = (const unsigned char *)payload.p;
		size_t n = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
		if (n > RELAY_WINDOW_BYTES - c->credit)
			return unexpected(type, e);
		c->credit += n;
		return 0;
	default:
		return unexpected(type, e);
	}
}

static int read_stream(struct relay *r, struct err *e)
{
	if (!buf_reserve(&r->in, RELAY_CHUNK_BYTES))
		return buf_check(&r->in, "the relay's stream", e);
	ssize_t n = read(r->c->in_fd, r->in.data + r->in.len, RELAY_CHUNK_BYTES);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		r->over = true;
		return 0;
	}
	r->in.len += (size_t)n;
	size_t at = 0;
	int rc = 0;
	while (rc == 0 && r->in.len - at >= RELAY_HEADER_BYTES) {
		const unsigned char *h = (const unsigned char *)r->in.data + at;
		size_t size = (size_t)h[4] | (size_t)h[5] << 8 | (size_t)h[6] << 16 | (size_t)h[7] << 24;
		if (size > RELAY_CHUNK_BYTES)
			return unexpected((char)h[0], e);
		if (r->in.len - at < RELAY_HEADER_BYTES + size)
			break;
		rc = on_frame(r, (char)h[0], (size_t)h[2] | (size_t)h[3] << 8,
			      (struct str){ (const char *)h + RELAY_HEADER_BYTES, size }, e);
		at += RELAY_HEADER_BYTES + size;
	}
	buf_consume(&r->in, at);
	return rc;
}

static void write_stream(struct relay *r)
{
	while (r->out.len) {
		ssize_t n = write(r->c->out_fd, r->out.data, r->out.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			r->over = true;
			return;
		}
		buf_consume(&r->out, (size_t)n);
	}
}

static short wanted(const struct relay *r, const struct connection *c)
{
	if (c->connecting)
		return POLLOUT;
	short events = c->in.len ? POLLOUT : 0;
	if (!c->our_end && c->credit && r->out.len < PENDING_HIGH_BYTES)
		events |= POLLIN;
	return events;
}

static void serve(struct relay *r, size_t number, short events)
{
	struct connection *c = &r->list[number];
	if (c->connecting) {
		int error = 0;
		socklen_t size = sizeof(error);
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error) {
			finish(r, number);
			return;
		}
		c->connecting = false;
		write_in(r, number);
		return;
	}
	if (events & POLLOUT)
		write_in(r, number);
	if (c->fd >= 0 && (events & (POLLIN | POLLHUP | POLLERR)) && !c->our_end && c->credit)
		read_out(r, number);
	else if (c->fd >= 0 && (events & POLLERR))
		finish(r, number);
}

static int turn(struct relay *r, struct err *e)
{
	enum { STREAM_IN, STREAM_OUT, LISTENER, STOP, FIRST };
	struct pollfd watch[FIRST + RELAY_CONNECTIONS_MAX];
	watch[STREAM_IN] = (struct pollfd){ .fd = r->c->in_fd, .events = POLLIN };
	watch[STREAM_OUT] = (struct pollfd){ .fd = r->out.len ? r->c->out_fd : -1, .events = POLLOUT };
	watch[LISTENER] = (struct pollfd){ .fd = r->c->listen_fd, .events = POLLIN };
	watch[STOP] = (struct pollfd){ .fd = r->c->stop_fd, .events = POLLIN };
	for (size_t i = 0; i < RELAY_CONNECTIONS_MAX; i++) {
		short events = r->list[i].fd >= 0 ? wanted(r, &r->list[i]) : 0;
		/* Without a wish it is not watched: a hang-up would wake us again and again. */
		watch[FIRST + i] = (struct pollfd){ .fd = events ? r->list[i].fd : -1, .events = events };
	}
	poll(watch, ARRAY_SIZE(watch), -1);
	r->over = r->over || watch[STOP].revents;
	for (size_t i = 0; i < RELAY_CONNECTIONS_MAX; i++) {
		if (watch[FIRST + i].revents)
			serve(r, i, watch[FIRST + i].revents);
	}
	if (watch[LISTENER].revents)
		accept_one(r);
	int rc = watch[STREAM_IN].revents ? read_stream(r, e) : 0;
	write_stream(r);
	return rc < 0 ? rc : buf_check(&r->out, "the relay's stream", e);
}

int relay_run(const struct relay_config *config, struct err *e)
{
	struct relay *r = calloc(1, sizeof(*r));
	int rc = 0;
	if (!r)
		return err_nomem(e);
	r->c = config;
	for (size_t i = 0; i < RELAY_CONNECTIONS_MAX; i++)
		r->list[i].fd = -1;
	buf_init(&r->in, 4 * RELAY_CHUNK_BYTES);
	buf_init(&r->out, PENDING_MAX_BYTES);
	nonblocking(config->in_fd);
	nonblocking(config->out_fd);
	if (config->listen_fd >= 0)
		put(r, READY, 0, STR(""));
	while (rc == 0 && !r->over)
		rc = turn(r, e);
	for (size_t i = 0; i < RELAY_CONNECTIONS_MAX; i++)
		forget(&r->list[i]);
	buf_done(&r->in);
	buf_done(&r->out);
	free(r);
	return rc;
}
