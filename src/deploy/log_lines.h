/*
 * log_lines.h: the lines of one append, [{"t":<us>,"l":"<line>"},...]: checked, masked, made the text of a chunk.
 *
 * Nearly always nothing has to be masked: then the text that came is the chunk's, as it came. Where something is found,
 * each line is unescaped, masked and written anew. A line without a break at its end goes on in the next one, so what is
 * secret is also found where it is cut between two of them; a part of it that is held back moves to the next line, and the
 * number of lines stays. NUL bytes are dropped (they could stand between the letters of a secret).
 */
#ifndef SLIPWAY_DEPLOY_LOG_LINES_H
#define SLIPWAY_DEPLOY_LOG_LINES_H

#include "base/json.h"
#include "base/mask.h"

struct log_lines {
	struct json array;
	size_t count;
	bool plain; /* no escape in it stands for a letter or for NUL, and nothing looks like a token */
};

/* ERR_BAD_REQUEST names what is wrong. */
int log_lines_read(struct json array, struct log_lines *ret, struct err *e);
/* The lines from number `from` (below count) on. mask NULL: nothing is secret but tokens. *ret is a part of the array, or in `out`
 * (empty before). */
int log_lines_write(const struct log_lines *l, size_t from, const struct mask_set *mask, struct buf *out,
		    struct str *ret, struct err *e);

#endif
