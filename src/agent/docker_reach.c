#include "agent/docker_reach.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/docker_run.h"
#include "base/log.h"
#include "os/relay.h"

#define READY_TIMEOUT_MS 20000

struct docker_reach {
	pthread_t thread;
	bool running;
	struct docker_stream *stream;
	struct relay_config relay;
	int stop_fd;
};

struct place {
	char host[64];
	char port[8];
	const char *inside; /* where it listens in the container */
};

/* "http://127.0.0.1:8420/…" apart. false: not of the loopback. */
static bool parse(const char *url, struct place *ret)
{
	const char *scheme_end = strstr(url, "://");
	const char *p = scheme_end ? scheme_end + 3 : url;
	bool tls = strncasecmp(url, "https", 5) == 0;
	size_t n = strcspn(p, "/?#");
	struct str port = STR_NULL, host = { p, n };
	if (n && p[0] == '[') {
		const char *end = memchr(p, ']', n);
		if (!end)
			return false;
		host = (struct str){ p + 1, (size_t)(end - p - 1) };
		if (end + 1 < p + n && end[1] == ':')
			port = (struct str){ end + 2, (size_t)(p + n - end - 2) };
	} else {
		host = str_cut(host, ':', &port);
	}
	if (host.n >= sizeof(ret->host) || port.n >= sizeof(ret->port))
		return false;
	snprintf(ret->host, sizeof(ret->host), "%.*s", STR_ARG(host));
	snprintf(ret->port, sizeof(ret->port), "%.*s", port.n ? (int)port.n : 3, port.n ? port.p : tls ? "443" : "80");
	if (port.n == 0 && !tls)
		ret->port[2] = '\0';
	bool v4 = strncmp(ret->host, "127.", 4) == 0;
	if (!v4 && strcasecmp(ret->host, "localhost") != 0 && !streq(ret->host, "::1"))
		return false;
	ret->inside = v4 || streq(ret->host, "::1") ? ret->host : "127.0.0.1";
	return true;
}

bool docker_reach_needed(const char *url)
{
	struct place p;
	return parse(url, &p);
}

static int look_up(const struct place *p, struct relay_config *ret, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	int rc = getaddrinfo(p->host, p->port, &hints, &list);
	if (rc != 0)
		return err_set(e, ERR_UNAVAILABLE, "cannot find %s: %s", p->host, gai_strerror(rc));
	/* A server that listens on IPv4 alone is the usual one. */
	struct addrinfo *best = list;
	for (struct addrinfo *one = list; one; one = one->ai_next) {
		if (one->ai_family == AF_INET && best->ai_family != AF_INET)
			best = one;
	}
	memcpy(&ret->to, best->ai_addr, best->ai_addrlen);
	ret->to_size = best->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

static int open_program(struct docker *d, const char *container, const struct docker_user *user, const struct place *p,
			struct arena *a, int *ret_fd, struct err *e)
{
	struct json answer;
	struct docker_query q = {
		.method = "POST",
		.path = arena_printf(a, "/containers/%s/exec", container),
		.body = str_of(arena_printf(
			a,
			"{\"AttachStdin\":true,\"AttachStdout\":true,\"AttachStderr\":true,\"Tty\":false,\"User\":\"%u:%u\","
			"\"Cmd\":[\"" DOCKER_EXECUTOR "\",\"--relay\",\"%s\",\"%s\"]}",
			(unsigned)user->uid, (unsigned)user->gid, p->inside, p->port)),
	};
	int r = arena_failed(a) ? err_nomem(e) : docker_send(d, &q, a, &answer, e);
	const char *id = r == 0 ? json_cstr(json_get(answer, "Id"), a) : NULL;
	if (r == 0 && !id)
		r = err_set(e, ERR_UNAVAILABLE, "the container engine does not name the program that it made");
	return r < 0 ? r : docker_exec_attach(d, id, a, ret_fd, e);
}

/* The first frame says that it listens; the end of the stream, that it does not. */
static int wait_ready(int fd, int said_fd, struct err *e)
{
	char head[RELAY_HEADER_BYTES];
	char said[300] = "";
	struct pollfd watch = { .fd = fd, .events = POLLIN };
	int n = poll(&watch, 1, READY_TIMEOUT_MS);
	if (n > 0 && read(fd, head, sizeof(head)) == (ssize_t)sizeof(head) && head[0] == 'R')
		return 0;
	if (n > 0 && poll(&(struct pollfd){ .fd = said_fd, .events = POLLIN }, 1, 1000) > 0) {
		ssize_t got = read(said_fd, said, sizeof(said) - 1);
		said[got > 0 ? got : 0] = '\0';
	}
	return err_set(e, ERR_UNAVAILABLE, "%.*s", (int)strcspn(said, "\n"),
		       said[0] ? said : "the program in the container does not begin");
}

static void *relay_main(void *arg)
{
	struct docker_reach *r = arg;
	struct err e = { 0 };
	if (relay_run(&r->relay, &e) < 0)
		log_warn("agent", "%s", e.message);
	return NULL;
}

static int start(struct docker_reach *r, int fd, struct err *e)
{
	int in[2] = { -1, -1 }, said[2] = { -1, -1 }, out[2] = { -1, -1 };
	int rc = pipe2(in, O_CLOEXEC) || pipe2(said, O_CLOEXEC) || pipe2(out, O_CLOEXEC)
			 ? err_errno(e, "cannot make a pipe")
			 : 0;
	const struct docker_stream_pipes pipes = { .frame_fd = in[1], .said_fd = said[1], .control_fd = out[0] };
	if (rc == 0)
		rc = docker_stream_start(fd, &pipes, &r->stream, e);
	else
		close(fd);
	int theirs[] = { in[1], said[1], out[0] };
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
		if (theirs[i] >= 0)
			close(theirs[i]);
	}
	if (rc == 0)
		rc = wait_ready(in[0], said[0], e);
	if (said[0] >= 0)
		close(said[0]);
	r->relay.in_fd = in[0];
	r->relay.out_fd = out[1];
	if (rc == 0 && pthread_create(&r->thread, NULL, relay_main, r) != 0)
		rc = err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	r->running = rc == 0;
	return rc;
}

int docker_reach_start(struct docker *d, const char *container, const struct docker_user *user, const char *url,
		       struct arena *a, struct docker_reach **ret, struct err *e)
{
	struct place p;
	int fd = -1;
	BUG_ON(!parse(url, &p));
	struct docker_reach *r = calloc(1, sizeof(*r));
	if (!r)
		return err_nomem(e);
	r->stop_fd = eventfd(0, EFD_CLOEXEC);
	r->relay = (struct relay_config){ .in_fd = -1, .out_fd = -1, .listen_fd = -1, .stop_fd = r->stop_fd };
	int rc = r->stop_fd < 0 ? err_errno(e, "eventfd") : look_up(&p, &r->relay, e);
	if (rc == 0)
		rc = open_program(d, container, user, &p, a, &fd, e);
	if (rc == 0)
		rc = start(r, fd, e);
	if (rc < 0) {
		docker_reach_stop(r);
		return err_wrap(e, "cannot open the run's way to the server at %s", url);
	}
	*ret = r;
	return 0;
}

void docker_reach_stop(struct docker_reach *r)
{
	const uint64_t one = 1;
	if (!r)
		return;
	if (r->running) {
		if (write(r->stop_fd, &one, sizeof(one)) < 0)
			log_warn("agent", "cannot stop a relay");
		pthread_join(r->thread, NULL);
	}
	docker_stream_stop(r->stream);
	int fds[] = { r->relay.in_fd, r->relay.out_fd, r->stop_fd };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(r);
}
