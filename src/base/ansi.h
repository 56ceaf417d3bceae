/*
 * ansi.h: takes the control sequences of terminals out of a text (ECMA-48): ESC with one or more bytes, CSI sequences such
 * as colours and movements of the cursor, and strings (OSC, DCS and the like: titles, links). What is between the words of
 * a link stays. A sequence that is not ended by the end of its line is ended there, so that a stray ESC swallows no more.
 */
#ifndef SLIPWAY_BASE_ANSI_H
#define SLIPWAY_BASE_ANSI_H

#include "base/str.h"

/* Zero before the first piece; sequences may be cut by the pieces. */
struct ansi_filter {
	int state;
};

/* Appends what is text. */
void ansi_strip(struct ansi_filter *f, struct str piece, struct buf *out);

#endif
