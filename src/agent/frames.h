/*
 * frames.h: takes the executor's stream of frames (executor/plan.h) apart. Whatever comes is judged: the executor runs
 * beside a program that may be hostile.
 */
#ifndef SLIPWAY_AGENT_FRAMES_H
#define SLIPWAY_AGENT_FRAMES_H

#include "base/str.h"
#include "executor/plan.h"

struct frame_handler {
	void (*step_begin)(void *arg, struct str name);
	void (*output)(void *arg, struct str bytes);
	void (*step_end)(void *arg, bool ok, struct str why);
	void (*step_skipped)(void *arg, struct str name);
	void (*finish)(void *arg, bool ok, struct str why);
	void (*cache_get)(void *arg, struct str key);
	void (*cache_put)(void *arg, struct str key);
	void (*cache_data)(void *arg, struct str bytes);
	void (*cache_end)(void *arg, bool whole);
	void *arg;
};

struct frames {
	struct buf b;
	bool in_step;
	bool in_archive; /* between a P and its Z */
	bool finished;
};

void frames_init(struct frames *f);
void frames_done(struct frames *f);
/* Calls the handler for each whole frame. ERR_BAD_REQUEST: not a frame, too long, or out of order; the stream is then
 * at its end. */
int frames_feed(struct frames *f, struct str bytes, const struct frame_handler *h, struct err *e);

#endif
