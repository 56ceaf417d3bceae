#include "base/mask_forms.h"

#include "base/encode.h"
#include "base/mask.h"

#define FORM_MAX_BYTES (MASK_PATTERN_BYTES_MAX)
/* A line of base64 ends after so many characters: base64, and openssl. */
static const size_t base64_widths[] = { 76, 64 };
/* What is left of an encoding on its last line, or of a value behind a \n that is written so: no secret if it is shorter. */
#define PIECE_MIN_BYTES 8
/* A form costs 24 bytes for each of its own: a value of up to 4 KiB (tokens, passwords, keys) is looked for in all of them, a larger
 * one (a document) in the usual ones, and beyond 32 KiB in what JSON, URL and base64 make of it alone. */
#define ALL_FORMS_MAX_BYTES 4096
#define USUAL_FORMS_MAX_BYTES (32 * 1024)
/* All forms of one value: most are equal. */
#define SEEN_MAX 128

struct forms {
	int (*add)(void *arg, struct str form, struct err *e);
	void *arg;
	struct buf form;
	struct str value; /* whose forms are made: most are equal to it */
	enum { FORMS_ALL, FORMS_USUAL, FORMS_FEW } choice;
	uint64_t seen[SEEN_MAX];
	size_t seen_count;
	struct err *e;
};

static uint64_t hash(struct str s)
{
	uint64_t h = 0xCBF29CE484222325u ^ s.n;
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001B3u;
	return h;
}

/* Walking the trie once more for what it has costs more than looking here. */
static bool is_new(struct forms *f, struct str form)
{
	if (str_eq(form, f->value))
		return false;
	uint64_t h = hash(form);
	for (size_t i = 0; i < f->seen_count; i++) {
		if (f->seen[i] == h)
			return false;
	}
	if (f->seen_count < SEEN_MAX)
		f->seen[f->seen_count++] = h;
	return true;
}

static int give(struct forms *f, size_t min_bytes)
{
	int r = buf_check(&f->form, "a secret's form", f->e);
	if (r == 0 && f->form.len >= min_bytes && is_new(f, buf_str(&f->form)))
		r = f->add(f->arg, buf_str(&f->form), f->e);
	buf_reset(&f->form);
	return r;
}

/* --- base64: the characters that depend on the value alone, when `offset` bytes stand before it --- */

static int base64_lines(struct forms *f, struct str text)
{
	int r = 0;
	for (size_t w = 0; r == 0 && w < ARRAY_SIZE(base64_widths); w++) {
		if (text.n <= base64_widths[w])
			continue;
		for (size_t at = 0; r == 0 && text.n - at >= PIECE_MIN_BYTES; at += base64_widths[w]) {
			size_t n = text.n - at < base64_widths[w] ? text.n - at : base64_widths[w];
			r = f->add(f->arg, (struct str){ text.p + at, n }, f->e);
			if (n < base64_widths[w])
				break;
		}
	}
	return r;
}

static int base64_form(struct forms *f, struct str v, size_t offset, bool url)
{
	_cleanup_buf_ struct buf shifted;
	buf_init(&shifted, FORM_MAX_BYTES);
	buf_add(&shifted, "\0\0", offset);
	buf_add_str(&shifted, v);
	if (url)
		base64url_encode(&f->form, buf_str(&shifted));
	else
		base64_encode(&f->form, buf_str(&shifted));
	int r = buf_check(&shifted, "a secret's form", f->e);
	if (shifted.data)
		explicit_bzero(shifted.data, shifted.cap);
	if (r < 0 || buf_failed(&f->form))
		return r < 0 ? r : buf_check(&f->form, "a secret's form", f->e);
	size_t first = (offset * 8 + 5) / 6;
	size_t last = (offset + v.n) * 8 / 6;
	f->form.len = last;
	buf_consume(&f->form, first);
	if (offset == 0 && !url)
		r = base64_lines(f, buf_str(&f->form));
	return r < 0 ? r : give(f, MASK_FORM_MIN_BYTES);
}

static int base64_forms(struct forms *f, struct str v)
{
	int r = 0;
	for (size_t offset = 0; r == 0 && offset < 3; offset++) {
		r = base64_form(f, v, offset, false);
		if (r == 0 && f->choice != FORMS_FEW)
			r = base64_form(f, v, offset, true);
	}
	return r;
}

static int hex_forms(struct forms *f, struct str v)
{
	int r = 0;
	for (int upper = 0; r == 0 && upper < 2 && f->choice == FORMS_ALL; upper++) {
		const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
		for (size_t i = 0; i < v.n; i++) {
			buf_addc(&f->form, digits[(unsigned char)v.p[i] >> 4]);
			buf_addc(&f->form, digits[(unsigned char)v.p[i] & 15]);
		}
		r = give(f, MASK_FORM_MIN_BYTES);
	}
	return r;
}

/* --- quoted, escaped --- */

/* JSON in a text of JSON. */
static int twice(struct forms *f, struct str v, const struct mask_escapes *d)
{
	_cleanup_buf_ struct buf once;
	buf_init(&once, FORM_MAX_BYTES);
	mask_escape(&once, v, d);
	int r = buf_check(&once, "a secret's form", f->e);
	if (r == 0) {
		mask_escape(&f->form, buf_str(&once), d);
		r = give(f, MASK_VALUE_MIN_BYTES);
	}
	if (once.data)
		explicit_bzero(once.data, once.cap);
	return r;
}

/* "%2F" or "%2f", "%20" or "+". Of large values the first alone, and of the first encoder its others. */
static int url_forms(struct forms *f, struct str v)
{
	size_t keeps = f->choice == FORMS_ALL	  ? mask_url_keep_count
		       : f->choice == FORMS_USUAL ? MASK_URL_KEEPS_USUAL
						  : 1;
	int r = 0;
	for (size_t i = 0; r == 0 && i < keeps * 4; i++) {
		bool upper = !(i & 1), plus = i & 2;
		if (f->choice != FORMS_ALL && !(upper && !plus) &&
		    (i >= 4 || f->choice == FORMS_FEW || (!upper && plus)))
			continue;
		mask_url(&f->form, v, mask_url_keeps[i / 4], upper, plus);
		r = give(f, MASK_VALUE_MIN_BYTES);
	}
	return r;
}

static int text_forms(struct forms *f, struct str v)
{
	bool all = f->choice == FORMS_ALL, few = f->choice == FORMS_FEW;
	size_t escapes = all ? mask_escape_count : few ? 2 : MASK_ESCAPES_USUAL;
	size_t replacements = all ? mask_replacement_count : few ? 0 : MASK_REPLACEMENTS_USUAL;
	int r = 0;
	for (size_t i = 0; r == 0 && i < escapes; i++) {
		const struct mask_escapes *d = &mask_escapes[i];
		mask_escape(&f->form, v, d);
		r = give(f, MASK_VALUE_MIN_BYTES);
		if (r == 0 && (all || i == 0) && (d->code == MASK_CODE_U || d->code == MASK_CODE_U_UPPER))
			r = twice(f, v, d);
	}
	for (size_t i = 0; r == 0 && i < replacements; i++) {
		mask_replace(&f->form, v, &mask_replacements[i]);
		r = give(f, MASK_VALUE_MIN_BYTES);
	}
	return r < 0 ? r : url_forms(f, v);
}

static int line_forms(struct forms *f, struct str v)
{
	f->value = v;
	f->seen_count = 0;
	int r = f->add(f->arg, v, f->e);
	if (r == 0)
		r = text_forms(f, v);
	return r < 0 ? r : base64_forms(f, v);
}

/* What a text escapes line by line, the forms of the lines find; what packs its bytes, only the whole. */
static int packed_forms(struct forms *f, struct str v)
{
	f->value = v;
	f->seen_count = 0;
	int r = base64_forms(f, v);
	return r < 0 ? r : hex_forms(f, v);
}

/* A key in a JSON text has its line breaks as \n; a program that reads the text prints its lines. */
static int escaped_lines(struct forms *f, struct str line)
{
	int r = 0;
	const char *end = line.p + line.n;
	if (!memmem(line.p, line.n, "\\n", 2))
		return 0;
	for (const char *p = line.p; r == 0 && p < end;) {
		const char *at = memmem(p, (size_t)(end - p), "\\n", 2);
		size_t n = (size_t)((at ? at : end) - p);
		struct str piece = str_trim((struct str){ p, n >= 2 && !memcmp(p + n - 2, "\\r", 2) ? n - 2 : n });
		if (piece.n >= PIECE_MIN_BYTES)
			r = line_forms(f, piece);
		p = at ? at + 2 : end;
	}
	return r;
}

static int several_lines(struct forms *f, struct str value)
{
	struct str rest = value;
	int r = packed_forms(f, value);
	if (r == 0) {
		/* So that the usual form becomes one replacement. */
		mask_escape(&f->form, value, &mask_escapes[0]);
		r = give(f, MASK_VALUE_MIN_BYTES);
	}
	while (r == 0 && rest.p) {
		/* Trimmed: how deep a line is indented is no secret, and a brace of its own is none either. */
		struct str line = str_trim(str_cut(rest, '\n', &rest));
		if (line.n >= MASK_VALUE_MIN_BYTES)
			r = line_forms(f, line);
		if (r == 0 && line.n >= PIECE_MIN_BYTES)
			r = escaped_lines(f, line);
	}
	/* Files end with a line break; what is made of them by $(…) does not. */
	struct str trimmed = str_trim(value);
	if (r == 0 && trimmed.n >= MASK_VALUE_MIN_BYTES && trimmed.n < value.n)
		r = packed_forms(f, trimmed);
	return r;
}

/* With the line breaks that the other systems have: only what encodes the whole knows the difference. */
static int other_breaks(struct forms *f, struct str value)
{
	_cleanup_buf_ struct buf b;
	bool has_cr = memmem(value.p, value.n, "\r\n", 2) != NULL;
	buf_init(&b, FORM_MAX_BYTES);
	for (size_t i = 0; i < value.n; i++) {
		if (has_cr && value.p[i] == '\r' && i + 1 < value.n && value.p[i + 1] == '\n')
			continue;
		if (!has_cr && value.p[i] == '\n')
			buf_addc(&b, '\r');
		buf_addc(&b, value.p[i]);
	}
	int r = buf_check(&b, "a secret's form", f->e);
	if (r == 0)
		r = packed_forms(f, buf_str(&b));
	if (b.data)
		explicit_bzero(b.data, b.cap);
	return r;
}

int mask_forms(struct str value, int (*add)(void *arg, struct str form, struct err *e), void *arg, struct err *e)
{
	struct forms f = { .add = add, .arg = arg, .e = e };
	int r = 0;
	f.choice = value.n <= ALL_FORMS_MAX_BYTES     ? FORMS_ALL
		   : value.n <= USUAL_FORMS_MAX_BYTES ? FORMS_USUAL
						      : FORMS_FEW;
	buf_init(&f.form, FORM_MAX_BYTES);
	if (!memchr(value.p, '\n', value.n)) {
		struct str trimmed = str_trim(value);
		r = line_forms(&f, value);
		if (r == 0)
			r = hex_forms(&f, value);
		if (r == 0)
			r = escaped_lines(&f, value);
		if (r == 0 && trimmed.n < value.n && trimmed.n >= MASK_VALUE_MIN_BYTES)
			r = line_forms(&f, trimmed);
	} else {
		r = several_lines(&f, value);
		if (r == 0)
			r = other_breaks(&f, value);
	}
	if (f.form.data)
		explicit_bzero(f.form.data, f.form.cap);
	buf_done(&f.form);
	return r;
}
