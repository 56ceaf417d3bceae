/*
 * lines.h: from the bytes of a step to the lines of its log: masked, cut at LOG_LINE_BYTES, without NUL bytes. A line
 * keeps its line break. Bytes that are not UTF-8 become U+FFFD.
 */
#ifndef SLIPWAY_AGENT_LINES_H
#define SLIPWAY_AGENT_LINES_H

#include <stdint.h>

#include "base/mask.h"

struct lines {
	struct mask_stream mask;
	struct buf text; /* masked, not given on yet */
	/* Monotonic: when the incomplete line last grew, and when something of it was given on last (or it began). */
	int64_t since_us, shown_us;
	void (*line)(void *arg, struct str line);
	void *arg;
	bool failed; /* out of memory: output is lost from here on */
};

void lines_init(struct lines *l, const struct mask_set *set, void (*line)(void *arg, struct str line), void *arg);
void lines_done(struct lines *l);
/* From here on with the secrets of another set. false: not now, because what was fed last may be the beginning of a secret. */
bool lines_remask(struct lines *l, const struct mask_set *set);
void lines_feed(struct lines *l, struct str bytes);
/* A line of our own (with its break): ends an incomplete line of the program first. */
void lines_own(struct lines *l, struct str line);
/* Gives on an incomplete line that has not grown for a second (a prompt), and, every two seconds, what is behind a line
 * that goes back to its beginning by CR again and again (a progress bar). No character is cut. Returns the milliseconds until
 * it wants to be called again, -1 if nothing waits. */
int lines_tick(struct lines *l);
/* The step has ended: everything that is left. */
void lines_end(struct lines *l);

#endif
