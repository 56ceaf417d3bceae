#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

static void formats(void **state)
{
	struct arena a;
	arena_init(&a, 0);
	int64_t us = INT64_C(1763710549123456);
	assert_string_equal(clock_rfc3339(&a, us), "2025-11-21T07:35:49.123456Z");
	assert_string_equal(clock_plain(&a, us), "2025-11-21 07:35:49.123");
	assert_string_equal(clock_rfc3339(&a, 0), "1970-01-01T00:00:00.000000Z");
	assert_string_equal(clock_rfc3339(&a, -1), "1969-12-31T23:59:59.999999Z");
	assert_string_equal(clock_plain(&a, INT64_C(951782400000999)), "2000-02-29 00:00:00.000");
	arena_done(&a);
}

static void offset_moves_wall_time_only(void **state)
{
	int64_t mono = clock_mono_us();
	int64_t before = clock_now_us();
	clock_set_offset_us(US_PER_DAY);
	assert_int_equal(clock_offset_us(), US_PER_DAY);
	int64_t after = clock_now_us();
	assert_true(after - before >= US_PER_DAY && after - before < US_PER_DAY + US_PER_MINUTE);
	assert_true(clock_mono_us() - mono < US_PER_MINUTE);
	clock_set_offset_us(0);
	assert_true(clock_now_us() - before < US_PER_MINUTE);
}

#ifdef SLIPWAY_TEST_CLOCK_BUILD
static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}
#endif

static void the_file_moves_the_clock(void **state)
{
#ifdef SLIPWAY_TEST_CLOCK_BUILD
	char path[] = "/tmp/slipway-clock-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	setenv("SLIPWAY_TEST_CLOCK", path, 1);
	assert_int_equal(clock_offset_us(), 0);
	write_file(path, "3600\n");
	assert_int_equal(clock_offset_us(), US_PER_HOUR);
	/* At once, without a pause in which an mtime could change. */
	write_file(path, "-1.5");
	assert_int_equal(clock_offset_us(), -1500000);
	write_file(path, "");
	assert_int_equal(clock_offset_us(), -1500000);
	write_file(path, "soon");
	assert_int_equal(clock_offset_us(), -1500000);
	write_file(path, "1e300");
	assert_int_equal(clock_offset_us(), -1500000);
	unlink(path);
	assert_int_equal(clock_offset_us(), -1500000);
	unsetenv("SLIPWAY_TEST_CLOCK");
#else
	/* A release never looks at it. */
	setenv("SLIPWAY_TEST_CLOCK", "/dev/zero", 1);
	assert_int_equal(clock_offset_us(), 0);
	unsetenv("SLIPWAY_TEST_CLOCK");
#endif
}

static void parses_what_clients_send(void **state)
{
	static const struct {
		const char *text;
		int64_t us; /* -1: refused */
	} rows[] = {
		{ "2026-11-21T07:35:49Z", INT64_C(1795246549000000) },
		{ "2026-11-21t07:35:49z", INT64_C(1795246549000000) },
		{ "2026-11-21T07:35:49.5Z", INT64_C(1795246549500000) },
		{ "2026-11-21T07:35:49.123456789Z", INT64_C(1795246549123456) },
		{ "2026-11-21T08:35:49+01:00", INT64_C(1795246549000000) },
		{ "2026-11-20T23:05:49-08:30", INT64_C(1795246549000000) },
		{ "2026-11-21 07:35:49.123", INT64_C(1795246549123000) },
		{ "2028-02-29T00:00:00Z", INT64_C(1835395200000000) },
		{ "2027-02-29T00:00:00Z", -1 },
		{ "2026-13-01T00:00:00Z", -1 },
		{ "2026-11-21T24:00:00Z", -1 },
		{ "2026-11-21T07:35Z", -1 },
		{ "2026-11-21T07:35:49.Z", -1 },
		{ "2026-11-21T07:35:49+1:00", -1 },
		{ "2026-11-21T07:35:49+01:00x", -1 },
		{ "2026-11-21", -1 },
		{ "tomorrow", -1 },
		{ "", -1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t us = -1;
		bool ok = clock_parse(str_of(rows[i].text), &us);
		if (ok != (rows[i].us >= 0) || us != rows[i].us)
			fail_msg("'%s' gives %lld", rows[i].text, (long long)us);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_what_clients_send),
		cmocka_unit_test(formats),
		cmocka_unit_test(offset_moves_wall_time_only),
		cmocka_unit_test(the_file_moves_the_clock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
