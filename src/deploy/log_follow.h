/*
 * log_follow.h: those who wait for more of a log. They subscribe to its key (http_park) before they look, and whoever
 * changes what a log shows wakes them after the commit.
 *
 * Many may follow one log as a stream of events. All that are at the same place get the same bytes: whoever comes first
 * reads them, the others find them here. What changed is counted, so that a follower knows without a look at the database
 * that there is nothing new.
 *
 * Any thread; a `struct followed` is shared by its followers, a `struct log_follower` belongs to one.
 */
#ifndef SLIPWAY_DEPLOY_LOG_FOLLOW_H
#define SLIPWAY_DEPLOY_LOG_FOLLOW_H

#include "deploy/log_store.h"

/* NULL: out of memory. */
const char *log_key(struct arena *a, const char *deployment_id);
/* Lines were appended, a step moved, the deployment moved, an update of it was started. */
void log_changed(struct app *app, struct arena *a, const char *deployment_id);

/* How far a follower of events is. */
struct log_follower {
	struct log_place place;
	uint64_t told; /* of the steps' state, as a hash; 0: nothing yet */
};

struct followed;
/* Joins those who follow this log; NULL: out of memory. */
struct followed *followed_join(const char *deployment_id);
void followed_leave(struct followed *f);

struct log_news {
	struct http_piece *piece; /* events, a reference; NULL: nothing new */
	bool more;		  /* further news are there already */
	bool end;		  /* these were the last ones */
};
/* What is new for a follower; moves it on. `afresh`: looks also where nobody said that something changed. */
int followed_next(struct app *app, struct arena *a, struct followed *f, struct log_follower *at, bool afresh,
		  struct log_news *ret, struct err *e);

#endif
