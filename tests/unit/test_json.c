#include "unit.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/limits.h"

static struct arena arena;

static int setup(void **state)
{
	arena_init(&arena, 0);
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

/* The text lies at the very end of its allocation, so that a sanitizer sees every read behind it. */
static struct json parse_str(struct str text, int *ret_rc, struct err *e)
{
	char *copy = arena_alloc(&arena, text.n);
	if (text.n)
		memcpy(copy, text.p, text.n);
	struct json v = JSON_ABSENT;
	*ret_rc = json_check((struct str){ copy, text.n }, &v, e);
	return v;
}

static struct json parse(const char *text)
{
	struct err e = { 0 };
	int rc;
	struct json v = parse_str(str_of(text), &rc, &e);
	if (rc < 0)
		fail_msg("%s: %s", text, e.message);
	return v;
}

static void accepted(void **state)
{
	static const char *const good[] = {
		"null",
		"true",
		"false",
		"0",
		"-0",
		"12",
		"-1.5",
		"1e5",
		"1E+5",
		"0.0e-0",
		"123456789012345678901234567890",
		"\"\"",
		"\"a\"",
		"[]",
		"{}",
		" [ ] ",
		"\t{ }\r\n",
		"[1]",
		"[1,2 , 3]",
		"[[],[[]],{}]",
		"{\"a\":1}",
		"{\"\":null}",
		"{\"a\" : { \"b\" : [ true , false ] } , \"c\" : \"d\" }",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
		"\"\\ud800\"",
		"\"\\udc00\\ud800x\"",
		"\"\\u0000\"",
		"\"caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\"",
		"\"\x7F\"",
		"{\"a\":1,\"a\":2}",
		"[\n                                        1,\n                  2\n]",
		"\"0123456789012345678901234567890123456789\"",
		"\"012345678901234\\n5678901234567890123456789\"",
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		parse(good[i]);
}

static void refused(void **state)
{
	static const struct {
		const char *text;
		size_t at;
		const char *wanted;
	} bad[] = {
		{ "", 0, "a value" },
		{ "   ", 3, "a value" },
		{ "nul", 0, "a value" },
		{ "nulL", 0, "a value" },
		{ "True", 0, "a value" },
		{ "'a'", 0, "a value" },
		{ "+1", 0, "a value" },
		{ ".5", 0, "a value" },
		{ "-", 1, "a digit" },
		{ "-a", 1, "a digit" },
		{ "01", 1, "no digit after a leading zero" },
		{ "-01", 2, "no digit after a leading zero" },
		{ "1.", 2, "a digit" },
		{ "1.e5", 2, "a digit" },
		{ "1e", 2, "a digit" },
		{ "1e+", 3, "a digit" },
		{ "0x10", 1, "nothing behind the value" },
		{ "1 2", 2, "nothing behind the value" },
		{ "NaN", 0, "a value" },
		{ "Infinity", 0, "a value" },
		{ "[", 1, "a value" },
		{ "[1", 2, "',' or ']'" },
		{ "[1,", 3, "a value" },
		{ "[1,]", 3, "a value" },
		{ "[,1]", 1, "a value" },
		{ "[1 2]", 3, "',' or ']'" },
		{ "[1}", 2, "',' or ']'" },
		{ "]", 0, "a value" },
		{ "{", 1, "a quoted key" },
		{ "{\"a\"", 4, "':'" },
		{ "{\"a\":", 5, "a value" },
		{ "{\"a\":1", 6, "',' or '}'" },
		{ "{\"a\":1,}", 7, "a quoted key" },
		{ "{\"a\" 1}", 5, "':'" },
		{ "{a:1}", 1, "a quoted key" },
		{ "{1:1}", 1, "a quoted key" },
		{ "{\"a\":1]", 6, "',' or '}'" },
		{ "[{}}", 3, "',' or ']'" },
		{ "[]]", 2, "nothing behind the value" },
		{ "{\"a\":1}{", 7, "nothing behind the value" },
		{ "// c\n1", 0, "a value" },
		{ "\xEF\xBB\xBF{}", 0, "a value" },
		{ "\"abc", 4, "the end of the string" },
		{ "\"abc\\", 5, "the end of the string" },
		{ "\"abc\\\"", 6, "the end of the string" },
		{ "\"a\nb\"", 2, "no control character within a string" },
		{ "\"a\tb\"", 2, "no control character within a string" },
		{ "\"0123456789abcdefg\x01\"", 18, "no control character within a string" },
		{ "\"\\x\"", 1, "an escape sequence that JSON knows" },
		{ "\"\\u12\"", 1, "four hexadecimal digits after \\u" },
		{ "\"\\u12g4\"", 1, "four hexadecimal digits after \\u" },
		{ "\"\\u123", 1, "four hexadecimal digits after \\u" },
		{ "\"\x80\"", 1, "valid UTF-8" },
		{ "\"\xC0\xAF\"", 1, "valid UTF-8" },
		{ "\"\xE2\x82\"", 1, "valid UTF-8" },
		{ "\"a\xED\xA0\x80\"", 2, "valid UTF-8" },
		{ "\"\xF4\x90\x80\x80\"", 1, "valid UTF-8" },
		{ "{\"k\xFF\":1}", 3, "valid UTF-8" },
		{ "[\f1]", 1, "a value" },
		{ "\xC2\xA0"
		  "1",
		  0, "a value" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = { 0 };
		int rc;
		struct json v = parse_str(str_of(bad[i].text), &rc, &e);
		assert_int_equal(rc, -ERR_BAD_REQUEST);
		assert_null(v.p);
		const char *want =
			arena_printf(&arena, "malformed JSON at byte %zu: expected %s", bad[i].at, bad[i].wanted);
		assert_string_equal(e.message, want);
	}
	struct err e = { 0 };
	int rc;
	parse_str((struct str){ "1\0", 2 }, &rc, &e);
	assert_int_equal(rc, -ERR_BAD_REQUEST);
	parse_str((struct str){ "\"\0\"", 3 }, &rc, &e);
	assert_int_equal(rc, -ERR_BAD_REQUEST);
	struct json v;
	assert_int_equal(json_check(STR_NULL, &v, NULL), -ERR_BAD_REQUEST);
}

static void depth(void **state)
{
	char text[4 * JSON_DEPTH_MAX + 8];
	struct err e = { 0 };
	struct json v;
	for (size_t n = JSON_DEPTH_MAX - 1; n <= JSON_DEPTH_MAX + 1; n++) {
		memset(text, '[', n);
		memset(text + n, ']', n);
		assert_int_equal(json_check((struct str){ text, 2 * n }, &v, &e),
				 n > JSON_DEPTH_MAX ? -ERR_BAD_REQUEST : 0);
	}
	assert_non_null(strstr(e.message, "fewer nested values"));
	/* A megabyte of brackets needs no stack. */
	size_t n = MIB;
	_cleanup_free_ char *big = malloc(n);
	memset(big, '[', n);
	assert_int_equal(json_check((struct str){ big, n }, &v, &e), -ERR_BAD_REQUEST);
	/* Objects and arrays in turn, over the words of the bit stack. */
	_cleanup_buf_ struct buf b;
	buf_init(&b, 10000);
	for (int i = 0; i < JSON_DEPTH_MAX / 2; i++)
		buf_adds(&b, "{\"k\":[");
	for (int i = 0; i < JSON_DEPTH_MAX / 2; i++)
		buf_adds(&b, "]}");
	assert_int_equal(json_check(buf_str(&b), &v, &e), 0);
	assert_int_equal(v.n, b.len);
	struct json copy = v;
	assert_true(json_equal(v, copy));
	buf_reset(&b);
	for (int i = 0; i < JSON_DEPTH_MAX / 2; i++)
		buf_adds(&b, "{\"k\":[");
	for (int i = 0; i < JSON_DEPTH_MAX / 2; i++)
		buf_adds(&b, i == 200 ? "}]" : "]}");
	assert_int_equal(json_check(buf_str(&b), &v, &e), -ERR_BAD_REQUEST);
}

static void types_and_scalars(void **state)
{
	assert_int_equal(json_type(JSON_ABSENT), JSON_NONE);
	assert_int_equal(json_type(parse("null")), JSON_NULL);
	assert_int_equal(json_type(parse("false")), JSON_BOOL);
	assert_int_equal(json_type(parse("-1")), JSON_NUMBER);
	assert_int_equal(json_type(parse("\"\"")), JSON_STRING);
	assert_int_equal(json_type(parse("[]")), JSON_ARRAY);
	assert_int_equal(json_type(parse("{}")), JSON_OBJECT);
	assert_true(json_is_null(JSON_ABSENT));
	assert_true(json_is_null(parse("null")));
	assert_false(json_is_null(parse("0")));
	assert_true(json_is_true(parse("true")));
	assert_false(json_is_true(parse("false")));
	assert_false(json_is_true(JSON_ABSENT));
	int64_t n;
	assert_true(json_int64(parse("-9223372036854775808"), &n) && n == INT64_MIN);
	assert_false(json_int64(parse("9223372036854775808"), &n));
	assert_false(json_int64(parse("1e3"), &n));
	assert_false(json_int64(parse("2.0"), &n));
	assert_false(json_int64(parse("\"1\""), &n));
	assert_false(json_int64(JSON_ABSENT, &n));
	struct json v = parse("  {\"a\":1}  ");
	assert_true(str_is(json_text(v), "{\"a\":1}"));
}

static void strings(void **state)
{
	struct str s;
	assert_true(json_string(parse("\"a\\n\\u00e9\\u20AC\\ud83d\\ude00\\/z\""), &arena, &s));
	assert_true(str_is(s, "a\n\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80/z"));
	/* As Go does: each lone half becomes U+FFFD, what follows is kept. */
	assert_true(json_string(parse("\"\\ud800x\\udc00\\ud800\\u0041\\ud800\\ud83d\\ude00\\ud800\""), &arena, &s));
	assert_true(str_is(s, "\xEF\xBF\xBDx\xEF\xBF\xBD\xEF\xBF\xBD"
			      "A\xEF\xBF\xBD\xF0\x9F\x98\x80\xEF\xBF\xBD"));
	assert_true(json_string(parse("\"a\\u0000b\""), &arena, &s));
	assert_int_equal(s.n, 3);
	assert_null(json_cstr(parse("\"a\\u0000b\""), &arena));
	assert_string_equal(json_cstr(parse("\"\\\"\""), &arena), "\"");
	assert_string_equal(json_cstr(parse("\"\""), &arena), "");
	assert_null(json_cstr(parse("1"), &arena));
	assert_null(json_cstr(JSON_ABSENT, &arena));
	assert_true(json_string_is(parse("\"abc\""), "abc"));
	assert_true(json_string_is(parse("\"a\\u0062c\""), "abc"));
	assert_true(json_string_is(parse("\"\""), ""));
	assert_false(json_string_is(parse("\"abc\""), "ab"));
	assert_false(json_string_is(parse("\"a\\u0062\""), "abc"));
	assert_false(json_string_is(parse("\"a\\u0062cd\""), "abc"));
	assert_false(json_string_is(parse("\"abc\\u0000\""), "abc"));
	assert_false(json_string_is(parse("\"a\\\\n\""), "a\\\\n"));
	assert_true(json_string_is(parse("\"a\\\\n\""), "a\\n"));
	assert_false(json_string_is(parse("1"), "1"));
	struct arena tiny;
	arena_init(&tiny, 16);
	assert_false(json_string(parse("\"0123456789abcdef\""), &tiny, &s));
	arena_done(&tiny);
}

static void walking(void **state)
{
	struct json doc = parse("{\"a\":1,\"b\":{\"c\":[1,{\"d\":\"]}\\\"\"},3]},\"e\\u0066\":\"x\",\"a\":2}");
	int64_t n;
	assert_true(json_int64(json_get(doc, "a"), &n) && n == 2);
	assert_true(str_is(json_text(json_get(doc, "ef")), "\"x\""));
	assert_null(json_get(doc, "none").p);
	assert_null(json_get(JSON_ABSENT, "a").p);
	assert_null(json_get(parse("[1]"), "a").p);
	struct json c = json_path(doc, "b", "c", NULL);
	assert_int_equal(json_count(c), 3);
	assert_int_equal(json_count(doc), 4);
	assert_int_equal(json_count(parse("7")), 0);
	assert_int_equal(json_count(parse(" [ ] ")), 0);
	assert_null(json_path(doc, "b", "x", "y", NULL).p);
	struct json v;
	size_t i = 0;
	json_foreach(v, c) {
		if (i++ == 1)
			assert_true(str_is(json_text(json_get(v, "d")), "\"]}\\\"\""));
	}
	assert_int_equal(i, 3);
	struct json_iter it;
	struct json key;
	json_iter_init(&it, doc);
	assert_true(json_next(&it, &key, &v));
	assert_true(str_is(json_text(key), "\"a\""));
	json_iter_init(&it, parse("[ 1 ]"));
	assert_true(json_next(&it, &key, &v));
	assert_null(key.p);
	assert_false(json_next(&it, &key, &v));
}

/* Every value of a tree, by stepping in, equals what json_next() finds; leaving early goes over the rest. */
static void step_through(struct json container, int depth)
{
	struct json_iter over = json_iter_start(container), at = json_iter_start(container);
	struct json key, other_key, value;
	while (json_next(&over, &key, &value)) {
		assert_true(json_next_key(&at, &other_key));
		assert_ptr_equal(key.p, other_key.p);
		assert_int_equal(json_here(&at), json_type(value));
		struct json_iter inside = json_into(&at);
		/* Nothing, one element, or all of it. */
		for (int i = 0; i < depth % 3 && json_next_key(&inside, NULL); i++)
			json_over(&inside);
		struct json whole = json_out(&at, &inside);
		assert_ptr_equal(whole.p, value.p);
		assert_int_equal(whole.n, value.n);
		step_through(value, depth + 1);
	}
	assert_false(json_next_key(&at, NULL));
}

static void stepping_in(void **state)
{
	for (int depth = 0; depth < 3; depth++) {
		step_through(
			parse("{\"a\":[ ],\"b\":{ \"c\" : [1, {\"d\":\"]}\\\"\"} ,3 ] , \"e\":{} },\"f\":null,\"g\":[[[]],[{}]]}"),
			depth);
		step_through(parse(" [ \"x\" , [ 1 , 2 , 3 ] , { \"}\" : \"{\" } ] "), depth);
		step_through(parse("7"), depth);
	}
	struct json_iter none = json_iter_start(JSON_ABSENT);
	assert_false(json_next_key(&none, NULL));
}

#define DIGITS_50 "01234567890123456789012345678901234567890123456789"
#define DIGITS_200 DIGITS_50 DIGITS_50 DIGITS_50 DIGITS_50

/* Skipping by blocks against every alignment: a value with each kind of trap, pushed through the blocks of 64 byte by
 * byte, must end at the same place. */
static void skipping_at_every_offset(void **state)
{
	static const char *const traps[] = {
		"[]",
		"{}",
		"[[[[[[]]]]]]",
		"[\"]\",\"}\"]",
		"{\"a\\\"]\":[\"\\\\\"],\"b\\\\\\\"{\":{\"c\":\"\\\\\\\\\"}}",
		("[\"\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\"
		 "\\\\\\\\\\\\\\\"]\"]"),
		"[{\"k\":\"0123456789012345678901234567890123456789012345678901234567890123456789{\"},[\"[\"]]",
		/* Strings longer than two blocks, with their traps at the end. */
		("{\"a\":\"" DIGITS_200 "\\\\\",\"b\":\"" DIGITS_200 "\\\"}\",\"c\":[\"" DIGITS_200 "]\\\\\\\"\"]}"),
		"\"}]\\\"\"",
		"-12.5e3",
		"true",
	};
	for (size_t t = 0; t < ARRAY_SIZE(traps); t++) {
		for (int pad = 0; pad < 140; pad++) {
			struct json doc =
				parse(arena_printf(&arena, "[ \"%0*d\" , %s ,%*s7]", pad, 0, traps[t], pad, ""));
			struct json_iter it = json_iter_start(doc);
			struct json v;
			assert_true(json_next(&it, NULL, &v));
			assert_true(json_next(&it, NULL, &v));
			assert_true(str_is(json_text(v), traps[t]));
			assert_true(json_next(&it, NULL, &v));
			assert_true(str_is(json_text(v), "7"));
			assert_false(json_next(&it, NULL, &v));
			/* As a member's value, and inside of a container that is skipped as a whole. */
			doc = parse(arena_printf(&arena, "{\"%0*d\":{\"x\":%s},\"z\":8}", pad, 0, traps[t]));
			assert_true(str_is(json_text(json_get(doc, "z")), "8"));
		}
	}
	arena_reset(&arena);
}

static void equality(void **state)
{
	static const struct {
		const char *a;
		const char *b;
		bool same;
	} pairs[] = {
		{ "{\"a\":1,\"b\":2}", "{ \"b\" : 2, \"a\" : 1 }", true },
		{ "{\"a\":1}", "{\"a\":1,\"b\":2}", false },
		{ "{\"a\":1,\"a\":2}", "{\"a\":2}", true },
		{ "{\"a\":2,\"a\":1}", "{\"a\":2}", false },
		{ "{\"a\":null}", "{}", false },
		{ "{\"\\u0061\":\"\\u0062\"}", "{\"a\":\"b\"}", true },
		{ "[1,2]", "[1, 2]", true },
		{ "[1,2]", "[2,1]", false },
		{ "[1]", "[1,1]", false },
		{ "1", "1.0", false },
		{ "\"\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\"", true },
		{ "\"a\"", "\"a\\u0000\"", false },
		{ "true", "false", false },
		{ "null", "false", false },
		{ "{\"x\":[{\"y\":{}}]}", "{\"x\":[{\"y\":{ }}]}", true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(json_equal(parse(pairs[i].a), parse(pairs[i].b)), pairs[i].same);
		assert_int_equal(json_equal(parse(pairs[i].b), parse(pairs[i].a)), pairs[i].same);
	}
	assert_true(json_equal(JSON_ABSENT, JSON_ABSENT));
	assert_false(json_equal(JSON_ABSENT, parse("null")));
}

static void writing(void **state)
{
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	buf_init(&b, 10000);
	jw_init(&w, &b);
	jw_object(&w);
	jw_kv_string(&w, "s", "a\"b");
	jw_kv_string(&w, "none", NULL);
	jw_kv_int(&w, "n", INT64_MIN);
	jw_kv_bool(&w, "t", true);
	jw_key(&w, "list");
	jw_array(&w);
	jw_int(&w, 1);
	jw_array(&w);
	jw_array_end(&w);
	jw_object(&w);
	jw_object_end(&w);
	jw_null(&w);
	jw_str(&w, STR("x"));
	jw_array_end(&w);
	jw_kv_raw(&w, "raw", parse("{\"k\":[1]}"));
	jw_kv_raw(&w, "absent", JSON_ABSENT);
	jw_kv_str(&w, "empty", STR(""));
	jw_key_str(&w, STR("k\n"));
	jw_raw_str(&w, STR("1e2"));
	jw_object_end(&w);
	assert_string_equal(b.data, "{\"s\":\"a\\\"b\",\"none\":null,\"n\":-9223372036854775808,\"t\":true,"
				    "\"list\":[1,[],{},null,\"x\"],\"raw\":{\"k\":[1]},\"absent\":null,\"empty\":\"\","
				    "\"k\\n\":1e2}");
	struct json v;
	assert_int_equal(json_check(buf_str(&b), &v, NULL), 0);
}

static void quoting(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
		{ { "", 0 }, "\"\"" },
		{ { NULL, 0 }, "\"\"" },
		{ { "a\\b\"c/", 6 }, "\"a\\\\b\\\"c/\"" },
		{ { "\b\f\n\r\t\0\x1f\x7f", 8 }, "\"\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\"" },
		{ { "caf\xC3\xA9", 5 }, "\"caf\xC3\xA9\"" },
		{ { "a\xFFz", 3 }, "\"a\xEF\xBF\xBDz\"" },
		{ { "\xE2\x82", 2 }, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"" },
		{ { "0123456789abcdef0123\"", 21 }, "\"0123456789abcdef0123\\\"\"" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_buf_ struct buf b;
		buf_init(&b, 1000);
		json_quote(&b, cases[i].in);
		assert_string_equal(b.data, cases[i].out);
	}
	/* Whatever the bytes: what is written can be read, and valid text comes back as it was. */
	for (unsigned seed = 1; seed < 3000; seed++) {
		char bytes[40];
		unsigned x = seed * 2654435761u;
		size_t n = x % sizeof(bytes);
		for (size_t i = 0; i < n; i++) {
			x = x * 1664525u + 1013904223u;
			bytes[i] = (char)(x >> 24);
			if (seed % 2)
				bytes[i] &= 0x7F;
		}
		_cleanup_buf_ struct buf b;
		buf_init(&b, 1000);
		json_quote(&b, (struct str){ bytes, n });
		struct json v;
		struct str back;
		assert_int_equal(json_check(buf_str(&b), &v, NULL), 0);
		assert_true(json_string(v, &arena, &back));
		assert_true(str_is_utf8(back));
		if (seed % 2)
			assert_true(str_eq(back, (struct str){ bytes, n }));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(depth),
		cmocka_unit_test(types_and_scalars),
		cmocka_unit_test(strings),
		cmocka_unit_test(walking),
		cmocka_unit_test(stepping_in),
		cmocka_unit_test(equality),
		cmocka_unit_test(skipping_at_every_offset),
		cmocka_unit_test(writing),
		cmocka_unit_test(quoting),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
