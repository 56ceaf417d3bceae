#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/utf8.h"

bool str_starts_with(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);
	return s.n >= n && (n == 0 || memcmp(s.p, prefix, n) == 0);
}

bool str_ends_with(struct str s, const char *suffix)
{
	size_t n = strlen(suffix);
	return s.n >= n && (n == 0 || memcmp(s.p + s.n - n, suffix, n) == 0);
}

int str_compare(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;
	return c ? c : (a.n > b.n) - (a.n < b.n);
}

bool str_has_nul(struct str s)
{
	return s.n > 0 && memchr(s.p, '\0', s.n) != NULL;
}

struct str str_cut(struct str s, char sep, struct str *ret_rest)
{
	const char *at = s.n ? memchr(s.p, sep, s.n) : NULL;
	if (!at) {
		*ret_rest = STR_NULL;
		return s;
	}
	size_t n = (size_t)(at - s.p);
	*ret_rest = (struct str){ at + 1, s.n - n - 1 };
	return (struct str){ s.p, n };
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
	while (s.n && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool str_to_int64(struct str s, int64_t *ret)
{
	bool negative = s.n && s.p[0] == '-';
	size_t i = negative ? 1 : 0;
	if (i == s.n)
		return false;
	int64_t v = 0;
	for (; i < s.n; i++) {
		char c = s.p[i];
		if (c < '0' || c > '9')
			return false;
		/* Built up on the negative side, which has one value more. */
		if (__builtin_mul_overflow(v, (int64_t)10, &v) || __builtin_sub_overflow(v, (int64_t)(c - '0'), &v))
			return false;
	}
	if (!negative && v == INT64_MIN)
		return false;
	*ret = negative ? v : -v;
	return true;
}

bool str_to_duration_us(struct str s, int64_t *ret_us)
{
	static const struct {
		const char *name;
		int64_t us;
	} units[] = {
		{ "ms", US_PER_MS },  { "s", US_PER_S },   { "m", US_PER_MINUTE },
		{ "h", US_PER_HOUR }, { "d", US_PER_DAY },
	};
	int64_t total = 0;
	size_t i = 0;
	if (s.n == 0)
		return false;
	while (i < s.n) {
		size_t start = i;
		int64_t v;
		while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
			i++;
		if (!str_to_int64((struct str){ s.p + start, i - start }, &v))
			return false;
		start = i;
		while (i < s.n && (s.p[i] < '0' || s.p[i] > '9'))
			i++;
		struct str unit = { s.p + start, i - start };
		int64_t us = 0;
		for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
			if (str_is(unit, units[u].name))
				us = units[u].us;
		}
		if (us == 0 || __builtin_mul_overflow(v, us, &v) || __builtin_add_overflow(total, v, &total))
			return false;
	}
	*ret_us = total;
	return true;
}

bool str_to_go_duration_us(struct str s, int64_t *ret_us)
{
	static const struct {
		const char *name;
		double us;
	} units[] = { { "ns", 1e-3 },	      { "us", 1 },	   { "\xC2\xB5s", 1 }, { "ms", 1e3 }, { "s", US_PER_S },
		      { "m", US_PER_MINUTE }, { "h", US_PER_HOUR } };
	double total = 0;
	if (s.n == 0)
		return false;
	bool zero = str_is(s, "0");
	while (s.n > 0 && !zero) {
		double number = 0, place = 1;
		bool fraction = false;
		size_t digits = 0, i = 0, unit = 0, taken = 0;
		for (; i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '.'); i++) {
			if (s.p[i] == '.') {
				fraction = true;
				continue;
			}
			digits++;
			place /= fraction ? 10 : 1;
			number = fraction ? number + (s.p[i] - '0') * place : number * 10 + (s.p[i] - '0');
		}
		if (digits == 0 || i - digits > 1)
			return false;
		s = (struct str){ s.p + i, s.n - i };
		for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
			if (str_starts_with(s, units[u].name) && strlen(units[u].name) > taken) {
				taken = strlen(units[u].name);
				unit = u;
			}
		}
		if (taken == 0)
			return false;
		total += number * units[unit].us;
		s = (struct str){ s.p + taken, s.n - taken };
		if (total >= (double)INT64_MAX)
			total = (double)INT64_MAX;
	}
	*ret_us = total >= (double)INT64_MAX ? INT64_MAX : (int64_t)(total + 0.5);
	return true;
}

bool streq(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool str_is_utf8(struct str s)
{
	const char *p = s.p;
	const char *end = s.p + s.n;
	while (p < end) {
		uint64_t word;
		if (end - p >= 8) {
			memcpy(&word, p, 8);
			if ((word & UINT64_C(0x8080808080808080)) == 0) {
				p += 8;
				continue;
			}
		}
		size_t n = utf8_sequence(p, end);
		if (n == 0)
			return false;
		p += n;
	}
	return true;
}

char *str_dup(struct arena *a, struct str s)
{
	return arena_strndup(a, s.p, s.n);
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ .max = b->max };
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	b->no_memory = false;
	if (b->data)
		b->data[0] = '\0';
}

bool buf_reserve(struct buf *b, size_t more)
{
	if (b->failed)
		return false;
	if (more > b->max - b->len || b->max == SIZE_MAX) {
		b->failed = true;
		return false;
	}
	size_t need = b->len + more + 1; /* the NUL behind the content */
	if (need <= b->cap)
		return true;
	size_t cap = b->cap ? b->cap : 64;
	cap = cap > b->max / 2 ? b->max + 1 : cap * 2;
	if (cap < need)
		cap = need;
	char *p = realloc(b->data, cap);
	if (!p) {
		b->failed = true;
		b->no_memory = true;
		return false;
	}
	if (!b->data)
		p[0] = '\0';
	b->data = p;
	b->cap = cap;
	return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (!buf_reserve(b, n) || n == 0)
		return;
	memcpy(b->data + b->len, p, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *z)
{
	buf_add(b, z, strlen(z));
}

void buf_add_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

void buf_addc(struct buf *b, char c)
{
	if (!buf_reserve(b, 1))
		return;
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}

void buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	if (!buf_reserve(b, 0))
		return;
	va_list again;
	va_copy(again, ap);
	size_t room = b->cap - b->len;
	int n = vsnprintf(b->data + b->len, room, fmt, ap);
	if (n < 0) {
		b->failed = true;
	} else if ((size_t)n < room) {
		b->len += (size_t)n;
	} else {
		b->data[b->len] = '\0';
		if (buf_reserve(b, (size_t)n)) {
			vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
			b->len += (size_t)n;
		}
	}
	va_end(again);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vaddf(b, fmt, ap);
	va_end(ap);
}

void buf_consume(struct buf *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	if (n == 0)
		return;
	b->len -= n;
	memmove(b->data, b->data + n, b->len + 1);
}

int buf_check(const struct buf *b, const char *what, struct err *e)
{
	if (!b->failed)
		return 0;
	if (b->no_memory)
		return err_set(e, ERR_NO_MEMORY, "%s: out of memory", what);
	return err_set(e, ERR_TOO_LARGE, "%s is larger than %zu bytes", what, b->max);
}

char *buf_take(struct buf *b, size_t *ret_len)
{
	char *p = NULL;
	if (buf_reserve(b, 0)) {
		p = TAKE_PTR(b->data);
		if (ret_len)
			*ret_len = b->len;
	}
	free(b->data);
	buf_init(b, b->max);
	return p;
}
