/*
 * http_fixture.h: raw sockets against a server of the test, for what a well-behaved client would never send.
 */
#ifndef SLIPWAY_TESTS_HTTP_FIXTURE_H
#define SLIPWAY_TESTS_HTTP_FIXTURE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

static inline int raw_connect(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		err_bug(__FILE__, __LINE__, "connect");
	return fd;
}

/* false when the peer is gone */
static inline bool raw_send(int fd, const void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);
		if (k <= 0)
			return false;
		done += (size_t)k;
	}
	return true;
}

static inline bool raw_sends(int fd, const char *z)
{
	return raw_send(fd, z, strlen(z));
}

/* Bytes up to timeout_ms; 0 at the end, -1 at an error or when nothing came. */
static inline ssize_t raw_recv(int fd, void *p, size_t n, int timeout_ms)
{
	struct pollfd pf = { .fd = fd, .events = POLLIN };
	return poll(&pf, 1, timeout_ms) > 0 ? recv(fd, p, n, 0) : -1;
}

struct raw_answer {
	int status; /* 0: none came */
	char headers[4096];
	struct buf body;
};

/* One answer; Content-Length only, as our server does it. buf_done(&a->body) afterwards. */
static inline bool raw_answer(int fd, struct raw_answer *a, bool head, int timeout_ms)
{
	a->status = 0;
	buf_init(&a->body, 1 << 30);
	size_t n = 0;
	a->headers[0] = '\0';
	while (n < 4 || memcmp(a->headers + n - 4, "\r\n\r\n", 4) != 0) {
		if (n + 1 >= sizeof(a->headers) || raw_recv(fd, a->headers + n, 1, timeout_ms) != 1)
			return false;
		a->headers[++n] = '\0';
	}
	sscanf(a->headers, "HTTP/1.1 %d", &a->status);
	const char *length = strcasestr(a->headers, "\r\nContent-Length: ");
	size_t left = length && !head ? strtoull(length + 18, NULL, 10) : 0;
	char piece[65536];
	while (left > 0) {
		ssize_t k = raw_recv(fd, piece, left < sizeof(piece) ? left : sizeof(piece), timeout_ms);
		if (k <= 0)
			return false;
		buf_add(&a->body, piece, (size_t)k);
		left -= (size_t)k;
	}
	return true;
}

#endif
