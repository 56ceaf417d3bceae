#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

/* Standard error goes to a file while fn runs; what arrived there is appended to b. */
static void capture(void (*fn)(void), struct buf *b)
{
	FILE *f = tmpfile();
	assert_non_null(f);
	int saved = dup(STDERR_FILENO);
	dup2(fileno(f), STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	char text[4096];
	for (size_t n; (n = fread(text, 1, sizeof(text), f)) > 0;)
		buf_add(b, text, n);
	fclose(f);
}

static void say_several(void)
{
	log_debug("base", "not shown");
	log_info("base", "one %d", 1);
	log_warn("http", "two\nforged line\x1b[31m");
	char big[10000];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_error("db", "%s", big);
}

static void lines(void **state)
{
	_cleanup_buf_ struct buf b;
	struct str rest;
	buf_init(&b, 100000);
	capture(say_several, &b);
	struct str one = str_cut(buf_str(&b), '\n', &rest);
	struct str two = str_cut(rest, '\n', &rest);
	struct str three = str_cut(rest, '\n', &rest);
	assert_int_equal(rest.n, 0);
	assert_true(str_ends_with(one, "Z info  base: one 1"));
	assert_int_equal(one.p[10], 'T');
	assert_true(str_ends_with(two, "Z warn  http: two forged line [31m"));
	assert_true(str_ends_with(three, "xxx"));
	assert_true(three.n < 4200);
}

static void levels(void **state)
{
	enum log_level level = LOG_INFO;
	assert_true(log_level_parse("debug", &level));
	assert_int_equal(level, LOG_DEBUG);
	assert_true(log_level_parse("error", &level));
	assert_int_equal(level, LOG_ERROR);
	assert_false(log_level_parse("loud", &level));
	assert_false(log_level_parse(NULL, &level));
	assert_int_equal(level, LOG_ERROR);
}

static void *talk(void *arg)
{
	for (int i = 0; i < 500; i++) {
		log_set_level(i % 2 ? LOG_DEBUG : LOG_INFO);
		log_set_name("agent");
		log_info("base", "%s says %d", (const char *)arg, i);
	}
	return NULL;
}

static void talk_at_once(void)
{
	pthread_t a;
	pthread_t b;
	pthread_create(&a, NULL, talk, "first");
	pthread_create(&b, NULL, talk, "second");
	pthread_join(a, NULL);
	pthread_join(b, NULL);
}

static void threads_do_not_mix(void **state)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 1000000);
	capture(talk_at_once, &b);
	size_t n = 0;
	for (struct str rest = buf_str(&b), line; rest.n > 0; n++) {
		line = str_cut(rest, '\n', &rest);
		assert_true(str_starts_with(line, "agent 20"));
		assert_non_null(memmem(line.p, line.n, " says ", 6));
	}
	assert_int_equal(n, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(levels),
		cmocka_unit_test(threads_do_not_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
