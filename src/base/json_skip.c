/*
 * Skips one value of checked text. A container is skipped in blocks of 64 bytes: bit masks of quotes, backslashes and
 * brackets tell which brackets lie outside of strings, and counting them finds the end. No byte is looked at twice,
 * whatever the nesting.
 */
#include "base/json_skip.h"

#include "base/json_scan.h"

struct masks {
	uint64_t quote;
	uint64_t backslash;
	uint64_t open;
	uint64_t close;
};

#ifdef JSON_SCAN_SSE2
static inline uint64_t equal64(const __m128i v[4], char c)
{
	const __m128i want = _mm_set1_epi8(c);
	uint32_t low = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[0], want)) |
		       (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[1], want)) << 16;
	uint32_t high = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[2], want)) |
			(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[3], want)) << 16;
	return low | (uint64_t)high << 32;
}

static inline void read_masks(const char *p, struct masks *m)
{
	const __m128i *from = (const __m128i *)(const void *)p;
	__m128i v[4] = { _mm_loadu_si128(from), _mm_loadu_si128(from + 1), _mm_loadu_si128(from + 2),
			 _mm_loadu_si128(from + 3) };
	m->quote = equal64(v, '"');
	m->backslash = equal64(v, '\\');
	/* '[' and '{', ']' and '}' differ in this bit only. */
	const __m128i bit = _mm_set1_epi8(0x20);
	__m128i folded[4] = { _mm_or_si128(v[0], bit), _mm_or_si128(v[1], bit), _mm_or_si128(v[2], bit),
			      _mm_or_si128(v[3], bit) };
	m->open = equal64(folded, '{');
	m->close = equal64(folded, '}');
}
#else
/* Bit i of the result is the high bit of byte i: the multiplication gathers them in the top byte. */
static inline uint64_t gather(uint64_t high)
{
	return ((high >> 7) * UINT64_C(0x0102040810204080)) >> 56;
}

/* Exact for every byte, unlike json_bytes_equal: no borrow runs from one byte into the next. */
static inline uint64_t equal8(uint64_t w, unsigned char c)
{
	uint64_t x = w ^ (JSON_ONES * c);
	return ~(((x & ~JSON_HIGH) + ~JSON_HIGH) | x) & JSON_HIGH;
}

static inline void read_masks(const char *p, struct masks *m)
{
	*m = (struct masks){ 0 };
	for (int i = 0; i < 8; i++) {
		uint64_t w = json_load8(p + 8 * i);
		uint64_t folded = w | JSON_ONES * 0x20;
		m->quote |= gather(equal8(w, '"')) << (8 * i);
		m->backslash |= gather(equal8(w, '\\')) << (8 * i);
		m->open |= gather(equal8(folded, '{')) << (8 * i);
		m->close |= gather(equal8(folded, '}')) << (8 * i);
	}
}
#endif

/* The bytes that a backslash in front makes harmless. *carry: the first byte of the next block is one of them. Runs of
 * backslashes escape pairwise; walking them one by one is quick enough, blocks without any cost nothing. */
static inline uint64_t escaped(uint64_t backslash, bool *carry)
{
	if (!backslash && !*carry)
		return 0;
	uint64_t result = *carry ? 1 : 0;
	backslash &= ~result;
	*carry = false;
	while (backslash) {
		int i = __builtin_ctzll(backslash);
		if (i == 63) {
			*carry = true;
			break;
		}
		result |= UINT64_C(2) << i;
		backslash &= ~(UINT64_C(3) << i);
	}
	return result;
}

/* Bit i: whether the number of ones in bits 0 to i is odd. */
static inline uint64_t prefix_xor(uint64_t m)
{
	m ^= m << 1;
	m ^= m << 2;
	m ^= m << 4;
	m ^= m << 8;
	m ^= m << 16;
	m ^= m << 32;
	return m;
}

/* Not the compiler's: without an instruction that every machine has, that is a call of a function. */
static inline size_t count_ones(uint64_t m)
{
	m -= m >> 1 & UINT64_C(0x5555555555555555);
	m = (m & UINT64_C(0x3333333333333333)) + (m >> 2 & UINT64_C(0x3333333333333333));
	m = (m + (m >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
	return (size_t)(m * JSON_ONES >> 56);
}

static const char *skip_container(const char *p, const char *end)
{
	uint64_t in_string = 0; /* all ones while the block begins inside of a string */
	bool carry = false;
	size_t depth = 0;
	char tail[64];

	while (p < end) {
		const char *block = p;
		if (end - p < 64) {
			memset(tail, ' ', sizeof(tail));
			memcpy(tail, p, (size_t)(end - p));
			block = tail;
		}
		struct masks m;
		read_masks(block, &m);
		uint64_t quote = m.quote & ~escaped(m.backslash, &carry);
		uint64_t inside = prefix_xor(quote) ^ in_string;
		in_string = (uint64_t)0 - (inside >> 63);
		uint64_t open = m.open & ~inside;
		uint64_t close = m.close & ~inside;
		if (!(open | close)) {
			/* The most of a large document: text. */
			/* A whole block within one string: a long one, of which only the end is of interest. */
			if (in_string && !m.quote && !carry && end - p > 64) {
				p = json_skip_string(p + 64, end);
				in_string = 0;
			} else {
				p += 64;
			}
			continue;
		}
		size_t closes = count_ones(close);
		size_t opens = count_ones(open);
		if (closes < depth || (closes == 0 && depth == 0)) {
			/* Too few to end it within this block. */
			depth = depth + opens - closes;
		} else {
			uint64_t both = open | close;
			while (both) {
				int i = __builtin_ctzll(both);
				if (open >> i & 1)
					depth++;
				else if (--depth == 0)
					return p + i + 1;
				both &= both - 1;
			}
		}
		p += 64;
	}
	return end;
}

const char *json_skip_value(const char *p, const char *end)
{
	switch (*p) {
	case '"':
		return json_skip_string(p + 1, end);
	case '{':
	case '[':
		return skip_container(p, end);
	default:
		while (p < end && *p != ',' && *p != ']' && *p != '}' && !json_is_blank(*p))
			p++;
		return p;
	}
}
