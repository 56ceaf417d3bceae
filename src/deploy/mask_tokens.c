#include "deploy/mask_tokens.h"

#include "base/mask.h"

/* crypto.h: every prefix begins so, and as many characters follow. */
#define TOKEN_RANDOM_CHARS 40
#define TOKEN_KIND_MAX_CHARS 8
/* More than the rest of the header has, less than a token of ours. */
#define OIDC_TOKEN_MIN_CHARS 64

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

/* Length of an OIDC token of ours that begins at p, as far as it is there; or 0. */
static size_t oidc_token_at(const char *p, const char *end)
{
	const char *q = p + strlen(OIDC_TOKEN_TEXT);
	while (q < end && (is_alnum(*q) || *q == '-' || *q == '_' || *q == '.'))
		q++;
	return q - p >= OIDC_TOKEN_MIN_CHARS ? (size_t)(q - p) : 0;
}

static const struct {
	const char *text;
	size_t (*length)(const char *p, const char *end);
} kinds[] = { { TOKEN_TEXT, token_at }, { OIDC_TOKEN_TEXT, oidc_token_at } };

static const char *find(const char *p, const char *end, const char *text)
{
	const char *hit = memmem(p, (size_t)(end - p), text, strlen(text));
	return hit ? hit : end;
}

bool mask_tokens_may(struct str text)
{
	const char *end = text.p + text.n;
	return find(text.p, end, TOKEN_TEXT) < end || find(text.p, end, OIDC_TOKEN_TEXT) < end;
}

void mask_tokens(struct str text, struct buf *out)
{
	const char *p = text.p, *end = text.p + text.n;
	const char *next[] = { p, p }; /* where one of that kind may begin */
	for (size_t i = 0; i < ARRAY_SIZE(kinds) && text.n; i++)
		next[i] = find(p, end, kinds[i].text);
	while (p < end) {
		size_t kind = next[0] <= next[1] ? 0 : 1;
		const char *hit = next[kind];
		buf_add(out, p, (size_t)(hit - p));
		p = hit;
		if (hit == end)
			break;
		size_t n = kinds[kind].length(hit, end);
		if (n > 0)
			buf_adds(out, MASK_TEXT);
		else
			buf_add(out, hit, n = strlen(kinds[kind].text));
		p += n;
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (next[i] < p)
				next[i] = find(p, end, kinds[i].text);
	}
}
