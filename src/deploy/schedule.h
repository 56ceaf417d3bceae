/*
 * schedule.h: deployments that start by themselves: by a cron expression, or once (features §4.7).
 *
 *	active -> paused -> active
 *	active -> fired              (a schedule for one time, afterwards: no longer listed, its history stays)
 *
 * An active schedule is a row with a due time (next_us), and what is due is done by the ticker. It queues its deployment
 * in the transaction that moves next_us on, so that a run is neither lost nor repeated, whenever the server dies. Runs
 * that were missed while no server ran are made up for by one. A run that cannot be queued (the settings are gone) stands
 * in the history with the reason.
 *
 * A time to live also has events ahead of its end ("stack.ttl_warning": two days, two hours, thirty minutes).
 */
#ifndef SLIPWAY_DEPLOY_SCHEDULE_H
#define SLIPWAY_DEPLOY_SCHEDULE_H

#include "base/cron.h"
#include "db/queries_schedule.h"
#include "deploy/deployment_request.h"

#define SCHEDULES_PER_STACK_MAX 100

struct schedule_time {
	const char *cron_text; /* NULL: once */
	struct cron cron;
	int64_t once_us; /* DB_NULL_INT: cron */
};
/* Exactly one of the two texts; `once` is a time of RFC 3339 that lies ahead. ERR_BAD_REQUEST says what is wrong, naming
 * the members as the body does. */
int schedule_time_read(const char *cron, const char *once, const char *once_name, int64_t now_us,
		       struct schedule_time *ret, struct err *e);

struct schedule_new {
	const char *org_id;
	const char *stack_id;
	const char *kind; /* "raw", "drift", "ttl" */
	struct schedule_time time;
	const char *request; /* deployment_request_text */
	const char *user_id; /* whose rights the runs have */
};
/* `id` NULL: a new one, else that one of the same kind changes. ERR_BAD_REQUEST when the stack has no deployment
 * settings. */
int schedule_save(struct app *app, struct arena *a, const struct schedule_new *n, const char *id,
		  struct schedule_get_row *ret, struct err *e);

/* ERR_NOT_FOUND when the stack has none of that id. */
int schedule_find(struct db_conn *c, struct arena *a, const char *stack_id, const char *id,
		  struct schedule_get_row *ret, struct err *e);
/* Pausing a paused one, and resuming an active one, is 0. */
int schedule_pause(struct app *app, struct arena *a, const char *stack_id, const char *id, bool paused, struct err *e);
/* Removing what is not there is 0. */
int schedule_remove(struct app *app, const char *stack_id, const char *id, struct err *e);

/* When the schedule, if it is active, runs next after now_us; DB_NULL_INT: never. */
int64_t schedule_next_us(const struct schedule_get_row *s, int64_t now_us);
/* The first warning after now_us that a time to live ends; DB_NULL_INT: none is left, or it is no time to live. */
int64_t schedule_warning_us(const char *kind, int64_t once_us, int64_t now_us);
/* Inside of the caller's transaction. The only place that changes a status; ERR_CONFLICT for a pair that the table above
 * does not know. What is not active has no due times. */
int schedule_move(struct db_conn *c, const struct schedule_get_row *s, const char *to, int64_t now_us, struct err *e);

#endif
