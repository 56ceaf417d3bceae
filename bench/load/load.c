/*
 * load.c: the clients of `make bench` for plain HTTP. In C, and one thread with one epoll, so that of two cores it leaves
 * the server more than one. Prints one JSON object.
 *
 *	load flood PORT CONNECTIONS SECONDS REQUEST
 *		Each connection sends the request (a file: its bytes as they go over the wire) as soon as the last one is
 *		answered. {"requests":…,"seconds":…,"bytes":…,"p50_us":…,"p99_us":…}
 *	load replay PORT COUNT REQUEST...
 *		One connection sends the requests one after the other, COUNT times. "{updateID}" and "{token}" in their headers
 *		become what the last answer with that member gave: an update's life. Times are those of the whole row:
 *		{"rows":…,"seconds":…,"p50_us":…,"p99_us":…,"steps":[the median of each request]}
 *	load bound FOLDER COUNT DOCUMENT
 *		No server: what a save of that gzip document needs whatever the program. Inflate it once, write it where a file
 *		of that size is already, fdatasync. {"rows":…,"seconds":…,"inflate_us":…,"sync_us":…} (medians)
 *
 * Any answer but 2xx ends the program with 1: figures of refusals are worth nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
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

#define ANSWER_BYTES (64 << 20)
#define HEAD_BYTES 16384
#define VALUE_BYTES 512
#define PATH_BYTES 4096
#define TIMES_MAX (8 << 20)

struct bytes {
	char *p;
	size_t n;
};

/* What may be put into the headers of a later request. */
static struct {
	const char *name;
	char value[VALUE_BYTES];
} kept[] = { { .name = "updateID" }, { .name = "token" } };
#define KEPT (sizeof(kept) / sizeof(kept[0]))

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static struct bytes read_file(const char *path)
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

static int connect_to(int port)
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

static void send_all(int fd, const char *p, size_t n)
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

static void parse_head(struct answer *a)
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
static bool receive(int fd, struct answer *a)
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

static struct answer answer_new(size_t capacity)
{
	struct answer a = { .p = malloc(capacity), .capacity = capacity };
	if (!a.p)
		die("memory");
	return a;
}

/* --- figures --- */

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static uint32_t percentile(uint32_t *times, size_t n, double part)
{
	if (n == 0)
		return 0;
	qsort(times, n, sizeof(*times), by_value);
	size_t at = (size_t)((double)n * part);
	return times[at < n ? at : n - 1];
}

static uint32_t *times_new(size_t n)
{
	uint32_t *times = calloc(n, sizeof(*times));
	if (!times)
		die("memory");
	return times;
}

/* --- flood --- */

struct client {
	int fd;
	int64_t sent_us;
	struct answer answer;
};

static void flood(int port, int count, double seconds, struct bytes request)
{
	struct client *clients = calloc((size_t)count, sizeof(*clients));
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!clients || epoll_fd < 0)
		die("epoll");
	for (int i = 0; i < count; i++) {
		struct client *c = &clients[i];
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
		c->fd = connect_to(port);
		c->answer = answer_new(1 << 20);
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev);
	}
	uint32_t *times = times_new(TIMES_MAX);
	size_t done = 0, bytes = 0;
	int64_t began = now_us(), end = began + (int64_t)(seconds * 1e6), now = began;
	for (int i = 0; i < count; i++) {
		clients[i].sent_us = now_us();
		send_all(clients[i].fd, request.p, request.n);
	}
	while (now < end && done < TIMES_MAX - 64) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll_fd, events, 64, 1000);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			if (!receive(c->fd, &c->answer))
				continue;
			now = now_us();
			times[done++] = (uint32_t)(now - c->sent_us);
			bytes += c->answer.head + c->answer.body;
			c->answer.n = c->answer.head = 0;
			c->sent_us = now;
			send_all(c->fd, request.p, request.n);
		}
	}
	double took = (double)(now - began) / 1e6;
	uint32_t p99 = percentile(times, done, .99);
	printf("{\"requests\":%zu,\"seconds\":%.3f,\"bytes\":%zu,\"p50_us\":%u,\"p99_us\":%u}\n", done, took, bytes,
	       percentile(times, done, .5), p99);
}

/* --- replay --- */

static void keep(const struct answer *a)
{
	for (size_t i = 0; i < KEPT; i++) {
		char member[VALUE_BYTES];
		int n = snprintf(member, sizeof(member), "\"%s\":\"", kept[i].name);
		const char *value = memmem(a->p + a->head, a->body, member, (size_t)n);
		const char *end = value ? strchr(value + n, '"') : NULL;
		if (end && end - value - n < VALUE_BYTES)
			snprintf(kept[i].value, VALUE_BYTES, "%.*s", (int)(end - value - n), value + n);
	}
}

/* The value that "{name}" at this place stands for, or NULL. */
static const char *placeholder(const char *at, size_t *ret_length)
{
	for (size_t i = 0; *at == '{' && i < KEPT; i++) {
		size_t n = strlen(kept[i].name);
		if (strncmp(at + 1, kept[i].name, n) == 0 && at[1 + n] == '}') {
			*ret_length = n + 2;
			return kept[i].value;
		}
	}
	return NULL;
}

static void send_request(int fd, struct bytes request)
{
	char head[HEAD_BYTES];
	size_t n = 0, length;
	const char *at = request.p, *end = strstr(request.p, "\r\n\r\n") + 4;
	while (at < end && n < sizeof(head) - VALUE_BYTES) {
		const char *value = placeholder(at, &length);
		if (value) {
			n += (size_t)snprintf(head + n, VALUE_BYTES, "%s", value);
			at += length;
		} else {
			head[n++] = *at++;
		}
	}
	size_t body = request.n - (size_t)(end - request.p);
	/* In one piece, as a client with buffers sends it. */
	if (body < sizeof(head) - n) {
		memcpy(head + n, end, body);
		send_all(fd, head, n + body);
		return;
	}
	send_all(fd, head, n);
	send_all(fd, end, body);
}

static void replay(int port, size_t rows, struct bytes *requests, size_t count)
{
	int fd = connect_to(port);
	struct answer a = answer_new(ANSWER_BYTES);
	uint32_t *times = times_new(rows), *steps = times_new(rows * count);
	int64_t began = now_us();
	for (size_t row = 0; row < rows; row++) {
		int64_t start = now_us(), last = start;
		for (size_t i = 0; i < count; i++) {
			send_request(fd, requests[i]);
			a.n = a.head = 0;
			while (!receive(fd, &a))
				;
			if (a.body > 0 && a.n < a.capacity) {
				a.p[a.n] = '\0';
				keep(&a);
			}
			int64_t now = now_us();
			steps[i * rows + row] = (uint32_t)(now - last);
			last = now;
		}
		times[row] = (uint32_t)(last - start);
	}
	double took = (double)(now_us() - began) / 1e6;
	uint32_t p99 = percentile(times, rows, .99);
	printf("{\"rows\":%zu,\"seconds\":%.3f,\"p50_us\":%u,\"p99_us\":%u,\"steps\":[", rows, took,
	       percentile(times, rows, .5), p99);
	for (size_t i = 0; i < count; i++)
		printf("%s%u", i ? "," : "", percentile(steps + i * rows, rows, .5));
	printf("]}\n");
}

/* --- bound --- */

static void bound(const char *folder, size_t rows, struct bytes gzip)
{
	char path[PATH_BYTES];
	snprintf(path, sizeof(path), "%s/bound", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	char *text = malloc(ANSWER_BYTES);
	if (fd < 0 || !d || !text || pwrite(fd, gzip.p, gzip.n, 0) != (ssize_t)gzip.n || fsync(fd) < 0)
		die(path);
	uint32_t *inflates = times_new(rows), *syncs = times_new(rows);
	int64_t began = now_us();
	for (size_t row = 0; row < rows; row++) {
		size_t n;
		int64_t start = now_us();
		if (libdeflate_gzip_decompress(d, gzip.p, gzip.n, text, ANSWER_BYTES, &n) != LIBDEFLATE_SUCCESS)
			die("inflate");
		int64_t inflated = now_us();
		if (pwrite(fd, gzip.p, gzip.n, 0) != (ssize_t)gzip.n || fdatasync(fd) < 0)
			die(path);
		inflates[row] = (uint32_t)(inflated - start);
		syncs[row] = (uint32_t)(now_us() - inflated);
	}
	printf("{\"rows\":%zu,\"seconds\":%.3f,\"inflate_us\":%u,\"sync_us\":%u}\n", rows,
	       (double)(now_us() - began) / 1e6, percentile(inflates, rows, .5), percentile(syncs, rows, .5));
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "flood") == 0) {
		flood(atoi(argv[2]), atoi(argv[3]), atof(argv[4]), read_file(argv[5]));
	} else if (argc >= 5 && strcmp(argv[1], "replay") == 0) {
		size_t count = (size_t)argc - 4;
		struct bytes *requests = calloc(count, sizeof(*requests));
		for (size_t i = 0; requests && i < count; i++)
			requests[i] = read_file(argv[4 + i]);
		replay(atoi(argv[2]), strtoul(argv[3], NULL, 10), requests, count);
	} else if (argc == 5 && strcmp(argv[1], "bound") == 0) {
		bound(argv[2], strtoul(argv[3], NULL, 10), read_file(argv[4]));
	} else {
		fprintf(stderr, "the head of load.c says how it is called\n");
		return 2;
	}
	return 0;
}
