#include "base/mask.h"

#include <stdint.h>

#include "base/mask_forms.h"
#include "base/limits.h"

/* The longest pattern and what is fed at once. */
#define HELD_MAX_BYTES (64 * MIB)

/*
 * Nodes of the trie. A node has few children, nearly always one, so they are a linked list; only the root, where the
 * automaton spends its time in ordinary text, has a table.
 */
struct node {
	int32_t fail;
	int32_t child;	 /* first one, 0: none (the root is nobody's child) */
	int32_t sibling; /* next child of the same parent, 0: none */
	uint32_t depth;
	uint32_t match; /* length of the longest pattern that ends here, 0: none */
	unsigned char byte;
};

struct mask_set {
	struct node *nodes;
	size_t count, cap;
	int32_t root[256];
	bool built;
};

struct mask_span {
	size_t start, end;
};

struct mask_set *mask_set_new(void)
{
	struct mask_set *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->cap = 256;
	s->nodes = calloc(s->cap, sizeof(*s->nodes));
	s->count = 1;
	if (!s->nodes) {
		free(s);
		return NULL;
	}
	return s;
}

void mask_set_free(struct mask_set *s)
{
	if (!s)
		return;
	/* The trie spells the secrets out. */
	explicit_bzero(s->nodes, s->count * sizeof(*s->nodes));
	free(s->nodes);
	free(s);
}

static int32_t child_of(const struct mask_set *s, int32_t at, unsigned char byte)
{
	if (at == 0)
		return s->root[byte];
	int32_t c = s->nodes[at].child;
	while (c && s->nodes[c].byte != byte)
		c = s->nodes[c].sibling;
	return c;
}

static int add_pattern(struct mask_set *s, struct str p, struct err *e)
{
	int32_t at = 0;
	for (size_t i = 0; i < p.n; i++) {
		unsigned char byte = (unsigned char)p.p[i];
		int32_t next = child_of(s, at, byte);
		if (!next) {
			if (s->count >= MASK_PATTERN_BYTES_MAX)
				return err_set(e, ERR_TOO_LARGE,
					       "the secrets of this deployment are too large to mask");
			if (s->count == s->cap) {
				struct node *more = calloc(s->cap * 2, sizeof(*more));
				if (!more)
					return err_nomem(e);
				memcpy(more, s->nodes, s->count * sizeof(*more));
				explicit_bzero(s->nodes, s->count * sizeof(*more));
				free(s->nodes);
				s->nodes = more;
				s->cap *= 2;
			}
			next = (int32_t)s->count++;
			s->nodes[next] = (struct node){ .byte = byte, .depth = s->nodes[at].depth + 1 };
			if (at == 0) {
				s->root[byte] = next;
			} else {
				s->nodes[next].sibling = s->nodes[at].child;
				s->nodes[at].child = next;
			}
		}
		at = next;
	}
	s->nodes[at].match = s->nodes[at].depth;
	return 0;
}

struct add_context {
	struct mask_set *set;
};

static int add_form(void *arg, struct str form, struct err *e)
{
	struct add_context *c = arg;
	return add_pattern(c->set, form, e);
}

int mask_set_add(struct mask_set *s, struct str value, struct err *e)
{
	struct add_context c = { .set = s };
	BUG_ON(s->built);
	if (value.n < MASK_VALUE_MIN_BYTES)
		return 0;
	int r = mask_forms(value, add_form, &c, e);
	return r < 0 ? r : 1;
}

static int32_t step(const struct mask_set *s, int32_t at, unsigned char byte)
{
	for (;;) {
		int32_t next = child_of(s, at, byte);
		if (next || at == 0)
			return next;
		at = s->nodes[at].fail;
	}
}

int mask_set_build(struct mask_set *s, struct err *e)
{
	int32_t *queue = malloc(s->count * sizeof(*queue));
	size_t head = 0, tail = 0;
	if (!queue)
		return err_nomem(e);
	for (int b = 0; b < 256; b++) {
		if (s->root[b])
			queue[tail++] = s->root[b];
	}
	/* Breadth first: a node's fail link leads to a shallower one, which is finished. */
	while (head < tail) {
		int32_t at = queue[head++];
		for (int32_t c = s->nodes[at].child; c; c = s->nodes[c].sibling) {
			s->nodes[c].fail = step(s, s->nodes[at].fail, s->nodes[c].byte);
			if (!s->nodes[c].match)
				s->nodes[c].match = s->nodes[s->nodes[c].fail].match;
			queue[tail++] = c;
		}
	}
	free(queue);
	s->built = true;
	return 0;
}

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
		if (!(m->in_span && s.start == 0))
			buf_adds(out, MASK_TEXT);
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
		if (state == 0) {
			while (at < n && !s->root[p[at]])
				at++;
			if (at == n)
				break;
		}
		state = step(s, state, p[at++]);
		if (s->nodes[state].match && !mark(m, at - s->nodes[state].match, at))
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
	const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n;
	int32_t state = 0;
	while (p < end) {
		if (state == 0) {
			while (p < end && !s->root[*p])
				p++;
			if (p == end)
				break;
		}
		state = step(s, state, *p++);
		if (s->nodes[state].match)
			return true;
	}
	return false;
}
