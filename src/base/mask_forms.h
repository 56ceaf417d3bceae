/*
 * mask_forms.h: the forms in which programs print a value. Pure functions.
 */
#ifndef SLIPWAY_BASE_MASK_FORMS_H
#define SLIPWAY_BASE_MASK_FORMS_H

#include "base/str.h"

/* Calls `add` with each form, of at least MASK_VALUE_MIN_BYTES. No form holds a line break: a value of several lines gives
 * each of its lines, and the encodings of the whole. Of a large value only the usual forms are made. Stops at the first error of `add` and returns it. */
int mask_forms(struct str value, int (*add)(void *arg, struct str form, struct err *e), void *arg, struct err *e);

/* --- mask_encodings.c: the dialects, in tables --- */

/* How a language writes a text between quotes. */
struct mask_escapes {
	const char *marked;  /* get a backslash in front */
	const char *letters; /* pairs: a byte, and the letter that stands for it behind a backslash */
	const char *coded;   /* written by number, although they could be printed */
	enum {
		MASK_CODE_NONE, /* no numbers: control characters stand as they are */
		MASK_CODE_U,	/* \u00f6, a character beyond 16 bits as two */
		MASK_CODE_U_UPPER,
		MASK_CODE_X, /* \xf6 */
		MASK_CODE_X_UPPER,
		MASK_CODE_OCTAL, /* \366 */
	} code;
	bool ascii;	   /* what lies past ASCII is written by number, too */
	const char *first; /* marked only where a shell would take them for something else */
};
extern const struct mask_escapes mask_escapes[];
extern const size_t mask_escape_count;
#define MASK_ESCAPES_USUAL 4
void mask_escape(struct buf *b, struct str v, const struct mask_escapes *d);

/* How one byte is replaced by a longer text: quotes within quotes, entities. */
struct mask_replacements {
	const char *pairs[12]; /* the byte, what stands for it; NULL ends */
};
extern const struct mask_replacements mask_replacements[];
extern const size_t mask_replacement_count;
#define MASK_REPLACEMENTS_USUAL 2
void mask_replace(struct buf *b, struct str v, const struct mask_replacements *d);

/* What an encoder of URLs leaves as it is, besides letters and digits. Each is used with both cases of hex digits, and with
 * "%20" and "+" for a blank. */
extern const char *const mask_url_keeps[];
extern const size_t mask_url_keep_count;
#define MASK_URL_KEEPS_USUAL 3
void mask_url(struct buf *b, struct str v, const char *keep, bool upper, bool plus);

#endif
