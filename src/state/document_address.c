/* The address of the server inside of a state (cli-protocol §3: secrets_providers.state.url). */
#include "base/compress.h"
#include "base/limits.h"
#include "state/document.h"

/* The CLI and our replay write the secrets provider before the resources. */
#define HEAD_BYTES (16 * KIB)

struct head {
	char text[HEAD_BYTES];
	size_t n;
};

static int take_head(void *arg, struct str piece, struct err *e)
{
	struct head *h = arg;
	size_t n = piece.n < HEAD_BYTES - h->n ? piece.n : HEAD_BYTES - h->n;
	memcpy(h->text + h->n, piece.p, n);
	h->n += n;
	return h->n < HEAD_BYTES ? 0 : err_set(e, ERR_TOO_LARGE, "enough");
}

static struct str read_head(const struct document *d, struct head *h)
{
	_cleanup_gzip_inflater_ struct gzip_inflater g = { 0 };
	h->n = 0;
	if (d->text.p)
		return (struct str){ d->text.p, d->text.n < HEAD_BYTES ? d->text.n : HEAD_BYTES };
	if (gzip_inflater_init(&g, HTTP_DOCUMENT_BODY_BYTES * 2, take_head, h, NULL) == 0)
		/* Its errors are the end that we made, or will be found by whoever reads the whole. */
		(void)gzip_inflater_push(&g, d->gzip, NULL);
	return (struct str){ h->text, h->n };
}

/* The provider's object behind its key, when the head holds all of it; absent otherwise. */
static struct json object_in(struct str head, const char *key_end)
{
	const char *end = head.p + head.n, *start = memchr(key_end, '{', (size_t)(end - key_end));
	bool in_string = false;
	int depth = 0;
	for (const char *p = start; p && p < end; p++) {
		if (in_string && *p == '\\')
			p++;
		else if (*p == '"')
			in_string = !in_string;
		else if (!in_string && *p == '{')
			depth++;
		else if (!in_string && *p == '}' && --depth == 0)
			return (struct json){ start, (size_t)(p + 1 - start) };
	}
	return JSON_ABSENT;
}

/* Whether `url` has to take the place of the address that the provider names; *ret_place is where that stands. */
static bool needs_change(struct json provider, const char *url, bool only_http, struct arena *a, struct json *ret_place)
{
	struct str old;
	*ret_place = json_path(provider, "state", "url", NULL);
	return json_string_is(json_get(provider, "type"), "service") && json_string(*ret_place, a, &old) &&
	       !str_is(old, url) && (!only_http || str_starts_with(old, "http://"));
}

/* A look at the beginning, so that what needs no change is not inflated. */
static bool may_need_change(const struct document *d, const char *url, bool only_http, struct arena *a)
{
	const struct str name = STR("\"secrets_providers\"");
	struct head *h = arena_new(a, struct head);
	if (!h)
		return true;
	struct str head = read_head(d, h);
	const char *there = head.n ? memmem(head.p, head.n, name.p, name.n) : NULL;
	if (!there)
		return false;
	struct json place, provider = object_in(head, there + name.n);
	return !provider.p || needs_change(provider, url, only_http, a, &place);
}

int document_set_address(struct document *d, const char *url, bool only_http, struct arena *a, struct err *e)
{
	struct json root, place;
	if (!may_need_change(d, url, only_http, a))
		return 0;
	struct document opened = *d;
	int rc = document_open(&opened, a, &root, e);
	if (rc < 0)
		return rc;
	struct json provider = json_path(root, "deployment", "secrets_providers", NULL);
	if (!needs_change(provider, url, only_http, a, &place))
		return 0;
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES * 2);
	buf_reserve(&b, root.n + strlen(url) + 2);
	buf_add(&b, root.p, (size_t)(place.p - root.p));
	jw_init(&w, &b);
	jw_string(&w, url);
	buf_add(&b, place.p + place.n, (size_t)(root.p + root.n - place.p) - place.n);
	rc = buf_check(&b, "the state", e);
	if (rc < 0)
		return rc;
	char *copy = str_dup(a, buf_str(&b));
	if (!copy)
		return err_nomem(e);
	*d = (struct document){ .text = { copy, b.len } };
	return 0;
}
