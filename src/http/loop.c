/*
 * loop.c: the event thread. It accepts connections, drives the library, and keeps an eye on parked requests (their
 * deadlines, their clients): one epoll, in which the library's own epoll is nested.
 *
 * The library could have threads of its own, but those of this version (0.9.75) stand still when exactly 128 events
 * arrive at once: they wait for further ones before they look at the first. Driven from outside it never waits. Its
 * listening socket could not be taken away at a stop either without a race that ends in an abort; so it has none, and
 * gets each connection by MHD_add_connection(). At the connection limit, or out of descriptors, we pause.
 */
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/internal.h"
#include "http/socket_path.h"

#define BACKLOG 1024
/* Connections accepted in a row before the parked get their turn. */
#define ACCEPT_ROUND 64
/* Pause after the limit was reached or descriptors ran out. */
#define ACCEPT_PAUSE_MS 50

static int listen_tcp(struct http_server *s, struct err *e)
{
	const char *host = s->config.listen_host ? s->config.listen_host : "127.0.0.1";
	char port[16];
	snprintf(port, sizeof(port), "%d", s->config.listen_port);
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *found = NULL;
	int rc = getaddrinfo(host, port, &hints, &found);
	if (rc != 0)
		return err_set(e, ERR_UNAVAILABLE, "cannot listen on %s: %s", host, gai_strerror(rc));
	_cleanup_close_ int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		freeaddrinfo(found);
		return err_errno(e, "cannot listen on %s:%s", host, port);
	}
	freeaddrinfo(found);
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char text[16];
	if (getsockname(fd, (struct sockaddr *)&bound, &len) < 0 ||
	    getnameinfo((struct sockaddr *)&bound, len, NULL, 0, text, sizeof(text), NI_NUMERICSERV) != 0)
		return err_errno(e, "port of the listening socket");
	s->port = (int)strtol(text, NULL, 10);
	s->tcp_fd = TAKE_FD(fd);
	return 0;
}

static int listen_socket(struct http_server *s, struct err *e)
{
	const char *path = s->config.socket_path;
	_cleanup_close_ int dir_fd = -1;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int rc = socket_path_short(path, addr.sun_path, &dir_fd, e);
	if (rc < 0)
		return rc;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, "socket %s", path);
	/* A socket that nobody answers is left over from a server that was killed. */
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 || errno == EAGAIN)
		return err_set(e, ERR_CONFLICT, "socket %s: another server is running there", path);
	if (errno == ECONNREFUSED)
		unlink(path);
	/* The mode of the file is the socket's own, so that it is never open to others, whatever the umask. */
	if (fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(path, 0600) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_errno(e, "socket %s", path);
	s->socket_fd = TAKE_FD(fd);
	return 0;
}

int loop_listen(struct http_server *s, struct err *e)
{
	int rc = listen_tcp(s, e);
	if (rc >= 0 && s->config.socket_path)
		rc = listen_socket(s, e);
	return rc;
}

static void listeners_set(struct http_server *s, int op)
{
	const struct {
		int fd;
		uint64_t token;
	} listeners[] = { { s->tcp_fd, LOOP_TCP }, { s->socket_fd, LOOP_SOCKET } };
	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		struct epoll_event ev = { .events = EPOLLIN, .data.u64 = listeners[i].token };
		if (listeners[i].fd >= 0)
			epoll_ctl(s->epoll_fd, op, listeners[i].fd, &ev);
	}
}

/* False: pause. */
static bool accept_round(struct http_server *s, int listen_fd, int limit)
{
	for (int i = 0; i < ACCEPT_ROUND; i++) {
		if (s->connections >= limit)
			return false;
		struct sockaddr_storage addr = { 0 };
		socklen_t len = sizeof(addr);
		int fd = accept4(listen_fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
		MHD_add_connection(s->daemon, fd, (struct sockaddr *)&addr, len); /* closes fd if it cannot */
	}
	return true;
}

static void close_listeners(struct http_server *s)
{
	if (s->tcp_fd >= 0)
		close(TAKE_FD(s->tcp_fd)); /* leaves the epoll by itself */
	if (s->socket_fd >= 0) {
		close(TAKE_FD(s->socket_fd));
		unlink(s->config.socket_path);
	}
}

/* The sooner of two, where -1 is never. */
static int sooner(int a, int b)
{
	return a < 0 ? b : b < 0 || a < b ? a : b;
}

static int library_timeout_ms(struct http_server *s)
{
	unsigned long long ms;
	if (MHD_get_timeout(s->daemon, &ms) != MHD_YES)
		return -1;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* False: pause. */
static bool handle_event(struct http_server *s, uint64_t token)
{
	switch (token) {
	case LOOP_TCP:
		return accept_round(s, s->tcp_fd, s->connections_max - CONNECTIONS_SOCKET_RESERVE);
	case LOOP_SOCKET:
		return accept_round(s, s->socket_fd, s->connections_max);
	case LOOP_KICK:
	case LOOP_LIBRARY:
		return true; /* MHD_run() comes anyway */
	default:
		park_hangup(s, token);
		return true;
	}
}

static void *loop_main(void *arg)
{
	struct http_server *s = arg;
	bool paused = false, listening = true;
	int64_t pause_until_us = 0;
	pthread_setname_np(pthread_self(), "http-events");
	listeners_set(s, EPOLL_CTL_ADD);
	while (!atomic_load(&s->loop_quit)) {
		if (listening && !atomic_load(&s->accepting)) {
			listening = paused = false;
			close_listeners(s);
		}
		if (paused && clock_mono_us() >= pause_until_us) {
			listeners_set(s, EPOLL_CTL_ADD);
			paused = false;
		}
		int timeout = sooner(park_tick(s), library_timeout_ms(s));
		if (paused)
			timeout = sooner(timeout, ACCEPT_PAUSE_MS);
		struct epoll_event events[64];
		int n = epoll_wait(s->epoll_fd, events, (int)ARRAY_SIZE(events), timeout);
		/* From here on a kick is a new one: what came with the old ones is seen below. */
		atomic_store(&s->kicked, false);
		bool pause = false;
		for (int i = 0; i < n; i++)
			pause |= !handle_event(s, events[i].data.u64);
		if (pause && listening) {
			listeners_set(s, EPOLL_CTL_DEL);
			paused = true;
			pause_until_us = clock_mono_us() + ACCEPT_PAUSE_MS * US_PER_MS;
		}
		MHD_run(s->daemon);
	}
	close_listeners(s);
	return NULL;
}

static int epoll_add(struct http_server *s, int fd, uint32_t events, uint64_t token, struct err *e)
{
	struct epoll_event ev = { .events = events, .data.u64 = token };
	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? err_errno(e, "epoll") : 0;
}

int loop_init(struct http_server *s, struct err *e)
{
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->epoll_fd < 0 || s->kick_fd < 0)
		return err_errno(e, "epoll");
	/* By edges, so that it need not be read. */
	return epoll_add(s, s->kick_fd, EPOLLIN | EPOLLET, LOOP_KICK, e);
}

void loop_done(struct http_server *s)
{
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	if (s->kick_fd >= 0)
		close(s->kick_fd);
}

void loop_kick(struct http_server *s)
{
	if (!atomic_exchange(&s->kicked, true))
		eventfd_write(s->kick_fd, 1);
}

int loop_start(struct http_server *s, struct err *e)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return err_set(e, ERR_INTERNAL, "the HTTP library has no epoll");
	int rc = epoll_add(s, info->epoll_fd, EPOLLIN, LOOP_LIBRARY, e);
	if (rc < 0)
		return rc;
	errno = pthread_create(&s->loop_thread, NULL, loop_main, s);
	if (errno != 0)
		return err_errno(e, "starting the event thread");
	s->loop_running = true;
	return 0;
}

void loop_stop_accepting(struct http_server *s)
{
	atomic_store(&s->accepting, false);
	loop_kick(s);
}

void loop_stop(struct http_server *s)
{
	if (s->loop_running) {
		atomic_store(&s->loop_quit, true);
		loop_kick(s);
		pthread_join(s->loop_thread, NULL);
		s->loop_running = false;
	}
	close_listeners(s);
}
