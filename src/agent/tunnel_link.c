#include "agent/tunnel_link.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

#define FLOW_BYTES (64 * KIB)
/* A client that was refused reads the reason within this. */
#define ANSWER_US (10 * US_PER_S)

bool link_init(struct link *l, int fd)
{
	*l = (struct link){ .state = LINK_HEAD, .inside = fd, .outside = -1 };
	l->out.bytes = malloc(FLOW_BYTES);
	l->in.bytes = malloc(FLOW_BYTES);
	if (l->out.bytes && l->in.bytes)
		return true;
	free(l->out.bytes);
	free(l->in.bytes);
	return false;
}

void link_done(struct link *l)
{
	dial_leave(l->dial);
	if (l->inside >= 0)
		close(l->inside);
	if (l->outside >= 0)
		close(l->outside);
	free(l->out.bytes);
	free(l->in.bytes);
}

static bool has_room(const struct flow *f)
{
	return !f->ended && f->to < FLOW_BYTES;
}

void link_watch(const struct link *l, struct pollfd *watch)
{
	short inside = 0, outside = 0;
	switch (l->state) {
	case LINK_HEAD:
		inside = POLLIN;
		break;
	case LINK_CONNECTING:
		outside = POLLOUT;
		break;
	case LINK_OPEN:
		inside = (short)((has_room(&l->out) ? POLLIN : 0) | (l->in.to > l->in.from ? POLLOUT : 0));
		outside = (short)((has_room(&l->in) ? POLLIN : 0) | (l->out.to > l->out.from ? POLLOUT : 0));
		break;
	case LINK_ANSWERING:
		inside = l->in.to > l->in.from ? POLLOUT : POLLIN;
		break;
	case LINK_RESOLVING:
	case LINK_CLOSED:
		break;
	}
	/* A descriptor that is asked for nothing would still wake us for ever when its other end is gone. */
	watch[0] = (struct pollfd){ .fd = inside ? l->inside : -1, .events = inside };
	watch[1] = (struct pollfd){ .fd = outside ? l->outside : -1, .events = outside };
}

bool link_read_head(struct link *l)
{
	ssize_t n = recv(l->inside, l->out.bytes + l->out.to, PROXY_HEAD_MAX_BYTES - l->out.to, 0);
	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			l->state = LINK_CLOSED;
		return false;
	}
	l->out.to += (size_t)n;
	return true;
}

struct str link_head(const struct link *l)
{
	return (struct str){ l->out.bytes, l->out.to };
}

static const char *status_text(int status)
{
	return status == 400   ? "Bad Request"
	       : status == 403 ? "Forbidden"
	       : status == 502 ? "Bad Gateway"
			       : "Unavailable";
}

void link_answer(struct link *l, int status, const char *fmt, ...)
{
	char text[512];
	va_list args;
	if (!l->proxied) {
		l->state = LINK_CLOSED;
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	int n = snprintf(l->in.bytes, FLOW_BYTES,
			 "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: "
			 "close\r\n\r\nslipway: %s\n",
			 status, status_text(status), strlen(text) + sizeof("slipway: ") - 1 + 1, text);
	l->in.from = 0;
	l->in.to = (size_t)n;
	l->state = LINK_ANSWERING;
	l->until_us = clock_mono_us() + ANSWER_US;
}

void link_open(struct link *l)
{
	static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";
	const int one = 1;
	/* What goes over it comes in whole pieces already. Not every socket has the option. */
	(void)setsockopt(l->inside, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(l->outside, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	l->state = LINK_OPEN;
	l->until_us = 0;
	if (!l->proxied)
		return;
	if (l->connect) {
		l->out.from = l->head_bytes;
		memcpy(l->in.bytes, established, sizeof(established) - 1);
		l->in.to = sizeof(established) - 1;
		return;
	}
	_cleanup_buf_ struct buf head;
	size_t rest = l->out.to - l->head_bytes;
	buf_init(&head, FLOW_BYTES - PROXY_HEAD_MAX_BYTES);
	proxy_rewrite((struct str){ l->out.bytes, l->head_bytes }, &head);
	if (buf_failed(&head)) {
		l->state = LINK_CLOSED;
		return;
	}
	memmove(l->out.bytes + head.len, l->out.bytes + l->head_bytes, rest);
	memcpy(l->out.bytes, head.data, head.len);
	l->out.to = head.len + rest;
}

/* false: the link is broken. */
static bool flow_read(struct flow *f, int fd)
{
	if (!has_room(f))
		return true;
	ssize_t n = recv(fd, f->bytes + f->to, FLOW_BYTES - f->to, 0);
	if (n > 0)
		f->to += (size_t)n;
	else if (n == 0)
		f->ended = true;
	else if (errno != EAGAIN && errno != EINTR)
		return false;
	return true;
}

static bool flow_write(struct flow *f, int fd)
{
	while (f->from < f->to) {
		ssize_t n = send(fd, f->bytes + f->from, f->to - f->from, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		f->from += (size_t)n;
	}
	f->from = f->to = 0;
	if (f->ended && !f->closed) {
		shutdown(fd, SHUT_WR);
		f->closed = true;
	}
	return true;
}

static void drain(struct link *l, short inside)
{
	char ignored[4096];
	if (inside & POLLOUT) {
		l->in.ended = true;
		if (!flow_write(&l->in, l->inside))
			l->state = LINK_CLOSED;
	} else if (inside && l->in.closed) {
		/* Closed with bytes unread, the answer could be lost to a reset. */
		ssize_t n = recv(l->inside, ignored, sizeof(ignored), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			l->state = LINK_CLOSED;
	} else if (inside) {
		l->state = LINK_CLOSED;
	}
}

void link_move(struct link *l, short inside, short outside)
{
	const short readable = POLLIN | POLLHUP | POLLERR;
	if (l->state == LINK_ANSWERING) {
		drain(l, inside);
		return;
	}
	/* What came is given on at once: the other end takes it nearly always. */
	bool ok = (!(inside & readable) || flow_read(&l->out, l->inside)) &&
		  (!(outside & readable) || flow_read(&l->in, l->outside)) && flow_write(&l->out, l->outside) &&
		  flow_write(&l->in, l->inside);
	if (!ok || (l->out.closed && l->in.closed))
		l->state = LINK_CLOSED;
}
