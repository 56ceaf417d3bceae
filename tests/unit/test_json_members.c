/* The members of an object by name. */
#include "base/json_members.h"

#include "unit.h"

static struct json parse(const char *text)
{
	struct json v;
	assert_int_equal(json_check(str_of(text), &v, NULL), 0);
	return v;
}

static void by_name(void **state)
{
	_cleanup_arena_ struct arena a;
	struct json_members m;
	arena_init(&a, 0);
	assert_int_equal(json_members_init(&m, parse("{\"b\":1,\"a\":2,\"\\u0062\":3,\"\":4,\"ab\":5,\"a\":{\"a\":6}}"),
					   &a, NULL),
			 0);
	assert_int_equal(m.count, 4);
	static const struct {
		const char *name, *text;
	} rows[] = { { "", "4" }, { "a", "{\"a\":6}" }, { "ab", "5" }, { "b", "3" } };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(str_is(m.items[i].name, rows[i].name));
		assert_true(str_is(json_text(json_members_get(&m, str_of(rows[i].name))), rows[i].text));
	}
	assert_null(json_members_get(&m, STR("c")).p);
	assert_null(json_members_get(&m, STR("aa")).p);
}

static void what_is_no_object(void **state)
{
	static const char *const texts[] = { "[1,2]", "\"a\"", "null", "{}" };
	_cleanup_arena_ struct arena a;
	struct json_members m;
	arena_init(&a, 0);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(json_members_init(&m, parse(texts[i]), &a, NULL), 0);
		assert_int_equal(m.count, 0);
		assert_null(json_members_get(&m, STR("a")).p);
	}
	assert_int_equal(json_members_init(&m, JSON_ABSENT, &a, NULL), 0);
	assert_int_equal(m.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(by_name), cmocka_unit_test(what_is_no_object) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
