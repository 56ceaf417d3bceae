#include "unit.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/cron.h"

static int64_t at(const char *text)
{
	struct tm tm = { 0 };
	assert_int_equal(sscanf(text, "%d-%d-%d %d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
				&tm.tm_min, &tm.tm_sec),
			 6);
	tm.tm_year -= 1900;
	tm.tm_mon--;
	return timegm(&tm) * US_PER_S;
}

static void expect(const char *cron, const char *after, const char *next)
{
	struct cron c;
	struct err e = { 0 };
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	assert_int_equal(cron_parse(str_of(cron), &c, &e), 0);
	int64_t us = cron_next_us(&c, at(after));
	if (!next) {
		assert_true(us == INT64_MAX);
		return;
	}
	char *got = clock_plain(&a, us);
	got[19] = '\0';
	assert_string_equal(got, next);
}

static void next_minute(void **state)
{
	static const struct {
		const char *cron, *after, *next;
	} rows[] = {
		{ "* * * * *", "2026-11-26 05:07:51", "2026-11-26 05:08:00" },
		{ "* * * * *", "2026-11-26 05:08:00", "2026-11-26 05:09:00" }, /* strictly after */
		{ "0 */4 * * *", "2026-11-26 05:07:51", "2026-11-26 08:00:00" },
		{ "*/15 9-17 * * MON-FRI", "2026-11-27 17:45:00", "2026-11-30 09:00:00" },
		{ "5/20 * * * *", "2026-11-26 05:26:00", "2026-11-26 05:45:00" },
		{ "0 0 1 1 *", "2026-11-26 05:07:51", "2027-01-01 00:00:00" },
		{ "0 0 29 2 *", "2026-11-26 05:07:51", "2028-02-29 00:00:00" },
		{ "0 0 29 2 *", "2096-03-01 00:00:00", "2104-02-29 00:00:00" }, /* 2100 has none */
		{ "0 0 30 2 *", "2026-11-26 05:07:51", NULL },
		{ "0 0 31 4,6,9,11 *", "2026-01-01 00:00:00", NULL },
		{ "59 23 31 12 ?", "2026-12-31 23:58:59", "2026-12-31 23:59:00" },
		{ "0 12 * * 1/2", "2026-11-27 12:00:00", "2026-11-30 12:00:00" }, /* MON, WED, FRI; no Sunday */
		{ "0 12 * * 7/2", "2026-11-26 05:07:51", "2026-11-29 12:00:00" },
		{ "0 12 * * 7", "2026-11-26 05:07:51", "2026-11-29 12:00:00" },
		{ "0 12 * * sun", "2026-11-26 05:07:51", "2026-11-29 12:00:00" },
		{ "0 0 1-31/10 feb *", "2026-11-26 05:07:51", "2027-02-01 00:00:00" },
		/* Both day fields restricted: either counts. */
		{ "0 0 13 * 5", "2026-11-26 05:07:51", "2026-11-27 00:00:00" },
		{ "0 0 13 * 5", "2026-12-11 00:00:00", "2026-12-13 00:00:00" },
		/* A day field that begins with a star does not make it an either. */
		{ "0 0 */2 * 5", "2026-11-26 05:07:51", "2026-11-27 00:00:00" },
		{ "0 0 */2 * 5", "2026-11-27 00:00:00", "2026-12-11 00:00:00" },
		{ "@weekly", "2026-11-26 05:07:51", "2026-11-29 00:00:00" },
		{ "  0\t0 *  * * ", "2026-11-26 05:07:51", "2026-11-27 00:00:00" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect(rows[i].cron, rows[i].after, rows[i].next);
}

static void refused(void **state)
{
	static const struct {
		const char *cron, *names;
	} rows[] = {
		{ "", "five fields" },
		{ "* * * *", "five fields" },
		{ "0 * * * * *", "without seconds" },
		{ "60 * * * *", "minute: '60'" },
		{ "* 24 * * *", "hour: '24'" },
		{ "* * 0 * *", "day of the month: '0'" },
		{ "* * 32 * *", "day of the month: '32'" },
		{ "* * * 13 *", "month: '13'" },
		{ "* * * * 8", "day of the week: '8'" },
		{ "* * * * mond", "day of the week: 'mond'" },
		{ "*/0 * * * *", "minute: '*/0'" },
		{ "*/61 * * * *", "minute: '*/61'" },
		{ "30-10 * * * *", "ends before it begins" },
		{ "-5 * * * *", "minute: '-5'" },
		{ "+5 * * * *", "minute: '+5'" },
		{ "1,,2 * * * *", "minute: ''" },
		{ "1, * * * *", "minute: ''" },
		{ "1-2-3 * * * *", "minute: '1-2-3'" },
		{ "1/2/3 * * * *", "minute: '1/2/3'" },
		{ "? * * * *", "minute: '?'" },
		{ "* * ?/2 * *", "day of the month: '?/2'" },
		{ "* * * * 1,?", "day of the week: '?'" },
		{ "99999999999999999999 * * * *", "minute" },
		{ "@reboot", "five fields" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cron c;
		struct err e = { 0 };
		assert_int_equal(cron_parse(str_of(rows[i].cron), &c, &e), -ERR_BAD_REQUEST);
		if (!strstr(e.message, rows[i].names))
			fail_msg("'%s' says: %s", rows[i].cron, e.message);
	}
}

/* Every next one is the earliest: no minute between matches, by the slow way. */
static void the_slow_way_agrees(void **state)
{
	static const char *const crons[] = { "*/7 3,5-9/2 * * *", "0 0 1,15 * MON", "13 4 29-31 * *", "1 1 * 2,11 3" };
	for (size_t i = 0; i < ARRAY_SIZE(crons); i++) {
		struct cron c;
		assert_int_equal(cron_parse(str_of(crons[i]), &c, NULL), 0);
		int64_t from = at("2027-10-30 00:00:00") / US_PER_MINUTE;
		int64_t expected = cron_next_us(&c, (from - 1) * US_PER_MINUTE);
		for (int64_t m = from; m < from + INT64_C(200) * 24 * 60; m++) {
			time_t t = (time_t)(m * 60);
			struct tm tm;
			gmtime_r(&t, &tm);
			bool day = (c.days >> tm.tm_mday & 1) != 0, weekday = (c.weekdays >> tm.tm_wday & 1) != 0;
			bool hit = (c.minutes >> tm.tm_min & 1) && (c.hours >> tm.tm_hour & 1) &&
				   (c.months >> (tm.tm_mon + 1) & 1) &&
				   (c.any_day || c.any_weekday ? day && weekday : day || weekday);
			if (!hit)
				continue;
			assert_true(expected == m * US_PER_MINUTE);
			expected = cron_next_us(&c, m * US_PER_MINUTE);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_minute),
		cmocka_unit_test(refused),
		cmocka_unit_test(the_slow_way_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
