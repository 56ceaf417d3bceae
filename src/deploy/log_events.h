/*
 * log_events.h: a log as server-sent events (WHATWG HTML, "server-sent events"), for browsers. The id of an event is the
 * place behind it, so that a browser that lost its connection goes on there by itself (Last-Event-ID). Each has one line
 * of JSON:
 *
 *	event: status   {"status":"running","jobs":[...]}, as a deployment shows them: at the beginning, and when something
 *	                of it is another one
 *	event: step     {"step":1,"name":"Get source"}: the header of a step; its lines follow
 *	event: lines    {"step":1,"offset":120,"lines":[{"timestamp":"...","line":"...\n"},...]}
 *	event: end      {"status":"failed","message":"..."}: nothing comes any more
 */
#ifndef SLIPWAY_DEPLOY_LOG_EVENTS_H
#define SLIPWAY_DEPLOY_LOG_EVENTS_H

#include "deploy/log_follow.h"

/* The id of the last event: who comes back with it has everything. */
#define LOG_EVENT_END "end"

/* Appends the events of a page that was read from from->place on. *ret_to: how far one is who has them. */
int log_events_write(struct arena *a, const struct log_page *page, const struct log_follower *from, struct buf *out,
		     struct log_follower *ret_to, struct err *e);

#endif
