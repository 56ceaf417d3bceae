/*
 * live.h: what happens, as one stream of server-sent events for each page of a browser.
 *
 * A browser has six connections to a server, so one stream carries all that a page follows. Beside the domain events
 * (identity/event.h) it may carry the log of one deployment:
 *
 *	event: hello    {"version": the server's}; its id is where the stream begins
 *	event: reset    {}: what happened meanwhile is not kept any more. The page reads everything again.
 *	event: event    {"kind":"deployment.queued","created":"...","payload":{...}}; the id is the event's
 *	event: status, step, lines, end       of the log, as in deploy/log_events.h; the id is the place in the log
 *	event: gone     {}: the log may not be read (any more), or is not there
 *
 * A page that lost its connection comes again with the last id of each of both (?after=, ?logToken=): a place holds
 * across restarts of the server.
 */
#ifndef SLIPWAY_CONSOLE_LIVE_H
#define SLIPWAY_CONSOLE_LIVE_H

#include "identity/app.h"

/* An event was written, and its transaction is committed. Any thread. */
void live_changed(struct app *app);

#endif
