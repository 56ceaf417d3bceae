#include "unit.h"

#include "base/encode.h"

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

/* RFC 4648 §10. */
static const struct {
	const char *plain;
	const char *standard;
	const char *url;
	const char *hex;
} vectors[] = {
	{ "", "", "", "" },
	{ "f", "Zg==", "Zg", "66" },
	{ "fo", "Zm8=", "Zm8", "666f" },
	{ "foo", "Zm9v", "Zm9v", "666f6f" },
	{ "foob", "Zm9vYg==", "Zm9vYg", "666f6f62" },
	{ "fooba", "Zm9vYmE=", "Zm9vYmE", "666f6f6261" },
	{ "foobar", "Zm9vYmFy", "Zm9vYmFy", "666f6f626172" },
	{ "\xFB\xFF\xFE", "+//+", "-__-", "fbfffe" },
};

static void known_answers(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		_cleanup_buf_ struct buf b;
		struct str plain = str_of(vectors[i].plain);
		struct str got;
		buf_init(&b, strlen(vectors[i].standard)); /* exactly */
		base64_encode(&b, plain);
		assert_false(buf_failed(&b));
		assert_string_equal(buf_str(&b).p, vectors[i].standard);
		assert_string_equal(base64_encode_arena(&arena, plain), vectors[i].standard);
		assert_true(base64_decode(&arena, buf_str(&b), &got) && str_eq(got, plain));
		buf_done(&b);
		buf_init(&b, strlen(vectors[i].url));
		base64url_encode(&b, plain);
		assert_false(buf_failed(&b));
		assert_string_equal(buf_str(&b).p, vectors[i].url);
		assert_true(base64url_decode(&arena, buf_str(&b), &got) && str_eq(got, plain));
		buf_done(&b);
		buf_init(&b, strlen(vectors[i].hex));
		hex_encode(&b, plain);
		assert_false(buf_failed(&b));
		assert_string_equal(buf_str(&b).p, vectors[i].hex);
		assert_string_equal(hex_encode_arena(&arena, plain), vectors[i].hex);
		assert_true(hex_decode(&arena, buf_str(&b), &got) && str_eq(got, plain));
	}
}

static void round_trips(void **state)
{
	char bytes[300];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 37 + i / 7);
	for (size_t n = 0; n < sizeof(bytes); n++) {
		struct str in = { bytes, n };
		struct str got;
		assert_true(base64_decode(&arena, str_of(base64_encode_arena(&arena, in)), &got));
		assert_true(str_eq(got, in));
		assert_true(hex_decode(&arena, str_of(hex_encode_arena(&arena, in)), &got));
		assert_true(str_eq(got, in));
		_cleanup_buf_ struct buf b;
		buf_init(&b, 1000);
		url_escape(&b, in);
		assert_int_equal(url_unescape(&arena, buf_str(&b), false, &got), !str_has_nul(in));
		if (!str_has_nul(in))
			assert_true(str_eq(got, in));
	}
}

static void refused(void **state)
{
	struct str got;
	static const char *const bad64[] = { "Zg",     "Zg=",	"Zg===", "Z===", "====", "=",	 "Zg==Zg==",
					     "Zm9v\n", "Zm 9v", "Zh==",	 "Zm9=", "-__-", "Z=g=", "Zm9\xC3" };
	for (size_t i = 0; i < ARRAY_SIZE(bad64); i++)
		assert_false(base64_decode(&arena, str_of(bad64[i]), &got));
	static const char *const bad_url[] = { "Zg==", "Z", "+//+", "Zh", "Zm9vY" };
	for (size_t i = 0; i < ARRAY_SIZE(bad_url); i++)
		assert_false(base64url_decode(&arena, str_of(bad_url[i]), &got));
	assert_false(hex_decode(&arena, STR("abc"), &got));
	assert_false(hex_decode(&arena, STR("zz"), &got));
	assert_true(hex_decode(&arena, STR("AbFf"), &got));
}

static void urls(void **state)
{
	struct str got;
	_cleanup_buf_ struct buf b;
	buf_init(&b, 100);
	url_escape(&b, STR("a b/c+\xC3\xA9~-._"));
	assert_string_equal(b.data, "a%20b%2Fc%2B%C3%A9~-._");
	assert_true(url_unescape(&arena, STR("a%20b+c%2f"), false, &got) && str_is(got, "a b+c/"));
	assert_true(url_unescape(&arena, STR("a+b"), true, &got) && str_is(got, "a b"));
	static const char *const bad[] = { "%", "%2", "a%", "%zz", "%0", "%00", "%2%20" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(url_unescape(&arena, str_of(bad[i]), false, &got));
}

static void a_full_buffer_fails(void **state)
{
	struct buf b;
	buf_init(&b, 3);
	base64_encode(&b, STR("x"));
	assert_true(buf_failed(&b));
	assert_int_equal(b.len, 0);
	buf_reset(&b);
	hex_encode(&b, STR("xy"));
	assert_true(buf_failed(&b));
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers), cmocka_unit_test(round_trips),		cmocka_unit_test(refused),
		cmocka_unit_test(urls),		 cmocka_unit_test(a_full_buffer_fails),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
