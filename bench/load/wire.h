/*
 * wire.h: what the clients of the bench share: connections, whole answers, percentiles.
 */
#ifndef SLIPWAY_BENCH_WIRE_H
#define SLIPWAY_BENCH_WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES 16384

struct bytes {
	char *p;
	size_t n;
};

static inline void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

static inline int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static inline struct bytes read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f || fseek(f, 0, SEEK_END) != 0)
		die(path);
	struct bytes b = { NULL, (size_t)ftell(f) };
	rewind(f);
	b.p = malloc(b.n + 1);
	if (!b.p || fread(b.p, 1, b.n, f) != b.n)
		die(path);
	b.p[b.n] = '\0';
	fclose(f);
	return b;
}

static inline int connect_to(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static inline void send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
		if (sent < 0)
			die("send");
		p += sent;
		n -= (size_t)sent;
	}
}

/* --- answers --- */

struct answer {
	char *p;
	size_t n, capacity;
	size_t head; /* bytes of the headers, 0: not whole yet */
	size_t body;
};

static inline void parse_head(struct answer *a)
{
	char *end = memmem(a->p, a->n, "\r\n\r\n", 4);
	if (!end)
		return;
	a->head = (size_t)(end - a->p) + 4;
	a->body = 0;
	if (a->n < 12 || a->p[9] != '2') {
		fprintf(stderr, "load: %.*s\n", (int)(a->n < 600 ? a->n : 600), a->p);
		exit(1);
	}
	for (char *line = a->p; line < end; line++) {
		if (strncasecmp(line, "content-length:", 15) == 0)
			a->body = strtoull(line + 15, NULL, 10);
		line = memchr(line, '\n', (size_t)(end + 4 - line));
	}
}

/* True: the answer is whole. */
static inline bool receive(int fd, struct answer *a)
{
	/* A long body is only counted. */
	size_t at = a->head && a->n > HEAD_BYTES ? HEAD_BYTES : a->n;
	ssize_t n = recv(fd, a->p + at, a->capacity - at, 0);
	if (n <= 0)
		die("the server closed the connection");
	a->n += (size_t)n;
	if (!a->head)
		parse_head(a);
	return a->head && a->n >= a->head + a->body;
}

static inline struct answer answer_new(size_t capacity)
{
	struct answer a = { .p = malloc(capacity), .capacity = capacity };
	if (!a.p)
		die("memory");
	return a;
}

/* --- figures --- */

static inline int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static inline uint32_t percentile(uint32_t *times, size_t n, double part)
{
	if (n == 0)
		return 0;
	qsort(times, n, sizeof(*times), by_value);
	size_t at = (size_t)((double)n * part);
	return times[at < n ? at : n - 1];
}

static inline uint32_t *times_new(size_t n)
{
	uint32_t *times = calloc(n, sizeof(*times));
	if (!times)
		die("memory");
	return times;
}

#endif
