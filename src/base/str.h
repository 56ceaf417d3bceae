/*
 * str.h: byte strings that know their length, and the one growing buffer.
 *
 * struct str is a view: it owns nothing and may hold NUL bytes. p == NULL means "absent", p != NULL with n == 0
 * means "empty".
 *
 * struct buf grows up to the maximum that it was given at buf_init (nothing in Slipway grows without a bound).
 * Append freely and check once: after the first failure (maximum reached, out of memory) every further append is
 * ignored and buf_failed() stays true. The content is always followed by a NUL byte that is not counted.
 */
#ifndef SLIPWAY_BASE_STR_H
#define SLIPWAY_BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

struct str {
	const char *p;
	size_t n;
};

#define STR_NULL ((struct str){ NULL, 0 })
#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_ARG(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct str str_of(const char *z)
{
	return z ? (struct str){ z, strlen(z) } : STR_NULL;
}
static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_is(struct str a, const char *z)
{
	return str_eq(a, str_of(z));
}
bool str_starts_with(struct str s, const char *prefix);
bool str_ends_with(struct str s, const char *suffix);
bool str_has_nul(struct str s);
/* By bytes, as memcmp; a beginning comes before the whole. */
int str_compare(struct str a, struct str b);
/* The part before the first `sep`; *rest gets what is behind it (p == NULL when there was no sep). */
struct str str_cut(struct str s, char sep, struct str *ret_rest);
struct str str_trim(struct str s); /* ASCII white space at both ends */
/* Decimal; the whole of s, no sign but '-', no overflow. */
bool str_to_int64(struct str s, int64_t *ret);
/* "90s", "10m", "168h", "1h30m", "7d", "250ms"; a bare number is refused. Result in microseconds. */
bool str_to_duration_us(struct str s, int64_t *ret_us);
/* Go's time.ParseDuration, without a sign: "1h30m", "15m0s", "1.5h", "0"; "" is refused. What is longer than fits is
 * INT64_MAX. */
bool str_to_go_duration_us(struct str s, int64_t *ret_us);
bool streq(const char *a, const char *b); /* NULL equals NULL only */
bool str_is_utf8(struct str s);
/* NUL-terminated copy. */
char *str_dup(struct arena *a, struct str s);

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max;
	bool failed;
	bool no_memory; /* why it failed: malloc, not the maximum */
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* length 0, keeps the memory, clears failed */
#define _cleanup_buf_ __attribute__((cleanup(buf_done)))

bool buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *z);
void buf_add_str(struct buf *b, struct str s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
static inline bool buf_failed(const struct buf *b)
{
	return b->failed;
}
static inline struct str buf_str(const struct buf *b)
{
	return (struct str){ b->data ? b->data : "", b->len };
}
/* 0, or the error (ERR_TOO_LARGE at the maximum, else ERR_NO_MEMORY). `what` names the buffer. */
int buf_check(const struct buf *b, const char *what, struct err *e);
/* The content as a heap string (free it), the buffer starts anew. NULL if failed. */
char *buf_take(struct buf *b, size_t *ret_len);

#endif
