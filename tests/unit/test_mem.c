#include "unit.h"

#include <unistd.h>

#include "base/mem.h"

static bool all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static void memory_is_zeroed_and_aligned(void **state)
{
	struct arena a;
	arena_init(&a, 0);
	/* Twice: the second round gets used memory back. */
	for (int round = 0; round < 2; round++) {
		for (size_t size = 0; size < 40000; size = size * 2 + 1) {
			char *p = arena_alloc(&a, size);
			assert_non_null(p);
			assert_int_equal((uintptr_t)p % 16, 0);
			assert_true(all_zero(p, size));
			memset(p, 0xA5, size);
		}
		arena_reset(&a);
		assert_int_equal(a.used_bytes, 0);
	}
	arena_done(&a);
}

static void pieces_do_not_overlap(void **state)
{
	struct arena a;
	arena_init(&a, 0);
	unsigned char *pieces[300];
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		size_t n = i % 50 == 49 ? 20000 : i;
		pieces[i] = arena_alloc(&a, n);
		memset(pieces[i], (int)(i & 0xFF), n);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		size_t n = i % 50 == 49 ? 20000 : i;
		for (size_t j = 0; j < n; j++)
			assert_int_equal(pieces[i][j], i & 0xFF);
	}
	arena_done(&a);
}

static void the_maximum_holds(void **state)
{
	struct arena a;
	arena_init(&a, 1000);
	assert_non_null(arena_alloc(&a, 900));
	assert_false(arena_failed(&a));
	assert_null(arena_alloc(&a, 200));
	assert_true(arena_failed(&a));
	/* It stays failed, also for what would fit. */
	assert_null(arena_alloc(&a, 1));
	arena_reset(&a);
	assert_false(arena_failed(&a));
	assert_non_null(arena_alloc(&a, 900));
	assert_null(arena_array(&a, SIZE_MAX / 2, 4));
	assert_true(arena_failed(&a));
	arena_reset(&a);
	assert_null(arena_alloc(&a, SIZE_MAX));
	arena_done(&a);
}

static void strings(void **state)
{
	struct arena a;
	arena_init(&a, 0);
	assert_string_equal(arena_strdup(&a, "abc"), "abc");
	assert_string_equal(arena_strndup(&a, "abc", 2), "ab");
	assert_string_equal(arena_strndup(&a, NULL, 0), "");
	assert_string_equal(arena_printf(&a, "%d-%s", 5, "x"), "5-x");
	for (int n = 250; n < 260; n++) {
		char *s = arena_printf(&a, "%0*d", n, 7);
		assert_int_equal(strlen(s), n);
		assert_int_equal(s[n - 1], '7');
	}
	arena_done(&a);
}

static void scope_end(void **state)
{
	{
		_cleanup_free_ char *p = malloc(3);
		_cleanup_free_ char *q = malloc(3);
		char *kept = TAKE_PTR(q);
		assert_null(q);
		free(kept);
		assert_non_null(p);
	}
	int fd = dup(0);
	int copy = fd;
	{
		_cleanup_close_ int closed = TAKE_FD(fd);
		assert_int_equal(fd, -1);
		assert_int_equal(closed, copy);
	}
	assert_int_equal(close(copy), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_and_aligned),
		cmocka_unit_test(pieces_do_not_overlap),
		cmocka_unit_test(the_maximum_holds),
		cmocka_unit_test(strings),
		cmocka_unit_test(scope_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
