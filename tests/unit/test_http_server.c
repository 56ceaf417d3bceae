#include "http/http.h"

#include <stdatomic.h>

#include "base/compress.h"
#include "base/limits.h"
#include "http/client.h"
#include "http_fixture.h"
#include "unit.h"

/* --- the server under test --- */

static struct http_server *server;
static int port;
static const char *spool_dir;
static atomic_int handled, authorized;

static int h_hello(struct request *r, struct response *w, struct err *e)
{
	struct json_writer *jw = response_json(w);
	jw_object(jw);
	jw_kv_string(jw, "hello", request_has_param(r, "name") ? request_param(r, "name") : "world");
	jw_kv_string(jw, "q", request_query(r, "q"));
	jw_object_end(jw);
	return 0;
}

static int h_fail(struct request *r, struct response *w, struct err *e)
{
	response_header(w, "X-Gone", "1");
	response_json(w);
	if (streq(request_param(r, "code"), "409"))
		return err_set(e, ERR_CONFLICT, "Another update is currently in progress.");
	if (streq(request_param(r, "code"), "silent"))
		return -ERR_IO;
	return err_set(e, ERR_INTERNAL, "broken");
}

static int h_sum(struct request *r, struct response *w, struct err *e)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < r->body.n; i++)
		sum = sum * 31 + (unsigned char)r->body.p[i];
	atomic_fetch_add(&handled, 1);
	struct json_writer *jw = response_json(w);
	jw_object(jw);
	jw_kv_int(jw, "n", (int64_t)r->body.n);
	jw_kv_int(jw, "gzip", (int64_t)r->body_gzip.n);
	jw_kv_int(jw, "sum", (int64_t)(sum & INT64_MAX));
	jw_object_end(jw);
	return 0;
}

static int h_echo(struct request *r, struct response *w, struct err *e)
{
	response_body(w, "text/plain", r->body);
	return 0;
}

static int h_stored(struct request *r, struct response *w, struct err *e)
{
	response_body_gzip(w, "application/json", r->body_gzip);
	return 0;
}

static int h_big(struct request *r, struct response *w, struct err *e)
{
	int64_t n;
	int rc = request_query_int(r, "n", 0, 1 << 30, 100, &n, e);
	if (rc < 0)
		return rc;
	struct json_writer *jw = response_json(w);
	jw_array(jw);
	for (int64_t i = 0; i < n; i++)
		jw_int(jw, i);
	jw_array_end(jw);
	return 0;
}

struct thing {
	const char *name;
	int64_t count;
};
static const struct field thing_fields[] = {
	FIELD(struct thing, name, "name", FIELD_STRING, .required = true),
	FIELD(struct thing, count, "count", FIELD_INT, .min = 1, .max = 9),
	FIELD_END,
};

static int h_thing(struct request *r, struct response *w, struct err *e)
{
	struct thing t = { 0 };
	int rc = request_decode(r, w, thing_fields, &t, e);
	if (rc < 0)
		return rc;
	bool flag;
	rc = request_query_bool(r, "flag", false, &flag, e);
	if (rc < 0)
		return rc;
	if (flag)
		response_empty(w, 204);
	else
		jw_raw_str(response_json(w), STR("{}"));
	return 0;
}

static int h_self(struct request *r, struct response *w, struct err *e)
{
	struct json_writer *jw = response_json(w);
	jw_object(jw);
	response_header(w, "X-Echo", request_query(r, "a"));
	jw_kv_string(jw, "peer", request_peer(r));
	jw_kv_string(jw, "host", request_origin(r));
	jw_kv_string(jw, "id", r->id);
	jw_kv_bool(jw, "socket", r->from_socket);
	jw_kv_string(jw, "cookie", request_cookie(r, "session"));
	jw_kv_string(jw, "path", r->path);
	jw_kv_bool(jw, "app", request_app(r) == &server);
	jw_object_end(jw);
	return 0;
}

static int authorize(struct request *r, struct err *e)
{
	atomic_fetch_add(&authorized, 1);
	const char *token = request_header(r, "authorization");
	if (r->route->auth && (!token || strcmp(token, "token good") != 0))
		return err_set(e, ERR_UNAUTHORIZED, "No credentials provided or are invalid.");
	r->context = arena_printf(r->arena, "from %s", r->method);
	return 0;
}

static const char *const colours[] = { "red", "green", NULL };
static const struct field list_query[] = {
	QUERY("n", FIELD_INT, .min = 1, .max = 9),  QUERY("colour", FIELD_STRING, .one_of = colours),
	QUERY("short", FIELD_STRING, .max = 3),	    QUERY("yes", FIELD_BOOL, .wrong = "Yes or no?"),
	QUERY("kind", FIELD_STRING_LIST, .max = 3), FIELD_END,
};

#define R(m, p, h, ...)                                                \
	{                                                              \
		.method = m, .pattern = p, .handler = h, ##__VA_ARGS__ \
	}
static const struct route routes[] = {
	R("GET", "/hello", h_hello),
	R("GET", "/hello/{name}", h_hello),
	R("POST", "/hello", h_hello),
	R("GET", "/fail/{code}", h_fail),
	R("POST", "/sum", h_sum, .body_limit_bytes = 8 * MIB),
	R("POST", "/small", h_sum, .body_limit_bytes = 1000),
	R("POST", "/huge", h_sum, .body_limit_bytes = 512 * MIB),
	R("POST", "/echo", h_echo, .body_limit_bytes = 8 * MIB),
	R("POST", "/stored", h_stored, .body_limit_bytes = 8 * MIB),
	R("POST", "/private", h_sum, .auth = 1, .body_limit_bytes = 8 * MIB),
	R("GET", "/big", h_big),
	R("POST", "/thing", h_thing, .body_limit_bytes = 10000),
	R("GET", "/self", h_self),
	R("GET", "/list", h_hello, .query = list_query),
};

static int setup(void **state)
{
	struct http_config config = {
		.listen_host = "127.0.0.1",
		.routes = routes,
		.route_count = ARRAY_SIZE(routes),
		.authorize = authorize,
		.app = &server,
		.spool_dir = spool_dir,
	};
	struct err e = { 0 };
	if (http_server_start(&config, &server, &e) < 0)
		fail_msg("%s", e.message);
	port = http_server_port(server);
	atomic_store(&handled, 0);
	atomic_store(&authorized, 0);
	return 0;
}

static int teardown(void **state)
{
	http_server_stop(server);
	http_server_free(server);
	server = NULL;
	return 0;
}

/* Sends the text, takes one answer; keeps the connection. */
static int ask(int fd, struct raw_answer *a, const char *text)
{
	assert_true(raw_sends(fd, text));
	assert_true(raw_answer(fd, a, strncmp(text, "HEAD", 4) == 0, 10000));
	return a->status;
}

static void expect_body(struct raw_answer *a, const char *text)
{
	assert_string_equal(a->body.data ? a->body.data : "", text);
	buf_done(&a->body);
}

/* --- plain requests --- */

static void test_get(void **state)
{
	int fd = raw_connect(port);
	struct raw_answer a;
	assert_int_equal(ask(fd, &a, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	assert_non_null(strstr(a.headers, "Content-Type: application/json\r\n"));
	assert_non_null(strstr(a.headers, "X-Pulumi-Request-ID: "));
	expect_body(&a, "{\"hello\":\"world\",\"q\":null}");
	/* the same connection serves on */
	assert_int_equal(ask(fd, &a,
			     "GET /hello/a%2Fb%20c?q=1+2%26&q=x HTTP/1.1\r\nHost: x\r\n"
			     "X-Pulumi-Request-ID: my-id.1\r\n\r\n"),
			 200);
	assert_non_null(strstr(a.headers, "X-Pulumi-Request-ID: my-id.1\r\n"));
	expect_body(&a, "{\"hello\":\"a/b c\",\"q\":\"1 2&\"}");
	assert_int_equal(ask(fd, &a, "GET /hello HTTP/1.1\r\nHost: x\r\nX-Pulumi-Request-ID: <bad>\r\n\r\n"), 200);
	assert_null(strstr(a.headers, "<bad>"));
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	assert_non_null(strstr(a.headers, "Content-Length: 26\r\n"));
	assert_int_equal(ask(fd, &a, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	buf_done(&a.body);
	close(fd);
}

static void test_self(void **state)
{
	int fd = raw_connect(port);
	struct raw_answer a;
	assert_int_equal(ask(fd, &a,
			     "GET /self?a=b%0d%0aX-Evil:1%c3%a4 HTTP/1.1\r\nHost: web:80\r\nX-Pulumi-Request-ID: i\r\n"
			     "Cookie: a=b; session=s1\r\n\r\n"),
			 200);
	expect_body(&a, "{\"peer\":\"127.0.0.1\",\"host\":\"http://web:80\",\"id\":\"i\",\"socket\":false,"
			"\"cookie\":\"s1\",\"path\":\"/self\",\"app\":true}");
	assert_non_null(strstr(a.headers, "\r\nX-Echo: b??X-Evil:1??\r\n"));
	assert_int_equal(ask(fd, &a, "GET /self?a= HTTP/1.1\r\nHost: <script>\r\n\r\n"), 200);
	assert_null(strstr(a.body.data, "script"));
	buf_done(&a.body);
	close(fd);
}

static void test_errors(void **state)
{
	int fd = raw_connect(port);
	struct raw_answer a;
	assert_int_equal(ask(fd, &a, "GET /nowhere?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
	expect_body(&a, "{\"code\":404,\"message\":\"Not Found: this server has no /nowhere\"}");
	assert_int_equal(ask(fd, &a, "DELETE /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
	assert_non_null(strstr(a.headers, "Allow: GET, HEAD, POST\r\n"));
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /fail/409 HTTP/1.1\r\nHost: x\r\n\r\n"), 409);
	assert_null(strstr(a.headers, "X-Gone"));
	expect_body(&a, "{\"code\":409,\"message\":\"Conflict: Another update is currently in progress.\"}");
	assert_int_equal(ask(fd, &a, "GET /fail/500 HTTP/1.1\r\nHost: x\r\n\r\n"), 500);
	expect_body(&a, "{\"code\":500,\"message\":\"Internal Server Error: broken\"}");
	assert_int_equal(ask(fd, &a, "GET /fail/silent HTTP/1.1\r\nHost: x\r\n\r\n"), 500);
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /hello/%zz HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /hello/%00 HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /hello?q=%ff HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /big?n=-1 HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
	expect_body(&a, "{\"code\":400,\"message\":\"Bad Request: query argument n: must be from 0 to 1073741824\"}");
	assert_int_equal(ask(fd, &a,
			     "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\n"
			     "abc"),
			 415);
	buf_done(&a.body);
	/* a refused body does not harm the connection */
	assert_int_equal(ask(fd, &a, "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"), 404);
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	buf_done(&a.body);
	close(fd);
}

static void test_bodies(void **state)
{
	int fd = raw_connect(port);
	struct raw_answer a;
	/* as the CLI sends it: a content type, no body (cli-protocol §7) */
	assert_int_equal(ask(fd, &a,
			     "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
			     "Content-Length: 0\r\n\r\n"),
			 200);
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"), 200);
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"), 200);
	expect_body(&a, "{\"n\":2,\"gzip\":0,\"sum\":3105}");
	assert_int_equal(ask(fd, &a,
			     "POST /sum HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
			     "1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
			 200);
	expect_body(&a, "{\"n\":2,\"gzip\":0,\"sum\":3105}");
	assert_int_equal(ask(fd, &a,
			     "POST /thing HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\n"
			     "{\"name\":\"a\",\"x\":{\"y\":1}}"),
			 200);
	assert_non_null(strstr(a.headers, "Slipway-Ignored: /x\r\n"));
	expect_body(&a, "{}");
	assert_int_equal(ask(fd, &a,
			     "POST /thing HTTP/1.1\r\nHost: x\r\nPrefer: handling=strict\r\n"
			     "Content-Length: 18\r\n\r\n{\"name\":\"a\",\"x\":1}"),
			 400);
	buf_done(&a.body);
	assert_int_equal(
		ask(fd, &a, "POST /thing?flag=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{\"name\":\"a\"}"),
		204);
	assert_int_equal(ask(fd, &a, "POST /thing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{\"name\":}"), 400);
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "POST /thing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), 400);
	assert_non_null(strstr(a.body.data, "name"));
	buf_done(&a.body);
	close(fd);
}

static void test_pipelining(void **state)
{
	int fd = raw_connect(port);
	struct raw_answer a;
	for (int i = 0; i < 50; i++)
		assert_true(raw_sends(fd, i % 2 ? "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
						: "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
	for (int i = 0; i < 50; i++) {
		assert_true(raw_answer(fd, &a, false, 10000));
		assert_int_equal(a.status, 200);
		assert_non_null(strstr(a.body.data, i % 2 ? "\"n\":1" : "world"));
		buf_done(&a.body);
	}
	close(fd);
}

/* More requests at the same moment than the library fetches events for (128). */
static void test_many_at_once(void **state)
{
	enum { N = 300 };
	static int fd[N];
	struct raw_answer a;
	for (int i = 0; i < N; i++)
		fd[i] = raw_connect(port);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < N; i++)
			assert_true(raw_sends(fd[i], "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
		for (int i = 0; i < N; i++) {
			assert_true(raw_answer(fd[i], &a, false, 10000));
			buf_done(&a.body);
		}
	}
	for (int i = 0; i < N; i++)
		close(fd[i]);
}

/* The library gives such a request up after on_uri() and calls nobody: it must not be counted as active for ever (the
 * teardown stops the server, which checks that). */
static void test_query_table(void **state)
{
	static const struct {
		const char *query;
		const char *message; /* NULL: all right */
	} cases[] = {
		{ "", NULL },
		{ "?n=9&colour=red&short=abc&yes&kind=a&kind=b&other=1&other=2", NULL },
		{ "?colour=&short=&yes=0", NULL },
		{ "?n=10", "query argument n: must be from 1 to 9" },
		{ "?n=", "query argument n: must be a whole number" },
		{ "?n=99999999999999999999", "query argument n: must be a whole number" },
		{ "?colour=blue", "query argument colour: must be one of red, green" },
		{ "?short=abcd", "query argument short: must have at most 3 bytes" },
		{ "?kind=a&kind=abcd", "query argument kind: must have at most 3 bytes" },
		{ "?yes=maybe", "Yes or no?" },
		{ "?n=1&n=1", "query argument n: stands there more than once" },
	};
	int fd = raw_connect(port);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char request[200], wanted[200];
		struct raw_answer a;
		snprintf(request, sizeof(request), "GET /list%s HTTP/1.1\r\nHost: x\r\n\r\n", cases[i].query);
		assert_int_equal(ask(fd, &a, request), cases[i].message ? 400 : 200);
		snprintf(wanted, sizeof(wanted), "{\"code\":400,\"message\":\"Bad Request: %s\"}",
			 cases[i].message ? cases[i].message : "");
		if (cases[i].message)
			assert_string_equal(a.body.data, wanted);
		buf_done(&a.body);
	}
	close(fd);
}

static void test_too_many_arguments(void **state)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 64 * KIB);
	buf_adds(&b, "GET /self?");
	for (int i = 0; i < 500; i++)
		buf_adds(&b, "a=b&");
	buf_adds(&b, " HTTP/1.1\r\nHost: x\r\n\r\n");
	for (int i = 0; i < 20; i++) {
		int fd = raw_connect(port);
		assert_true(raw_send(fd, b.data, b.len));
		char c;
		raw_recv(fd, &c, 1, 100); /* an answer is not promised */
		close(fd);
	}
}

static void test_ambiguous_length(void **state)
{
	static const char *const heads[] = {
		"Content-Length: 2\r\nContent-Length: 3\r\n",
		"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: xx\r\nContent-Length: 2\r\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		int fd = raw_connect(port);
		struct raw_answer a;
		raw_sends(fd, "POST /sum HTTP/1.1\r\nHost: x\r\n");
		raw_sends(fd, heads[i]);
		raw_sends(fd, "\r\n2\r\nab\r\n0\r\n\r\n");
		shutdown(fd, SHUT_WR);
		/* 400, or closed without a word; never a second answer on the connection */
		if (raw_answer(fd, &a, false, 10000)) {
			assert_int_equal(a.status, 400);
			buf_done(&a.body);
			char c;
			assert_int_not_equal(raw_recv(fd, &c, 1, 10000), 1);
		}
		close(fd);
	}
}

static void test_partial(void **state)
{
	/* one byte at a time */
	int fd = raw_connect(port);
	struct raw_answer a;
	const char *text = "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
	for (const char *p = text; *p; p++) {
		assert_true(raw_send(fd, p, 1));
		usleep(500);
	}
	assert_true(raw_answer(fd, &a, false, 10000));
	assert_int_equal(a.status, 200);
	buf_done(&a.body);
	close(fd);
	/* gone at any point */
	for (size_t n = 0; n < strlen(text); n += 3) {
		fd = raw_connect(port);
		assert_true(raw_send(fd, text, n));
		close(fd);
	}
	/* nonsense */
	fd = raw_connect(port);
	raw_sends(fd, "\x16\x03\x01 nonsense\r\n\r\n\r\n");
	char piece[256];
	raw_recv(fd, piece, sizeof(piece), 2000);
	close(fd);
	/* headers without end */
	fd = raw_connect(port);
	raw_sends(fd, "GET /hello HTTP/1.1\r\n");
	bool open = true;
	for (int i = 0; open && i < 100; i++)
		open = raw_sends(
			fd, "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
	if (raw_answer(fd, &a, false, 2000))
		assert_int_equal(a.status, 431);
	buf_done(&a.body);
	close(fd);
	fd = raw_connect(port);
	assert_int_equal(ask(fd, &a, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	buf_done(&a.body);
	close(fd);
}

/* --- large bodies --- */

static char *pattern(size_t n)
{
	char *p = malloc(n + 1);
	for (size_t i = 0; i < n; i++)
		p[i] = "0123456789abcdef,\"{}[] \n"[(i * 7 + i / 977) % 24];
	p[n] = '\0';
	return p;
}

static uint64_t sum_of(const char *p, size_t n)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum = sum * 31 + (unsigned char)p[i];
	return sum & INT64_MAX;
}

/* POSTs with our client; returns the status, 0 when the transport failed. */
static int post(const char *path, const char *token, struct str body, bool gzip, struct arena *a, struct str *ret)
{
	char url[64];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", port);
	struct http_client_config config = { .base_url = url, .token = token };
	struct http_client *c;
	struct err e = { 0 };
	assert_int_equal(http_client_new(&config, &c, &e), 0);
	struct http_client_request rq = { .method = "POST", .path = path, .body = body, .gzip = gzip };
	struct http_client_response response;
	int rc = http_client_send(c, &rq, a, &response, &e);
	http_client_free(c);
	if (rc < 0) {
		print_message("%s: %s\n", path, e.message);
		return 0;
	}
	*ret = response.body;
	return response.status;
}

static void test_large_bodies(void **state)
{
	static const size_t sizes[] = { 1,
					65535,
					65536,
					65537,
					70 * 1024,
					1024 * 1024,
					1024 * 1024 + 1,
					4 * 1024 * 1024,
					4 * 1024 * 1024 + 1,
					8388608 };
	char *text = pattern(8388608);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (int gzip = 0; gzip < 2; gzip++) {
			_cleanup_arena_ struct arena a;
			arena_init(&a, 0);
			struct str got;
			assert_int_equal(post("/sum", NULL, (struct str){ text, sizes[i] }, gzip, &a, &got), 200);
			char want[128];
			snprintf(want, sizeof(want), "\"sum\":%llu}", (unsigned long long)sum_of(text, sizes[i]));
			assert_non_null(strstr(got.p, want));
			assert_true((strstr(got.p, "\"gzip\":0,") == NULL) == (gzip == 1));
		}
	}
	free(text);
}

static void test_echo(void **state)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	char *text = pattern(3000000);
	struct str got, body = { text, 3000000 };
	assert_int_equal(post("/echo", NULL, body, true, &a, &got), 200);
	assert_true(str_eq(got, body));
	assert_int_equal(post("/stored", NULL, body, true, &a, &got), 200);
	assert_true(str_eq(got, body));
	free(text);
}

/* Nowhere to put a large body: that request fails, the server lives on. */
static void test_no_spool(void **state)
{
	teardown(state);
	spool_dir = "/nonexistent";
	setup(state);
	spool_dir = NULL;
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	char *text = pattern(6000000);
	struct str got;
	assert_int_equal(post("/sum", NULL, (struct str){ text, 3000000 }, false, &a, &got), 500);
	assert_int_equal(post("/sum", NULL, (struct str){ text, 6000000 }, true, &a, &got), 500);
	assert_int_equal(post("/sum", NULL, (struct str){ text, 3000000 }, true, &a, &got), 200);
	free(text);
}

static void test_over_limit(void **state)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	char *text = pattern(20000000);
	struct str got;
	const char *message = "{\"code\":413,\"message\":\"Request Entity Too Large: ";
	/* by Content-Length; small enough to be read before; over the limit only after inflating */
	assert_int_equal(post("/sum", NULL, (struct str){ text, 8388609 }, false, &a, &got), 413);
	assert_true(str_starts_with(got, message));
	assert_int_equal(post("/sum", NULL, (struct str){ text, 20000000 }, false, &a, &got), 413);
	assert_int_equal(post("/small", NULL, (struct str){ text, 1001 }, false, &a, &got), 413);
	assert_int_equal(post("/small", NULL, (struct str){ text, 70000 }, false, &a, &got), 413);
	assert_int_equal(post("/small", NULL, (struct str){ text, 1000 }, false, &a, &got), 200);
	assert_int_equal(post("/sum", NULL, (struct str){ text, 8388609 }, true, &a, &got), 413);
	assert_true(str_starts_with(got, message));
	free(text);

	/* chunked: nobody knew before */
	int fd = raw_connect(port);
	struct raw_answer r;
	assert_true(raw_sends(fd, "POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
	for (int i = 0; i < 100; i++)
		assert_true(
			raw_sends(fd, "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n"));
	assert_int_equal(ask(fd, &r, "0\r\n\r\n"), 413);
	buf_done(&r.body);
	/* and the connection is still good */
	assert_int_equal(ask(fd, &r, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	buf_done(&r.body);
	close(fd);
	assert_int_equal(atomic_load(&handled), 1);
}

static void test_refused_before_reading(void **state)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	char *text = pattern(5000000);
	struct str got;
	assert_int_equal(post("/private", "bad", (struct str){ text, 5000000 }, false, &a, &got), 401);
	assert_true(str_starts_with(got, "{\"code\":401,\"message\":\"Unauthorized: "));
	/* who may not come in learns nothing of limits */
	assert_int_equal(post("/private", "bad", (struct str){ text, 100 }, false, &a, &got), 401);
	assert_int_equal(post("/private", "good", (struct str){ text, 5000000 }, false, &a, &got), 200);
	assert_int_equal(post("/nowhere", "good", (struct str){ text, 5000000 }, false, &a, &got), 404);
	assert_int_equal(atomic_load(&handled), 1);
	free(text);

	/* a client that waits for our word gets it without sending the body */
	int fd = raw_connect(port);
	struct raw_answer r;
	assert_int_equal(ask(fd, &r,
			     "POST /private HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
			     "Content-Length: 1000000\r\n\r\n"),
			 401);
	buf_done(&r.body);
	close(fd);
	fd = raw_connect(port);
	assert_int_equal(ask(fd, &r,
			     "POST /sum HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
			     "Content-Length: 9000000\r\n\r\n"),
			 413);
	buf_done(&r.body);
	close(fd);
	/* beyond what we drain: answered and closed */
	fd = raw_connect(port);
	assert_int_equal(ask(fd, &r, "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n"), 413);
	buf_done(&r.body);
	close(fd);
}

static void test_expect_continue(void **state)
{
	static const char *const lengths[] = { "2", "70000" };
	char *text = pattern(70000);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		int fd = raw_connect(port);
		struct raw_answer a;
		char head[256];
		snprintf(head, sizeof(head),
			 "POST /sum HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %s\r\n\r\n",
			 lengths[i]);
		assert_int_equal(ask(fd, &a, head), 100);
		assert_true(raw_send(fd, text, strtoul(lengths[i], NULL, 10)));
		assert_true(raw_answer(fd, &a, false, 5000));
		assert_int_equal(a.status, 200);
		buf_done(&a.body);
		close(fd);
	}
	free(text);
}

static void test_gzip_damage(void **state)
{
	_cleanup_buf_ struct buf good;
	buf_init(&good, 1 << 20);
	char *text = pattern(100000);
	assert_int_equal(gzip_compress((struct str){ text, 100000 }, 1, &good, NULL), 0);
	for (size_t n = 0; n < good.len; n += good.len / 7) {
		int fd = raw_connect(port);
		struct raw_answer a;
		char head[256];
		snprintf(head, sizeof(head),
			 "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", n);
		assert_true(raw_sends(fd, head) && raw_send(fd, good.data, n));
		assert_true(raw_answer(fd, &a, false, 5000));
		assert_int_equal(a.status, n == 0 ? 200 : 400);
		buf_done(&a.body);
		close(fd);
	}
	/* two members are one text */
	size_t one = good.len;
	assert_int_equal(gzip_compress((struct str){ text, 100 }, 1, &good, NULL), 0);
	int fd = raw_connect(port);
	struct raw_answer a;
	char head[256];
	snprintf(head, sizeof(head),
		 "POST /sum HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", good.len);
	assert_true(raw_sends(fd, head) && raw_send(fd, good.data, good.len) && good.len > one);
	assert_true(raw_answer(fd, &a, false, 5000));
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.body.data, "\"n\":100100,"));
	buf_done(&a.body);
	close(fd);
	free(text);
}

static void test_compressed_answers(void **state)
{
	int fd = raw_connect(port);
	struct raw_answer a;
	assert_int_equal(ask(fd, &a, "GET /big?n=10000 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: deflate, gzip\r\n\r\n"),
			 200);
	assert_non_null(strstr(a.headers, "Content-Encoding: gzip\r\n"));
	assert_non_null(strstr(a.headers, "Vary: Accept-Encoding\r\n"));
	_cleanup_buf_ struct buf plain;
	buf_init(&plain, 1 << 20);
	assert_int_equal(gzip_decompress(buf_str(&a.body), 1 << 20, &plain, NULL), 0);
	assert_int_equal(plain.len, 2 + 38890 + 9999); /* brackets, digits, commas */
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /big?n=10000 HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
	assert_null(strstr(a.headers, "Content-Encoding"));
	assert_true(str_eq(buf_str(&a.body), buf_str(&plain)));
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /big?n=10000 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q=0\r\n\r\n"), 200);
	assert_null(strstr(a.headers, "Content-Encoding"));
	buf_done(&a.body);
	assert_int_equal(ask(fd, &a, "GET /big?n=10 HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"), 200);
	assert_null(strstr(a.headers, "Content-Encoding"));
	buf_done(&a.body);
	close(fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_get),
		T(test_self),
		T(test_errors),
		T(test_bodies),
		T(test_pipelining),
		T(test_many_at_once),
		T(test_query_table),
		T(test_too_many_arguments),
		T(test_ambiguous_length),
		T(test_partial),
		T(test_large_bodies),
		T(test_echo),
		T(test_no_spool),
		T(test_over_limit),
		T(test_refused_before_reading),
		T(test_expect_continue),
		T(test_gzip_damage),
		T(test_compressed_answers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
