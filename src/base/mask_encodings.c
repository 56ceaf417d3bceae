#include <stdio.h>

#include "base/mask_forms.h"
#include "base/utf8.h"

#define JSON_LETTERS "\bb\ff\nn\rr\tt"
#define C_LETTERS "\aa\bb\ff\nn\rr\tt\vv"

/* The first two, and the first MASK_ESCAPES_USUAL, are made of larger values, too (mask_forms.c). */
const struct mask_escapes mask_escapes[] = {
	{ "\"\\", JSON_LETTERS, "", MASK_CODE_U, false, "" },			/* JavaScript, jq, ours */
	{ "\"\\", JSON_LETTERS, "<>&", MASK_CODE_U, false, "" },		/* Go's JSON */
	{ "\"\\", JSON_LETTERS, "", MASK_CODE_U, true, "" },			/* Python's json */
	{ " \t!\"#$&'()*,;<=>?[\\]^`{|}~", "", "", MASK_CODE_NONE, false, "" }, /* other shells */
	{ "\"\\", JSON_LETTERS, "<>&='", MASK_CODE_U, false, "" },		/* Gson */
	{ "\"\\/", JSON_LETTERS, "", MASK_CODE_U, true, "" },			/* PHP */
	{ "\\", JSON_LETTERS, "\"&'+<>`", MASK_CODE_U_UPPER, true, "" },	/* .NET */
	{ "\"\\", C_LETTERS, "", MASK_CODE_X, false, "" },			/* Go's %q */
	{ "'\\", "\nn\rr\tt", "", MASK_CODE_X, false, "" },			/* Python's repr */
	{ "\\", "\nn\rr\tt", "", MASK_CODE_X, false, "" },			/* … between double quotes */
	{ "'\\", JSON_LETTERS, "", MASK_CODE_X_UPPER, false, "" },		/* Node's inspect */
	{ "\\", JSON_LETTERS, "", MASK_CODE_X_UPPER, false, "" }, /* … between double quotes, or backticks */
	{ "'\\",
	  C_LETTERS "\x1b"
		    "E",
	  "", MASK_CODE_OCTAL, false, "" }, /* shell: $'…' */
	{ "'\\",
	  C_LETTERS "\x1b"
		    "E",
	  "", MASK_CODE_OCTAL, true, "" },				       /* … in the locale C */
	{ "\"\\$`", "", "", MASK_CODE_NONE, false, "" },		       /* shell: "…" */
	{ "\"\\$`!", "", "", MASK_CODE_NONE, false, "" },		       /* … with history */
	{ " \t!\"$&'()*,;<>?[\\]^`{|}", "", "", MASK_CODE_NONE, false, "#~" }, /* bash's printf %q */
};
const size_t mask_escape_count = ARRAY_SIZE(mask_escapes);

const struct mask_replacements mask_replacements[] = {
	{ { "'", "'\\''" } },	/* shell: '…' */
	{ { "'", "'\"'\"'" } }, /* Python's shlex.quote */
	{ { "'", "''" } },	/* YAML, SQL, PowerShell */
	{ { "\"", "\"\"" } },	/* CSV */
	{ { "&", "&amp;", "<", "&lt;", ">", "&gt;" } },
	{ { "&", "&amp;", "<", "&lt;", ">", "&gt;", "\"", "&quot;", "'", "&apos;" } },
	{ { "&", "&amp;", "<", "&lt;", ">", "&gt;", "\"", "&quot;", "'", "&#x27;" } }, /* Python */
	{ { "&", "&amp;", "<", "&lt;", ">", "&gt;", "\"", "&quot;", "'", "&#39;" } },
	{ { "&", "&amp;", "<", "&lt;", ">", "&gt;", "\"", "&#34;", "'", "&#39;" } }, /* Go */
};
const size_t mask_replacement_count = ARRAY_SIZE(mask_replacements);

const char *const mask_url_keeps[] = {
	"-_.~",			/* RFC 3986, Go's QueryEscape */
	"-_.~/",		/* Python's quote */
	"-_.~!'()*",		/* encodeURIComponent */
	"-_.*",			/* forms: Java, browsers */
	"-_.~!'()*;/?:@&=+$,#", /* encodeURI */
	"-_.~$&+=:@",		/* Go's PathEscape */
	"-_.~$&+,/:;=@",	/* Go's paths */
	"-_.~$&+,;=",		/* Go's user and password */
	"-_.~!$&'()*+,;=",	/* the same by RFC 3986 */
};
const size_t mask_url_keep_count = ARRAY_SIZE(mask_url_keeps);

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

static void add_unit(struct buf *b, uint32_t unit, const struct mask_escapes *d)
{
	if (d->code == MASK_CODE_U)
		buf_addf(b, "\\u%04x", unit);
	else
		buf_addf(b, "\\u%04X", unit);
}

static void add_code(struct buf *b, const char *p, size_t n, const struct mask_escapes *d)
{
	if (d->code == MASK_CODE_U || d->code == MASK_CODE_U_UPPER) {
		uint32_t c = n > 1 ? decode(p, n) : (unsigned char)*p;
		if (c < 0x10000) {
			add_unit(b, c, d);
			return;
		}
		add_unit(b, 0xD800 + ((c - 0x10000) >> 10), d);
		add_unit(b, 0xDC00 + ((c - 0x10000) & 0x3FF), d);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (d->code == MASK_CODE_X)
			buf_addf(b, "\\x%02x", c);
		else if (d->code == MASK_CODE_X_UPPER)
			buf_addf(b, "\\x%02X", c);
		else
			buf_addf(b, "\\%03o", c);
	}
}

static char letter_of(char c, const char *letters)
{
	for (; letters[0]; letters += 2) {
		if (letters[0] == c)
			return letters[1];
	}
	return 0;
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool has(const char *set, char c)
{
	return c && strchr(set, c);
}

/* A shell takes "#" for a comment and "~" for a home at the beginning, and the latter also behind ":" and "=". */
static bool may_begin(const char *begin, const char *p)
{
	return p == begin || (*p == '~' && has(":=", p[-1]));
}

void mask_escape(struct buf *b, struct str v, const struct mask_escapes *d)
{
	for (const char *p = v.p, *end = v.p + v.n; p < end;) {
		if (is_alnum(*p)) {
			buf_addc(b, *p++);
			continue;
		}
		size_t n = utf8_sequence(p, end);
		n = n ? n : 1;
		unsigned char c = (unsigned char)*p;
		char letter = letter_of(*p, d->letters);
		bool control = c < 0x20 || c == 0x7F;
		if (letter || has(d->marked, *p) || (has(d->first, *p) && may_begin(v.p, p))) {
			buf_addc(b, '\\');
			buf_addc(b, letter ? letter : *p);
		} else if (d->code != MASK_CODE_NONE && (has(d->coded, *p) || (d->ascii && c >= 0x80) ||
							 (control && (c != 0x7F || d->code >= MASK_CODE_X)))) {
			add_code(b, p, n, d);
		} else {
			buf_add(b, p, n);
		}
		p += n;
	}
}

void mask_replace(struct buf *b, struct str v, const struct mask_replacements *d)
{
	for (size_t i = 0; i < v.n; i++) {
		size_t k = 0;
		while (!is_alnum(v.p[i]) && d->pairs[k] && d->pairs[k][0] != v.p[i])
			k += 2;
		if (!is_alnum(v.p[i]) && d->pairs[k])
			buf_adds(b, d->pairs[k + 1]);
		else
			buf_addc(b, v.p[i]);
	}
}

void mask_url(struct buf *b, struct str v, const char *keep, bool upper, bool plus)
{
	const char *hex = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if (is_alnum(v.p[i]) || has(keep, v.p[i])) {
			buf_addc(b, v.p[i]);
		} else if (c == ' ' && plus) {
			buf_addc(b, '+');
		} else {
			buf_addc(b, '%');
			buf_addc(b, hex[c >> 4]);
			buf_addc(b, hex[c & 15]);
		}
	}
}
