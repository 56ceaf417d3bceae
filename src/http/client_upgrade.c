#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json.h"
#include "base/limits.h"
#include "http/client.h"
#include "http/socket_path.h"

/* The library beneath client.c has no way to hand a connection over once the answer's head has come, so this one request
 * is spoken by hand. */

#define HEAD_MAX_BYTES (16 * KIB)
#define HEAD_TIMEOUT_S 30

static int connect_socket(const char *path, struct err *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int folder = -1;
	_Static_assert(sizeof(address.sun_path) == SOCKET_PATH_SIZE, "the same size");
	int r = socket_path_short(path, address.sun_path, &folder, e);
	if (r < 0)
		return r;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		err_errno(e, "cannot connect to %s", path);
		if (fd >= 0)
			close(fd);
		return -(int)e->code;
	}
	return fd;
}

static int connect_tcp(const struct http_upgrade *at, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list;
	int fd = -1;
	int rc = getaddrinfo(at->host, at->port, &hints, &list);
	if (rc != 0)
		return err_set(e, ERR_UNAVAILABLE, "cannot find %s: %s", at->host, gai_strerror(rc));
	for (struct addrinfo *one = list; one && fd < 0; one = one->ai_next) {
		fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, one->ai_addr, one->ai_addrlen) != 0) {
			err_errno(e, "cannot connect to %s:%s", at->host, at->port);
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	return fd >= 0 ? fd : e->code ? -(int)e->code : err_set(e, ERR_UNAVAILABLE, "%s has no address", at->host);
}

/* The answer's head, byte by byte: what follows it belongs to the stream. */
static int read_head(int fd, char *head, size_t size, struct err *e)
{
	size_t n = 0;
	while (n + 1 < size) {
		ssize_t got = read(fd, head + n, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(e, "no answer");
		if (got == 0)
			return err_set(e, ERR_UNAVAILABLE, "the connection was closed");
		head[++n] = '\0';
		if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
			return 0;
	}
	return err_set(e, ERR_UNAVAILABLE, "the answer's head is too long");
}

static int refused(int fd, const char *head, struct arena *a, struct err *e)
{
	char body[1024];
	ssize_t n = read(fd, body, sizeof(body) - 1);
	struct str text = { body, n > 0 ? (size_t)n : 0 };
	struct str begin = { memchr(body, '{', text.n), 0 };
	struct json root;
	if (begin.p) {
		begin.n = text.n - (size_t)(begin.p - body);
		struct str end = str_trim(begin);
		const char *message =
			json_check(end, &root, NULL) >= 0 ? json_cstr(json_get(root, "message"), a) : NULL;
		if (message)
			return err_set(e, ERR_UNAVAILABLE, "%s", message);
	}
	return err_set(e, ERR_UNAVAILABLE, "the connection is not handed over: %.*s", (int)strcspn(head, "\r\n"), head);
}

static void set_timeout(int fd, int seconds)
{
	struct timeval t = { .tv_sec = seconds };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
}

static int send_all(int fd, struct str bytes, struct err *e)
{
	while (bytes.n) {
		ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot send");
		bytes = (struct str){ bytes.p + n, bytes.n - (size_t)n };
	}
	return 0;
}

int http_upgrade(const struct http_upgrade *u, struct arena *a, int *ret_fd, struct err *e)
{
	char head[HEAD_MAX_BYTES] = "";
	const char *request = arena_printf(a,
					   "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n"
					   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
					   u->method, u->path, u->host ? u->host : "localhost", u->protocol,
					   u->body ? strlen(u->body) : 0, u->body ? u->body : "");
	if (!request)
		return err_nomem(e);
	_cleanup_close_ int fd = u->socket_path ? connect_socket(u->socket_path, e) : connect_tcp(u, e);
	if (fd < 0)
		return fd;
	set_timeout(fd, HEAD_TIMEOUT_S);
	int r = send_all(fd, str_of(request), e);
	if (r == 0)
		r = read_head(fd, head, sizeof(head), e);
	if (r < 0)
		return r;
	/* "101 UPGRADED", or, from those that do not know the word, 200. */
	if (strncmp(head, "HTTP/1.1 101", 12) != 0 && strncmp(head, "HTTP/1.1 200", 12) != 0)
		return refused(fd, head, a, e);
	set_timeout(fd, 0);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
