/*
 * Waiting requests, hang-ups, the control socket, and the stop in every situation.
 */
#include "http/http.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "http/client.h"
#include "http_fixture.h"
#include "unit.h"

static struct http_server *server;
static int port;
static atomic_int runs, gate_open;
static atomic_int alive; /* what request_alive() said last; -1: not asked */

static int h_hello(struct request *r, struct response *w, struct err *e)
{
	struct json_writer *jw = response_json(w);
	jw_object(jw);
	jw_kv_bool(jw, "socket", r->from_socket);
	jw_kv_string(jw, "peer", request_peer(r));
	jw_object_end(jw);
	return 0;
}

static int h_park(struct request *r, struct response *w, struct err *e)
{
	atomic_fetch_add(&runs, 1);
	int64_t ms;
	int rc = request_query_int(r, "ms", 0, 100000, 60000, &ms, e);
	if (rc < 0)
		return rc;
	const char *key = request_param(r, "key");
	http_park(r, key, clock_mono_us() + ms * US_PER_MS);
	http_park(r, "everybody", clock_mono_us());
	/* what a run leaves behind is no burden for the next */
	arena_alloc(r->arena, 20000);
	response_header(w, "X-Run", "1");
	bool found = atomic_load(&gate_open) > 0 && atomic_fetch_sub(&gate_open, 1) > 0;
	if (!found && clock_mono_us() < r->parked_until_us && !request_stopping(r))
		return HTTP_PARKED;
	struct json_writer *jw = response_json(w);
	jw_object(jw);
	jw_kv_bool(jw, "found", found);
	jw_kv_string(jw, "context", r->context);
	jw_object_end(jw);
	return 0;
}

/* Never answers by itself: a slip that must not become a busy loop. */
static int h_stubborn(struct request *r, struct response *w, struct err *e)
{
	http_park(r, "stubborn", clock_mono_us() + 50 * US_PER_MS);
	return HTTP_PARKED;
}

static int h_slow(struct request *r, struct response *w, struct err *e)
{
	int64_t ms;
	int rc = request_query_int(r, "ms", 0, 10000, 300, &ms, e);
	if (rc < 0)
		return rc;
	usleep((useconds_t)(ms * 1000));
	atomic_store(&alive, request_alive(r) ? 1 : 0);
	return h_hello(r, w, e);
}

static int h_body(struct request *r, struct response *w, struct err *e)
{
	return h_hello(r, w, e);
}

static int authorize(struct request *r, struct err *e)
{
	r->context = arena_printf(r->arena, "from %s", r->method);
	return 0;
}

#define R(m, p, h, ...)                                                \
	{                                                              \
		.method = m, .pattern = p, .handler = h, ##__VA_ARGS__ \
	}
static const struct route routes[] = {
	R("GET", "/hello", h_hello),
	R("GET", "/park/{key}", h_park),
	R("GET", "/stubborn", h_stubborn),
	R("GET", "/slow", h_slow),
	R("POST", "/body", h_body, .body_limit_bytes = 1 << 30),
};

static void start(const char *socket_path)
{
	struct http_config config = {
		.listen_host = "127.0.0.1",
		.socket_path = socket_path,
		.routes = routes,
		.route_count = ARRAY_SIZE(routes),
		.authorize = authorize,
	};
	struct err e = { 0 };
	if (http_server_start(&config, &server, &e) < 0)
		fail_msg("%s", e.message);
	port = http_server_port(server);
	atomic_store(&runs, 0);
	atomic_store(&gate_open, 0);
	atomic_store(&alive, -1);
}

static int setup(void **state)
{
	start(NULL);
	return 0;
}

static int teardown(void **state)
{
	http_server_free(server);
	server = NULL;
	return 0;
}

static bool until(atomic_int *counter, int value)
{
	for (int i = 0; i < 10000 && atomic_load(counter) < value; i++)
		usleep(1000);
	return atomic_load(counter) >= value;
}

static void send_get(int fd, const char *path)
{
	char text[256];
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	assert_true(raw_sends(fd, text));
}

static int get_status(int fd, const char *path)
{
	struct raw_answer a;
	send_get(fd, path);
	assert_true(raw_answer(fd, &a, false, 10000));
	buf_done(&a.body);
	return a.status;
}

/* The answer to a parked request: whether it found the gate open. */
static bool found(int fd)
{
	struct raw_answer a;
	assert_true(raw_answer(fd, &a, false, 10000));
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.body.data, "\"context\":\"from GET\""));
	const char *second = strcasestr(a.headers, "X-Run");
	assert_non_null(second);
	assert_null(strcasestr(second + 1, "X-Run")); /* of the last run only */
	bool yes = strstr(a.body.data, "true") != NULL;
	buf_done(&a.body);
	return yes;
}

static bool silent(int fd)
{
	char c;
	return raw_recv(fd, &c, 1, 30) == -1;
}

/* Of this process: both ends of the connections. */
static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void test_deadline(void **state)
{
	int fd = raw_connect(port);
	int64_t before = clock_mono_us();
	send_get(fd, "/park/a?ms=200");
	assert_false(found(fd));
	int64_t took = clock_mono_us() - before;
	assert_true(took >= 200 * US_PER_MS && took < 2000 * US_PER_MS);
	assert_int_equal(atomic_load(&runs), 2);
	/* the connection serves on, also for the next wait */
	assert_int_equal(get_status(fd, "/hello"), 200);
	send_get(fd, "/park/a?ms=1");
	assert_false(found(fd));
	send_get(fd, "/park/a?ms=0");
	assert_false(found(fd));
	close(fd);
}

static void test_wake_oldest_first(void **state)
{
	int fd[3];
	for (int i = 0; i < 3; i++) {
		fd[i] = raw_connect(port);
		send_get(fd[i], "/park/a");
		assert_true(until(&runs, i + 1));
		usleep(10000);
	}
	http_wake(server, "b", 0);
	assert_true(silent(fd[0]));
	for (int i = 0; i < 3; i++) {
		atomic_store(&gate_open, 1);
		http_wake(server, "a", 1);
		assert_true(found(fd[i]));
		assert_true(i == 2 || silent(fd[i + 1]));
	}
	assert_int_equal(atomic_load(&runs), 6);
	/* a wake with nothing to find parks again, on the second key as well */
	send_get(fd[0], "/park/a");
	assert_true(until(&runs, 7));
	for (int i = 0; i < 20; i++) {
		usleep(3000);
		http_wake(server, i % 2 ? "everybody" : "a", 0);
	}
	assert_true(silent(fd[0]));
	assert_true(atomic_load(&runs) > 8);
	atomic_store(&gate_open, 1);
	http_wake(server, "everybody", 1);
	assert_true(found(fd[0]));
	for (int i = 0; i < 3; i++)
		close(fd[i]);
}

static void test_many(void **state)
{
	enum { N = 200 };
	static int fd[N];
	for (int i = 0; i < N; i++) {
		fd[i] = raw_connect(port);
		char path[64];
		snprintf(path, sizeof(path), "/park/key%d", i % 10);
		send_get(fd[i], path);
	}
	assert_true(until(&runs, N));
	/* they hold no thread */
	int other = raw_connect(port);
	assert_int_equal(get_status(other, "/hello"), 200);
	close(other);
	usleep(50000);
	atomic_store(&gate_open, 20);
	http_wake(server, "key3", 0);
	for (int i = 3; i < N; i += 10)
		assert_true(found(fd[i]));
	atomic_store(&gate_open, N);
	http_wake(server, "everybody", 0);
	for (int i = 0; i < N; i++) {
		assert_true(i % 10 == 3 || found(fd[i]));
		close(fd[i]);
	}
}

static void test_hangup(void **state)
{
	enum { N = 100 };
	static int fd[N];
	int before = open_descriptors();
	for (int i = 0; i < N; i++) {
		fd[i] = raw_connect(port);
		send_get(fd[i], "/park/a");
	}
	assert_true(until(&runs, N));
	usleep(50000);
	for (int i = 0; i < N; i++) {
		if (i % 3 == 0) { /* with a reset instead of an end */
			struct linger l = { 1, 0 };
			setsockopt(fd[i], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
		} else if (i % 3 == 1) {
			raw_sends(fd[i], "GET /hello HTTP/1.1\r\n"); /* with bytes in front of it */
		}
		close(fd[i]);
	}
	for (int i = 0; i < 500 && open_descriptors() > before; i++)
		usleep(10000);
	assert_true(open_descriptors() <= before);
	/* their handlers were not run again */
	assert_int_equal(atomic_load(&runs), N);
	atomic_store(&gate_open, 1);
	http_wake(server, "a", 0);
	usleep(20000);
	assert_int_equal(atomic_load(&gate_open), 1);
}

static void test_alive(void **state)
{
	int fd = raw_connect(port);
	assert_int_equal(get_status(fd, "/slow?ms=1"), 200);
	assert_int_equal(atomic_load(&alive), 1);
	atomic_store(&alive, -1);
	send_get(fd, "/slow?ms=200");
	usleep(50000);
	close(fd);
	assert_true(until(&alive, 0));
	assert_int_equal(atomic_load(&alive), 0);
}

static void test_stubborn(void **state)
{
	int fd = raw_connect(port);
	assert_int_equal(get_status(fd, "/stubborn"), 503);
	close(fd);
}

/* Wakes, hang-ups, deadlines and new requests at once. */
struct storm {
	pthread_t thread;
	unsigned seed;
	int answered;
};
static atomic_bool storm_over;

static void *storm_client(void *arg)
{
	struct storm *s = arg;
	while (!atomic_load(&storm_over)) {
		int fd = raw_connect(port);
		for (int i = 0; i < 5; i++) {
			s->seed = s->seed * 1103515245 + 12345;
			unsigned dice = s->seed >> 16;
			char path[64];
			snprintf(path, sizeof(path), "/park/k%u?ms=%u", dice % 4, dice / 4 % 12);
			send_get(fd, path);
			if (dice % 11 == 0)
				break; /* hangs up */
			struct raw_answer a;
			if (!raw_answer(fd, &a, false, 10000)) {
				buf_done(&a.body);
				s->answered = -1000000;
				break;
			}
			buf_done(&a.body);
			s->answered++;
		}
		close(fd);
	}
	return NULL;
}

static void *storm_waker(void *arg)
{
	for (int i = 0; !atomic_load(&storm_over); i++) {
		char key[8];
		snprintf(key, sizeof(key), "k%d", i % 4);
		if (i % 3 == 0)
			atomic_store(&gate_open, 1);
		http_wake(server, key, i % 3);
		usleep(300);
	}
	return NULL;
}

static void test_storm(void **state)
{
	static struct storm clients[16];
	pthread_t wakers[2];
	atomic_store(&storm_over, false);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		clients[i] = (struct storm){ .seed = (unsigned)i * 7919 + 1 };
		pthread_create(&clients[i].thread, NULL, storm_client, &clients[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_create(&wakers[i], NULL, storm_waker, NULL);
	usleep(1500000);
	atomic_store(&storm_over, true);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		pthread_join(clients[i].thread, NULL);
		assert_true(clients[i].answered > 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(wakers[i], NULL);
}

static void test_stop_while_parked(void **state)
{
	enum { N = 100 };
	static int fd[N];
	for (int i = 0; i < N; i++) {
		fd[i] = raw_connect(port);
		send_get(fd[i], "/park/a");
	}
	assert_true(until(&runs, N));
	int64_t before = clock_mono_us();
	http_server_stop(server);
	assert_true(clock_mono_us() - before < 4 * US_PER_S);
	for (int i = 0; i < N; i++) {
		assert_false(found(fd[i])); /* each was answered, then closed */
		char c;
		assert_int_equal(raw_recv(fd[i], &c, 1, 5000), 0);
		close(fd[i]);
	}
}

static void test_stop_lets_running_finish(void **state)
{
	int slow = raw_connect(port), idle = raw_connect(port), half = raw_connect(port), body = raw_connect(port);
	assert_int_equal(get_status(idle, "/hello"), 200);
	send_get(slow, "/slow?ms=500");
	raw_sends(half, "GET /hel");
	raw_sends(body, "POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc");
	usleep(100000);
	int64_t before = clock_mono_us();
	http_server_stop(server);
	int64_t took = clock_mono_us() - before;
	assert_true(took > 300 * US_PER_MS && took < 15 * US_PER_S);
	struct raw_answer a;
	assert_true(raw_answer(slow, &a, false, 1000));
	assert_int_equal(a.status, 200);
	assert_non_null(strcasestr(a.headers, "Connection: close"));
	buf_done(&a.body);
	close(slow);
	close(idle);
	close(half);
	close(body);
	/* nobody listens any more */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	close(fd);
}

static void *stop_thread(void *arg)
{
	usleep(300000);
	http_server_stop(server);
	return NULL;
}

static void *restless_client(void *arg)
{
	/* A client that always has one more request, on a connection that it keeps. */
	int fd = raw_connect(port);
	struct raw_answer a;
	int n = 0;
	bool open = true;
	while (open && raw_sends(fd, n % 2 ? "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
					   : "GET /park/x?ms=3 HTTP/1.1\r\nHost: x\r\n\r\n")) {
		open = raw_answer(fd, &a, false, 10000);
		buf_done(&a.body);
		n++;
	}
	close(fd);
	return NULL;
}

static void test_stop_under_load(void **state)
{
	pthread_t clients[8], stop;
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		pthread_create(&clients[i], NULL, restless_client, NULL);
	pthread_create(&stop, NULL, stop_thread, NULL);
	pthread_join(stop, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		pthread_join(clients[i], NULL);
}

static void test_control_socket(void **state)
{
	teardown(state);
	char dir[] = "/tmp/slipway-test-http-XXXXXX";
	assert_non_null(mkdtemp(dir));
	/* one that fits into sun_path, and one that does not */
	for (int i = 0; i < 2; i++) {
		char deep[512], path[600];
		snprintf(deep, sizeof(deep), "%s/%0*d", dir, i ? 120 : 3, 7);
		assert_int_equal(mkdir(deep, 0700), 0);
		snprintf(path, sizeof(path), "%s/slipway.sock", deep);
		start(path);
		struct stat st;
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		struct http_client_config config = { .socket_path = path, .base_url = "http://localhost" };
		struct http_client *c;
		struct err e = { 0 };
		assert_int_equal(http_client_new(&config, &c, &e), 0);
		_cleanup_arena_ struct arena a;
		arena_init(&a, 0);
		for (int k = 0; k < 3; k++) {
			struct json v;
			assert_int_equal(http_client_json(c, "GET", "/hello", STR_NULL, &a, &v, &e), 0);
			assert_true(json_is_true(json_get(v, "socket")));
			assert_string_equal(json_cstr(json_get(v, "peer"), &a), "unix");
		}
		/* a second server does not take it away */
		struct http_server *second;
		struct http_config other = { .listen_host = "127.0.0.1", .socket_path = path, .routes = routes };
		assert_int_equal(http_server_start(&other, &second, &e), -ERR_CONFLICT);
		http_client_free(c);
		teardown(state);
		assert_int_equal(stat(path, &st), -1);
		/* one that was killed leaves its socket behind, which is in nobody's way */
		int left = socket(AF_UNIX, SOCK_STREAM, 0);
		if (i == 0) {
			struct sockaddr_un un = { .sun_family = AF_UNIX };
			memcpy(un.sun_path, path, strlen(path) + 1);
			assert_int_equal(bind(left, (struct sockaddr *)&un, sizeof(un)), 0);
		}
		close(left);
		start(path);
		teardown(state);
		rmdir(deep);
	}
	rmdir(dir);
	start(NULL);
}

static void test_start_refused(void **state)
{
	struct http_config config = { .listen_host = "127.0.0.1", .listen_port = port, .routes = routes };
	struct http_server *second;
	struct err e = { 0 };
	assert_true(http_server_start(&config, &second, &e) < 0);
	assert_non_null(strstr(e.message, "cannot listen on 127.0.0.1:"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_deadline),
		T(test_wake_oldest_first),
		T(test_many),
		T(test_hangup),
		T(test_alive),
		T(test_stubborn),
		T(test_storm),
		T(test_stop_while_parked),
		T(test_stop_lets_running_finish),
		T(test_stop_under_load),
		T(test_control_socket),
		T(test_start_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
