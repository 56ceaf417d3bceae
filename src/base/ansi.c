#include "base/ansi.h"

#define ESC '\x1b'
#define BEL '\a'

enum { TEXT, ESCAPE, INTERMEDIATE, CSI, STRING, STRING_ESCAPE };

static bool within(unsigned char c, unsigned char first, unsigned char last)
{
	return c >= first && c <= last;
}

/* The state after a byte that begins or goes on a sequence; TEXT: it was the last one. -1: it belongs to none. */
static int next_state(int state, unsigned char c)
{
	switch (state) {
	case STRING_ESCAPE:
		if (c == '\\')
			return TEXT;
		/* Not the end of the string but the begin of something else. */
		return next_state(ESCAPE, c);
	case ESCAPE:
		if (c == '[')
			return CSI;
		if (c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_')
			return STRING;
		return c == ESC ? ESCAPE : within(c, 0x20, 0x2f) ? INTERMEDIATE : within(c, 0x30, 0x7e) ? TEXT : -1;
	case INTERMEDIATE:
		return within(c, 0x20, 0x2f) ? INTERMEDIATE : within(c, 0x30, 0x7e) ? TEXT : -1;
	case CSI:
		return within(c, 0x20, 0x3f) ? CSI : within(c, 0x40, 0x7e) ? TEXT : -1;
	default:
		return c == ESC ? STRING_ESCAPE : c == BEL ? TEXT : c == '\n' ? -1 : STRING;
	}
}

void ansi_strip(struct ansi_filter *f, struct str piece, struct buf *out)
{
	const char *p = piece.p, *end = piece.p + piece.n;
	while (p < end) {
		if (f->state == TEXT) {
			const char *esc = memchr(p, ESC, (size_t)(end - p));
			buf_add(out, p, (size_t)((esc ? esc : end) - p));
			p = esc ? esc + 1 : end;
			f->state = esc ? ESCAPE : TEXT;
			continue;
		}
		int state = next_state(f->state, (unsigned char)*p);
		f->state = state < 0 ? TEXT : state;
		p += state >= 0;
	}
}
