#include "http/client.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/compress.h"
#include "http/http.h"
#include "http_fixture.h"
#include "unit.h"

static struct http_server *server;
static struct http_client *client;
static struct arena arena;
static struct err e;

/* Tells what came. */
static int h_mirror(struct request *r, struct response *w, struct err *err)
{
	struct json_writer *jw = response_json(w);
	jw_object(jw);
	jw_kv_string(jw, "method", r->method);
	jw_kv_string(jw, "type", request_header(r, "Content-Type"));
	jw_kv_string(jw, "length", request_header(r, "Content-Length"));
	jw_kv_string(jw, "coding", request_header(r, "Content-Encoding"));
	jw_kv_string(jw, "accept", request_header(r, "Accept-Encoding"));
	jw_kv_string(jw, "token", request_header(r, "Authorization"));
	jw_kv_string(jw, "agent", request_header(r, "User-Agent"));
	jw_kv_string(jw, "extra", request_header(r, "X-Extra"));
	jw_kv_string(jw, "expect", request_header(r, "Expect"));
	jw_kv_str(jw, "body", r->body);
	jw_object_end(jw);
	return 0;
}

static int h_status(struct request *r, struct response *w, struct err *err)
{
	int64_t status;
	request_query_int(r, "status", 200, 599, 200, &status, NULL);
	response_body(w, "text/html", STR("<html>no JSON</html>"));
	response_header(w, "Retry-After", "7");
	response_status(w, (int)status);
	return 0;
}

static int h_refuse(struct request *r, struct response *w, struct err *err)
{
	return err_set(err, ERR_CONFLICT, "it is taken");
}

static int h_wait(struct request *r, struct response *w, struct err *err)
{
	http_park(r, "never", clock_mono_us() + 5 * US_PER_S);
	if (clock_mono_us() < r->parked_until_us && !request_stopping(r))
		return HTTP_PARKED;
	response_empty(w, 204);
	return 0;
}

static int h_big(struct request *r, struct response *w, struct err *err)
{
	char *p = arena_alloc(r->arena, 100000);
	memset(p, 'x', 100000);
	response_body(w, "text/plain", (struct str){ p, 100000 });
	return 0;
}

static const struct route routes[] = {
	{ .method = "GET", .pattern = "/prefix/mirror", .handler = h_mirror },
	{ .method = "POST", .pattern = "/prefix/mirror", .handler = h_mirror, .body_limit_bytes = 1 << 24 },
	{ .method = "PATCH", .pattern = "/prefix/mirror", .handler = h_mirror, .body_limit_bytes = 1 << 24 },
	{ .method = "DELETE", .pattern = "/prefix/mirror", .handler = h_mirror },
	{ .method = "GET", .pattern = "/prefix/status", .handler = h_status },
	{ .method = "GET", .pattern = "/prefix/refuse", .handler = h_refuse },
	{ .method = "GET", .pattern = "/prefix/wait", .handler = h_wait },
	{ .method = "GET", .pattern = "/prefix/big", .handler = h_big },
};

static int setup(void **state)
{
	struct http_config config = { .listen_host = "127.0.0.1", .routes = routes, .route_count = ARRAY_SIZE(routes) };
	if (http_server_start(&config, &server, &e) < 0)
		fail_msg("%s", e.message);
	char url[64];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/prefix/", http_server_port(server));
	struct http_client_config cc = { .base_url = url, .token = "secret", .user_agent = "test/1" };
	arena_init(&arena, 0);
	return http_client_new(&cc, &client, &e);
}

static int teardown(void **state)
{
	http_client_free(client);
	http_server_free(server);
	arena_done(&arena);
	err_reset(&e);
	return 0;
}

static const char *field(struct json v, const char *name)
{
	const char *text = json_cstr(json_get(v, name), &arena);
	return text ? text : "(none)";
}

static void test_get(void **state)
{
	struct json v;
	assert_int_equal(http_client_json(client, "GET", "/mirror", STR_NULL, &arena, &v, &e), 0);
	assert_string_equal(field(v, "method"), "GET");
	assert_string_equal(field(v, "token"), "token secret");
	assert_string_equal(field(v, "agent"), "test/1");
	assert_string_equal(field(v, "accept"), "gzip");
	assert_string_equal(field(v, "type"), "(none)");
	http_client_set_token(client, NULL);
	assert_int_equal(http_client_json(client, "GET", "/mirror", STR_NULL, &arena, &v, &e), 0);
	assert_string_equal(field(v, "token"), "(none)");
}

static void test_bodies(void **state)
{
	struct json v;
	assert_int_equal(http_client_json(client, "POST", "/mirror", STR("{\"a\":1}"), &arena, &v, &e), 0);
	assert_string_equal(field(v, "type"), "application/json");
	assert_string_equal(field(v, "body"), "{\"a\":1}");
	assert_int_equal(http_client_json(client, "POST", "/mirror", STR_NULL, &arena, &v, &e), 0);
	assert_string_equal(field(v, "length"), "0");
	assert_int_equal(http_client_json(client, "PATCH", "/mirror", STR("x"), &arena, &v, &e), 0);
	assert_string_equal(field(v, "method"), "PATCH");
	assert_int_equal(http_client_json(client, "DELETE", "/mirror", STR_NULL, &arena, &v, &e), 0);
	assert_string_equal(field(v, "method"), "DELETE");

	const char *const headers[] = { "X-Extra: yes", NULL };
	char *large = arena_alloc(&arena, 3000000);
	memset(large, 'a', 3000000);
	struct http_client_request rq = {
		.method = "POST",
		.path = "/mirror",
		.body = { large, 3000000 },
		.content_type = "text/plain",
		.gzip = true,
		.headers = headers,
	};
	struct http_client_response r;
	assert_int_equal(http_client_send(client, &rq, &arena, &r, &e), 0);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.retry_after_s, -1);
	assert_int_equal(json_check(r.body, &v, &e), 0);
	assert_string_equal(field(v, "coding"), "gzip");
	assert_string_equal(field(v, "type"), "text/plain");
	assert_string_equal(field(v, "extra"), "yes");
	assert_string_equal(field(v, "expect"), "(none)");
	assert_int_equal(strlen(field(v, "body")), 3000000);
}

static void test_statuses(void **state)
{
	struct json v;
	assert_int_equal(http_client_json(client, "GET", "/refuse", STR_NULL, &arena, &v, &e), -ERR_CONFLICT);
	assert_string_equal(e.message, "Conflict: it is taken");
	assert_int_equal(http_client_json(client, "GET", "/status?status=503", STR_NULL, &arena, &v, &e),
			 -ERR_UNAVAILABLE);
	assert_non_null(strstr(e.message, "no JSON"));
	/* a proxy's page instead of our server */
	assert_int_equal(http_client_json(client, "GET", "/status", STR_NULL, &arena, &v, &e), -ERR_UNAVAILABLE);
	struct http_client_request rq = { .method = "GET", .path = "/status?status=429" };
	struct http_client_response r;
	assert_int_equal(http_client_send(client, &rq, &arena, &r, &e), 0);
	assert_int_equal(r.status, 429);
	assert_int_equal(r.retry_after_s, 7);
}

static bool cancelled(void *arg)
{
	return clock_mono_us() > *(int64_t *)arg;
}

static void test_cancel_and_timeout(void **state)
{
	int64_t until = clock_mono_us() + 300 * US_PER_MS;
	struct http_client_request rq = {
		.method = "GET", .path = "/wait", .cancelled = cancelled, .cancelled_arg = &until
	};
	struct http_client_response r;
	assert_int_equal(http_client_send(client, &rq, &arena, &r, &e), -ERR_CANCELLED);
	assert_true(clock_mono_us() - until < 2 * US_PER_S);
	rq = (struct http_client_request){ .method = "GET", .path = "/wait", .timeout_ms = 200 };
	assert_int_equal(http_client_send(client, &rq, &arena, &r, &e), -ERR_TIMEOUT);
	/* the client is still good */
	struct json v;
	assert_int_equal(http_client_json(client, "GET", "/mirror", STR_NULL, &arena, &v, &e), 0);
}

static void test_limits(void **state)
{
	struct http_client_request rq = { .method = "GET", .path = "/big", .max_response_bytes = 99999 };
	struct http_client_response r;
	assert_int_equal(http_client_send(client, &rq, &arena, &r, &e), -ERR_TOO_LARGE);
	rq.max_response_bytes = 100000;
	assert_int_equal(http_client_send(client, &rq, &arena, &r, &e), 0);
	assert_int_equal(r.body.n, 100000);
	rq.method = "HEAD";
	assert_int_equal(http_client_send(client, &rq, &arena, &r, &e), 0);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.body.n, 0);
}

static void test_nobody_there(void **state)
{
	int port = http_server_port(server);
	http_server_stop(server);
	struct json v;
	assert_int_equal(http_client_json(client, "GET", "/mirror", STR_NULL, &arena, &v, &e), -ERR_UNAVAILABLE);
	char url[64];
	snprintf(url, sizeof(url), "127.0.0.1:%d", port);
	assert_non_null(strstr(e.message, url));
	assert_null(strstr(e.message, "secret"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_get),	      T(test_bodies), T(test_statuses), T(test_limits), T(test_cancel_and_timeout),
		T(test_nobody_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
