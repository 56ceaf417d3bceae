/*
 * delta.h: the edits of a delta checkpoint (cli-protocol §3.6.3): what turns the text that was saved last into the one
 * that is saved now.
 *
 *	[{"Span":{"uri":"","start":{"line":1,"column":1,"offset":a},"end":{"line":1,"column":1,"offset":b}},"NewText":"…"}]
 *
 * Offsets count bytes of the former text; lines and columns mean nothing. The edits ascend and do not overlap: the text
 * up to `a` is kept, [a, b) makes room for NewText, and so on; what is behind the last edit is kept.
 */
#ifndef SLIPWAY_STATE_DELTA_H
#define SLIPWAY_STATE_DELTA_H

#include "base/json.h"

/* Appends the new text to `out`, whose maximum bounds it. ERR_BAD_REQUEST names the edit that does not fit. */
int delta_apply(struct str base, struct json edits, struct arena *a, struct buf *out, struct err *e);

#endif
