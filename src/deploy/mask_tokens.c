#include "deploy/mask_tokens.h"

#include "base/mask.h"

/* crypto.h: every prefix begins so, and as many characters follow. */
#define TOKEN_RANDOM_CHARS 40
#define TOKEN_KIND_MAX_CHARS 8

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Length of a token that begins at p: "pul-", a word and "-" (not always), and 40 characters; or 0. */
static size_t token_at(const char *p, const char *end)
{
	const char *q = p + strlen(TOKEN_TEXT);
	size_t word = 0, n = 0;
	while (q + word < end && word < TOKEN_KIND_MAX_CHARS && q[word] >= 'a' && q[word] <= 'z')
		word++;
	if (word > 0 && q + word < end && q[word] == '-')
		q += word + 1;
	while (q + n < end && n < TOKEN_RANDOM_CHARS && is_alnum(q[n]))
		n++;
	return n == TOKEN_RANDOM_CHARS ? (size_t)(q - p) + n : 0;
}

void mask_tokens(struct str text, struct buf *out)
{
	const char *p = text.p, *end = text.p + text.n, *hit;
	while (p < end && (hit = memmem(p, (size_t)(end - p), TOKEN_TEXT, strlen(TOKEN_TEXT))) != NULL) {
		size_t n = token_at(hit, end);
		buf_add(out, p, (size_t)(hit - p));
		if (n > 0)
			buf_adds(out, MASK_TEXT);
		else
			buf_adds(out, TOKEN_TEXT);
		p = hit + (n > 0 ? n : strlen(TOKEN_TEXT));
	}
	if (p < end)
		buf_add(out, p, (size_t)(end - p));
}
