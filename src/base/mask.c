#include "base/mask.h"

#include "base/limits.h"
#include "base/mask_set.h"

/* The longest pattern and what is fed at once. */
#define HELD_MAX_BYTES (64 * MIB)

struct mask_span {
	size_t start, end;
};

void mask_stream_init(struct mask_stream *m, const struct mask_set *set)
{
	BUG_ON(!set->built);
	*m = (struct mask_stream){ .set = set };
	buf_init(&m->held, HELD_MAX_BYTES);
}

void mask_stream_done(struct mask_stream *m)
{
	buf_done(&m->held);
	free(m->spans);
	m->spans = NULL;
	m->span_count = m->span_cap = 0;
}

/* [start, end) is secret; `end` never shrinks from call to call. */
static bool mark(struct mask_stream *m, size_t start, size_t end)
{
	while (m->span_count && m->spans[m->span_count - 1].end >= start) {
		struct mask_span last = m->spans[--m->span_count];
		start = last.start < start ? last.start : start;
	}
	if (m->span_count == m->span_cap) {
		size_t cap = m->span_cap ? m->span_cap * 2 : 16;
		struct mask_span *more = realloc(m->spans, cap * sizeof(*more));
		if (!more)
			return false;
		m->spans = more;
		m->span_cap = cap;
	}
	m->spans[m->span_count++] = (struct mask_span){ start, end };
	return true;
}

/* Writes held[0, upto), which no later match can reach into, and drops it. A span that goes on behind stays open. */
static bool emit(struct mask_stream *m, size_t upto, struct buf *out)
{
	size_t at = 0, used = 0;
	for (size_t i = 0; i < m->span_count && m->spans[i].start < upto; i++) {
		struct mask_span s = m->spans[i];
		buf_add(out, m->held.data + at, s.start - at);
		if (!(m->in_span && s.start == 0)) {
			buf_adds(out, MASK_TEXT);
			m->replaced++;
		}
		at = s.end < upto ? s.end : upto;
		used = i + (s.end <= upto);
	}
	/* A span that ends right here may still be joined by one that starts here. */
	bool open = false;
	for (size_t i = 0; i < m->span_count && m->spans[i].start < upto; i++)
		open = m->spans[i].end >= upto;
	if (at < upto)
		buf_add(out, m->held.data + at, upto - at);
	if (upto)
		m->in_span = open;
	if (used > 0)
		memmove(m->spans, m->spans + used, (m->span_count - used) * sizeof(*m->spans));
	m->span_count -= used;
	for (size_t i = 0; i < m->span_count; i++) {
		m->spans[i].start = m->spans[i].start > upto ? m->spans[i].start - upto : 0;
		m->spans[i].end -= upto;
	}
	buf_consume(&m->held, upto);
	return !buf_failed(out);
}

bool mask_stream_feed(struct mask_stream *m, struct str bytes, struct buf *out)
{
	const struct mask_set *s = m->set;
	size_t at = m->held.len;
	int32_t state = m->state;
	if (bytes.n == 0)
		return true;
	buf_add_str(&m->held, bytes);
	if (buf_failed(&m->held))
		return false;
	const unsigned char *p = (const unsigned char *)m->held.data;
	size_t n = m->held.len;
	while (at < n) {
		uint32_t match;
		at = mask_set_scan(s, p, at, n, &state, &match);
		if (match && !mark(m, at - match, at))
			return false;
	}
	m->state = state;
	return emit(m, n - s->nodes[state].depth, out);
}

bool mask_stream_end(struct mask_stream *m, struct buf *out)
{
	bool ok = emit(m, m->held.len, out);
	m->state = 0;
	m->in_span = false;
	return ok;
}

bool mask_text(const struct mask_set *s, struct str text, struct buf *out)
{
	struct mask_stream m;
	mask_stream_init(&m, s);
	bool ok = mask_stream_feed(&m, text, out) && mask_stream_end(&m, out);
	mask_stream_done(&m);
	return ok;
}

bool mask_finds(const struct mask_set *s, struct str text)
{
	int32_t state = 0;
	uint32_t match;
	mask_set_scan(s, (const unsigned char *)text.p, 0, text.n, &state, &match);
	return match != 0;
}
