#include "base/cron.h"

#include "base/clock.h"

#define YEARS_AHEAD 40
#define MINUTES_PER_DAY (24 * 60)

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun",
					   "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const weekday_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

struct cron_field {
	const char *what;
	int min;
	int max;
	const char *const *names; /* of min, min + 1 ... */
	size_t name_count;
	bool question; /* '?' alone may stand for '*' */
	int end;       /* where a/s ends: Saturday, although 7 is a Sunday too */
};

enum { FIELD_MINUTE, FIELD_HOUR, FIELD_DAY, FIELD_MONTH, FIELD_WEEKDAY, FIELD_COUNT };

static const struct cron_field cron_fields[FIELD_COUNT] = {
	[FIELD_MINUTE] = { "minute", 0, 59, NULL, 0, false, 59 },
	[FIELD_HOUR] = { "hour", 0, 23, NULL, 0, false, 23 },
	[FIELD_DAY] = { "day of the month", 1, 31, NULL, 0, true, 31 },
	[FIELD_MONTH] = { "month", 1, 12, month_names, ARRAY_SIZE(month_names), false, 12 },
	[FIELD_WEEKDAY] = { "day of the week", 0, 7, weekday_names, ARRAY_SIZE(weekday_names), true, 6 },
};

static const struct {
	const char *name;
	const char *means;
} macros[] = {
	{ "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },
	{ "@weekly", "0 0 * * 0" }, { "@daily", "0 0 * * *" },	  { "@midnight", "0 0 * * *" },
	{ "@hourly", "0 * * * *" },
};

static bool same_letters(struct str s, const char *name)
{
	if (s.n != strlen(name))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] | 0x20) != name[i])
			return false;
	return true;
}

static bool read_value(const struct cron_field *f, struct str s, int *ret)
{
	int64_t n;
	for (size_t i = 0; i < f->name_count; i++)
		if (same_letters(s, f->names[i])) {
			*ret = f->min + (int)i;
			return true;
		}
	/* str_to_int64 takes a sign, a field has none. */
	if (s.n == 0 || s.p[0] < '0' || s.p[0] > '9' || !str_to_int64(s, &n) || n < f->min || n > f->max)
		return false;
	*ret = (int)n;
	return true;
}

/* One element of a list: range and step. */
static int read_element(const struct cron_field *f, struct str s, uint64_t *bits, struct err *e)
{
	struct str step_text, last_text, whole = s;
	struct str range = str_cut(s, '/', &step_text);
	struct str first_text = str_cut(range, '-', &last_text);
	int first, last;
	int64_t step = 1;
	if (str_is(range, "*")) {
		first = f->min;
		last = f->max;
	} else {
		if (!read_value(f, first_text, &first))
			goto bad;
		last = step_text.p && first < f->end ? f->end : first;
		if (last_text.p && !read_value(f, last_text, &last))
			goto bad;
	}
	if (step_text.p && (!str_to_int64(step_text, &step) || step < 1 || step > f->max))
		goto bad;
	if (first > last)
		return err_set(e, ERR_BAD_REQUEST, "cron expression, %s: '%.*s' ends before it begins", f->what,
			       STR_ARG(whole));
	for (int v = first; v <= last; v += (int)step)
		*bits |= UINT64_C(1) << v;
	return 0;
bad:
	return err_set(e, ERR_BAD_REQUEST, "cron expression, %s: '%.*s' is not within %d to %d", f->what,
		       STR_ARG(whole), f->min, f->max);
}

static int read_field(const struct cron_field *f, struct str s, uint64_t *ret, struct err *e)
{
	struct str rest = f->question && str_is(s, "?") ? STR("*") : s;
	uint64_t bits = 0;
	while (rest.p) {
		int rc = read_element(f, str_cut(rest, ',', &rest), &bits, e);
		if (rc < 0)
			return rc;
	}
	*ret = bits;
	return 0;
}

static struct str next_word(struct str *rest)
{
	struct str s = *rest;
	size_t n = 0;
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = (struct str){ s.p + 1, s.n - 1 };
	while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
		n++;
	*rest = (struct str){ s.p + n, s.n - n };
	return (struct str){ s.p, n };
}

static bool begins_with_star(struct str s)
{
	return s.p[0] == '*' || s.p[0] == '?';
}

int cron_parse(struct str text, struct cron *ret, struct err *e)
{
	struct str word[FIELD_COUNT], rest = str_trim(text);
	uint64_t bits[FIELD_COUNT];
	for (size_t i = 0; i < ARRAY_SIZE(macros); i++)
		if (str_is(rest, macros[i].name))
			return cron_parse(str_of(macros[i].means), ret, e);
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		word[i] = next_word(&rest);
		if (word[i].n == 0)
			return err_set(e, ERR_BAD_REQUEST,
				       "a cron expression has five fields: minute hour day month weekday");
	}
	if (next_word(&rest).n > 0)
		return err_set(
			e, ERR_BAD_REQUEST,
			"a cron expression has five fields, without seconds and years: minute hour day month weekday");
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		int rc = read_field(&cron_fields[i], word[i], &bits[i], e);
		if (rc < 0)
			return rc;
	}
	if (bits[FIELD_WEEKDAY] & 1u << 7)
		bits[FIELD_WEEKDAY] |= 1;
	*ret = (struct cron){ .minutes = bits[FIELD_MINUTE],
			      .hours = (uint32_t)bits[FIELD_HOUR],
			      .days = (uint32_t)bits[FIELD_DAY],
			      .months = (uint32_t)bits[FIELD_MONTH],
			      .weekdays = (uint32_t)bits[FIELD_WEEKDAY] & 0x7f,
			      .any_day = begins_with_star(word[FIELD_DAY]),
			      .any_weekday = begins_with_star(word[FIELD_WEEKDAY]) };
	return 0;
}

static bool is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int64_t year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	return days[month - 1] + (month == 2 && is_leap(year));
}

static bool day_matches(const struct cron *c, int day, int weekday)
{
	bool by_day = (c->days >> day & 1) != 0, by_weekday = (c->weekdays >> weekday & 1) != 0;
	return c->any_day || c->any_weekday ? by_day && by_weekday : by_day || by_weekday;
}

/* The first matching minute of a day, from `minute` on; -1 if there is none. */
static int minute_of_day(const struct cron *c, int minute)
{
	for (int m = minute; m < MINUTES_PER_DAY; m++) {
		if (!(c->hours >> (m / 60) & 1)) {
			m += 59 - m % 60;
			continue;
		}
		if (c->minutes >> (m % 60) & 1)
			return m;
	}
	return -1;
}

int64_t cron_next_us(const struct cron *c, int64_t after_us)
{
	if (after_us < 0)
		after_us = -1;
	int64_t minute = after_us / US_PER_MINUTE + (after_us >= 0);
	int64_t day_number = minute / MINUTES_PER_DAY; /* since 1970 */
	int from = (int)(minute % MINUTES_PER_DAY);
	int64_t year = 1970, left = day_number;
	int month = 1;
	while (left >= 365 + is_leap(year))
		left -= 365 + is_leap(year++);
	int64_t last_year = year + YEARS_AHEAD;
	while (left >= days_in_month(year, month))
		left -= days_in_month(year, month++);
	for (int day = (int)left + 1; year <= last_year; day++, day_number++, from = 0) {
		if (day > days_in_month(year, month)) {
			day = 1;
			year += month == 12;
			month = month == 12 ? 1 : month + 1;
		}
		/* 1970-01-01 was a Thursday. */
		if (!(c->months >> month & 1) || !day_matches(c, day, (int)((day_number + 4) % 7)))
			continue;
		int m = minute_of_day(c, from);
		if (m >= 0)
			return (day_number * MINUTES_PER_DAY + m) * US_PER_MINUTE;
	}
	return INT64_MAX;
}
