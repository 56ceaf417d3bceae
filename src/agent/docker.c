#include "agent/docker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/limits.h"
#include "os/tar.h"
#include "os/tar_format.h"

#define ANSWER_MAX_BYTES (16 * MIB)
#define FILE_MAX_BYTES (4 * MIB)
/* A tree, or the tools, over a slow connection to an engine elsewhere. */
#define PUT_TIMEOUT_MS (30 * 60 * 1000)
#define TCP_PORT "2375"

int docker_address_parse(const char *text, struct arena *a, struct docker_address *ret, struct err *e)
{
	struct str s = str_of(text);
	*ret = (struct docker_address){ .text = text };
	if (s.n && s.p[0] == '/') {
		ret->socket = text;
		return 0;
	}
	if (str_starts_with(s, "unix://") && s.n > 8) {
		ret->socket = text + 7;
		return 0;
	}
	if (!str_starts_with(s, "tcp://") && !str_starts_with(s, "http://"))
		return err_set(e, ERR_USAGE, "--docker-host %s: must be unix:///path/of/a/socket or tcp://host:port",
			       text);
	struct str port,
		host = str_cut((struct str){ strstr(text, "://") + 3, strlen(strstr(text, "://") + 3) }, '/', &port);
	host = str_cut(host, ':', &port);
	if (host.n == 0 || memchr(host.p, '[', host.n))
		return err_set(e, ERR_USAGE, "--docker-host %s: names no host", text);
	ret->host = str_dup(a, host);
	ret->port = port.n ? str_dup(a, port) : TCP_PORT;
	return arena_failed(a) ? err_nomem(e) : 0;
}

int docker_open(const struct docker_address *at, const char *api, struct docker *ret, struct err *e)
{
	char url[512] = "http://localhost";
	if (!at->socket && (size_t)snprintf(url, sizeof(url), "http://%s:%s", at->host, at->port) >= sizeof(url))
		return err_set(e, ERR_USAGE, "--docker-host: the name is too long");
	struct http_client_config config = { .base_url = url, .socket_path = at->socket };
	*ret = (struct docker){ .at = *at, .api = api };
	return http_client_new(&config, &ret->http, e);
}

void docker_close(struct docker *d)
{
	http_client_free(d->http);
	d->http = NULL;
}

static int engine_error(struct docker *d, int r, struct err *e)
{
	if (r == -ERR_UNAVAILABLE)
		return err_wrap(e, "the container engine at %s", d->at.text);
	return r;
}

/* An answer that is none of an error. */
static int call(struct docker *d, struct http_client_request *rq, struct arena *a, struct http_client_response *ret,
		struct err *e)
{
	if (!rq->path)
		return err_nomem(e);
	rq->cancelled = d->cancelled;
	rq->cancelled_arg = d->cancelled_arg;
	int r = http_client_send(d->http, rq, a, ret, e);
	if (r < 0)
		return engine_error(d, r, e);
	return ret->status >= 400 ? http_client_refusal(ret, a, e) : 0;
}

int docker_send(struct docker *d, const struct docker_query *q, struct arena *a, struct json *ret_json, struct err *e)
{
	const char *headers[] = { q->header, NULL };
	struct http_client_request rq = { .method = q->method,
					  .path = arena_printf(a, "%s%s", d->api, q->path),
					  .body = q->body,
					  .headers = headers,
					  .timeout_ms = q->timeout_ms,
					  .max_response_bytes = ANSWER_MAX_BYTES,
					  .consume = q->consume,
					  .consume_arg = q->consume_arg };
	struct http_client_response response;
	int r = call(d, &rq, a, &response, e);
	if (r < 0)
		return r;
	struct json root = JSON_ABSENT;
	if (ret_json && response.body.n) {
		r = json_check(response.body, &root, e);
		if (r < 0)
			return err_wrap(e, "the container engine's answer to %s", q->path);
	}
	if (ret_json)
		*ret_json = root;
	return 0;
}

__attribute__((format(printf, 2, 0))) static char *format(struct arena *a, const char *path, va_list ap)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 16 * KIB);
	buf_vaddf(&b, path, ap);
	return buf_failed(&b) ? NULL : str_dup(a, buf_str(&b));
}

int docker_get(struct docker *d, struct arena *a, struct json *ret, struct err *e, const char *path, ...)
{
	va_list ap;
	va_start(ap, path);
	struct docker_query q = { .method = "GET", .path = format(a, path, ap) };
	va_end(ap);
	return q.path ? docker_send(d, &q, a, ret, e) : err_nomem(e);
}

int docker_do(struct docker *d, struct arena *a, struct err *e, const char *method, const char *path, ...)
{
	va_list ap;
	va_start(ap, path);
	struct docker_query q = { .method = method, .path = format(a, path, ap) };
	va_end(ap);
	return q.path ? docker_send(d, &q, a, NULL, e) : err_nomem(e);
}

/* --- archives --- */

struct writer {
	int fd;
	int (*write)(void *arg, int fd, struct err *e);
	void *arg;
	int result;
	struct err e;
	_Atomic bool done;
};

static void *write_archive(void *arg)
{
	struct writer *w = arg;
	w->result = w->write(w->arg, w->fd, &w->e);
	w->done = true;
	close(w->fd);
	return NULL;
}

struct source {
	int fd;
	const struct writer *writer;
};

static ssize_t read_archive(void *arg, char *bytes, size_t n)
{
	const struct source *s = arg;
	ssize_t got;
	do {
		got = read(s->fd, bytes, n);
	} while (got < 0 && errno == EINTR);
	/* An archive that was not finished must not look as if it were. */
	return got == 0 && s->writer->result < 0 ? -1 : got;
}

static int send_archive(struct docker *d, const char *path, struct source *s, struct arena *a, struct err *e)
{
	struct http_client_request rq = { .method = "PUT",
					  .path = path,
					  .content_type = "application/x-tar",
					  .produce = read_archive,
					  .produce_arg = s,
					  .timeout_ms = PUT_TIMEOUT_MS,
					  .cancelled = d->cancelled,
					  .cancelled_arg = d->cancelled_arg };
	struct http_client_response response;
	int r = http_client_send(d->http, &rq, a, &response, e);
	if (r < 0)
		return engine_error(d, r, e);
	return response.status >= 400 ? http_client_refusal(&response, a, e) : 0;
}

int docker_put(struct docker *d, const char *container, const char *folder,
	       int (*write)(void *arg, int fd, struct err *e), void *arg, struct arena *a, struct err *e)
{
	_cleanup_buf_ struct buf escaped;
	struct writer w = { .write = write, .arg = arg };
	pthread_t thread;
	int ends[2];
	buf_init(&escaped, 64 * KIB);
	url_escape(&escaped, str_of(folder));
	const char *path = arena_printf(a, "%s/containers/%s/archive?path=%.*s", d->api, container, (int)escaped.len,
					escaped.data ? escaped.data : "");
	if (!path)
		return err_nomem(e);
	if (pipe2(ends, O_CLOEXEC) != 0)
		return err_errno(e, "cannot make a pipe");
	struct source s = { .fd = ends[0], .writer = &w };
	w.fd = ends[1];
	if (pthread_create(&thread, NULL, write_archive, &w) != 0) {
		close(ends[0]);
		close(ends[1]);
		return err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	}
	int r = send_archive(d, path, &s, a, e);
	/* An engine that refuses early leaves the writer with a broken pipe. */
	bool early = !w.done;
	close(ends[0]);
	pthread_join(thread, NULL);
	if (w.result < 0 && !(r < 0 && early))
		return err_set(e, w.e.code, "%s", w.e.message);
	return r;
}

int docker_read_file(struct docker *d, const char *container, const char *path, struct arena *a, struct str *ret,
		     struct err *e)
{
	struct http_client_request rq = { .method = "GET",
					  .path = arena_printf(a, "%s/containers/%s/archive?path=%s", d->api, container,
							       path),
					  .max_response_bytes = FILE_MAX_BYTES };
	struct http_client_response response;
	int r = call(d, &rq, a, &response, e);
	if (r < 0)
		return r;
	struct str tar = response.body;
	while (tar.n >= TAR_BLOCK_BYTES && tar.p[0]) {
		size_t size = 0;
		for (size_t i = 0; i < 11 && tar.p[AT_SIZE + i] >= '0' && tar.p[AT_SIZE + i] <= '7'; i++)
			size = size << 3 | (size_t)(tar.p[AT_SIZE + i] - '0');
		char type = tar.p[AT_TYPE];
		size_t room = tar.n - TAR_BLOCK_BYTES;
		if (size > room)
			break;
		if (type == '0' || type == '\0') {
			*ret = (struct str){ tar.p + TAR_BLOCK_BYTES, size };
			return 0;
		}
		size_t skip = TAR_BLOCK_BYTES + (size + TAR_BLOCK_BYTES - 1) / TAR_BLOCK_BYTES * TAR_BLOCK_BYTES;
		skip = skip < tar.n ? skip : tar.n;
		tar = (struct str){ tar.p + skip, tar.n - skip };
	}
	return err_set(e, ERR_NOT_FOUND, "%s of the container is no regular file", path);
}

static int take_over(struct docker *d, const char *path, const char *body, struct arena *a, int *ret_fd, struct err *e)
{
	const struct http_upgrade u = { .socket_path = d->at.socket,
					.host = d->at.host,
					.port = d->at.port,
					.method = "POST",
					.path = path,
					.protocol = "tcp",
					.body = body };
	int r = u.path ? http_upgrade(&u, a, ret_fd, e) : err_nomem(e);
	return r < 0 ? err_wrap(e, "the container engine at %s", d->at.text) : 0;
}

int docker_attach(struct docker *d, const char *container, struct arena *a, int *ret_fd, struct err *e)
{
	return take_over(
		d, arena_printf(a, "%s/containers/%s/attach?stream=1&stdin=1&stdout=1&stderr=1", d->api, container),
		NULL, a, ret_fd, e);
}

int docker_exec_attach(struct docker *d, const char *exec, struct arena *a, int *ret_fd, struct err *e)
{
	return take_over(d, arena_printf(a, "%s/exec/%s/start", d->api, exec), "{\"Detach\":false,\"Tty\":false}", a,
			 ret_fd, e);
}
