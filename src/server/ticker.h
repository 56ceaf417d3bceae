/*
 * ticker.h: the one thread for everything that has a due time. It asks each room for what is due and for the time when it
 * wants to be asked again, and sleeps exactly until the earliest of them or until somebody pokes it.
 */
#ifndef SLIPWAY_SERVER_TICKER_H
#define SLIPWAY_SERVER_TICKER_H

#include "identity/app.h"

struct ticker;

/* The rooms that tick: name, and a function that does what is due at now_us. */
struct tick {
	const char *name;
	int (*fn)(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e);
};

/* The table must outlive the ticker. */
int ticker_start(struct app *app, const struct tick *ticks, size_t count, struct ticker **ret, struct err *e);
/* Asks for a tick that begins no later than delay_us from now; one that comes sooner will do. Any thread; cheap. */
void ticker_poke(struct ticker *t, int64_t delay_us);
/* Waits for the tick that runs. NULL is fine. */
void ticker_stop(struct ticker *t);

#endif
