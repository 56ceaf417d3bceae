#include "unit.h"

#include <pthread.h>
#include <stdio.h>

#include "deploy/mask_cache.h"

static struct mask_set *set_of(const char *value)
{
	struct mask_set *s = mask_set_new();
	assert_int_equal(mask_set_add(s, str_of(value), NULL), 1);
	assert_int_equal(mask_set_build(s, NULL), 0);
	return s;
}

static void kept_and_forgotten(void **state)
{
	struct mask_set *s = set_of("hunter2");
	assert_null(mask_cache_get("one"));
	mask_cache_put("one", s);
	mask_cache_put("one", s);
	struct mask_set *again = mask_cache_get("one");
	assert_ptr_equal(again, s);
	mask_cache_forget("one");
	mask_cache_forget("one");
	assert_null(mask_cache_get("one"));
	mask_set_free(s);
	assert_true(mask_finds(again, STR("a hunter2"))); /* our reference holds it */
	mask_set_free(again);
}

static void the_oldest_goes(void **state)
{
	char id[16];
	for (int i = 0; i < 1000; i++) {
		_cleanup_mask_set_ struct mask_set *s = set_of("hunter2");
		snprintf(id, sizeof(id), "d%d", i);
		mask_cache_put(id, s);
		struct mask_set *first = mask_cache_get("d0");
		assert_non_null(first); /* used all the time */
		mask_set_free(first);
	}
	assert_null(mask_cache_get("d1"));
	struct mask_set *last = mask_cache_get("d999");
	assert_non_null(last);
	mask_set_free(last);
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "d%d", i);
		mask_cache_forget(id);
	}
}

static void *use(void *arg)
{
	char id[16];
	for (int i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "t%d", i % 7);
		struct mask_set *s = mask_cache_get(id);
		if (!s) {
			s = set_of("hunter2");
			mask_cache_put(id, s);
		}
		assert_true(mask_finds(s, STR("hunter2")));
		mask_set_free(s);
		if (i % 5 == 0)
			mask_cache_forget(id);
	}
	return NULL;
}

static void by_many_threads(void **state)
{
	pthread_t threads[4];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 7; i++)
		mask_cache_forget((char[]){ 't', (char)('0' + i), 0 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kept_and_forgotten),
		cmocka_unit_test(the_oldest_goes),
		cmocka_unit_test(by_many_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
