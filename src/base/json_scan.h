/*
 * json_scan.h: the inner loops of the JSON reader, private to json_*.c: sixteen bytes at a time with SSE2, eight at a
 * time with plain integers elsewhere. Nothing reads outside of [p, end).
 */
#ifndef SLIPWAY_BASE_JSON_SCAN_H
#define SLIPWAY_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(SLIPWAY_JSON_PORTABLE)
#define JSON_SCAN_SSE2 1
#include <emmintrin.h>
#endif

#define JSON_ONES UINT64_C(0x0101010101010101)
#define JSON_HIGH UINT64_C(0x8080808080808080)

static inline uint64_t json_load8(const char *p)
{
	uint64_t w;
	memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	return w;
}

/* The high bit of each byte that equals c; exact up to and including the lowest such byte, which is all that is used. */
static inline uint64_t json_bytes_equal(uint64_t w, unsigned char c)
{
	uint64_t x = w ^ (JSON_ONES * c);
	return (x - JSON_ONES) & ~x & JSON_HIGH;
}

static inline bool json_is_plain(char c)
{
	unsigned char u = (unsigned char)c;
	return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

/* The first byte that a string may not simply contain as it is, or that needs a closer look: a quote, a backslash, a
 * control character, anything beyond ASCII. */
static inline const char *json_skip_plain(const char *p, const char *end)
{
#ifdef JSON_SCAN_SSE2
	const __m128i quote = _mm_set1_epi8('"');
	const __m128i backslash = _mm_set1_epi8('\\');
	const __m128i blank = _mm_set1_epi8(0x20);
	while (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		/* Signed: bytes from 0x80 are below the blank as well. */
		__m128i hit = _mm_or_si128(_mm_cmplt_epi8(v, blank),
					   _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)));
		unsigned mask = (unsigned)_mm_movemask_epi8(hit);
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#endif
	while (end - p >= 8) {
		uint64_t w = json_load8(p);
		uint64_t hit = json_bytes_equal(w, '"') | json_bytes_equal(w, '\\') |
			       ((w - JSON_ONES * 0x20) & ~w & JSON_HIGH) | (w & JSON_HIGH);
		if (hit)
			return p + __builtin_ctzll(hit) / 8;
		p += 8;
	}
	while (p < end && json_is_plain(*p))
		p++;
	return p;
}

/* Trusted text: p is behind the opening quote; returns behind the closing one (or end, which checked text never
 * does). */
static inline const char *json_skip_string(const char *p, const char *end)
{
	for (;;) {
#ifdef JSON_SCAN_SSE2
		const __m128i quote = _mm_set1_epi8('"');
		const __m128i backslash = _mm_set1_epi8('\\');
		while (end - p >= 16) {
			__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
			unsigned mask = (unsigned)_mm_movemask_epi8(
				_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)));
			if (mask) {
				p += __builtin_ctz(mask);
				goto found;
			}
			p += 16;
		}
#endif
		while (end - p >= 8) {
			uint64_t w = json_load8(p);
			uint64_t hit = json_bytes_equal(w, '"') | json_bytes_equal(w, '\\');
			if (hit) {
				p += __builtin_ctzll(hit) / 8;
				goto found;
			}
			p += 8;
		}
		while (p < end && *p != '"' && *p != '\\')
			p++;
		if (p == end)
			return end;
	found:
		if (*p == '"')
			return p + 1;
		if (end - p < 2)
			return end;
		p += 2;
	}
}

static inline bool json_is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline const char *json_skip_blanks(const char *p, const char *end)
{
	/* Mostly there is none, or one. */
	if (p < end && (unsigned char)*p > ' ')
		return p;
	while (p < end && json_is_blank(*p)) {
		p++;
#ifdef JSON_SCAN_SSE2
		/* The indentation of a printed document. */
		while (end - p >= 16) {
			__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
			unsigned mask = ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(' '))) & 0xFFFF;
			if (mask) {
				p += __builtin_ctz(mask);
				break;
			}
			p += 16;
		}
#endif
	}
	return p;
}

#endif
