#include "console/page.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/limits.h"
#include "console/style.h"
#include "crypto/crypto.h"
#include "db/db.h"

/* A log of two megabytes, every character of it escaped, and the page around it. */
#define PAGE_BYTES (16 * MIB)

void page_add(struct page *p, const char *html)
{
	buf_adds(&p->b, html);
}

static void add_escaped(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		switch (s.p[i]) {
		case '&':
			buf_adds(b, "&amp;");
			break;
		case '<':
			buf_adds(b, "&lt;");
			break;
		case '>':
			buf_adds(b, "&gt;");
			break;
		case '"':
			buf_adds(b, "&quot;");
			break;
		case '\'':
			buf_adds(b, "&#39;");
			break;
		default:
			if ((unsigned char)s.p[i] >= 0x20 || s.p[i] == '\n' ||
			    s.p[i] == '\t') /* no control characters */
				buf_addc(b, s.p[i]);
		}
	}
}

void page_text(struct page *p, const char *text)
{
	if (text)
		add_escaped(&p->b, str_of(text));
}

void page_begin(struct page *p, struct request *r, struct response *w, const char *title, const char *user,
		int refresh_s)
{
	*p = (struct page){ .r = r, .w = w };
	buf_init(&p->b, PAGE_BYTES);
	page_add(p, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
	if (refresh_s > 0)
		buf_addf(&p->b, "<meta http-equiv=\"refresh\" content=\"%d\">", refresh_s);
	page_add(p, "<title>");
	page_text(p, title);
	page_add(p, " · Slipway</title><style>");
	page_add(p, console_style);
	page_add(p, "</style></head><body><header><div><a class=\"mark\" href=\"/\"><i></i>Slipway</a>");
	if (user) {
		page_add(p, "<form class=\"who\" method=\"post\" action=\"/console/sign-out\"><span>");
		page_text(p, user);
		page_add(p, "</span><button class=\"plain\">Sign out</button></form>");
	}
	page_add(p, "</div></header><main>");
}

/* Nothing but this page's own style and forms to this server. */
static void set_headers(struct page *p)
{
	unsigned char hash[CRYPTO_SHA256_BYTES];
	crypto_sha256(str_of(console_style), hash);
	char *text = base64_encode_arena(p->r->arena, (struct str){ (const char *)hash, sizeof(hash) });
	const char *policy =
		arena_printf(p->r->arena,
			     "default-src 'none'; style-src 'sha256-%s'; form-action 'self'; base-uri 'none'; "
			     "frame-ancestors 'none'",
			     text ? text : "");
	response_header(p->w, "Content-Security-Policy", policy ? policy : "default-src 'none'");
	response_header(p->w, "X-Content-Type-Options", "nosniff");
	response_header(p->w, "Referrer-Policy", "no-referrer");
	response_header(p->w, "Cache-Control", "no-store");
}

int page_end(struct page *p, int status, struct err *e)
{
	page_add(p, "</main><footer>Slipway " SLIPWAY_VERSION "</footer></body></html>\n");
	int rc = buf_check(&p->b, "page", e);
	if (rc == 0) {
		set_headers(p);
		response_status(p->w, status);
		response_body(p->w, "text/html; charset=utf-8", buf_str(&p->b));
	}
	buf_done(&p->b);
	return rc;
}

/* --- log text --- */

struct look {
	int colour; /* 0-7, -1: none */
	bool bold, dim, italic, underline;
};

static bool is_plain(const struct look *l)
{
	return l->colour < 0 && !l->bold && !l->dim && !l->italic && !l->underline;
}

static void open_span(struct buf *b, const struct look *l)
{
	if (is_plain(l))
		return;
	buf_adds(b, "<span class=\"");
	if (l->colour >= 0)
		buf_addf(b, " f%d", l->colour);
	buf_adds(b, l->bold ? " s1" : "");
	buf_adds(b, l->dim ? " s2" : "");
	buf_adds(b, l->italic ? " s3" : "");
	buf_adds(b, l->underline ? " s4" : "");
	buf_adds(b, "\">");
}

static void apply_one(struct look *l, int64_t n)
{
	if (n == 0)
		*l = (struct look){ .colour = -1 };
	else if (n == 1)
		l->bold = true;
	else if (n == 2)
		l->dim = true;
	else if (n == 3)
		l->italic = true;
	else if (n == 4)
		l->underline = true;
	else if (n == 22)
		l->bold = l->dim = false;
	else if (n == 23)
		l->italic = false;
	else if (n == 24)
		l->underline = false;
	else if (n >= 30 && n <= 37)
		l->colour = (int)n - 30;
	else if (n >= 90 && n <= 97)
		l->colour = (int)n - 90;
	else if (n == 39)
		l->colour = -1;
}

/* "1;31", and "38;5;9" of which the first sixteen have a name. */
static void apply_codes(struct look *l, struct str codes)
{
	struct str rest = codes;
	while (rest.p) {
		int64_t n = 0, mode = 0, colour = 0;
		struct str one = str_cut(rest, ';', &rest);
		if (one.n > 0 && !str_to_int64(one, &n))
			return;
		if (n != 38 && n != 48) {
			apply_one(l, n);
			continue;
		}
		if (!str_to_int64(str_cut(rest, ';', &rest), &mode) || mode != 5)
			return;
		if (str_to_int64(str_cut(rest, ';', &rest), &colour) && n == 38 && colour >= 0 && colour < 16)
			l->colour = (int)(colour % 8);
	}
}

/* Behind ESC: the length of the sequence; *ret_codes is set when it is a colour. */
static size_t sequence(const char *p, const char *end, struct str *ret_codes)
{
	*ret_codes = STR_NULL;
	if (p == end)
		return 0;
	if (*p == ']') { /* a title or a link, ended by BEL or ESC \ */
		const char *q = p;
		while (q < end && *q != '\a' && *q != 033)
			q++;
		return (size_t)(q - p) + (q < end && *q == '\a');
	}
	if (*p != '[')
		return 1;
	const char *q = p + 1;
	while (q < end && (unsigned char)*q >= 0x20 && (unsigned char)*q < 0x40)
		q++;
	if (q == end)
		return (size_t)(q - p);
	if (*q == 'm')
		*ret_codes = (struct str){ p + 1, (size_t)(q - p - 1) };
	return (size_t)(q - p) + 1;
}

void page_log(struct page *p, struct str text)
{
	struct look look = { .colour = -1 };
	const char *at = text.p, *end = text.p + text.n;
	while (at < end) {
		const char *run = at;
		while (at < end && ((unsigned char)*at >= 0x20 || *at == '\n' || *at == '\t') && *at != 0x7f)
			at++;
		add_escaped(&p->b, (struct str){ run, (size_t)(at - run) });
		if (at == end)
			break;
		char c = *at++;
		if (c == '\r' && at < end && *at != '\n')
			buf_addc(&p->b, '\n'); /* a progress line that overwrites itself */
		if (c != 033)
			continue;
		struct str codes;
		at += sequence(at, end, &codes);
		if (!codes.p)
			continue;
		buf_adds(&p->b, is_plain(&look) ? "" : "</span>");
		apply_codes(&look, codes);
		open_span(&p->b, &look);
	}
	buf_adds(&p->b, is_plain(&look) ? "" : "</span>");
}

/* --- pieces --- */

void page_status(struct page *p, const char *status)
{
	page_add(p, "<span class=\"status ");
	page_text(p, status);
	page_add(p, "\">");
	page_text(p, status);
	page_add(p, "</span>");
}

void page_fact(struct page *p, const char *name, const char *value)
{
	if (!value || !value[0])
		return;
	page_add(p, "<div><dt>");
	page_text(p, name);
	page_add(p, "</dt><dd>");
	page_text(p, value);
	page_add(p, "</dd></div>");
}

void page_fact_time(struct page *p, const char *name, int64_t us)
{
	if (us == DB_NULL_INT)
		return;
	const char *plain = clock_plain(p->r->arena, us);
	if (plain) /* without the milliseconds */
		page_fact(p, name, arena_printf(p->r->arena, "%.19s UTC", plain));
}

const char *page_duration(struct arena *a, int64_t us)
{
	int64_t s = us < 0 ? 0 : us / US_PER_S;
	if (s < 60)
		return arena_printf(a, "%" PRId64 " s", s);
	if (s < 3600)
		return arena_printf(a, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
	return arena_printf(a, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
}

void page_href(struct page *p, const char *segment, ...)
{
	va_list ap;
	va_start(ap, segment);
	page_add(p, " href=\"");
	for (const char *s = segment; s; s = va_arg(ap, const char *)) {
		buf_addc(&p->b, '/');
		url_escape(&p->b, str_of(s));
	}
	page_add(p, "\"");
	va_end(ap);
}

/* --- whole pages --- */

int page_not_found(struct request *r, struct response *w, const char *user, struct err *e)
{
	struct page p;
	page_begin(&p, r, w, "Not found", user, 0);
	page_add(&p, "<h1>Not found</h1><p>There is nothing at this address, or you may not see it.</p>"
		     "<p><a href=\"/\">Latest deployments</a></p>");
	return page_end(&p, 404, e);
}

int page_sign_in(struct request *r, struct response *w, const char *to, const char *problem, struct err *e)
{
	struct page p;
	page_begin(&p, r, w, "Sign in", NULL, 0);
	page_add(
		&p,
		"<h1>Sign in</h1><div class=\"card\"><form class=\"signin\" method=\"post\" action=\"/console/session\">"
		"<label for=\"token\">Access token</label>"
		"<input id=\"token\" name=\"token\" type=\"password\" required autofocus autocomplete=\"current-password\" "
		"placeholder=\"pul-…\"><input type=\"hidden\" name=\"to\" value=\"");
	page_text(&p, to);
	page_add(&p, "\"><button>Sign in</button></form>");
	if (problem) {
		page_add(&p, "<p class=\"note\">");
		page_text(&p, problem);
		page_add(&p, "</p>");
	}
	page_add(
		&p,
		"</div><p class=\"empty\">It is the token that <code>pulumi login</code> uses. This browser keeps a cookie "
		"for twelve hours, not the token.</p>");
	return page_end(&p, 401, e);
}
