/*
 * mask.h: replaces secret values in a stream of bytes by "[secret]".
 *
 * Each value is looked for as it is, line by line, and in the forms in which programs print it (mask_encodings.c): quoted and
 * escaped as JSON, in shells and in other languages, as URL, XML, hexadecimal, and base64 at the three offsets that a longer text can
 * put it at (both alphabets, also over lines). All patterns are found in one pass (mask_set.h), also across the
 * borders of what is fed. Overlapping and touching matches become one replacement.
 *
 * A set is built once and then read by any number of threads; a stream belongs to one.
 */
#ifndef SLIPWAY_BASE_MASK_H
#define SLIPWAY_BASE_MASK_H

#include "base/str.h"

#define MASK_TEXT "[secret]"
/* Shorter values would blank out ordinary text; they are counted, and named by the caller. */
#define MASK_VALUE_MIN_BYTES 3
/* Parts of an encoding shorter than this are left: they are no use to anybody, and appear in other words. */
#define MASK_FORM_MIN_BYTES 4
/* All patterns of one deployment together: about 24 bytes of memory for each. */
#define MASK_PATTERN_BYTES_MAX ((size_t)8 * 1024 * 1024)

struct mask_set;

struct mask_set *mask_set_new(void); /* NULL: out of memory */
struct mask_set *mask_set_ref(struct mask_set *s);
void mask_set_free(struct mask_set *s); /* ends a reference; the first is mask_set_new's */
size_t mask_set_bytes(const struct mask_set *s);
static inline void mask_set_cleanup_fn(struct mask_set **s)
{
	mask_set_free(*s);
}
#define _cleanup_mask_set_ __attribute__((cleanup(mask_set_cleanup_fn)))
/* Adds a value in all its forms. 1: added; 0: too short (or empty), not masked. ERR_TOO_LARGE: over the maximum. */
int mask_set_add(struct mask_set *s, struct str value, struct err *e);
/* After the last add, before the first stream. */
int mask_set_build(struct mask_set *s, struct err *e);

struct mask_stream {
	const struct mask_set *set;
	struct buf held;	 /* bytes that may still become part of a match */
	int state;		 /* of the automaton, after the last byte of held */
	struct mask_span *spans; /* matches within held, sorted, apart from each other */
	size_t span_count, span_cap;
	uint64_t replaced; /* how often, so far */
	bool in_span;	   /* the replacement of a match that goes on at held's start was written already */
};

void mask_stream_init(struct mask_stream *m, const struct mask_set *set);
void mask_stream_done(struct mask_stream *m);
/* Appends to `out` what is decided. false: out of memory, or out is full; the stream is then of no use any more. */
bool mask_stream_feed(struct mask_stream *m, struct str bytes, struct buf *out);
/* Nothing more comes: the rest. The stream starts anew. */
bool mask_stream_end(struct mask_stream *m, struct buf *out);

/* Whether anything in the text would be replaced. */
bool mask_finds(const struct mask_set *s, struct str text);

/* One text at once. */
bool mask_text(const struct mask_set *s, struct str text, struct buf *out);

#endif
