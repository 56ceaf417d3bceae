/*
 * encode.h: base64, hex, URL escapes.
 */
#ifndef SLIPWAY_BASE_ENCODE_H
#define SLIPWAY_BASE_ENCODE_H

#include "base/str.h"

/* Standard alphabet with padding. */
void base64_encode(struct buf *b, struct str bytes);
char *base64_encode_arena(struct arena *a, struct str bytes);
/* Strict: standard alphabet, padding required, no white space. false on anything else. */
bool base64_decode(struct arena *a, struct str text, struct str *ret_bytes);
/* URL-safe alphabet, no padding: used for tokens and cursors. */
void base64url_encode(struct buf *b, struct str bytes);
bool base64url_decode(struct arena *a, struct str text, struct str *ret_bytes);

void hex_encode(struct buf *b, struct str bytes); /* lower case */
char *hex_encode_arena(struct arena *a, struct str bytes);
bool hex_decode(struct arena *a, struct str text, struct str *ret_bytes);

/* Percent-escapes everything but unreserved characters. */
void url_escape(struct buf *b, struct str s);
/* Resolves %XX (and '+' as a blank when plus_is_blank); false on a broken escape or an escaped NUL. */
bool url_unescape(struct arena *a, struct str s, bool plus_is_blank, struct str *ret);
/* Appends "/name" to a JSON pointer. */
void json_pointer_add(struct buf *b, struct str name);

#endif
