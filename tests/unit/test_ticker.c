#include "server/ticker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "unit.h"

static atomic_int calls;
static _Atomic int64_t interval_us; /* what the room asks for */
static atomic_bool failing;

static int count_fn(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	atomic_fetch_add(&calls, 1);
	if (atomic_load(&failing))
		return err_set(e, ERR_UNAVAILABLE, "meant to fail (test_ticker)");
	int64_t interval = atomic_load(&interval_us);
	*ret_next_us = interval == INT64_MAX ? INT64_MAX : now_us + interval;
	return 0;
}

static int never_fn(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	*ret_next_us = INT64_MAX;
	return 0;
}

static const struct tick ticks[] = { { "never", never_fn }, { "count", count_fn } };

static struct ticker *start(int64_t interval)
{
	struct err e = { 0 };
	struct ticker *t;
	atomic_store(&calls, 0);
	atomic_store(&interval_us, interval);
	atomic_store(&failing, false);
	if (ticker_start(NULL, ticks, ARRAY_SIZE(ticks), &t, &e) < 0)
		fail_msg("%s", e.message);
	return t;
}

/* Waits until there were n calls, at most for five seconds: a loaded machine is no failure. */
static bool reaches(int n)
{
	for (int i = 0; i < 500 && atomic_load(&calls) < n; i++)
		usleep(10000);
	return atomic_load(&calls) >= n;
}

static void it_sleeps_until_something_is_due(void **state)
{
	struct ticker *t = start(INT64_MAX);
	assert_true(reaches(1));
	usleep(100000);
	assert_int_equal(atomic_load(&calls), 1);
	ticker_stop(t);
	t = start(20 * US_PER_MS);
	assert_true(reaches(5));
	ticker_stop(t);
}

static void a_poke_wakes_it(void **state)
{
	struct ticker *t = start(INT64_MAX);
	assert_true(reaches(1));
	ticker_poke(t, 0);
	assert_true(reaches(2));
	/* One for later has time, but comes. */
	ticker_poke(t, 300 * US_PER_MS);
	usleep(50000);
	assert_int_equal(atomic_load(&calls), 2);
	assert_true(reaches(3));
	usleep(50000);
	assert_int_equal(atomic_load(&calls), 3);
	ticker_stop(t);
}

static void a_room_that_is_always_due_does_not_spin(void **state)
{
	struct ticker *t = start(0);
	assert_true(reaches(3));
	usleep(100000);
	ticker_stop(t);
	assert_true(atomic_load(&calls) < 1000);
}

static void an_error_is_tried_again(void **state)
{
	struct ticker *t = start(INT64_MAX);
	assert_true(reaches(1));
	atomic_store(&failing, true);
	ticker_poke(t, 0);
	assert_true(reaches(2));
	atomic_store(&failing, false);
	assert_true(reaches(3));
	ticker_stop(t);
	ticker_stop(NULL);
}

#ifdef SLIPWAY_TEST_CLOCK_BUILD
static void a_moved_clock_wakes_it(void **state)
{
	struct ticker *t = start(US_PER_HOUR);
	assert_true(reaches(1));
	usleep(50000);
	assert_int_equal(atomic_load(&calls), 1);
	clock_set_offset_us(2 * US_PER_HOUR);
	assert_true(reaches(2));
	clock_set_offset_us(0);
	ticker_stop(t);
}
#endif

static void *poke_many(void *arg)
{
	for (int i = 0; i < 1000; i++)
		ticker_poke(arg, i % 3 * US_PER_MS);
	return NULL;
}

static void pokes_from_many_threads(void **state)
{
	struct ticker *t = start(INT64_MAX);
	pthread_t threads[4];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, poke_many, t), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_true(reaches(2));
	ticker_stop(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_sleeps_until_something_is_due),
		cmocka_unit_test(a_poke_wakes_it),
		cmocka_unit_test(a_room_that_is_always_due_does_not_spin),
		cmocka_unit_test(an_error_is_tried_again),
#ifdef SLIPWAY_TEST_CLOCK_BUILD
		cmocka_unit_test(a_moved_clock_wakes_it),
#endif
		cmocka_unit_test(pokes_from_many_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
