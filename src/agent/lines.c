#include "agent/lines.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/utf8.h"

#define UTF8_LENGTH_MAX 4
/* An incomplete line that stands still (a prompt). */
#define QUIET_US US_PER_S
/* One that is drawn anew over and over (a progress bar): so often at most it is shown how far it is. */
#define REDRAWN_US (2 * US_PER_S)

void lines_init(struct lines *l, const struct mask_set *set, void (*line)(void *arg, struct str line), void *arg)
{
	*l = (struct lines){ .line = line, .arg = arg };
	mask_stream_init(&l->mask, set);
	/* An incomplete line, and what one feed adds; masking may lengthen three bytes to eight. */
	buf_init(&l->text, 32 * MIB);
}

void lines_done(struct lines *l)
{
	mask_stream_done(&l->mask);
	buf_done(&l->text);
}

bool lines_remask(struct lines *l, const struct mask_set *set)
{
	if (l->mask.held.len || l->mask.in_span)
		return false;
	mask_stream_done(&l->mask);
	mask_stream_init(&l->mask, set);
	return true;
}

/* Where a piece of at most LOG_LINE_BYTES ends without cutting a character in two. */
static size_t cut(const char *p, size_t n)
{
	if (n <= LOG_LINE_BYTES)
		return n;
	size_t at = LOG_LINE_BYTES;
	for (size_t back = 1; back <= 3; back++) {
		if (((unsigned char)p[at - back] & 0xC0) != 0xC0)
			continue;
		return utf8_sequence(p + at - back, p + n) > back ? at - back : at;
	}
	return at;
}

static void give_valid(struct lines *l, const char *p, size_t n)
{
	while (n) {
		size_t piece = cut(p, n);
		l->line(l->arg, (struct str){ p, piece });
		p += piece;
		n -= piece;
	}
}

/* Repaired before it is cut: a byte that is no UTF-8 becomes three. */
static void give(struct lines *l, const char *p, size_t n)
{
	if (str_is_utf8((struct str){ p, n })) {
		give_valid(l, p, n);
		return;
	}
	_cleanup_buf_ struct buf b;
	buf_init(&b, 3 * n);
	for (const char *end = p + n; p < end;) {
		size_t k = utf8_sequence(p, end);
		if (k)
			buf_add(&b, p, k);
		else
			buf_adds(&b, UTF8_REPLACEMENT);
		p += k ? k : 1;
	}
	l->failed = l->failed || buf_failed(&b);
	give_valid(l, b.data, b.len);
}

/* Gives on all whole lines, and pieces of one that is too long. */
static void give_whole(struct lines *l, size_t searched)
{
	size_t at = 0;
	const char *p = l->text.data;
	for (;;) {
		size_t from = at > searched ? at : searched;
		const char *nl = from < l->text.len ? memchr(p + from, '\n', l->text.len - from) : NULL;
		if (!nl)
			break;
		size_t end = (size_t)(nl - p) + 1;
		give(l, p + at, end - at);
		at = end;
	}
	/* Where the cut is to be must be known: the character there has to be whole. */
	while (l->text.len - at >= LOG_LINE_BYTES + UTF8_LENGTH_MAX) {
		size_t piece = cut(p + at, l->text.len - at);
		give(l, p + at, piece);
		at += piece;
	}
	buf_consume(&l->text, at);
}

/* NUL bytes are dropped before secrets are looked for: text of two bytes a letter has one between any two of its letters. */
static bool feed_mask(struct lines *l, struct str bytes)
{
	while (bytes.n) {
		const char *nul = memchr(bytes.p, '\0', bytes.n);
		size_t n = nul ? (size_t)(nul - bytes.p) : bytes.n;
		if (!mask_stream_feed(&l->mask, (struct str){ bytes.p, n }, &l->text))
			return false;
		n += nul != NULL;
		bytes.p += n;
		bytes.n -= n;
	}
	return true;
}

/* Bytes at the end that begin a character and do not end it. */
static size_t incomplete_tail(const char *p, size_t n)
{
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		unsigned char c = (unsigned char)p[n - back];
		if ((c & 0xC0) == 0x80)
			continue;
		size_t whole = c >= 0xF5 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 1;
		return whole > back ? back : 0;
	}
	return 0;
}

void lines_feed(struct lines *l, struct str bytes)
{
	if (l->failed)
		return;
	while (bytes.n) {
		size_t take = bytes.n < 256 * KIB ? bytes.n : 256 * KIB;
		size_t before = l->text.len;
		if (!feed_mask(l, (struct str){ bytes.p, take })) {
			l->failed = true;
			return;
		}
		give_whole(l, before);
		bytes.p += take;
		bytes.n -= take;
	}
	l->since_us = clock_mono_us();
	if (l->text.len == 0)
		l->shown_us = l->since_us;
}

/* Gives on the first n bytes of the incomplete line. */
static void give_part(struct lines *l, size_t n)
{
	give(l, l->text.data, n);
	buf_consume(&l->text, n);
	l->shown_us = clock_mono_us();
}

int lines_tick(struct lines *l)
{
	size_t n = l->text.len - incomplete_tail(l->text.data, l->text.len);
	if (n == 0)
		return -1;
	int64_t now = clock_mono_us(), quiet = l->since_us + QUIET_US - now, redrawn = l->shown_us + REDRAWN_US - now;
	if (quiet <= 0) {
		give_part(l, n);
		return -1;
	}
	if (redrawn <= 0) {
		/* Up to where it began to be drawn for the last time. (One at the very end may be half of a line break.) */
		const char *cr = memrchr(l->text.data, '\r', n - 1);
		l->shown_us = now;
		if (cr)
			give_part(l, (size_t)(cr - l->text.data) + 1);
	}
	return (int)(quiet / US_PER_MS) + 1;
}

void lines_own(struct lines *l, struct str line)
{
	if (l->text.len || l->mask.held.len) {
		size_t before = l->text.len;
		if (!l->failed && !mask_stream_end(&l->mask, &l->text))
			l->failed = true;
		buf_addc(&l->text, '\n');
		give_whole(l, before);
	}
	lines_feed(l, line);
}

void lines_end(struct lines *l)
{
	size_t before = l->text.len;
	if (!l->failed && !mask_stream_end(&l->mask, &l->text))
		l->failed = true;
	give_whole(l, before);
	give(l, l->text.data, l->text.len);
	buf_reset(&l->text);
}
