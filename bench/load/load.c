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
#include <fcntl.h>
#include <libdeflate.h>

#include "wire.h"

#define ANSWER_BYTES (64 << 20)
#define VALUE_BYTES 512
#define PATH_BYTES 4096
#define TIMES_MAX (8 << 20)

/* What may be put into the headers of a later request. */
static struct {
	const char *name;
	char value[VALUE_BYTES];
} kept[] = { { .name = "updateID" }, { .name = "token" } };
#define KEPT (sizeof(kept) / sizeof(kept[0]))

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
