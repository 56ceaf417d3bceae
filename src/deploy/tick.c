/*
 * Timed work of the deployments: every due thing is a row, and this function finds what is due (deploy.h).
 */
#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "deploy/job.h"
#include "deploy/log_follow.h"
#include "deploy/pool.h"
#include "deploy/queue.h"

/* After the time limit the runner has this long to close its update before it is given up. */
#define DEADLINE_GRACE_US (60 * US_PER_S)
/* Nothing here is worth more wake-ups than this. */
#define PURGE_EVERY_US (10 * US_PER_MINUTE)

struct tick {
	struct app *app;
	struct arena *arena;
	int64_t now_us;
	const char *id; /* of the one at hand */
	const char *message;
	const char *org_id;
	struct tick_overdue_row *overdue;
	size_t overdue_count;
	struct tick_expired_row *expired;
	size_t expired_count;
	struct tick_old_logs_row *old_logs;
	size_t old_log_count;
	struct tick_next_row next;
	bool agents_old;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct tick *t = arg;
	struct tick_overdue_in overdue = { .now_us = t->now_us };
	struct tick_expired_in expired = { .created_before_us = t->now_us - t->app->options.queue_expiry_us };
	struct tick_old_logs_in logs = { .ended_before_us = t->now_us - t->app->options.log_retention_us };
	int rc = q_tick_overdue(c, t->arena, &overdue, &t->overdue, &t->overdue_count, e);
	if (rc >= 0)
		rc = q_tick_expired(c, t->arena, &expired, &t->expired, &t->expired_count, e);
	if (rc >= 0)
		rc = q_tick_old_logs(c, t->arena, &logs, &t->old_logs, &t->old_log_count, e);
	return rc < 0 ? rc : 0;
}

static int next_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct tick *t = arg;
	struct tick_next_in in = { .grace_us = DEADLINE_GRACE_US, .now_us = t->now_us };
	int rc = q_tick_next(c, t->arena, &in, &t->next, e);
	return rc < 0 ? rc : 0;
}

static int time_limit_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct tick *t = arg;
	struct deployment_set_cancel_in in = {
		.id = t->id, .now_us = t->now_us, .lease_us = t->now_us + DEADLINE_GRACE_US, .message = t->message
	};
	return q_deployment_set_cancel(c, &in, e);
}

static const char *duration_text(struct arena *a, int64_t us)
{
	if (us % US_PER_HOUR == 0)
		return arena_printf(a, "%" PRId64 " h", us / US_PER_HOUR);
	if (us % US_PER_MINUTE == 0)
		return arena_printf(a, "%" PRId64 " min", us / US_PER_MINUTE);
	return arena_printf(a, "%" PRId64 " s", us / US_PER_S);
}

static int one_overdue(struct tick *t, const struct tick_overdue_row *d, struct err *e)
{
	const struct app_options *o = &t->app->options;
	bool lease_over = d->lease_expires_us != DB_NULL_INT && d->lease_expires_us <= t->now_us;
	bool cancelled = d->cancel_requested_us != DB_NULL_INT;
	if (d->ending_status)
		return deployment_end(t->app, t->arena, d->id, -1, deployment_status_parse(d->ending_status), "", e);
	if (lease_over && streq(d->status, "accepted") && !cancelled)
		return deployment_give_back(t->app, t->arena, d->id, d->attempt, e);
	if (lease_over) {
		t->message = arena_printf(t->arena, "the runner was not heard of for %s",
					  duration_text(t->arena, o->runner_timeout_us));
		return deployment_end(t->app, t->arena, d->id, d->attempt, DEPLOYMENT_FAILED, t->message, e);
	}
	/* Over the time limit: the runner is asked first, so that the CLI can close its update. */
	t->id = d->id;
	t->message = arena_printf(t->arena, "the time limit of %s is over",
				  duration_text(t->arena, d->deadline_us - d->started_us));
	if (!cancelled) {
		int rc = db_write(t->app->db, time_limit_fn, t, e);
		if (rc >= 0)
			job_wake(t->app, t->arena, t->id);
		return rc;
	}
	if (d->deadline_us + DEADLINE_GRACE_US <= t->now_us)
		return deployment_end(t->app, t->arena, d->id, d->attempt, DEPLOYMENT_FAILED, t->message, e);
	return 0;
}

static int expire_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct tick *t = arg;
	struct deployment_get_in in = { .id = t->id };
	struct deployment_get_row d;
	int rc = q_deployment_get(c, t->arena, &in, &d, e);
	t->org_id = NULL;
	if (rc <= 0 || !streq(d.status, "not-started"))
		return rc < 0 ? rc : 0;
	t->org_id = d.org_id;
	rc = deployment_skip(c, t->arena, &d, t->message, t->now_us, e);
	return rc < 0 ? rc : 0;
}

static int remove_log_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct tick *t = arg;
	struct log_remove_in remove = { .deployment_id = t->id };
	struct log_set_removed_in set = { .deployment_id = t->id, .now_us = t->now_us };
	int rc = q_log_remove(c, &remove, e);
	if (rc >= 0)
		rc = q_log_set_removed(c, &set, e);
	/* The last log of a stack that is gone takes its tombstone along. */
	struct log_kept_of_tombstone_row kept;
	if (rc >= 0)
		rc = q_log_kept_of_tombstone(c, t->arena, &(struct log_kept_of_tombstone_in){ t->id }, &kept, e);
	return rc <= 0 || kept.n > 0 ? rc : state_stack_forget(c, kept.stack_id, e);
}

static int purge_agents_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct tick *t = arg;
	struct agent_purge_in in = { .before_us = t->now_us - AGENT_FORGET_US };
	return q_agent_purge(c, &in, e);
}

/* One that cannot be moved must not stop the others: it is tried again at the next tick. */
static bool failed(struct app *app, int rc, const char *what, const char *id, struct err *e)
{
	if (rc >= 0)
		return false;
	if (!app_log_has(app, e))
		log_warn("deploy", "%s %s: %s", what, id, e->message);
	err_reset(e);
	return true;
}

static void sooner(int64_t *next_us, int64_t base_us, int64_t plus_us)
{
	if (base_us != DB_NULL_INT && base_us + plus_us < *next_us)
		*next_us = base_us + plus_us;
}

static int when_next(struct tick *t, bool again, int64_t *ret_next_us, struct err *e)
{
	const struct app_options *o = &t->app->options;
	int64_t next = INT64_MAX;
	int rc = db_read(t->app->db, next_fn, t, e);
	if (rc < 0)
		return rc;
	sooner(&next, t->next.lease_us, 0);
	sooner(&next, t->next.deadline_us, 0);
	sooner(&next, t->next.created_us, o->queue_expiry_us);
	sooner(&next, t->next.ended_us, o->log_retention_us);
	if (t->next.seen_us != DB_NULL_INT) {
		int64_t purge_us = t->next.seen_us + AGENT_FORGET_US;
		sooner(&next, purge_us > t->now_us ? purge_us : t->now_us + PURGE_EVERY_US, 0);
	}
	/* What failed is not tried in a tight loop. */
	if (again && next < t->now_us + US_PER_S)
		next = t->now_us + US_PER_S;
	*ret_next_us = next;
	return 0;
}

int deploy_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct tick t = { .app = app, .arena = &a, .now_us = now_us };
	bool again = false;
	int rc = db_read(app->db, look_fn, &t, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < t.overdue_count; i++)
		again |= failed(app, one_overdue(&t, &t.overdue[i], e), "ending deployment", t.overdue[i].id, e);
	t.message = arena_printf(&a, "waited in the queue for %s", duration_text(&a, app->options.queue_expiry_us));
	for (size_t i = 0; i < t.expired_count; i++) {
		t.id = t.expired[i].id;
		again |= failed(app, db_write(app->db, expire_fn, &t, e), "skipping deployment", t.id, e);
		queue_wake(app, &a, t.org_id);
		log_changed(app, &a, t.id);
	}
	for (size_t i = 0; i < t.old_log_count; i++) {
		t.id = t.old_logs[i].id;
		again |= failed(app, db_write(app->db, remove_log_fn, &t, e), "removing the log of", t.id, e);
	}
	rc = when_next(&t, again, ret_next_us, e);
	if (rc == 0 && t.next.seen_us != DB_NULL_INT && t.next.seen_us + AGENT_FORGET_US <= now_us)
		again |= failed(app, db_write(app->db, purge_agents_fn, &t, e), "forgetting agents", "", e);
	return rc;
}
