#include "agent/health.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/metrics.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"

#define REQUEST_MAX_BYTES (8 * KIB)
#define REQUEST_TIME_US (2 * US_PER_S)
#define BACKLOG 16

struct health {
	struct health_config config;
	pthread_t thread;
	int listen_fd;
	int stop_fd;
	int port;
};

static int listen_at(struct health *h, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list;
	char port[16];
	snprintf(port, sizeof(port), "%d", h->config.port);
	int rc = getaddrinfo(h->config.host, port, &hints, &list);
	if (rc != 0)
		return err_set(e, ERR_USAGE, "--health-address: %s: %s", h->config.host, gai_strerror(rc));
	int one = 1;
	h->listen_fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->listen_fd >= 0)
		setsockopt(h->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (h->listen_fd < 0 || bind(h->listen_fd, list->ai_addr, list->ai_addrlen) != 0 ||
	    listen(h->listen_fd, BACKLOG) != 0)
		rc = err_errno(e, "--health-address: cannot listen on %s:%d", h->config.host, h->config.port);
	freeaddrinfo(list);
	if (rc < 0)
		return rc;
	struct sockaddr_storage at;
	socklen_t n = sizeof(at);
	if (getsockname(h->listen_fd, (struct sockaddr *)&at, &n) == 0 &&
	    getnameinfo((struct sockaddr *)&at, n, NULL, 0, port, sizeof(port), NI_NUMERICSERV) == 0) {
		int64_t number;
		h->port = str_to_int64(str_of(port), &number) ? (int)number : h->config.port;
	}
	return 0;
}

/* false: it has hung up, took too long, or we are to stop. */
static bool wait_for(const struct health *h, int fd, short events, int64_t until_us)
{
	struct pollfd fds[] = { { .fd = fd, .events = events }, { .fd = h->stop_fd, .events = POLLIN } };
	int64_t left_us = until_us - clock_mono_us();
	return left_us > 0 && poll(fds, 2, (int)(left_us / US_PER_MS) + 1) > 0 && !fds[1].revents;
}

/* The head of a request; whatever stands in it but the first line does not matter. */
static bool read_request(const struct health *h, int fd, char *to, size_t size, int64_t until_us)
{
	size_t n = 0;
	while (n + 1 < size) {
		ssize_t got = read(fd, to + n, size - 1 - n);
		if (got <= 0 && !(got < 0 && errno == EAGAIN && wait_for(h, fd, POLLIN, until_us)))
			return false;
		n += got > 0 ? (size_t)got : 0;
		to[n] = '\0';
		if (strstr(to, "\r\n\r\n") || strstr(to, "\n\n"))
			return true;
	}
	return false;
}

static void send_all(const struct health *h, int fd, struct str text, int64_t until_us)
{
	while (text.n) {
		ssize_t sent = send(fd, text.p, text.n, MSG_NOSIGNAL);
		if (sent < 0 && !(errno == EAGAIN && wait_for(h, fd, POLLOUT, until_us)))
			return;
		text.p += sent > 0 ? sent : 0;
		text.n -= sent > 0 ? (size_t)sent : 0;
	}
}

/* {status, currentTime, lastActivity} are what Pulumi's own agent answers (features §7.4). */
static bool write_health(const struct health *h, struct buf *out)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 64 * KIB);
	int64_t now_us = clock_now_us(), last_us = metric_get(METRIC_LAST_POLL) * US_PER_S;
	int64_t running = metric_get(METRIC_RUNNING), since_us = metric_get(METRIC_FAILING_SINCE) * US_PER_S;
	/* (An answer may be long in coming: the server holds polls.) */
	bool well = running > 0 || !since_us || now_us - since_us <= h->config.threshold_us;
	struct json_writer w;
	jw_init(&w, out);
	jw_object(&w);
	jw_kv_string(&w, "status", well ? "ok" : "the server does not answer");
	jw_kv_string(&w, "currentTime", clock_rfc3339(&a, now_us));
	jw_key(&w, "lastActivity");
	if (last_us)
		jw_string(&w, clock_rfc3339(&a, last_us));
	else
		jw_null(&w);
	jw_kv_int(&w, "running", running);
	jw_object_end(&w);
	buf_addc(out, '\n');
	return well;
}

static void answer(const struct health *h, int fd)
{
	char request[REQUEST_MAX_BYTES];
	int64_t until_us = clock_mono_us() + REQUEST_TIME_US;
	_cleanup_buf_ struct buf body, out;
	buf_init(&body, 256 * KIB);
	buf_init(&out, 512 * KIB);
	if (!read_request(h, fd, request, sizeof(request), until_us))
		return;
	struct str rest, method = str_cut(str_of(request), ' ', &rest);
	struct str path = rest.p ? (struct str){ rest.p, strcspn(rest.p, " ?\r\n") } : STR_NULL;
	const char *status = "200 OK", *type = "application/json";
	if (!str_is(method, "GET") && !str_is(method, "HEAD")) {
		status = "405 Method Not Allowed";
	} else if (str_is(path, "/healthz")) {
		status = write_health(h, &body) ? status : "503 Service Unavailable";
	} else if (str_is(path, "/metrics")) {
		type = "text/plain; version=0.0.4; charset=utf-8";
		metrics_write(&body, h->config.isolation);
	} else {
		status = "404 Not Found";
	}
	if (body.len == 0)
		buf_addf(&body, "{\"code\":%.3s,\"message\":\"%s: here are /healthz and /metrics\"}\n", status,
			 status + 4);
	buf_addf(&out, "HTTP/1.0 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
		 type, body.len);
	if (!str_is(method, "HEAD"))
		buf_add_str(&out, buf_str(&body));
	if (!buf_failed(&out))
		send_all(h, fd, buf_str(&out), until_us);
}

static void *health_main(void *arg)
{
	const struct health *h = arg;
	struct pollfd fds[] = { { .fd = h->listen_fd, .events = POLLIN }, { .fd = h->stop_fd, .events = POLLIN } };
	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			/* Out of descriptors: whoever asks waits. */
			if (errno != EAGAIN)
				poll(NULL, 0, 100);
			continue;
		}
		answer(h, fd);
		close(fd);
	}
}

int health_start(const struct health_config *config, struct health **ret, struct err *e)
{
	struct health *h = calloc(1, sizeof(*h));
	if (!h)
		return err_nomem(e);
	*h = (struct health){ .config = *config, .listen_fd = -1, .stop_fd = -1 };
	h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = h->stop_fd < 0 ? err_errno(e, "eventfd") : listen_at(h, e);
	if (rc == 0 && pthread_create(&h->thread, NULL, health_main, h) != 0)
		rc = err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	if (rc < 0) {
		if (h->listen_fd >= 0)
			close(h->listen_fd);
		if (h->stop_fd >= 0)
			close(h->stop_fd);
		free(h);
		return rc;
	}
	*ret = h;
	return 0;
}

int health_port(const struct health *h)
{
	return h->port;
}

void health_stop(struct health *h)
{
	uint64_t one = 1;
	if (!h)
		return;
	if (write(h->stop_fd, &one, sizeof(one)) > 0)
		pthread_join(h->thread, NULL);
	close(h->listen_fd);
	close(h->stop_fd);
	free(h);
}
