/*
 * watch.c: one thread that accepts connections and keeps an eye on parked requests (their deadlines, their clients).
 *
 * The library could accept by itself, but taking its listening socket away again while its threads run (at a stop)
 * is a race in this version that ends in an abort; and at its connection limit or out of descriptors it offers no
 * pause. So it gets each connection by MHD_add_connection(), those of the control socket as well.
 */
#include <errno.h>
#include <fcntl.h>
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

int watch_listen(struct http_server *s, struct err *e)
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
	} listeners[] = { { s->tcp_fd, WATCH_TCP }, { s->socket_fd, WATCH_SOCKET } };
	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		struct epoll_event ev = { .events = EPOLLIN, .data.u64 = listeners[i].token };
		if (listeners[i].fd >= 0)
			epoll_ctl(s->park.epoll_fd, op, listeners[i].fd, &ev);
	}
}

/* False: pause. */
static bool accept_round(struct http_server *s, int listen_fd, int limit)
{
	for (int i = 0; i < ACCEPT_ROUND; i++) {
		if (atomic_load(&s->connections) >= limit)
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

static void *watch_main(void *arg)
{
	struct http_server *s = arg;
	bool paused = false, listening = true;
	int64_t pause_until_us = 0;
	listeners_set(s, EPOLL_CTL_ADD);
	while (!atomic_load(&s->watch_quit)) {
		if (listening && !atomic_load(&s->accepting)) {
			listening = false;
			close_listeners(s);
		}
		int timeout = park_tick(s);
		if (paused && (timeout < 0 || timeout > ACCEPT_PAUSE_MS))
			timeout = ACCEPT_PAUSE_MS;
		struct epoll_event events[64];
		int n = epoll_wait(s->park.epoll_fd, events, (int)ARRAY_SIZE(events), timeout);
		if (listening && paused && clock_mono_us() >= pause_until_us) {
			listeners_set(s, EPOLL_CTL_ADD);
			paused = false;
		}
		bool pause = false;
		for (int i = 0; i < n; i++) {
			uint64_t token = events[i].data.u64;
			eventfd_t ignored;
			if (token == WATCH_KICK)
				eventfd_read(s->park.kick_fd, &ignored);
			else if (token == WATCH_TCP)
				pause |= !accept_round(s, s->tcp_fd, s->connections_max - CONNECTIONS_SOCKET_RESERVE);
			else if (token == WATCH_SOCKET)
				pause |= !accept_round(s, s->socket_fd, s->connections_max);
			else
				park_hangup(s, token);
		}
		if (pause) {
			listeners_set(s, EPOLL_CTL_DEL);
			paused = true;
			pause_until_us = clock_mono_us() + ACCEPT_PAUSE_MS * US_PER_MS;
		}
	}
	close_listeners(s);
	return NULL;
}

int watch_start(struct http_server *s, struct err *e)
{
	errno = pthread_create(&s->watch_thread, NULL, watch_main, s);
	if (errno != 0)
		return err_errno(e, "starting the watch thread");
	s->watch_running = true;
	return 0;
}

void watch_stop_accepting(struct http_server *s)
{
	atomic_store(&s->accepting, false);
	eventfd_write(s->park.kick_fd, 1);
}

void watch_stop(struct http_server *s)
{
	if (s->watch_running) {
		atomic_store(&s->watch_quit, true);
		eventfd_write(s->park.kick_fd, 1);
		pthread_join(s->watch_thread, NULL);
		s->watch_running = false;
	}
	close_listeners(s);
}
