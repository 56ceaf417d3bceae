#include "unit.h"

#include "base/fields.h"

struct inner {
	const char *b;
	int64_t n;
};

struct body {
	const char *name;
	const char *kind;
	struct str bytes;
	int64_t count;
	bool on;
	int maybe;
	struct json any;
	struct json object;
	struct json array;
	struct json map;
	struct json list;
	struct inner a;
};

static const char *const kinds[] = { "update", "preview", NULL };
static const struct field inner_fields[] = {
	FIELD(struct inner, b, "b", FIELD_STRING, .max = 5),
	FIELD(struct inner, n, "x/y~z", FIELD_INT, .min = -2, .max = 3),
	FIELD_END,
};
static const struct field body_fields[] = {
	FIELD(struct body, name, "name", FIELD_STRING, .required = true, .min = 1, .max = 10),
	FIELD(struct body, kind, "kind", FIELD_STRING, .one_of = kinds),
	FIELD(struct body, bytes, "bytes", FIELD_BYTES, .max = 4),
	FIELD(struct body, count, "count", FIELD_INT),
	FIELD(struct body, on, "on", FIELD_BOOL),
	FIELD(struct body, maybe, "maybe", FIELD_TRISTATE),
	FIELD(struct body, any, "any", FIELD_JSON),
	FIELD(struct body, object, "object", FIELD_JSON_OBJECT),
	FIELD(struct body, array, "array", FIELD_JSON_ARRAY, .min = 2, .max = 3),
	FIELD(struct body, map, "map", FIELD_STRING_MAP, .max = 2),
	FIELD(struct body, list, "list", FIELD_STRING_LIST),
	FIELD(struct body, a, "a", FIELD_OBJECT, .sub = inner_fields),
	FIELD_END,
};

static struct arena arena;
static struct err err;

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

static int decode(const char *text, struct body *out, struct ignored_fields *ig)
{
	struct json v;
	err_reset(&err);
	*out = (struct body){ .maybe = -1, .count = 77 };
	assert_int_equal(json_check(str_of(text), &v, &err), 0);
	return fields_decode(v, body_fields, out, &arena, ig, &err);
}

static void everything(void **state)
{
	struct body b;
	assert_int_equal(
		decode("{\"name\":\"n\\u00e9\",\"kind\":\"preview\",\"bytes\":\"Zm9v\",\"count\":-5,\"on\":true,"
		       "\"maybe\":false,\"any\":[1],\"object\":{\"k\":1},\"array\":[1,2],\"map\":{\"k\":\"v\"},"
		       "\"list\":[\"a\",\"b\"],\"a\":{\"b\":\"five5\",\"x/y~z\":3}}",
		       &b, NULL),
		0);
	assert_string_equal(b.name, "n\xC3\xA9");
	assert_string_equal(b.kind, "preview");
	assert_true(str_is(b.bytes, "foo"));
	assert_int_equal(b.count, -5);
	assert_true(b.on);
	assert_int_equal(b.maybe, 0);
	assert_true(str_is(json_text(b.any), "[1]"));
	assert_true(str_is(json_text(b.object), "{\"k\":1}"));
	assert_int_equal(json_count(b.array), 2);
	assert_int_equal(json_count(b.map), 1);
	assert_int_equal(json_count(b.list), 2);
	assert_string_equal(b.a.b, "five5");
	assert_int_equal(b.a.n, 3);
}

static void absent_and_null_leave_defaults(void **state)
{
	struct body b;
	assert_int_equal(decode("{\"name\":\"n\",\"count\":null,\"any\":null,\"a\":null,\"map\":null}", &b, NULL), 0);
	assert_int_equal(b.count, 77);
	assert_int_equal(b.maybe, -1);
	assert_null(b.any.p);
	assert_null(b.kind);
	assert_null(b.bytes.p);
}

static void the_last_of_repeated_keys_counts(void **state)
{
	struct body b;
	assert_int_equal(decode("{\"name\":1,\"count\":1,\"n\\u0061me\":\"last\"}", &b, NULL), 0);
	assert_string_equal(b.name, "last");
}

static void errors_name_the_pointer(void **state)
{
	static const struct {
		const char *text;
		const char *message;
	} bad[] = {
		{ "[]", "the body: must be a JSON object" },
		{ "\"x\"", "the body: must be a JSON object" },
		{ "{}", "/name: is required" },
		{ "{\"name\":null}", "/name: is required" },
		{ "{\"name\":1}", "/name: must be a string" },
		{ "{\"name\":\"\"}", "/name: must not be empty" },
		{ "{\"name\":\"12345678901\"}", "/name: must have at most 10 bytes" },
		{ "{\"name\":\"a\\u0000b\"}", "/name: must not contain a NUL character" },
		{ "{\"name\":\"n\",\"kind\":\"upd\"}", "/kind: must be one of update, preview" },
		{ "{\"name\":\"n\",\"bytes\":\"Zg\"}", "/bytes: must be base64" },
		{ "{\"name\":\"n\",\"bytes\":7}", "/bytes: must be a string in base64" },
		{ "{\"name\":\"n\",\"bytes\":\"Zm9vYmE=\"}", "/bytes: must have at most 4 bytes" },
		{ "{\"name\":\"n\",\"count\":1.5}", "/count: must be a whole number" },
		{ "{\"name\":\"n\",\"count\":\"1\"}", "/count: must be a whole number" },
		{ "{\"name\":\"n\",\"count\":99999999999999999999}", "/count: must be a whole number" },
		{ "{\"name\":\"n\",\"on\":1}", "/on: must be true or false" },
		{ "{\"name\":\"n\",\"maybe\":\"yes\"}", "/maybe: must be true or false" },
		{ "{\"name\":\"n\",\"object\":[]}", "/object: must be an object" },
		{ "{\"name\":\"n\",\"array\":{}}", "/array: must be an array" },
		{ "{\"name\":\"n\",\"array\":[1]}", "/array: must have at least 2 elements" },
		{ "{\"name\":\"n\",\"array\":[1,2,3,4]}", "/array: must have at most 3 elements" },
		{ "{\"name\":\"n\",\"map\":[]}", "/map: must be an object" },
		{ "{\"name\":\"n\",\"map\":{\"k/~\":1}}", "/map/k~1~0: must be a string" },
		{ "{\"name\":\"n\",\"map\":{\"a\":\"\",\"b\":\"\",\"c\":\"\"}}", "/map: must have at most 2 members" },
		{ "{\"name\":\"n\",\"list\":\"a\"}", "/list: must be an array" },
		{ "{\"name\":\"n\",\"list\":[\"a\",null]}", "/list/1: must be a string" },
		{ "{\"name\":\"n\",\"a\":[]}", "/a: must be an object" },
		{ "{\"name\":\"n\",\"a\":{\"b\":1}}", "/a/b: must be a string" },
		{ "{\"name\":\"n\",\"a\":{\"b\":\"123456\"}}", "/a/b: must have at most 5 bytes" },
		{ "{\"name\":\"n\",\"a\":{\"x/y~z\":4}}", "/a/x~1y~0z: must be between -2 and 3" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct body b;
		assert_int_equal(decode(bad[i].text, &b, NULL), -ERR_BAD_REQUEST);
		assert_string_equal(err.message, bad[i].message);
	}
}

/* Found by the fuzzer: the key filled the message, and the reason was cut off. */
static void a_long_key_does_not_hide_the_reason(void **state)
{
	for (int shift = 0; shift < 3; shift++) {
		_cleanup_buf_ struct buf text;
		struct body b;
		buf_init(&text, 10000);
		buf_addf(&text, "{\"name\":\"n\",\"map\":{\"%.*s", shift, "xyz");
		for (int i = 0; i < 2000; i++)
			buf_adds(&text, "\xE2\x82\xAC");
		buf_adds(&text, "\":1}}");
		assert_int_equal(decode(text.data, &b, NULL), -ERR_BAD_REQUEST);
		assert_true(str_is_utf8(str_of(err.message)));
		assert_true(str_starts_with(str_of(err.message), "/map/"));
		assert_true(str_ends_with(str_of(err.message), "\xE2\x82\xAC...: must be a string"));
	}
}

static void unknown_fields_are_noted(void **state)
{
	struct body b;
	struct ignored_fields ig;
	ignored_fields_init(&ig);
	assert_int_equal(decode("{\"name\":\"n\",\"new\":{\"deep\":1},\"a\":{\"c\":1},\"any\":{\"kept\":1},"
				"\"bad\\r\\nX-Evil: 1,2\":1,\"caf\xC3\xA9/%\":2}",
				&b, &ig),
			 0);
	assert_int_equal(ig.count, 4);
	assert_string_equal(buf_str(&ig.names).p, "/new, /bad%0D%0AX-Evil:%201%2C2, /caf%C3%A9~1%25, /a/c");
	ignored_fields_done(&ig);
	/* A flood of them does not fail the request, and the list stays whole. */
	_cleanup_buf_ struct buf text;
	buf_init(&text, 100000);
	buf_adds(&text, "{\"name\":\"n\"");
	for (int i = 0; i < 1000; i++)
		buf_addf(&text, ",\"unknown%d\":1", i);
	buf_addf(&text, ",\"%03000d\":1}", 0);
	ignored_fields_init(&ig);
	assert_int_equal(decode(text.data, &b, &ig), 0);
	assert_int_equal(ig.count, 1001);
	assert_false(buf_failed(&ig.names));
	assert_true(ig.names.len <= 1024);
	ignored_fields_done(&ig);
}

static void a_full_arena_is_out_of_memory(void **state)
{
	struct json v;
	struct body b = { 0 };
	struct arena tiny;
	assert_int_equal(json_check(STR("{\"name\":\"n\"}"), &v, &err), 0);
	for (size_t max = 1; max < 220; max++) {
		arena_init(&tiny, max);
		assert_int_equal(fields_decode(v, body_fields, &b, &tiny, NULL, &err), -ERR_NO_MEMORY);
		arena_done(&tiny);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything),
		cmocka_unit_test(absent_and_null_leave_defaults),
		cmocka_unit_test(the_last_of_repeated_keys_counts),
		cmocka_unit_test(errors_name_the_pointer),
		cmocka_unit_test(a_long_key_does_not_hide_the_reason),
		cmocka_unit_test(unknown_fields_are_noted),
		cmocka_unit_test(a_full_arena_is_out_of_memory),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
