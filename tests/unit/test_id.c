#include "unit.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"

static void shape(void **state)
{
	char id[ID_SIZE];
	id_new(id);
	assert_int_equal(strlen(id), 36);
	assert_true(id_valid(str_of(id)));
	assert_int_equal(id[14], '7');
	assert_non_null(strchr("89ab", id[19]));
	/* The first 48 bits are the time. */
	char hex[13] = { 0 };
	memcpy(hex, id, 8);
	memcpy(hex + 8, id + 9, 4);
	int64_t ms = (int64_t)strtoull(hex, NULL, 16);
	int64_t now_ms = clock_now_us() / 1000;
	assert_true(now_ms - ms >= 0 && now_ms - ms < 10000);
}

static void validity(void **state)
{
	assert_true(id_valid(STR("0192d3a4-5678-7abc-8def-0123456789ab")));
	static const char *const bad[] = { "",
					   "0192d3a4-5678-7abc-8def-0123456789a",
					   "0192d3a4-5678-7abc-8def-0123456789abc",
					   "0192D3A4-5678-7abc-8def-0123456789ab",
					   "0192d3a4+5678-7abc-8def-0123456789ab",
					   "0192d3a4-5678-7abc-8def-0123456789ag" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(id_valid(str_of(bad[i])));
	assert_false(id_valid(STR_NULL));
}

static void order_survives_a_clock_set_back(void **state)
{
	char last[ID_SIZE];
	char id[ID_SIZE];
	id_new(last);
	for (int i = 0; i < 10000; i++) {
		if (i == 5000)
			clock_set_offset_us(-US_PER_HOUR);
		id_new(id);
		assert_true(strcmp(id, last) > 0);
		memcpy(last, id, sizeof(last));
	}
	clock_set_offset_us(0);
}

#define THREADS 4
#define PER_THREAD 20000

static void *draw(void *arg)
{
	char(*ids)[ID_SIZE] = arg;
	for (int i = 0; i < PER_THREAD; i++)
		id_new(ids[i]);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void threads_never_share_an_id(void **state)
{
	char(*ids)[ID_SIZE] = malloc((size_t)THREADS * PER_THREAD * ID_SIZE);
	pthread_t threads[THREADS];
	for (int t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, draw, ids + (size_t)t * PER_THREAD), 0);
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	for (int t = 0; t < THREADS; t++) {
		for (int i = 1; i < PER_THREAD; i++)
			assert_true(strcmp(ids[t * PER_THREAD + i - 1], ids[t * PER_THREAD + i]) < 0);
	}
	qsort(ids, (size_t)THREADS * PER_THREAD, ID_SIZE, compare);
	/* Already the ordered part (time and counter) is unique. */
	for (int i = 1; i < THREADS * PER_THREAD; i++)
		assert_true(memcmp(ids[i - 1], ids[i], 18) < 0);
	free(ids);
}

static void derived_ids_repeat_and_are_no_others(void **state)
{
	static const unsigned char hash[10] = { 0xFF, 1, 0xFF, 3, 4, 5, 6, 7, 8, 9 };
	char id[ID_SIZE], own[ID_SIZE];
	id_derive(id, INT64_C(1700000000000) * 1000, hash);
	assert_string_equal(id, "018bcfe5-6800-8f01-bf03-040506070809");
	assert_true(id_is_derived(id));
	id_new(own);
	assert_false(id_is_derived(own));
	assert_false(id_is_derived("8"));
	assert_false(id_is_derived(NULL));
	id_derive(id, -5, hash);
	assert_memory_equal(id, "00000000-0000-8", 15);
}

static void the_floor_of_a_time_divides_ids(void **state)
{
	char floor[ID_SIZE], later[ID_SIZE], id[ID_SIZE];
	int64_t now_us = clock_now_us();
	id_new(id);
	id_floor(floor, now_us - US_PER_S);
	id_floor(later, now_us + US_PER_S);
	assert_true(strcmp(floor, id) < 0 && strcmp(id, later) < 0);
	id_floor(floor, INT64_C(1700000000000) * 1000);
	assert_string_equal(floor, "018bcfe5-6800-0000-0000-000000000000");
	id_floor(floor, -5);
	assert_string_equal(floor, "00000000-0000-0000-0000-000000000000");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shape),
		cmocka_unit_test(validity),
		cmocka_unit_test(order_survives_a_clock_set_back),
		cmocka_unit_test(threads_never_share_an_id),
		cmocka_unit_test(derived_ids_repeat_and_are_no_others),
		cmocka_unit_test(the_floor_of_a_time_divides_ids),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
