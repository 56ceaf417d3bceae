#include "unit.h"

#include <stdio.h>

#include "agent/frames.h"

/* Everything that the handler saw, as text. */
static struct buf seen;

static void on_begin(void *arg, struct str name)
{
	buf_addf(&seen, "begin(%.*s)", STR_ARG(name));
}
static void on_output(void *arg, struct str bytes)
{
	buf_addf(&seen, "out(%.*s)", STR_ARG(bytes));
}
static void on_end(void *arg, bool ok, struct str why)
{
	buf_addf(&seen, "end(%d,%.*s)", ok, STR_ARG(why));
}
static void on_skipped(void *arg, struct str name)
{
	buf_addf(&seen, "skipped(%.*s)", STR_ARG(name));
}
static void on_finish(void *arg, bool ok, struct str why)
{
	buf_addf(&seen, "finish(%d,%.*s)", ok, STR_ARG(why));
}

static void on_cache_get(void *arg, struct str key)
{
	buf_addf(&seen, "get(%.*s)", STR_ARG(key));
}
static void on_cache_put(void *arg, struct str key)
{
	buf_addf(&seen, "put(%.*s)", STR_ARG(key));
}
static void on_cache_data(void *arg, struct str bytes)
{
	buf_addf(&seen, "data(%.*s)", STR_ARG(bytes));
}
static void on_cache_end(void *arg, bool whole)
{
	buf_addf(&seen, "whole(%d)", whole);
}

static const struct frame_handler handler = { on_begin,	    on_output,	  on_end,	 on_skipped,   on_finish,
					      on_cache_get, on_cache_put, on_cache_data, on_cache_end, NULL };

static void add_frame(struct buf *b, char type, const char *payload, size_t n)
{
	const unsigned char header[] = { (unsigned char)type, n & 0xFF, n >> 8 & 0xFF, n >> 16 & 0xFF, n >> 24 & 0xFF };
	buf_add(b, header, sizeof(header));
	buf_add(b, payload, n);
}

static void good_stream(struct buf *b)
{
	add_frame(b, 'B', "Pre-run command 1", 17);
	add_frame(b, 'O', "hello", 5);
	add_frame(b, 'O', "", 0);
	add_frame(b, 'G', "npm-1", 5);
	add_frame(b, 'P', "npm-2", 5);
	add_frame(b, 'D', "archive", 7);
	add_frame(b, 'O', "meanwhile", 9);
	add_frame(b, 'Z', "y", 1);
	add_frame(b, 'P', "npm-3", 5);
	add_frame(b, 'E', "\0it broke", 9);
	add_frame(b, 'N', "pulumi update", 13);
	add_frame(b, 'F', "\0it broke", 9);
}

static const char good[] =
	"begin(Pre-run command 1)out(hello)out()get(npm-1)put(npm-2)data(archive)out(meanwhile)whole(1)put(npm-3)"
	"end(0,it broke)skipped(pulumi update)finish(0,it broke)";

static void test_any_cut(void **state)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 4096);
	good_stream(&b);
	for (size_t piece = 1; piece <= b.len; piece++) {
		struct frames f;
		struct err e = { 0 };
		frames_init(&f);
		buf_reset(&seen);
		for (size_t at = 0; at < b.len; at += piece) {
			size_t n = b.len - at < piece ? b.len - at : piece;
			assert_int_equal(frames_feed(&f, (struct str){ b.data + at, n }, &handler, &e), 0);
		}
		assert_true(f.finished);
		assert_true(str_is(buf_str(&seen), good));
		frames_done(&f);
	}
}

static void refuse(const char *bytes, size_t n)
{
	struct frames f;
	struct err e = { 0 };
	frames_init(&f);
	buf_reset(&seen);
	assert_int_equal(frames_feed(&f, (struct str){ bytes, n }, &handler, &e), -ERR_BAD_REQUEST);
	frames_done(&f);
}

static void test_refused(void **state)
{
	refuse("O\1\0\0\0x", 6); /* output without a step */
	refuse("E\1\0\0\0\1", 6);
	refuse("B\1\0\0\0aB\1\0\0\0b", 12); /* a step in a step */
	refuse("B\0\0\0\0", 5);		    /* a step without a name */
	refuse("O\0\0\0\x7F", 5);	    /* longer than any frame */
	refuse("X\0\0\0\0", 5);
	refuse("F\1\0\0\0\1F\1\0\0\0\1", 12); /* nothing comes after the end */
	refuse("G\1\0\0\0k", 6);	      /* an archive outside of a step */
	refuse("B\1\0\0\0aD\1\0\0\0x", 12);   /* pieces of none */
	refuse("B\1\0\0\0aZ\1\0\0\0y", 12);
	refuse("B\1\0\0\0aG\0\0\0\0", 11);
	refuse("B\1\0\0\0aP\1\0\0\0kP\1\0\0\0k", 18);
	refuse("F\0\0\0\0", 5);
}

static void test_large_output(void **state)
{
	_cleanup_buf_ struct buf b;
	static char payload[FRAME_MAX_BYTES];
	struct frames f;
	struct err e = { 0 };
	memset(payload, 'x', sizeof(payload));
	buf_init(&b, 4 * 1024 * 1024);
	add_frame(&b, 'B', "step", 4);
	for (int i = 0; i < 20; i++)
		add_frame(&b, 'O', payload, sizeof(payload));
	frames_init(&f);
	buf_reset(&seen);
	assert_int_equal(frames_feed(&f, buf_str(&b), &handler, &e), 0);
	assert_int_equal(seen.len, strlen("begin(step)") + 20 * (FRAME_MAX_BYTES + strlen("out()")));
	frames_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_cut),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_large_output),
	};
	buf_init(&seen, 4 * 1024 * 1024);
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	buf_done(&seen);
	return r;
}
