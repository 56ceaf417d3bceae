#include "agent/upload.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/http.h"
#include "http_fixture.h"
#include "unit.h"

/* A server that keeps what it is given, and can be told to be away, or to have given the lease to somebody else. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct buf steps; /* "0 Setup running;" */
static struct buf text;	 /* the lines of step 1, one after the other */
static int64_t next_line;
static int answers_lost; /* so many requests are done, but answered with 503 */
static int away;	 /* so many are not even done */
static int refusals;
static bool lease_lost;
static bool refuse_log;

static int before(struct err *err)
{
	if (lease_lost)
		return err_set(err, ERR_CONFLICT, "lease lost");
	if (away > 0) {
		away--;
		refusals++;
		return err_set(err, ERR_UNAVAILABLE, "away");
	}
	return 0;
}

static int after(struct response *w, struct err *err)
{
	if (answers_lost > 0) {
		answers_lost--;
		return err_set(err, ERR_UNAVAILABLE, "done, but you do not hear of it");
	}
	response_empty(w, 204);
	return 0;
}

static int h_steps(struct request *r, struct response *w, struct err *err)
{
	struct json root;
	int64_t step = -1;
	if (request_json(r, false, &root, err) < 0)
		return -(int)err->code;
	pthread_mutex_lock(&lock);
	int rc = before(err);
	if (rc == 0) {
		json_int64(json_get(root, "step"), &step);
		buf_addf(&steps, "%d %s %s;", (int)step, json_cstr(json_get(root, "name"), r->arena),
			 json_cstr(json_get(root, "status"), r->arena));
		rc = after(w, err);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

static int h_log(struct request *r, struct response *w, struct err *err)
{
	struct json root, line;
	int64_t offset = -1;
	if (request_json(r, false, &root, err) < 0)
		return -(int)err->code;
	pthread_mutex_lock(&lock);
	int rc = before(err);
	if (rc == 0 && refuse_log)
		rc = err_set(err, ERR_BAD_REQUEST, "/lines: no");
	json_int64(json_get(root, "offset"), &offset);
	if (rc == 0 && offset > next_line)
		rc = err_set(err, ERR_CONFLICT, "expected offset %d", (int)next_line);
	if (rc == 0) {
		json_foreach(line, json_get(root, "lines")) {
			if (offset++ < next_line)
				continue;
			struct str s;
			assert_true(json_string(json_get(line, "l"), r->arena, &s));
			buf_add_str(&text, s);
			next_line++;
		}
		rc = after(w, err);
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

static const struct route routes[] = {
	{ .method = "POST", .pattern = "/api/runner/{id}/steps", .handler = h_steps, .body_limit_bytes = 1 << 20 },
	{ .method = "POST", .pattern = "/api/runner/{id}/log", .handler = h_log, .body_limit_bytes = 8 << 20 },
};

static struct http_server *server;
static char url[64];
static const struct api_claim claim = { .deployment = "0123-abcd", .token = "token", .attempt = 1 };
static int wake_fd;
static struct contact contact;
static const char *backlog_dir = "/tmp";
static int64_t backlog_max_bytes;
static bool hurry;

static bool in_hurry(void *arg)
{
	assert_ptr_equal(arg, &hurry);
	return hurry;
}

static int begin(void **state)
{
	struct err e = { 0 };
	struct http_config c = {
		.listen_host = "127.0.0.1", .workers = 2, .routes = routes, .route_count = ARRAY_SIZE(routes)
	};
	if (http_server_start(&c, &server, &e) < 0)
		return -1;
	snprintf(url, sizeof(url), "http://127.0.0.1:%d", http_server_port(server));
	buf_init(&steps, 1 << 20);
	buf_init(&text, 64 << 20);
	return 0;
}

static int end(void **state)
{
	http_server_free(server);
	buf_done(&steps);
	buf_done(&text);
	return 0;
}

static struct upload *start(void)
{
	struct upload *u = NULL;
	struct err e = { 0 };
	/* The last request of the test before may still be at work. */
	pthread_mutex_lock(&lock);
	buf_reset(&steps);
	buf_reset(&text);
	next_line = 0;
	answers_lost = away = 0;
	lease_lost = refuse_log = hurry = false;
	pthread_mutex_unlock(&lock);
	wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	contact = (struct contact){ .asked_us = clock_mono_us(), .heard_us = clock_mono_us(), .lease_us = US_PER_HOUR };
	struct upload_config c = { .server_url = url,
				   .claim = &claim,
				   .contact = &contact,
				   .backlog_dir = backlog_dir,
				   .backlog_max_bytes = backlog_max_bytes,
				   .wake_fd = wake_fd,
				   .hurry = in_hurry,
				   .hurry_arg = &hurry };
	assert_int_equal(upload_start(&c, &u, &e), 0);
	return u;
}

static void stop(struct upload *u)
{
	upload_free(u);
	close(wake_fd);
}

/* Lines "0\n" to "<n-1>\n" in step 1. */
static void add_lines(struct upload *u, int n)
{
	char line[32];
	for (int i = 0; i < n; i++) {
		snprintf(line, sizeof(line), "%d\n", i);
		upload_line(u, 1, str_of(line));
	}
}

static void expect_lines(int n)
{
	_cleanup_buf_ struct buf expected;
	buf_init(&expected, 64 << 20);
	for (int i = 0; i < n; i++)
		buf_addf(&expected, "%d\n", i);
	assert_true(str_eq(buf_str(&text), buf_str(&expected)));
}

static void in_order(void **state)
{
	struct upload *u = start();
	upload_step(u, 0, "Setup", "running");
	upload_step(u, 0, "Setup", "succeeded");
	upload_step(u, 1, "Get source", "running");
	add_lines(u, 5000);
	upload_step(u, 1, "Get source", "succeeded");
	upload_step(u, 2, "pulumi update", "not-started");
	assert_true(upload_finish(u, 10000));
	expect_lines(5000);
	assert_true(str_is(buf_str(&steps),
			   "0 Setup running;0 Setup succeeded;1 Get source running;1 Get source succeeded;"
			   "2 pulumi update not-started;"));
	stop(u);
}

static void soon(void **state)
{
	struct upload *u = start();
	add_lines(u, 3);
	int64_t until = clock_mono_us() + 10 * US_PER_S;
	for (int64_t seen = 0; seen < 3 && clock_mono_us() < until;) {
		usleep(5000);
		pthread_mutex_lock(&lock);
		seen = next_line;
		pthread_mutex_unlock(&lock);
	}
	expect_lines(3); /* without anything that pushed it */
	assert_true(upload_finish(u, 1000));
	stop(u);
}

/* What was done but not answered is sent again, and counted once. */
static void lost_answers(void **state)
{
	struct upload *u = start();
	pthread_mutex_lock(&lock);
	answers_lost = 2;
	away = 2;
	pthread_mutex_unlock(&lock);
	add_lines(u, 100);
	usleep(300000);
	add_lines(u, 0);
	assert_true(upload_finish(u, 20000));
	expect_lines(100);
	assert_int_equal(upload_state(u, NULL), UPLOAD_GOING);
	stop(u);
}

static void back_pressure(void **state)
{
	struct upload *u = start();
	char line[1024];
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\n';
	pthread_mutex_lock(&lock);
	away = 1 << 30;
	pthread_mutex_unlock(&lock);
	int n = 0;
	while (!upload_full(u)) {
		upload_line(u, 1, (struct str){ line, sizeof(line) });
		assert_true(++n < 10000);
	}
	uint64_t woken;
	assert_true(read(wake_fd, &woken, sizeof(woken)) < 0);
	pthread_mutex_lock(&lock);
	away = 0;
	pthread_mutex_unlock(&lock);
	int64_t until = clock_mono_us() + 30 * US_PER_S;
	while (read(wake_fd, &woken, sizeof(woken)) < 0 && clock_mono_us() < until)
		usleep(5000);
	assert_false(upload_full(u));
	assert_true(upload_finish(u, 20000));
	assert_int_equal(text.len, (size_t)n * sizeof(line));
	stop(u);
}

/* Until the other side has noticed that the server is away. */
static void wait_refused(void)
{
	int64_t until = clock_mono_us() + 30 * US_PER_S;
	pthread_mutex_lock(&lock);
	int goal = refusals + 2; /* the second one says that the first was heard */
	bool more = true;
	while (more && clock_mono_us() < until) {
		pthread_mutex_unlock(&lock);
		usleep(1000);
		pthread_mutex_lock(&lock);
		more = refusals < goal;
	}
	pthread_mutex_unlock(&lock);
	assert_false(more);
}

/* A server that is away: what the memory does not hold goes to a file up to its bound, and arrives whole and in order. */
static void to_the_disk(void **state)
{
	static const int64_t bounds[] = { 0, 1 << 20, 5 << 20, 9 << 20 };
	char line[4096];
	int before = -1;
	for (size_t b = 0; b < ARRAY_SIZE(bounds); b++) {
		backlog_max_bytes = bounds[b];
		struct upload *u = start();
		pthread_mutex_lock(&lock);
		away = 1 << 30;
		pthread_mutex_unlock(&lock);
		int n = 0;
		memset(line, 'x', sizeof(line));
		line[sizeof(line) - 1] = '\n';
		/* Three times: full, half way caught up, full again; so that the file's end meets its beginning. */
		for (int round = 0; round < 3; round++) {
			int digits = snprintf(line, sizeof(line), "%d", n++);
			line[digits] = ' ';
			upload_line(u, 1, (struct str){ line, sizeof(line) });
			wait_refused();
			do {
				for (int i = 0; i < 64 && !upload_full(u); i++) {
					digits = snprintf(line, sizeof(line), "%d", n++);
					line[digits] = ' ';
					upload_line(u, 1, (struct str){ line, sizeof(line) });
				}
			} while (!upload_full(u));
			if (round == 0) {
				usleep(500000);
				assert_true(upload_full(u));
				assert_true(n > before);
				before = n;
			}
			pthread_mutex_lock(&lock);
			away = 0;
			int64_t goal = next_line + (n - next_line) / 2;
			pthread_mutex_unlock(&lock);
			int64_t until = clock_mono_us() + 30 * US_PER_S;
			for (int64_t seen = 0; seen < goal && clock_mono_us() < until;) {
				usleep(1000);
				pthread_mutex_lock(&lock);
				seen = next_line;
				away = seen < goal ? 0 : 1 << 30;
				pthread_mutex_unlock(&lock);
			}
		}
		pthread_mutex_lock(&lock);
		away = 0;
		pthread_mutex_unlock(&lock);
		assert_true(upload_finish(u, 60000));
		assert_int_equal(next_line, n);
		assert_int_equal(text.len, (size_t)n * sizeof(line));
		for (int i = 0; i < n; i++)
			assert_int_equal(strtol(text.data + (size_t)i * sizeof(line), NULL, 10), i);
		stop(u);
	}
	backlog_max_bytes = 0;
}

/* A folder that is not there: as if the bound were 0, and nothing is lost. */
static void no_disk(void **state)
{
	backlog_dir = "/nonexistent";
	backlog_max_bytes = 1 << 30;
	back_pressure(state);
	backlog_dir = "/tmp";
	backlog_max_bytes = 0;
}

/* Not heard of for as long as the lease lasts: it is over, whatever the patience. */
static void lease_is_over(void **state)
{
	struct upload *u = start();
	pthread_mutex_lock(&lock);
	away = 1 << 30;
	pthread_mutex_unlock(&lock);
	assert_false(contact_is_over(&contact));
	contact.lease_us = 400 * US_PER_MS;
	add_lines(u, 10);
	int64_t until = clock_mono_us() + 10 * US_PER_S;
	while (upload_state(u, NULL) == UPLOAD_GOING && clock_mono_us() < until)
		usleep(5000);
	assert_int_equal(upload_state(u, NULL), UPLOAD_LOST);
	assert_false(upload_begun(u));
	assert_false(upload_finish(u, -1));
	stop(u);
}

static void lease_is_lost(void **state)
{
	struct upload *u = start();
	struct err why = { 0 };
	uint64_t woken;
	pthread_mutex_lock(&lock);
	lease_lost = true;
	pthread_mutex_unlock(&lock);
	add_lines(u, 10);
	int64_t until = clock_mono_us() + 10 * US_PER_S;
	while (upload_state(u, &why) == UPLOAD_GOING && clock_mono_us() < until)
		usleep(5000);
	assert_int_equal(upload_state(u, &why), UPLOAD_LOST);
	assert_non_null(strstr(why.message, "lease lost"));
	usleep(20000);
	assert_true(read(wake_fd, &woken, sizeof(woken)) > 0);
	add_lines(u, 10); /* no harm */
	assert_false(upload_full(u));
	assert_false(upload_finish(u, 1000));
	stop(u);
}

static void log_is_refused(void **state)
{
	struct upload *u = start();
	struct err why = { 0 };
	refuse_log = true;
	add_lines(u, 10);
	assert_false(upload_finish(u, 5000));
	assert_int_equal(upload_state(u, &why), UPLOAD_REFUSED);
	assert_non_null(strstr(why.message, "/lines: no"));
	stop(u);
}

/* The end does not wait for a server that is away, once the patience is over or somebody is in a hurry. */
static void end_while_away(void **state)
{
	for (int kind = 0; kind < 2; kind++) {
		struct upload *u = start();
		pthread_mutex_lock(&lock);
		away = 1 << 30;
		pthread_mutex_unlock(&lock);
		add_lines(u, 10);
		hurry = kind == 1;
		int64_t began = clock_mono_us();
		assert_false(upload_finish(u, kind == 0 ? 300 : 3600 * 1000));
		assert_true(clock_mono_us() - began < 15 * US_PER_S);
		stop(u);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order),	  cmocka_unit_test(soon),	   cmocka_unit_test(lost_answers),
		cmocka_unit_test(back_pressure),  cmocka_unit_test(lease_is_lost), cmocka_unit_test(log_is_refused),
		cmocka_unit_test(end_while_away), cmocka_unit_test(to_the_disk),   cmocka_unit_test(no_disk),
		cmocka_unit_test(lease_is_over),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
