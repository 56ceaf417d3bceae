/*
 * delta.h: the edits of a delta checkpoint (cli-protocol §3.6.3): what turns the text that was saved last into the one
 * that is saved now.
 *
 *	[{"Span":{"uri":"","start":{"line":1,"column":1,"offset":a},"end":{"line":1,"column":1,"offset":b}},"NewText":"…"}]
 *
 * Offsets count bytes of the former text; lines and columns mean nothing. The edits ascend and do not overlap: the text
 * up to `a` is kept, [a, b) makes room for NewText, and so on; what is behind the last edit is kept.
 *
 * A text under edits is a list of pieces, spans of the first text and of the edits, which must outlive it. So a chain of
 * edits costs what the edits cost, and the text is copied once, at the end, however long it is.
 */
#ifndef SLIPWAY_STATE_DELTA_H
#define SLIPWAY_STATE_DELTA_H

#include "base/json.h"

struct delta_pieces {
	struct arena *a;  /* of the texts of edits */
	struct str *list; /* heap */
	size_t count;
	size_t n; /* bytes of all */
};

void delta_pieces_done(struct delta_pieces *p);
#define _cleanup_delta_pieces_ __attribute__((cleanup(delta_pieces_done)))
int delta_pieces_init(struct delta_pieces *p, struct arena *a, struct str text, struct err *e);
/* ERR_BAD_REQUEST names the edit that does not fit; *p is then as it was. */
int delta_edit(struct delta_pieces *p, struct json edits, struct err *e);
/* Appends the text to `out`, whose maximum bounds it. */
int delta_write(const struct delta_pieces *p, struct buf *out, struct err *e);

#endif
