#include "deploy/mask.h"

#include "base/encode.h"
#include "base/json.h"

#define PATTERN_BYTES (4 * 1024 * 1024)
#define TOKEN_TEXT "pul-"
#define TOKEN_RANDOM_CHARS 40

static int add_pattern(struct mask *m, struct arena *a, struct str s, struct err *e)
{
	if (s.n < MASK_MIN_BYTES)
		return 0;
	for (size_t i = 0; i < m->count; i++)
		if (str_eq(m->patterns[i], s))
			return 0;
	if (m->count == m->cap) {
		size_t cap = m->cap ? 2 * m->cap : 32;
		struct str *p = arena_array(a, cap, sizeof(*p));
		if (!p)
			return err_nomem(e);
		if (m->count)
			memcpy(p, m->patterns, m->count * sizeof(*p));
		m->patterns = p;
		m->cap = cap;
	}
	char *copy = arena_strndup(a, s.p, s.n);
	if (!copy)
		return err_nomem(e);
	m->patterns[m->count++] = (struct str){ copy, s.n };
	return 0;
}

/* base64 of the secret as it looks inside of the encoding of a longer text: the characters that depend on what stands
 * before and behind are left out, once for each of the three offsets. */
static int add_base64(struct mask *m, struct arena *a, struct str secret, struct buf *b, struct err *e)
{
	for (size_t offset = 0; offset < 3; offset++) {
		char *padded = arena_alloc(a, secret.n + offset + 1);
		if (!padded)
			return err_nomem(e);
		memcpy(padded + offset, secret.p, secret.n);
		for (int url = 0; url < 2; url++) {
			buf_reset(b);
			struct str in = { padded, secret.n + offset };
			if (url)
				base64url_encode(b, in);
			else
				base64_encode(b, in);
			/* A character carries 6 bits: the first ones mix with what is in front, the last with what follows. */
			size_t skip = (8 * offset + 5) / 6, end = 8 * (secret.n + offset) / 6;
			if (buf_failed(b) || end <= skip || end - skip < MASK_MIN_BYTES + 2)
				continue;
			int rc = add_pattern(m, a, (struct str){ b->data + skip, end - skip }, e);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static int add_quoted(struct mask *m, struct arena *a, struct str secret, struct buf *b, struct err *e)
{
	/* JSON, and JSON as Go prints it. */
	buf_reset(b);
	json_quote(b, secret);
	if (b->len > 2) {
		int rc = add_pattern(m, a, (struct str){ b->data + 1, b->len - 2 }, e);
		if (rc < 0)
			return rc;
	}
	static const struct {
		char c;
		const char *text;
	} go[] = { { '<', "\\u003c" }, { '>', "\\u003e" }, { '&', "\\u0026" } };
	_cleanup_buf_ struct buf g;
	buf_init(&g, PATTERN_BYTES);
	for (size_t i = 1; i + 1 < b->len; i++) {
		const char *text = NULL;
		for (size_t k = 0; k < ARRAY_SIZE(go); k++)
			if (b->data[i] == go[k].c)
				text = go[k].text;
		if (text)
			buf_adds(&g, text);
		else
			buf_addc(&g, b->data[i]);
	}
	int rc = add_pattern(m, a, buf_str(&g), e);
	/* The shell closes, escapes and opens again: it'"'"'s, or it'\''s. */
	static const char *const quotes[] = { "'\\''", "'\"'\"'" };
	for (size_t q = 0; rc == 0 && memchr(secret.p, '\'', secret.n) && q < ARRAY_SIZE(quotes); q++) {
		buf_reset(b);
		for (size_t i = 0; i < secret.n; i++) {
			if (secret.p[i] == '\'')
				buf_adds(b, quotes[q]);
			else
				buf_addc(b, secret.p[i]);
		}
		rc = add_pattern(m, a, buf_str(b), e);
	}
	return rc;
}

static int add_forms(struct mask *m, struct arena *a, struct str secret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, PATTERN_BYTES);
	if (secret.n < MASK_MIN_BYTES)
		return 0;
	int rc = add_pattern(m, a, secret, e);
	if (rc == 0)
		rc = add_quoted(m, a, secret, &b, e);
	if (rc == 0) {
		buf_reset(&b);
		url_escape(&b, secret);
		rc = add_pattern(m, a, buf_str(&b), e);
	}
	return rc < 0 ? rc : add_base64(m, a, secret, &b, e);
}

int mask_add(struct mask *m, struct arena *a, struct str secret, struct err *e)
{
	if (!secret.p)
		return 0;
	int rc = add_forms(m, a, secret, e);
	struct str rest = secret;
	while (rc == 0 && memchr(secret.p, '\n', secret.n) && rest.p) {
		struct str line = str_trim(str_cut(rest, '\n', &rest));
		/* A key's lines are long; "{" or "}" alone is no secret. */
		if (line.n >= 8)
			rc = add_forms(m, a, line, e);
	}
	return rc;
}

static int by_length(const void *x, const void *y)
{
	size_t a = ((const struct str *)x)->n, b = ((const struct str *)y)->n;
	return a < b ? 1 : a > b ? -1 : 0;
}

void mask_finish(struct mask *m)
{
	if (m->count > 1)
		qsort(m->patterns, m->count, sizeof(*m->patterns), by_length);
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of a token of ours that begins at p: "pul-", a word and "-" (not always), and 40 characters; or 0. */
static size_t token_at(const char *p, const char *end)
{
	const char *q = p + strlen(TOKEN_TEXT);
	size_t word = 0, n = 0;
	while (q + word < end && word < 8 && q[word] >= 'a' && q[word] <= 'z')
		word++;
	if (word > 0 && q + word < end && q[word] == '-')
		q += word + 1;
	while (q + n < end && n < TOKEN_RANDOM_CHARS && is_alnum(q[n]))
		n++;
	return n == TOKEN_RANDOM_CHARS ? (size_t)(q - p) + n : 0;
}

/* Marks the bytes that go; ranges of several patterns may overlap. */
static bool mark(const struct mask *m, struct str text, unsigned char *hide)
{
	bool any = false;
	const char *end = text.p + text.n;
	for (size_t i = 0; i < m->count; i++) {
		const char *p = text.p;
		while ((p = memmem(p, (size_t)(end - p), m->patterns[i].p, m->patterns[i].n)) != NULL) {
			memset(hide + (p - text.p), 1, m->patterns[i].n);
			p += m->patterns[i].n;
			any = true;
		}
	}
	const char *p = text.p;
	while ((p = memmem(p, (size_t)(end - p), TOKEN_TEXT, strlen(TOKEN_TEXT))) != NULL) {
		size_t n = token_at(p, end);
		memset(hide + (p - text.p), 1, n);
		any = any || n > 0;
		p += n ? n : strlen(TOKEN_TEXT);
	}
	return any;
}

bool mask_hits(const struct mask *m, struct str text)
{
	for (size_t i = 0; i < m->count; i++)
		if (memmem(text.p, text.n, m->patterns[i].p, m->patterns[i].n))
			return true;
	return memmem(text.p, text.n, TOKEN_TEXT, strlen(TOKEN_TEXT)) != NULL;
}

int mask_apply(const struct mask *m, struct str text, struct arena *a, struct str *ret, struct err *e)
{
	*ret = text;
	if (text.n == 0)
		return 0;
	_cleanup_free_ unsigned char *hide = calloc(1, text.n);
	if (!hide)
		return err_nomem(e);
	if (!mark(m, text, hide))
		return 0;
	/* A mask may be longer than what it hides. */
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++)
		n += !hide[i] ? 1 : i == 0 || !hide[i - 1] ? strlen(MASK_TEXT) : 0;
	char *out = arena_alloc(a, n + 1);
	if (!out)
		return err_nomem(e);
	size_t at = 0;
	for (size_t i = 0; i < text.n; i++) {
		if (!hide[i]) {
			out[at++] = text.p[i];
		} else if (i == 0 || !hide[i - 1]) {
			memcpy(out + at, MASK_TEXT, strlen(MASK_TEXT));
			at += strlen(MASK_TEXT);
		}
	}
	*ret = (struct str){ out, n };
	return 0;
}
