#include "base/mask_forms.h"

#include <stdio.h>

#include "base/mask.h"
#include "base/encode.h"
#include "base/utf8.h"

#define FORM_MAX_BYTES (MASK_PATTERN_BYTES_MAX)

struct forms {
	int (*add)(void *arg, struct str form, struct err *e);
	void *arg;
	struct buf form;
	struct err *e;
};

static int give(struct forms *f, size_t min_bytes)
{
	int r = buf_check(&f->form, "a secret's form", f->e);
	if (r == 0 && f->form.len >= min_bytes)
		r = f->add(f->arg, buf_str(&f->form), f->e);
	return r;
}

/* --- JSON --- */
enum json_dialect {
	JSON_PLAIN, /* JavaScript, jq, ours */
	JSON_HTML,  /* Go: <, > and & too */
	JSON_ASCII, /* Python: everything past ASCII too */
};

static uint32_t decode(const char *p, size_t n)
{
	const unsigned char *s = (const unsigned char *)p;
	if (n == 2)
		return (uint32_t)(s[0] & 0x1F) << 6 | (s[1] & 0x3F);
	if (n == 3)
		return (uint32_t)(s[0] & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
	return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 | (uint32_t)(s[2] & 0x3F) << 6 |
	       (s[3] & 0x3F);
}

static void json_byte(struct buf *b, unsigned char c, enum json_dialect d)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
	for (size_t i = 0; i + 1 < sizeof(shorts); i += 2) {
		if ((unsigned char)shorts[i] == c) {
			buf_addf(b, "\\%c", shorts[i + 1]);
			return;
		}
	}
	if (c < 0x20 || (d == JSON_HTML && (c == '<' || c == '>' || c == '&')))
		buf_addf(b, "\\u%04x", c);
	else
		buf_addc(b, (char)c);
}

static int json_form(struct forms *f, struct str v, enum json_dialect d)
{
	buf_reset(&f->form);
	for (const char *p = v.p, *end = v.p + v.n; p < end;) {
		size_t n = utf8_sequence(p, end);
		if (n > 1 && d == JSON_ASCII) {
			uint32_t c = decode(p, n);
			if (c >= 0x10000)
				buf_addf(&f->form, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
					 0xDC00 + ((c - 0x10000) & 0x3FF));
			else
				buf_addf(&f->form, "\\u%04x", c);
		} else if (n > 1) {
			buf_add(&f->form, p, n);
		} else {
			json_byte(&f->form, (unsigned char)*p, d);
		}
		p += n ? n : 1;
	}
	return give(f, MASK_VALUE_MIN_BYTES);
}

/* --- URL --- */
struct url_dialect {
	const char *keep; /* besides letters and digits */
	const char *hex;
	bool plus; /* a blank becomes '+' */
};

static int url_form(struct forms *f, struct str v, const struct url_dialect *d)
{
	buf_reset(&f->form);
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr(d->keep, c)))
			buf_addc(&f->form, (char)c);
		else if (c == ' ' && d->plus)
			buf_addc(&f->form, '+');
		else
			buf_addf(&f->form, "%%%c%c", d->hex[c >> 4], d->hex[c & 15]);
	}
	return give(f, MASK_VALUE_MIN_BYTES);
}

/* --- base64: the characters that depend on the value alone, when `offset` bytes stand before it --- */
static int base64_form(struct forms *f, struct str v, size_t offset, bool url)
{
	_cleanup_buf_ struct buf shifted;
	buf_init(&shifted, FORM_MAX_BYTES);
	buf_add(&shifted, "\0\0", offset);
	buf_add_str(&shifted, v);
	buf_reset(&f->form);
	if (url)
		base64url_encode(&f->form, buf_str(&shifted));
	else
		base64_encode(&f->form, buf_str(&shifted));
	int r = buf_check(&shifted, "a secret's form", f->e);
	if (r < 0 || buf_failed(&f->form))
		return r < 0 ? r : buf_check(&f->form, "a secret's form", f->e);
	size_t first = (offset * 8 + 5) / 6;
	size_t last = (offset + v.n) * 8 / 6;
	f->form.len = last;
	buf_consume(&f->form, first);
	return give(f, MASK_FORM_MIN_BYTES);
}

/* --- shell: within single quotes a quote is written in two ways; `set -x` and printf %q may use backslashes --- */
static int shell_form(struct forms *f, struct str v, const char *quote)
{
	static const char special[] = " !\"#$&'()*,;<>?[\\]^`{|}~";
	buf_reset(&f->form);
	for (size_t i = 0; i < v.n; i++) {
		if (quote && v.p[i] == '\'')
			buf_adds(&f->form, quote);
		else if (!quote && v.p[i] && strchr(special, v.p[i]))
			buf_addf(&f->form, "\\%c", v.p[i]);
		else
			buf_addc(&f->form, v.p[i]);
	}
	return give(f, MASK_VALUE_MIN_BYTES);
}

static int raw_form(struct forms *f, struct str v)
{
	buf_reset(&f->form);
	buf_add_str(&f->form, v);
	return give(f, MASK_VALUE_MIN_BYTES);
}

static int encoded_forms(struct forms *f, struct str v)
{
	static const struct url_dialect urls[] = {
		{ "-_.~", "0123456789ABCDEF", false },	{ "-_.~", "0123456789abcdef", false },
		{ "-_.~", "0123456789ABCDEF", true },	{ "-_.~!'()*", "0123456789ABCDEF", false },
		{ "-_.~/", "0123456789ABCDEF", false },
	};
	int r = 0;
	for (int d = JSON_PLAIN; r == 0 && d <= JSON_ASCII; d++)
		r = json_form(f, v, (enum json_dialect)d);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(urls); i++)
		r = url_form(f, v, &urls[i]);
	for (size_t offset = 0; r == 0 && offset < 3; offset++) {
		r = base64_form(f, v, offset, false);
		if (r == 0)
			r = base64_form(f, v, offset, true);
	}
	return r;
}

static int line_forms(struct forms *f, struct str v)
{
	int r = raw_form(f, v);
	if (r == 0)
		r = shell_form(f, v, "'\\''");
	if (r == 0)
		r = shell_form(f, v, "'\"'\"'");
	if (r == 0)
		r = shell_form(f, v, NULL);
	return r < 0 ? r : encoded_forms(f, v);
}

int mask_forms(struct str value, int (*add)(void *arg, struct str form, struct err *e), void *arg, struct err *e)
{
	struct forms f = { .add = add, .arg = arg, .e = e };
	int r = 0;
	buf_init(&f.form, FORM_MAX_BYTES);
	if (!memchr(value.p, '\n', value.n)) {
		r = line_forms(&f, value);
	} else {
		r = encoded_forms(&f, value);
		struct str rest = value;
		while (r == 0 && rest.p) {
			/* Trimmed: how deep a line is indented is no secret, and a brace of its own is none either. */
			struct str line = str_trim(str_cut(rest, '\n', &rest));
			if (line.n >= MASK_VALUE_MIN_BYTES)
				r = line_forms(&f, line);
		}
		/* Files end with a line break; what is made of them by $(…) does not. */
		struct str trimmed = str_trim(value);
		if (r == 0 && trimmed.n >= MASK_VALUE_MIN_BYTES && trimmed.n < value.n)
			r = memchr(trimmed.p, '\n', trimmed.n) ? encoded_forms(&f, trimmed) : 0;
	}
	if (f.form.data)
		explicit_bzero(f.form.data, f.form.cap);
	buf_done(&f.form);
	return r;
}
