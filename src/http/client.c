#include "http/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/limits.h"
#include "http/socket_path.h"

#define CONNECT_TIMEOUT_MS 10000
#define REQUEST_TIMEOUT_MS 60000
#define RESPONSE_MAX_BYTES (64 * MIB)
/* A transfer of a file that moves nothing for so long is at its end. */
#define FILE_STANDSTILL_S 30
/* How often `cancelled` is asked. */
#define CANCEL_POLL_MS 200
#define UPLOAD_CHUNK_BYTES (256L * 1024)

struct http_client {
	CURL *easy;
	CURLM *multi; /* drives it, so that a waiting request can be cancelled; keeps the connections */
	char *base_url;
	char *token;
	char *user_agent;
	char socket_path[SOCKET_PATH_SIZE];
	int socket_dir_fd;
	int connect_timeout_ms;
	bool loopback;
};

struct transfer {
	const struct http_client_request *rq;
	CURL *easy;
	struct http_client_file *to;	      /* where a good answer goes; NULL: into `body` */
	int64_t to_max, to_bytes, from_bytes; /* room in it; what went into it; what of the body was sent */
	const struct http_client_file *from;  /* the body */
	int file_errno;			      /* a file could not be read or written */
	struct buf body;
	size_t received_max;
	bool too_large;
	int retry_after_s;
};

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *dup_or_null(const char *z, bool *failed)
{
	char *copy = z ? strdup(z) : NULL;
	*failed |= z && !copy;
	return copy;
}

/* Like Go's clients: a proxy from the environment is not asked for this machine itself. */
static bool is_loopback(const char *url)
{
	const char *host = strstr(url, "://");
	host = host ? host + 3 : url;
	return strncmp(host, "127.", 4) == 0 || strncasecmp(host, "localhost", 9) == 0 ||
	       strncmp(host, "[::1]", 5) == 0;
}

int http_client_new(const struct http_client_config *config, struct http_client **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, global_init);
	struct http_client *c = calloc(1, sizeof(*c));
	if (!c)
		return err_nomem(e);
	c->socket_dir_fd = -1;
	bool failed = false;
	c->base_url = dup_or_null(config->base_url ? config->base_url : "http://localhost", &failed);
	c->token = dup_or_null(config->token, &failed);
	c->user_agent = dup_or_null(config->user_agent ? config->user_agent : "slipway", &failed);
	c->easy = curl_easy_init();
	c->multi = curl_multi_init();
	if (failed || !c->easy || !c->multi) {
		http_client_free(c);
		return err_nomem(e);
	}
	if (config->socket_path) {
		int rc = socket_path_short(config->socket_path, c->socket_path, &c->socket_dir_fd, e);
		if (rc < 0) {
			http_client_free(c);
			return rc;
		}
	}
	for (size_t n = strlen(c->base_url); n > 0 && c->base_url[n - 1] == '/'; n--)
		c->base_url[n - 1] = '\0';
	c->loopback = config->socket_path || is_loopback(c->base_url);
	c->connect_timeout_ms = config->connect_timeout_ms > 0 ? config->connect_timeout_ms : CONNECT_TIMEOUT_MS;
	*ret = c;
	return 0;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	if (c->easy)
		curl_easy_cleanup(c->easy);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	if (c->socket_dir_fd >= 0)
		close(c->socket_dir_fd);
	free(c->base_url);
	free(c->token);
	free(c->user_agent);
	free(c);
}

void http_client_set_token(struct http_client *c, const char *token)
{
	char *copy = token ? strdup(token) : NULL;
	BUG_ON(token && !copy);
	free(c->token);
	c->token = copy;
}

static size_t to_file(struct transfer *t, const char *data, size_t n)
{
	if ((int64_t)n > t->to_max - t->to_bytes) {
		t->too_large = true;
		return 0;
	}
	for (size_t at = 0; at < n;) {
		ssize_t wrote = pwrite(t->to->fd, data + at, n - at, (off_t)t->to_bytes);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0) {
			t->file_errno = errno;
			return 0;
		}
		at += (size_t)wrote;
		t->to_bytes += wrote;
	}
	return n;
}

static size_t from_file(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	int64_t left = t->from->bytes - t->from_bytes;
	size_t want = (int64_t)(size * n) < left ? size * n : (size_t)left;
	ssize_t got = pread(t->from->fd, data, want, (off_t)t->from_bytes);
	if (got < 0 || (got == 0 && want > 0)) {
		t->file_errno = got < 0 ? errno : EIO;
		return CURL_READFUNC_ABORT;
	}
	t->from_bytes += got;
	return (size_t)got;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	long status = 0;
	bool apart = t->to || t->rq->consume;
	if (apart && curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status / 100 == 2) {
		if (t->to)
			return to_file(t, data, size * n);
		return t->rq->consume(t->rq->consume_arg, (struct str){ data, size * n }) ? size * n : 0;
	}
	if (size * n > t->received_max - t->body.len) {
		t->too_large = true;
		return 0;
	}
	buf_add(&t->body, data, size * n);
	return buf_failed(&t->body) ? 0 : size * n;
}

static size_t on_produce(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	ssize_t got = t->rq->produce(t->rq->produce_arg, data, size * n);
	return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	struct str value, name = str_cut((struct str){ data, size * n }, ':', &value);
	int64_t seconds;
	if (name.n == 11 && strncasecmp(name.p, "Retry-After", 11) == 0 && value.p &&
	    str_to_int64(str_trim(value), &seconds) && seconds >= 0 && seconds < 86400)
		t->retry_after_s = (int)seconds;
	return size * n;
}

static bool header_add(struct curl_slist **list, const char *line)
{
	struct curl_slist *grown = line ? curl_slist_append(*list, line) : NULL;
	if (grown)
		*list = grown;
	return grown != NULL;
}

static bool headers_make(struct http_client *c, const struct http_client_request *rq, struct arena *a, bool gzip,
			 struct curl_slist **ret)
{
	/* Without this curl waits up to a second for a "100 Continue" before a large body. */
	bool ok = header_add(ret, "Expect:");
	if (c->token)
		ok &= header_add(ret, arena_printf(a, "Authorization: token %s", c->token));
	if (rq->body.p || rq->body_file || rq->produce)
		ok &= header_add(ret, arena_printf(a, "Content-Type: %s",
						   rq->content_type ? rq->content_type : "application/json"));
	if (gzip)
		ok &= header_add(ret, "Content-Encoding: gzip");
	for (const char *const *h = rq->headers; h && *h; h++)
		ok &= header_add(ret, *h);
	return ok;
}

static void configure(struct http_client *c, const struct http_client_request *rq, const char *url, struct str body,
		      struct curl_slist *headers, struct transfer *t, char *error_text)
{
	CURL *h = c->easy;
	curl_easy_reset(h);
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, error_text);
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(h, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
	curl_easy_setopt(h, CURLOPT_USERAGENT, c->user_agent);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h, CURLOPT_ACCEPT_ENCODING, "gzip");
	curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)c->connect_timeout_ms);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)(rq->timeout_ms > 0 ? rq->timeout_ms : REQUEST_TIMEOUT_MS));
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, t);
	if (c->socket_path[0])
		curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->socket_path);
	if (c->loopback)
		curl_easy_setopt(h, CURLOPT_PROXY, "");
	if (rq->body_file || rq->answer_file) {
		curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, (long)FILE_STANDSTILL_S);
	}
	if (strcmp(rq->method, "HEAD") == 0) {
		curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
	} else if (rq->body_file) {
		curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)rq->body_file->bytes);
		curl_easy_setopt(h, CURLOPT_READFUNCTION, from_file);
		curl_easy_setopt(h, CURLOPT_READDATA, t);
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, rq->method);
	} else if (rq->produce) {
		/* What was produced cannot be produced again, as it would have to on a kept connection that turns out dead. */
		curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
		curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_CHUNK_BYTES);
		curl_easy_setopt(h, CURLOPT_READFUNCTION, on_produce);
		curl_easy_setopt(h, CURLOPT_READDATA, t);
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, rq->method);
	} else if (body.p || strcmp(rq->method, "GET") != 0) {
		/* POST with its length, zero included, under whatever name. */
		curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, body.p ? body.p : "");
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, rq->method);
	}
}

/* CURLE_OK or the transfer's error; *ret_cancelled tells that we ended it. */
static CURLcode perform(struct http_client *c, const struct http_client_request *rq, bool *ret_cancelled)
{
	CURLcode result = CURLE_FAILED_INIT;
	if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
		return result;
	int running = 1;
	while (running > 0) {
		if (curl_multi_perform(c->multi, &running) != CURLM_OK)
			break;
		if (running == 0)
			break;
		if (rq->cancelled && rq->cancelled(rq->cancelled_arg)) {
			*ret_cancelled = true;
			break;
		}
		/* Without a cancel function there is nothing to look at but the sockets. */
		curl_multi_poll(c->multi, NULL, 0, rq->cancelled ? CANCEL_POLL_MS : 1000, NULL);
	}
	int left;
	for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;) {
		if (m->msg == CURLMSG_DONE && m->easy_handle == c->easy)
			result = m->data.result;
	}
	curl_multi_remove_handle(c->multi, c->easy);
	return result;
}

static int transfer_error(struct http_client *c, const struct http_client_request *rq, CURLcode code, bool cancelled,
			  const struct transfer *t, const char *text, struct err *e)
{
	if (cancelled)
		return err_set(e, ERR_CANCELLED, "%s %s: cancelled", rq->method, rq->path);
	if (t->too_large)
		return err_set(e, ERR_TOO_LARGE, "%s %s: the answer is larger than %lld bytes", rq->method, rq->path,
			       t->to ? (long long)t->to_max : (long long)t->received_max);
	if (t->file_errno) {
		errno = t->file_errno;
		return err_errno(e, "%s %s", rq->method, rq->path);
	}
	if (buf_failed(&t->body) || code == CURLE_OUT_OF_MEMORY)
		return err_nomem(e);
	enum err_code ours = code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE;
	return err_set(e, ours, "%s %s%s: %s", rq->method, c->base_url, rq->path,
		       text[0] ? text : curl_easy_strerror(code));
}

int http_client_send(struct http_client *c, const struct http_client_request *rq, struct arena *a,
		     struct http_client_response *ret, struct err *e)
{
	_cleanup_buf_ struct buf packed;
	buf_init(&packed, HTTP_DOCUMENT_BODY_BYTES);
	struct str body = rq->body;
	bool gzip = rq->gzip && body.n > 0;
	if (gzip) {
		int rc = gzip_compress(body, 1, &packed, e);
		if (rc < 0)
			return rc;
		body = buf_str(&packed);
	}
	size_t max = rq->max_response_bytes ? rq->max_response_bytes : RESPONSE_MAX_BYTES;
	struct transfer t = { .rq = rq,
			      .easy = c->easy,
			      .to = rq->answer_file,
			      .to_max = rq->answer_file ? rq->answer_file->bytes : 0,
			      .from = rq->body_file,
			      .received_max = max,
			      .retry_after_s = -1 };
	buf_init(&t.body, max);
	struct curl_slist *headers = NULL;
	char text[CURL_ERROR_SIZE] = "";
	char *url = arena_printf(a, "%s%s", c->base_url, rq->path);
	int rc = 0;
	if (!url || !headers_make(c, rq, a, gzip, &headers)) {
		rc = err_nomem(e);
		goto out;
	}
	configure(c, rq, url, body, headers, &t, text);
	bool cancelled = false;
	CURLcode code = perform(c, rq, &cancelled);
	if (code != CURLE_OK || cancelled) {
		rc = transfer_error(c, rq, code, cancelled, &t, text, e);
		goto out;
	}
	long status = 0;
	curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	char *copy = arena_strndup(a, t.body.len ? t.body.data : "", t.body.len);
	if (!copy) {
		rc = err_nomem(e);
		goto out;
	}
	if (rq->answer_file)
		rq->answer_file->bytes = t.to_bytes;
	*ret = (struct http_client_response){ (int)status, { copy, t.body.len }, t.retry_after_s };
out:
	curl_slist_free_all(headers);
	buf_done(&t.body);
	return rc;
}

int http_client_refusal(const struct http_client_response *response, struct arena *a, struct err *e)
{
	enum err_code code = err_from_http_status(response->status);
	struct json root;
	const char *message = NULL;
	if (json_check(response->body, &root, NULL) >= 0)
		message = json_cstr(json_get(root, "message"), a);
	if (message)
		return err_set(e, code, "%s", message);
	size_t n = response->body.n < 200 ? response->body.n : 200;
	return err_set(e, code, "HTTP status %d%s%.*s", response->status, n ? ": " : "", (int)n, response->body.p);
}

int http_client_json(struct http_client *c, const char *method, const char *path, struct str body, struct arena *a,
		     struct json *ret_json, struct err *e)
{
	struct http_client_request rq = { .method = method, .path = path, .body = body };
	struct http_client_response response;
	int rc = http_client_send(c, &rq, a, &response, e);
	if (rc < 0)
		return rc;
	if (response.status >= 400)
		return http_client_refusal(&response, a, e);
	struct json root = JSON_ABSENT;
	if (response.body.n > 0 && ret_json) {
		rc = json_check(response.body, &root, e);
		if (rc < 0) {
			err_wrap(e, "answer to %s %s", method, path);
			if (e)
				e->code = ERR_UNAVAILABLE;
			return -ERR_UNAVAILABLE;
		}
	}
	if (ret_json)
		*ret_json = root;
	return 0;
}
