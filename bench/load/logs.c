/*
 * logs.c: the clients of `make bench` for logs: runners that append, browsers that follow. One thread, one epoll. Prints
 * one JSON object.
 *
 *	logs append PORT SECONDS LINES REQUEST...
 *		One connection for each request: an append of LINES lines, sent again as soon as it is answered. The offset in its
 *		body is written as OFFSET_MARK, and counted on. {"requests":…,"seconds":…,"p50_us":…,"p99_us":…}
 *	logs follow PORT STREAMS ROUNDS STREAM APPEND
 *		Opens so many streams of events, then appends one line in each round and waits until all have it. Times are those
 *		from the moment before the append is sent: until a stream has it (of all streams and rounds), until the last one has it
 *		(of the rounds): {"rounds":…,"p50_us":…,"p99_us":…,"all_p50_us":…,"all_p99_us":…,"append_p50_us":…}
 *
 * Any answer but 2xx ends the program with 1.
 */
#include "wire.h"

#define OFFSET_MARK "@@@@@@@@@@@@"
#define TIMES_MAX (8 << 20)
#define ANSWER_BYTES (1 << 20)
/* A round that takes longer is a lost line. */
#define ROUND_MAX_US 60000000

static char *find_offset(struct bytes request)
{
	char *at = memmem(request.p, request.n, OFFSET_MARK, sizeof(OFFSET_MARK) - 1);
	if (!at)
		die("no offset in the request");
	return at;
}

static void write_offset(char *at, long long offset)
{
	char text[32];
	snprintf(text, sizeof(text), "%*lld", (int)sizeof(OFFSET_MARK) - 1, offset);
	memcpy(at, text, sizeof(OFFSET_MARK) - 1);
}

/* --- append --- */

struct runner {
	int fd;
	struct bytes request;
	char *offset_at;
	long long offset;
	int64_t sent_us;
	size_t sent; /* of the request: it is larger than what the kernel takes at once */
	struct answer answer;
};

static void watch(int epoll_fd, struct runner *r, bool add)
{
	struct epoll_event ev = { .events = r->sent < r->request.n ? EPOLLOUT : EPOLLIN, .data.ptr = r };
	epoll_ctl(epoll_fd, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, r->fd, &ev);
}

static void send_some(struct runner *r)
{
	while (r->sent < r->request.n) {
		ssize_t n = send(r->fd, r->request.p + r->sent, r->request.n - r->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die("send");
		r->sent += (size_t)n;
	}
}

static void begin_append(struct runner *r)
{
	write_offset(r->offset_at, r->offset);
	r->sent = 0;
	r->answer.n = r->answer.head = 0;
	r->sent_us = now_us();
	send_some(r);
}

static void append(int port, double seconds, long long lines, char **files, size_t count)
{
	struct runner *runners = calloc(count, sizeof(*runners));
	uint32_t *times = times_new(TIMES_MAX);
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!runners || epoll_fd < 0)
		die("epoll");
	int64_t began = now_us(), end = began + (int64_t)(seconds * 1e6), now = began;
	for (size_t i = 0; i < count; i++) {
		struct runner *r = &runners[i];
		r->fd = connect_to(port);
		r->request = read_file(files[i]);
		r->offset_at = find_offset(r->request);
		r->answer = answer_new(ANSWER_BYTES);
		begin_append(r);
		watch(epoll_fd, r, true);
	}
	size_t done = 0, busy = count;
	while (busy > 0 && done < TIMES_MAX) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll_fd, events, 64, 1000);
		for (int i = 0; i < n; i++) {
			struct runner *r = events[i].data.ptr;
			if (r->sent < r->request.n) {
				send_some(r);
				if (r->sent == r->request.n)
					watch(epoll_fd, r, false);
				continue;
			}
			if (!receive(r->fd, &r->answer))
				continue;
			now = now_us();
			times[done++] = (uint32_t)(now - r->sent_us);
			r->offset += lines;
			if (now >= end) {
				busy--;
				epoll_ctl(epoll_fd, EPOLL_CTL_DEL, r->fd, NULL);
				continue;
			}
			begin_append(r);
			watch(epoll_fd, r, false);
		}
	}
	uint32_t p99 = percentile(times, done, .99);
	printf("{\"requests\":%zu,\"seconds\":%.3f,\"p50_us\":%u,\"p99_us\":%u}\n", done, (double)(now - began) / 1e6,
	       percentile(times, done, .5), p99);
}

/* --- follow --- */

static const char event[] = "event: lines\n";

struct stream {
	int fd;
	size_t events;	/* so many "event: lines" came */
	size_t matched; /* bytes of the next one */
};

static void count_events(struct stream *s, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* The first byte is nowhere else in it, so a mismatch begins anew. */
		s->matched = p[i] == event[s->matched] ? s->matched + 1 : p[i] == event[0];
		if (s->matched == sizeof(event) - 1) {
			s->matched = 0;
			s->events++;
		}
	}
}

/* Until all streams have so many events. Their times go to `times`. */
static void wait_all(int epoll_fd, size_t streams, size_t wanted, int64_t began, uint32_t *times)
{
	static char bytes[1 << 16];
	size_t have = 0;
	while (have < streams) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll_fd, events, 256, 1000);
		for (int i = 0; i < n; i++) {
			struct stream *s = events[i].data.ptr;
			ssize_t got = recv(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
			if (got == 0 || (got < 0 && errno != EAGAIN))
				die("a stream was closed");
			size_t before = s->events;
			count_events(s, bytes, got > 0 ? (size_t)got : 0);
			if (before < wanted && s->events >= wanted)
				times[have++] = (uint32_t)(now_us() - began);
		}
		if (now_us() > began + ROUND_MAX_US)
			die("not all streams have the line");
	}
}

static void follow(int port, size_t streams, size_t rounds, struct bytes request, struct bytes append_request)
{
	struct stream *all = calloc(streams, sizeof(*all));
	uint32_t *times = times_new(streams * rounds), *lasts = times_new(rounds), *answers = times_new(rounds);
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), fd = connect_to(port);
	struct answer answer = answer_new(ANSWER_BYTES);
	char *offset_at = find_offset(append_request);
	long long offset = 1; /* the first line is there */
	if (!all || epoll_fd < 0)
		die("epoll");
	for (size_t i = 0; i < streams; i++) {
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &all[i] };
		all[i].fd = connect_to(port);
		send_all(all[i].fd, request.p, request.n);
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, all[i].fd, &ev);
	}
	wait_all(epoll_fd, streams, 1, now_us(), times);
	for (size_t round = 0; round < rounds; round++) {
		usleep(20000); /* let them all be parked */
		write_offset(offset_at, offset++);
		int64_t began = now_us();
		send_all(fd, append_request.p, append_request.n);
		answer.n = answer.head = 0;
		while (!receive(fd, &answer))
			;
		answers[round] = (uint32_t)(now_us() - began);
		wait_all(epoll_fd, streams, round + 2, began, times + round * streams);
		lasts[round] = (uint32_t)(now_us() - began);
	}
	uint32_t p99 = percentile(times, streams * rounds, .99), all_p99 = percentile(lasts, rounds, .99);
	printf("{\"rounds\":%zu,\"p50_us\":%u,\"p99_us\":%u,\"all_p50_us\":%u,\"all_p99_us\":%u,\"append_p50_us\":%u}\n",
	       rounds, percentile(times, streams * rounds, .5), p99, percentile(lasts, rounds, .5), all_p99,
	       percentile(answers, rounds, .5));
	fflush(stdout);
	if (getenv("SLIPWAY_BENCH_HOLD"))
		pause(); /* until the bench has looked at the server's memory */
}

int main(int argc, char **argv)
{
	if (argc >= 6 && strcmp(argv[1], "append") == 0) {
		append(atoi(argv[2]), atof(argv[3]), atoll(argv[4]), argv + 5, (size_t)argc - 5);
	} else if (argc == 7 && strcmp(argv[1], "follow") == 0) {
		follow(atoi(argv[2]), strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10), read_file(argv[5]),
		       read_file(argv[6]));
	} else {
		fprintf(stderr, "the head of logs.c says how it is called\n");
		return 2;
	}
	return 0;
}
