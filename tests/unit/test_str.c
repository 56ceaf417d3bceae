#include "unit.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"

static void views(void **state)
{
	assert_true(str_eq(STR("ab"), str_of("ab")));
	assert_false(str_eq(STR("ab"), STR("ac")));
	assert_true(str_eq(STR_NULL, STR("")));
	assert_true(str_starts_with(STR("pul-abc"), "pul-"));
	assert_true(str_starts_with(STR_NULL, ""));
	assert_false(str_starts_with(STR("pu"), "pul-"));
	assert_true(str_ends_with(STR("x.json"), ".json"));
	assert_false(str_ends_with(STR("json"), ".json"));
	assert_true(str_has_nul((struct str){ "a\0b", 3 }));
	assert_false(str_has_nul(STR("ab")));
	assert_true(streq(NULL, NULL));
	assert_false(streq(NULL, ""));
	assert_true(streq("a", "a"));
	struct str rest;
	assert_true(str_is(str_cut(STR("a/b/c"), '/', &rest), "a"));
	assert_true(str_is(rest, "b/c"));
	assert_true(str_is(str_cut(STR("abc"), '/', &rest), "abc"));
	assert_null(rest.p);
	assert_true(str_is(str_cut(STR("abc/"), '/', &rest), "abc"));
	assert_non_null(rest.p);
	assert_int_equal(rest.n, 0);
	assert_true(str_is(str_trim(STR(" \t\r\n a b \n")), "a b"));
	assert_int_equal(str_trim(STR("  ")).n, 0);
}

static void integers(void **state)
{
	int64_t v;
	assert_true(str_to_int64(STR("0"), &v) && v == 0);
	assert_true(str_to_int64(STR("-0"), &v) && v == 0);
	assert_true(str_to_int64(STR("9223372036854775807"), &v) && v == INT64_MAX);
	assert_true(str_to_int64(STR("-9223372036854775808"), &v) && v == INT64_MIN);
	static const char *const bad[] = { "",
					   "-",
					   "+1",
					   " 1",
					   "1 ",
					   "1x",
					   "9223372036854775808",
					   "-9223372036854775809",
					   "99999999999999999999",
					   "0x1",
					   "1.0",
					   "1e3" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		v = 42;
		assert_false(str_to_int64(str_of(bad[i]), &v));
		assert_int_equal(v, 42);
	}
}

static void durations_of_go(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} good[] = {
		{ "0", 0 },
		{ "0s", 0 },
		{ "1h0m0s", 3600000000 },
		{ "1h30m0.5s", 5400500000 },
		{ "1.5h", 5400000000 },
		{ ".5m", 30000000 },
		{ "2ms3us1500ns", 2005 }, /* rounded */
		{ "99999999999999999999h", INT64_MAX },
	};
	static const char *const bad[] = { "", "1", "1h0", "h", ".s", "1.2.3s", "1d", "-1h", " 1h", "1 h", "1hh" };
	int64_t v;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(str_to_go_duration_us(str_of(good[i].text), &v));
		assert_int_equal(v, good[i].us);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_to_go_duration_us(str_of(bad[i]), &v));
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t us;
	} good[] = {
		{ "90s", 90 * US_PER_S },
		{ "10m", 10 * US_PER_MINUTE },
		{ "168h", 168 * US_PER_HOUR },
		{ "1h30m", 90 * US_PER_MINUTE },
		{ "7d", 7 * US_PER_DAY },
		{ "250ms", 250 * US_PER_MS },
		{ "0s", 0 },
		{ "1d2h3m4s5ms", US_PER_DAY + 2 * US_PER_HOUR + 3 * US_PER_MINUTE + 4 * US_PER_S + 5 * US_PER_MS },
	};
	int64_t v;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(str_to_duration_us(str_of(good[i].text), &v));
		assert_int_equal(v, good[i].us);
	}
	static const char *const bad[] = { "",
					   "10",
					   "s",
					   "-1s",
					   "1.5h",
					   "1h30",
					   "1 h",
					   "1x",
					   "1H",
					   "99999999999999h",
					   "9223372036854775807ms",
					   "106751991d1000000000h" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_to_duration_us(str_of(bad[i]), &v));
}

static void utf8(void **state)
{
	static const char *const good[] = { "",
					    "plain",
					    "\xC3\xA9",
					    "\xE2\x82\xAC",
					    "\xED\x9F\xBF",
					    "\xF0\x9F\x98\x80",
					    "\xF4\x8F\xBF\xBF",
					    "0123456789abcdef\xC2\x80 and more of it" };
	static const char *const bad[] = { "\x80",
					   "\xC0\x80",
					   "\xC1\xBF",
					   "\xC3",
					   "\xE0\x9F\xBF",
					   "\xE2\x82",
					   "\xED\xA0\x80",
					   "\xF0\x8F\xBF\xBF",
					   "\xF4\x90\x80\x80",
					   "\xF5\x80\x80\x80",
					   "\xFF",
					   "01234567\xE2\x28\xA1",
					   "\xF0\x9F\x98" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(str_is_utf8(str_of(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(str_is_utf8(str_of(bad[i])));
	assert_true(str_is_utf8(STR_NULL));
}

static void a_buffer_grows_to_its_maximum(void **state)
{
	struct buf b;
	struct err e = { 0 };
	buf_init(&b, 1000);
	assert_string_equal(buf_str(&b).p, "");
	for (int i = 0; i < 1000; i++)
		buf_addc(&b, 'x');
	assert_int_equal(buf_check(&b, "body", &e), 0);
	assert_int_equal(b.len, 1000);
	assert_true(b.cap <= 1001);
	assert_int_equal(b.data[1000], '\0');
	buf_addc(&b, 'y');
	assert_true(buf_failed(&b));
	assert_int_equal(buf_check(&b, "body", &e), -ERR_TOO_LARGE);
	assert_string_equal(e.message, "body is larger than 1000 bytes");
	buf_consume(&b, 500);
	buf_adds(&b, "z"); /* sticky */
	assert_int_equal(b.len, 500);
	buf_reset(&b);
	buf_adds(&b, "z");
	assert_string_equal(buf_str(&b).p, "z");
	buf_reset(&b);
	buf_add(&b, "abcdef", SIZE_MAX - 3);
	assert_true(buf_failed(&b));
	buf_done(&b);
	buf_done(&b);
}

static void formatting(void **state)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 300);
	buf_addf(&b, "%s-%d", "a", 1);
	buf_addf(&b, "%0200d", 7);
	assert_int_equal(b.len, 203);
	buf_addf(&b, "%0200d", 7);
	assert_true(buf_failed(&b));
	assert_int_equal(b.len, 203);
	buf_reset(&b);
	buf_add_str(&b, STR("one two"));
	buf_consume(&b, 4);
	assert_string_equal(b.data, "two");
	buf_consume(&b, 99);
	assert_string_equal(b.data, "");
}

static void taking(void **state)
{
	struct buf b;
	size_t n = 9;
	buf_init(&b, KIB);
	char *empty = buf_take(&b, &n);
	assert_string_equal(empty, "");
	assert_int_equal(n, 0);
	free(empty);
	buf_adds(&b, "text");
	char *p = buf_take(&b, &n);
	assert_string_equal(p, "text");
	assert_int_equal(n, 4);
	free(p);
	assert_int_equal(b.len, 0);
	buf_add(&b, "x", 2 * KIB);
	assert_null(buf_take(&b, NULL));
	assert_false(buf_failed(&b));
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(views),
		cmocka_unit_test(integers),
		cmocka_unit_test(durations),
		cmocka_unit_test(durations_of_go),
		cmocka_unit_test(utf8),
		cmocka_unit_test(formatting),
		cmocka_unit_test(a_buffer_grows_to_its_maximum),
		cmocka_unit_test(taking),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
