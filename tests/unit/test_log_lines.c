#include "deploy/log_lines.h"

#include <stdio.h>

#include "base/limits.h"
#include "unit.h"

static struct mask_set *set_of(const char *value)
{
	struct mask_set *s = mask_set_new();
	struct err e = { 0 };
	assert_int_equal(mask_set_add(s, str_of(value), &e), 1);
	assert_int_equal(mask_set_build(s, &e), 0);
	return s;
}

/* The texts of the chunk, each behind its time: "1=one|2=two|". */
static void expect(const char *array, size_t from, const char *secret, const char *wanted)
{
	struct err e = { 0 };
	struct json root, item;
	struct log_lines l;
	struct str chunk;
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf out, seen;
	_cleanup_mask_set_ struct mask_set *mask = secret ? set_of(secret) : NULL;
	arena_init(&a, 0);
	buf_init(&out, 64 * MIB);
	buf_init(&seen, 64 * MIB);
	assert_int_equal(json_check(str_of(array), &root, &e), 0);
	assert_int_equal(log_lines_read(root, &l, &e), 0);
	assert_int_equal(l.count, json_count(root));
	assert_int_equal(log_lines_write(&l, from, mask, &out, &chunk, &e), 0);
	assert_int_equal(json_check(chunk, &root, &e), 0);
	assert_int_equal(json_count(root), l.count - from);
	json_foreach(item, root) {
		struct str text;
		int64_t t;
		assert_true(json_int64(json_get(item, "t"), &t));
		assert_true(json_string(json_get(item, "l"), &a, &text));
		buf_addf(&seen, "%d=", (int)t);
		buf_add_str(&seen, text);
		buf_addc(&seen, '|');
	}
	assert_string_equal(buf_str(&seen).p, wanted);
}

static void as_they_came(void **state)
{
	expect("[{\"t\":1,\"l\":\"one\\n\"},{\"t\":2,\"l\":\"\\\"two\\\\\\n\"}]", 0, NULL, "1=one\n|2=\"two\\\n|");
	expect("[{\"t\":1,\"l\":\"one\\n\"},{\"t\":2,\"l\":\"two\\n\"},{\"t\":3,\"l\":\"\"}]", 1, NULL, "2=two\n|3=|");
	expect("[{\"t\":1,\"l\":\"\\u001b[31mred\\u001B[0m\\n\"}]", 0, "hunter2", "1=\x1b[31mred\x1b[0m\n|");
	/* However it is written. */
	expect(" [ { \"l\" : \"one\\n\" , \"t\" : 1 } , {\"t\":-5,\"x\":[{}],\"l\":\"two\"} ] ", 0, "hunter2",
	       "1=one\n|-5=two|");
	expect("[{\"t\":1,\"l\":\"a\",\"l\":\"b\"}]", 0, NULL, "1=b|");
	expect("[{\"\\u0074\":1,\"\\u006c\":\"a\"}]", 0, NULL, "1=a|");
}

static void secrets(void **state)
{
	expect("[{\"t\":1,\"l\":\"a hunter2 b\\n\"},{\"t\":2,\"l\":\"c\\n\"}]", 0, "hunter2",
	       "1=a [secret] b\n|2=c\n|");
	expect("[{\"t\":1,\"l\":\"a hunter2 b\\n\"},{\"t\":2,\"l\":\"c\\n\"}]", 1, "hunter2", "2=c\n|");
	/* Whatever the escapes that it comes in. */
	expect("[{\"t\":1,\"l\":\"\\u0068unter2\\n\"}]", 0, "hunter2", "1=[secret]\n|");
	expect("[{\"t\":1,\"l\":\"say \\\"h\\\\i\\\"\\n\"}]", 0, "\"h\\i\"", "1=say [secret]\n|");
	expect("[{\"t\":1,\"l\":\"p\\u00e4ss\\n\"}]", 0, "p\xc3\xa4ss", "1=[secret]\n|");
	expect("[{\"t\":1,\"l\":\"a\\u0000b hun\\u0000ter2\\n\"}]", 0, "hunter2", "1=ab [secret]\n|");
	/* In one that is written as nobody writes it. */
	expect("[{\"l\":\"hunter2\",\"t\":1}]", 0, "hunter2", "1=[secret]|");
	expect("[{\"t\":1,\"l\":\"hidden\",\"l\":\"hunter2\"}]", 0, "hunter2", "1=[secret]|");
	expect("[{\"t\":1,\"\\u006c\":\"hunter2\"}]", 0, "hunter2", "1=[secret]|");
	/* Words that look like the frame. */
	expect("[{\"t\":1,\"l\":\"\\\"l\\\":\\\"hunter2\\\"\\n\"}]", 0, "hunter2", "1=\"l\":\"[secret]\"\n|");
}

/* A line without a break goes on in the next one. */
static void secrets_across_lines(void **state)
{
	expect("[{\"t\":1,\"l\":\"a hun\"},{\"t\":2,\"l\":\"ter2 b\\n\"}]", 0, "hunter2", "1=a |2=[secret] b\n|");
	expect("[{\"t\":1,\"l\":\"h\"},{\"t\":2,\"l\":\"unter\"},{\"t\":3,\"l\":\"2\"},{\"t\":4,\"l\":\"!\"}]", 0,
	       "hunter2", "1=|2=|3=|4=[secret]!|");
	expect("[{\"t\":1,\"l\":\"hun\"},{\"t\":2,\"l\":\"dred hunter2\"}]", 0, "hunter2", "1=|2=hundred [secret]|");
	expect("[{\"t\":1,\"l\":\"hun\\n\"},{\"t\":2,\"l\":\"ter2\\n\"}]", 0, "hunter2", "1=hun\n|2=ter2\n|");
	expect("[{\"t\":1,\"l\":\"x hun\"}]", 0, "hunter2", "1=x hun|");
}

static void tokens(void **state)
{
	expect("[{\"t\":1,\"l\":\"pul-0123456789012345678901234567890123456789\\n\"}]", 0, NULL, "1=[secret]\n|");
	expect("[{\"t\":1,\"l\":\"\\u0070ul-run-0123456789012345678901234567890123456789\\n\"}]", 0, NULL,
	       "1=[secret]\n|");
	expect("[{\"t\":1,\"l\":\"pul-umi\\n\"}]", 0, NULL, "1=pul-umi\n|");
}

static void refuse(const char *array, const char *why)
{
	struct err e = { 0 };
	struct json root;
	struct log_lines l;
	assert_int_equal(json_check(str_of(array), &root, &e), 0);
	assert_int_equal(log_lines_read(root, &l, &e), -ERR_BAD_REQUEST);
	assert_string_equal(e.message, why);
}

static void refused(void **state)
{
	refuse("{}", "/lines: must be an array");
	refuse("[1]", "/lines/0/t: must be a whole number");
	refuse("[{\"t\":1,\"l\":\"\"},{\"t\":1.5,\"l\":\"\"}]", "/lines/1/t: must be a whole number");
	refuse("[{\"t\":99999999999999999999,\"l\":\"\"}]", "/lines/0/t: must be a whole number");
	refuse("[{\"t\":1}]", "/lines/0/l: must be a string");
	refuse("[{\"t\":1,\"l\":2}]", "/lines/0/l: must be a string");
	refuse("[{\"t\":1,\"t\":\"x\",\"l\":\"\"}]", "/lines/0/t: must be a whole number");
}

/* What counts is the length of the text, not of how it is written. */
static void long_lines(void **state)
{
	struct err e = { 0 };
	struct json root;
	struct log_lines l;
	_cleanup_buf_ struct buf b;
	buf_init(&b, 32 * MIB);
	for (int over = 0; over < 2; over++) {
		for (int escaped = 0; escaped < 2; escaped++) {
			buf_reset(&b);
			buf_adds(&b, "[{\"t\":1,\"l\":\"");
			for (size_t i = 0; i < LOG_LINE_BYTES + (size_t)over; i++)
				buf_adds(&b, escaped ? "\\n" : "x");
			buf_adds(&b, "\"}]");
			assert_int_equal(json_check(buf_str(&b), &root, &e), 0);
			assert_int_equal(log_lines_read(root, &l, &e), over ? -ERR_BAD_REQUEST : 0);
			if (over)
				assert_string_equal(e.message, "/lines/0/l: is longer than 1048576 bytes");
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_they_came), cmocka_unit_test(secrets), cmocka_unit_test(secrets_across_lines),
		cmocka_unit_test(tokens),	cmocka_unit_test(refused), cmocka_unit_test(long_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
