/*
 * Answers made piece by piece: their order and their end, waiting in between, clients that are slow or gone, the stop.
 */
#include "http/http.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/limits.h"
#include "http_fixture.h"
#include "unit.h"

static struct http_server *server;
static int port;
static atomic_int runs, dones, available, forbidden;
/* What clock_stream() hands out to all. */
static struct http_piece *common;

struct counter {
	int64_t left;
	int64_t size;
	int said;
};

static void done(void *state)
{
	atomic_fetch_add(&dones, 1);
}

static struct counter *state_of(struct request *r, struct err *e)
{
	struct counter *c = r->stream;
	if (c)
		return c;
	c = request_stream_state(r, sizeof(*c), done);
	if (!c || request_query_int(r, "n", 0, 1 << 20, 3, &c->left, e) < 0 ||
	    request_query_int(r, "size", 1, 1 << 24, 4, &c->size, e) < 0)
		return NULL;
	return c;
}

/* n pieces of so many bytes, all of one letter: a, b, c ...; then as `end` says. */
static int h_pieces(struct request *r, struct response *w, struct err *e)
{
	struct counter *c = state_of(r, e);
	atomic_fetch_add(&runs, 1);
	if (!c)
		return -(int)e->code;
	const char *end = request_query(r, "end");
	if (c->left == 0 && end && streq(end, "cut"))
		return err_set(e, ERR_CONFLICT, "broken on purpose");
	response_stream(w, "text/plain; charset=utf-8");
	response_header(w, "X-Run", "1");
	if (c->left == 0)
		return 0;
	_cleanup_buf_ struct buf b;
	buf_init(&b, 1 << 24);
	for (int64_t i = 0; i < c->size; i++)
		buf_addc(&b, (char)('a' + c->said % 26));
	c->said++;
	c->left--;
	arena_alloc(r->arena, 20000);
	response_piece(w, http_piece_new(buf_str(&b)));
	return c->left == 0 && end && streq(end, "last") ? 0 : HTTP_MORE;
}

/* Waits for the key; says "x" for each thing that is available, "." at the deadline. */
static int h_wait(struct request *r, struct response *w, struct err *e)
{
	struct counter *c = state_of(r, e);
	int64_t ms;
	atomic_fetch_add(&runs, 1);
	if (!c || request_query_int(r, "ms", 0, 100000, 60000, &ms, e) < 0)
		return -(int)e->code;
	response_stream(w, "text/event-stream");
	if (request_stopping(r)) {
		response_piece(w, http_piece_new(STR("stop")));
		return 0;
	}
	if (request_authorize_again(r, e) < 0)
		return -(int)e->code;
	http_park(r, "key", clock_mono_us() + ms * US_PER_MS);
	int n = atomic_load(&available);
	if (c->said < n) {
		c->said++;
		response_piece(w, common ? http_piece_ref(common) : http_piece_new(STR("x")));
		/* The rest at once. */
		if (c->said < n)
			http_unpark(r);
		else if (n == 100)
			return 0;
	} else if (ms < 1000) {
		response_piece(w, http_piece_new(STR(".")));
	}
	return HTTP_MORE;
}

static int h_refused(struct request *r, struct response *w, struct err *e)
{
	response_stream(w, "text/plain");
	return err_set(e, ERR_NOT_FOUND, "nothing here");
}

static int h_hello(struct request *r, struct response *w, struct err *e)
{
	jw_string(response_json(w), "hello");
	return 0;
}

static int authorize(struct request *r, struct err *e)
{
	r->context = arena_strdup(r->arena, "somebody");
	return atomic_load(&forbidden) ? err_set(e, ERR_FORBIDDEN, "no longer") : 0;
}

#define R(m, p, h)                                      \
	{                                               \
		.method = m, .pattern = p, .handler = h \
	}
static const struct route routes[] = {
	R("GET", "/pieces", h_pieces),
	R("GET", "/wait", h_wait),
	R("GET", "/refused", h_refused),
	R("GET", "/hello", h_hello),
};

static int setup(void **state)
{
	struct http_config config = {
		.listen_host = "127.0.0.1", .routes = routes, .route_count = ARRAY_SIZE(routes), .authorize = authorize
	};
	struct err e = { 0 };
	if (http_server_start(&config, &server, &e) < 0)
		fail_msg("%s", e.message);
	port = http_server_port(server);
	atomic_store(&runs, 0);
	atomic_store(&dones, 0);
	atomic_store(&available, 0);
	atomic_store(&forbidden, 0);
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

static int ask(const char *path, const char *version)
{
	char text[256];
	int fd = raw_connect(port);
	snprintf(text, sizeof(text), "GET %s HTTP/%s\r\nHost: x\r\n\r\n", path, version);
	assert_true(raw_sends(fd, text));
	return fd;
}

/* Up to the end of the headers. */
static void read_head(int fd, char *head, size_t size)
{
	size_t n = 0;
	do {
		assert_true(n + 1 < size && raw_recv(fd, head + n, 1, 10000) == 1);
		head[++n] = '\0';
	} while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0);
}

/* Exactly n bytes of what the chunks hold; fewer when the stream ends. *ret_whole: it ended as it should. */
static size_t read_chunks(int fd, char *to, size_t n, bool *ret_whole)
{
	size_t got = 0;
	*ret_whole = false;
	while (got < n) {
		char line[32];
		size_t k = 0;
		do {
			if (k + 1 >= sizeof(line) || raw_recv(fd, line + k, 1, 10000) != 1)
				return got;
			line[++k] = '\0';
		} while (k < 2 || line[k - 1] != '\n' || line[k - 2] != '\r');
		size_t left = strtoul(line, NULL, 16);
		if (left == 0) {
			*ret_whole = raw_recv(fd, line, 2, 10000) == 2;
			return got;
		}
		assert_true(left <= n - got);
		while (left > 0) {
			ssize_t m = raw_recv(fd, to + got, left, 10000);
			assert_true(m > 0);
			got += (size_t)m;
			left -= (size_t)m;
		}
		assert_true(raw_recv(fd, line, 2, 10000) == 2);
	}
	return got;
}

static void test_pieces(void **state)
{
	static const char *const paths[] = { "/pieces", "/pieces?end=last" };
	for (size_t i = 0; i < 2; i++) {
		char head[4096], text[64] = "";
		bool whole;
		int fd = ask(paths[i], "1.1");
		read_head(fd, head, sizeof(head));
		assert_non_null(strstr(head, "HTTP/1.1 200"));
		assert_non_null(strcasestr(head, "Transfer-Encoding: chunked"));
		assert_non_null(strcasestr(head, "Content-Type: text/plain; charset=utf-8"));
		assert_int_equal(read_chunks(fd, text, sizeof(text), &whole), 12);
		assert_string_equal(text, "aaaabbbbcccc");
		assert_true(whole);
		assert_true(until(&dones, (int)i + 1));
		/* the connection serves on */
		struct raw_answer a;
		assert_true(raw_sends(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
		assert_true(raw_answer(fd, &a, false, 10000));
		assert_int_equal(a.status, 200);
		buf_done(&a.body);
		close(fd);
	}
	assert_int_equal(atomic_load(&runs), 4 + 3);
}

static void test_without_a_piece(void **state)
{
	char head[4096], text[8];
	bool whole;
	int fd = ask("/pieces?n=0", "1.1");
	read_head(fd, head, sizeof(head));
	assert_int_equal(read_chunks(fd, text, sizeof(text), &whole), 0);
	assert_true(whole);
	close(fd);
}

/* An older client, or a proxy that speaks like one, reads until the connection is closed. */
static void test_old_client(void **state)
{
	char head[4096], text[64];
	int fd = ask("/pieces", "1.0");
	read_head(fd, head, sizeof(head));
	assert_null(strcasestr(head, "chunked"));
	size_t n = 0;
	ssize_t k;
	while ((k = raw_recv(fd, text + n, sizeof(text) - n, 10000)) > 0)
		n += (size_t)k;
	assert_int_equal(k, 0);
	assert_memory_equal(text, "aaaabbbbcccc", 12);
	assert_int_equal(n, 12);
	close(fd);
}

static void test_head(void **state)
{
	char head[4096];
	int fd = raw_connect(port);
	assert_true(raw_sends(fd, "HEAD /pieces HTTP/1.1\r\nHost: x\r\n\r\n"));
	read_head(fd, head, sizeof(head));
	assert_non_null(strstr(head, "HTTP/1.1 200"));
	assert_true(until(&dones, 1));
	close(fd);
}

static void test_refused(void **state)
{
	struct raw_answer a;
	int fd = ask("/refused", "1.1");
	assert_true(raw_answer(fd, &a, false, 10000));
	assert_int_equal(a.status, 404);
	assert_non_null(strstr(a.body.data, "nothing here"));
	buf_done(&a.body);
	close(fd);
}

static void test_cut(void **state)
{
	char head[4096], text[64];
	bool whole;
	int fd = ask("/pieces?end=cut", "1.1");
	read_head(fd, head, sizeof(head));
	assert_int_equal(read_chunks(fd, text, sizeof(text), &whole), 12);
	assert_false(whole);
	assert_true(until(&dones, 1));
	close(fd);
}

static void test_large(void **state)
{
	char head[4096];
	bool whole;
	size_t size = (size_t)3 << 20, n = 5 * size;
	char *text = malloc(n + 1);
	int fd = ask("/pieces?n=5&size=3145728", "1.1");
	read_head(fd, head, sizeof(head));
	assert_int_equal(read_chunks(fd, text, n + 1, &whole), n);
	assert_true(whole);
	for (size_t i = 0; i < n; i += 4093)
		assert_int_equal(text[i], 'a' + i / size);
	free(text);
	close(fd);
}

/* One that does not read holds one piece, and nobody up. */
static void test_slow(void **state)
{
	int fd = ask("/pieces?n=1000&size=16777216", "1.1");
	assert_true(until(&runs, 1));
	usleep(100000);
	assert_int_equal(atomic_load(&runs), 1);
	int other = ask("/pieces", "1.1");
	char head[4096], text[16];
	bool whole;
	read_head(other, head, sizeof(head));
	assert_int_equal(read_chunks(other, text, 12, &whole), 12);
	close(other);
	close(fd);
	assert_true(until(&dones, 2));
}

static void test_wait(void **state)
{
	char head[4096], text[64];
	bool whole;
	int fd = ask("/wait", "1.1");
	read_head(fd, head, sizeof(head)); /* at once, before there is anything to say */
	assert_non_null(strcasestr(head, "Content-Type: text/event-stream"));
	assert_int_equal(raw_recv(fd, text, 1, 50), -1);
	for (int i = 1; i <= 3; i++) {
		atomic_store(&available, i);
		http_wake(server, "key", 0);
		assert_int_equal(read_chunks(fd, text, 1, &whole), 1);
		assert_int_equal(text[0], 'x');
	}
	http_wake(server, "key", 0);
	http_wake(server, "other", 0);
	assert_int_equal(raw_recv(fd, text, 1, 50), -1);
	atomic_store(&available, 100);
	http_wake(server, "key", 0);
	memset(text, 0, sizeof(text));
	char many[200];
	assert_int_equal(read_chunks(fd, many, sizeof(many), &whole), 97);
	assert_true(whole);
	close(fd);
}

/* Each run has a deadline of its own. */
static void test_deadlines(void **state)
{
	char head[4096], text[64];
	bool whole;
	int fd = ask("/wait?ms=30", "1.1");
	int64_t before = clock_mono_us();
	read_head(fd, head, sizeof(head));
	assert_int_equal(read_chunks(fd, text, 5, &whole), 5);
	assert_memory_equal(text, ".....", 5);
	assert_true(clock_mono_us() - before >= 4 * 30 * US_PER_MS);
	close(fd);
	assert_true(until(&dones, 1));
}

static void test_allowed_no_longer(void **state)
{
	char head[4096], text[64];
	bool whole;
	int fd = ask("/wait", "1.1");
	read_head(fd, head, sizeof(head));
	atomic_store(&forbidden, 1);
	http_wake(server, "key", 0);
	assert_int_equal(read_chunks(fd, text, 1, &whole), 0);
	assert_false(whole);
	close(fd);
}

static void test_hangup(void **state)
{
	enum { N = 50 };
	int fd[N];
	for (int i = 0; i < N; i++)
		fd[i] = ask("/wait", "1.1");
	assert_true(until(&runs, N));
	usleep(50000);
	for (int i = 0; i < N; i++)
		close(fd[i]);
	assert_true(until(&dones, N));
	assert_int_equal(atomic_load(&runs), N);
}

static void test_many_share_a_piece(void **state)
{
	enum { N = 200 };
	static int fd[N];
	char text[4096], head[4096];
	bool whole;
	memset(text, 'm', sizeof(text));
	common = http_piece_new((struct str){ text, sizeof(text) });
	for (int i = 0; i < N; i++) {
		fd[i] = ask("/wait", "1.1");
		read_head(fd[i], head, sizeof(head));
	}
	for (int round = 1; round <= 5; round++) {
		atomic_store(&available, round);
		http_wake(server, "key", 0);
		for (int i = 0; i < N; i++)
			assert_int_equal(read_chunks(fd[i], text, sizeof(text), &whole), sizeof(text));
	}
	for (int i = 0; i < N; i++)
		close(fd[i]);
	assert_true(until(&dones, N));
	http_piece_unref(common);
	common = NULL;
}

/* Waiting ones get their last word; one that would go on is cut, also one whose client does not read. */
static void test_stop(void **state)
{
	char head[4096], text[64];
	bool whole;
	int waiting = ask("/wait", "1.1"), stuck = ask("/pieces?n=1000&size=16777216", "1.1");
	read_head(waiting, head, sizeof(head));
	assert_true(until(&runs, 2));
	http_server_stop(server);
	assert_int_equal(read_chunks(waiting, text, sizeof(text), &whole), 4);
	assert_memory_equal(text, "stop", 4);
	assert_true(whole);
	assert_int_equal(atomic_load(&dones), 2);
	close(waiting);
	close(stuck);
}

/* Wakes, deadlines, clients that come and go at any moment, at once. */
static atomic_bool storm_over;

static void *storm_client(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	while (!atomic_load(&storm_over)) {
		char path[64], bytes[4096];
		snprintf(path, sizeof(path), seed % 3 ? "/wait?ms=%u" : "/pieces?n=%u&size=5000", 1 + seed % 20);
		int fd = ask(path, seed % 7 ? "1.1" : "1.0");
		for (unsigned i = 0; i < seed % 11; i++)
			raw_recv(fd, bytes, sizeof(bytes), 5);
		close(fd);
		seed = seed * 1103515245 + 12345;
		seed = seed >> 3;
	}
	return NULL;
}

static void test_storm(void **state)
{
	pthread_t clients[8];
	atomic_store(&storm_over, false);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		pthread_create(&clients[i], NULL, storm_client, (void *)(uintptr_t)(i * 7919 + 1));
	for (int i = 0; i < 300; i++) {
		atomic_store(&available, i);
		http_wake(server, "key", i % 3);
		usleep(2000);
	}
	atomic_store(&storm_over, true);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		pthread_join(clients[i], NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_pieces),
		T(test_without_a_piece),
		T(test_old_client),
		T(test_head),
		T(test_refused),
		T(test_cut),
		T(test_large),
		T(test_slow),
		T(test_wait),
		T(test_deadlines),
		T(test_allowed_no_longer),
		T(test_hangup),
		T(test_many_share_a_piece),
		T(test_stop),
		T(test_storm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
