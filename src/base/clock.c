#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef SLIPWAY_TEST_CLOCK_BUILD
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#endif

static _Atomic int64_t set_offset_us;

#ifdef SLIPWAY_TEST_CLOCK_BUILD
static int64_t file_offset_us(void)
{
	static _Atomic int64_t last_us;
	const char *path = getenv("SLIPWAY_TEST_CLOCK");
	if (!path || !*path)
		return 0;
	int saved = errno;
	char text[64];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (n > 0) {
		text[n] = '\0';
		char *end;
		double seconds = strtod(text, &end);
		/* 1e11 s are three thousand years: beyond them it is a slip, and the conversion would overflow. */
		if (end != text && seconds > -1e11 && seconds < 1e11)
			atomic_store(&last_us, (int64_t)(seconds * 1e6));
	}
	errno = saved;
	return atomic_load(&last_us);
}
#else
static int64_t file_offset_us(void)
{
	return 0;
}
#endif

static int64_t read_us(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * US_PER_S + ts.tv_nsec / 1000;
}

int64_t clock_offset_us(void)
{
	return atomic_load(&set_offset_us) + file_offset_us();
}

int64_t clock_now_us(void)
{
	return read_us(CLOCK_REALTIME) + clock_offset_us();
}

int64_t clock_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

void clock_set_offset_us(int64_t offset_us)
{
	atomic_store(&set_offset_us, offset_us);
}

/* Rounds down, also before 1970. */
static void split(int64_t us, struct tm *ret_tm, int *ret_us)
{
	int64_t s = us / US_PER_S;
	int64_t rest = us % US_PER_S;
	if (rest < 0) {
		rest += US_PER_S;
		s--;
	}
	time_t t = (time_t)s;
	if (!gmtime_r(&t, ret_tm))
		*ret_tm = (struct tm){ .tm_year = 70, .tm_mday = 1 };
	*ret_us = (int)rest;
}

char *clock_rfc3339(struct arena *a, int64_t us)
{
	struct tm tm;
	int rest;
	split(us, &tm, &rest);
	return arena_printf(a, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
			    tm.tm_hour, tm.tm_min, tm.tm_sec, rest);
}

char *clock_plain(struct arena *a, int64_t us)
{
	struct tm tm;
	int rest;
	split(us, &tm, &rest);
	return arena_printf(a, "%04d-%02d-%02d %02d:%02d:%02d.%03d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
			    tm.tm_hour, tm.tm_min, tm.tm_sec, rest / 1000);
}

/* `n` digits into *ret; advances. */
static bool digits(struct str *s, size_t n, int *ret)
{
	int v = 0;
	if (s->n < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		v = v * 10 + (s->p[i] - '0');
	}
	*s = (struct str){ s->p + n, s->n - n };
	*ret = v;
	return true;
}

static bool skip(struct str *s, const char *any_of)
{
	if (s->n == 0 || !strchr(any_of, s->p[0]) || s->p[0] == '\0')
		return false;
	*s = (struct str){ s->p + 1, s->n - 1 };
	return true;
}

/* ".123456789": digits behind the sixth count for nothing. */
static bool fraction(struct str *s, int *ret_us)
{
	int us = 0, digit;
	size_t n = 0;
	if (!skip(s, "."))
		return true;
	for (; digits(s, 1, &digit); n++)
		if (n < 6)
			us = us * 10 + digit;
	for (size_t i = n; i < 6; i++)
		us *= 10;
	*ret_us = us;
	return n > 0;
}

static bool zone(struct str s, int64_t *ret_us)
{
	int hours, minutes;
	*ret_us = 0;
	if (s.n == 0 || (s.n == 1 && (s.p[0] | 0x20) == 'z'))
		return true;
	bool west = s.p[0] == '-';
	if (!skip(&s, "+-") || !digits(&s, 2, &hours) || !skip(&s, ":") || !digits(&s, 2, &minutes) || s.n > 0 ||
	    hours > 23 || minutes > 59)
		return false;
	*ret_us = (hours * US_PER_HOUR + minutes * US_PER_MINUTE) * (west ? -1 : 1);
	return true;
}

bool clock_parse(struct str text, int64_t *ret_us)
{
	struct tm tm = { 0 }, back;
	int us = 0;
	int64_t offset_us;
	struct str s = text;
	if (!digits(&s, 4, &tm.tm_year) || !skip(&s, "-") || !digits(&s, 2, &tm.tm_mon) || !skip(&s, "-") ||
	    !digits(&s, 2, &tm.tm_mday) || !skip(&s, "Tt ") || !digits(&s, 2, &tm.tm_hour) || !skip(&s, ":") ||
	    !digits(&s, 2, &tm.tm_min) || !skip(&s, ":") || !digits(&s, 2, &tm.tm_sec) || !fraction(&s, &us) ||
	    !zone(s, &offset_us))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	back = tm;
	time_t t = timegm(&back);
	/* timegm turns the 31st of April into the 1st of May. */
	if (back.tm_mon != tm.tm_mon || back.tm_mday != tm.tm_mday || back.tm_hour != tm.tm_hour ||
	    back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec)
		return false;
	*ret_us = (int64_t)t * US_PER_S + us - offset_us;
	return true;
}
