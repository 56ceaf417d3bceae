#include "deploy/job.h"

#include <inttypes.h>

#include "base/clock.h"
#include "deploy/log_follow.h"
#include "identity/limits.h"

/* The first report of a step matters at once, everything else may extend the lease a little late. */
#define LEASE_SLACK_US (5 * US_PER_S)

int job_check(struct db_conn *c, struct arena *a, const char *deployment_id, int64_t attempt,
	      struct deployment_get_row *ret, struct err *e)
{
	struct deployment_get_in in = { .id = deployment_id };
	int rc = q_deployment_get(c, a, &in, ret, e);
	if (rc < 0)
		return rc;
	bool active = rc > 0 && (streq(ret->status, "accepted") || streq(ret->status, "running"));
	if (!active || ret->ending_status || ret->attempt != attempt)
		return err_set(e, ERR_CONFLICT, "lease lost");
	return 0;
}

int job_alive(struct db_conn *c, struct app *app, const struct deployment_get_row *d, int64_t now_us, struct err *e)
{
	int64_t lease = app->options.runner_timeout_us;
	struct deployment_extend_in in = { .id = d->id,
					   .lease_us = now_us + lease,
					   .slack_us = lease / 8 < LEASE_SLACK_US ? lease / 8 : LEASE_SLACK_US };
	int rc = q_deployment_extend(c, &in, e);
	return rc < 0 ? rc : 0;
}

const char *job_key(struct arena *a, const char *deployment_id)
{
	return arena_printf(a, "job:%s", deployment_id);
}

void job_wake(struct app *app, struct arena *a, const char *deployment_id)
{
	const char *key = app->http ? job_key(a, deployment_id) : NULL;
	if (key)
		http_wake(app->http, key, 0);
}

struct heartbeat {
	struct app *app;
	struct arena *arena;
	const char *id;
	int64_t attempt;
	int64_t now_us;
	struct deployment_get_row d;
};

static int heartbeat_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct heartbeat *h = arg;
	int rc = job_check(c, h->arena, h->id, h->attempt, &h->d, e);
	if (rc == 0)
		rc = job_alive(c, h->app, &h->d, h->now_us, e);
	if (rc < 0 || !h->d.agent_pool_id || !h->d.agent_name)
		return rc;
	struct agent_touch_in touch = { .pool_id = h->d.agent_pool_id, .name = h->d.agent_name, .now_us = h->now_us };
	return q_agent_touch(c, &touch, e);
}

int job_heartbeat(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, bool *ret_cancel,
		  const char **ret_status, struct err *e)
{
	struct heartbeat h = {
		.app = app, .arena = a, .id = deployment_id, .attempt = attempt, .now_us = clock_now_us()
	};
	int rc = db_write(app->db, heartbeat_fn, &h, e);
	if (rc < 0)
		return rc;
	*ret_cancel = h.d.cancel_requested_us != DB_NULL_INT;
	*ret_status = h.d.status;
	return 0;
}

/* --- steps --- */

static const struct {
	const char *name;
	const char *next[4];
} step_states[] = {
	{ "not-started", { "running", "succeeded", "failed" } },
	{ "running", { "succeeded", "failed" } },
	{ "succeeded", { NULL } },
	{ "failed", { NULL } },
};

/* A repeat of the same status is allowed: the answer may have been lost. */
static bool step_may_move(const char *from, const char *to)
{
	if (streq(from, to))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(step_states); i++)
		for (size_t n = 0; streq(step_states[i].name, from) && step_states[i].next[n]; n++)
			if (streq(step_states[i].next[n], to))
				return true;
	return false;
}

struct step_report {
	struct app *app;
	struct arena *arena;
	const char *id;
	int64_t attempt;
	int64_t step;
	const char *name;
	const char *status;
	int64_t now_us;
	bool started;
};

static int start(struct db_conn *c, struct step_report *s, const struct deployment_get_row *d, struct err *e)
{
	int rc = deployment_move(c, s->arena, d, DEPLOYMENT_RUNNING, "", s->now_us, e);
	if (rc <= 0)
		return rc;
	struct limits limits;
	rc = identity_limits(c, s->arena, s->app, d->org_id, &limits, e);
	if (rc < 0)
		return rc;
	struct deployment_set_started_in in = { .id = s->id,
						.now_us = s->now_us,
						.deadline_us = s->now_us + limits.timeout_us };
	s->started = true;
	return q_deployment_set_started(c, &in, e);
}

static int step_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct step_report *s = arg;
	struct deployment_get_row d;
	s->started = false;
	int rc = job_check(c, s->arena, s->id, s->attempt, &d, e);
	if (rc < 0)
		return rc;
	struct step_get_in get = { .deployment_id = s->id, .step = s->step };
	struct step_get_row old;
	struct step_count_in count = { .deployment_id = s->id };
	struct step_count_row have;
	rc = q_step_get(c, s->arena, &get, &old, e);
	if (rc < 0)
		return rc;
	if (rc > 0 && !step_may_move(old.status, s->status))
		return err_set(e, ERR_CONFLICT, "step %" PRId64 " is %s and cannot become %s", s->step, old.status,
			       s->status);
	if (rc == 0) {
		rc = q_step_count(c, s->arena, &count, &have, e);
		if (rc < 0)
			return rc;
		if (s->step != have.n)
			return err_set(e, ERR_CONFLICT, "expected step %" PRId64, have.n);
	}
	if (streq(d.status, "accepted")) {
		rc = start(c, s, &d, e);
		if (rc < 0)
			return rc;
	}
	struct step_put_in put = { .deployment_id = s->id,
				   .step = s->step,
				   .name = s->name,
				   .status = s->status,
				   .started_us = streq(s->status, "not-started") ? DB_NULL_INT : s->now_us,
				   .now_us = s->now_us };
	rc = q_step_put(c, &put, e);
	return rc < 0 ? rc : job_alive(c, s->app, &d, s->now_us, e);
}

int job_step(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, int64_t step,
	     const char *name, const char *status, struct err *e)
{
	struct step_report s = { .app = app,
				 .arena = a,
				 .id = deployment_id,
				 .attempt = attempt,
				 .step = step,
				 .name = name,
				 .status = status,
				 .now_us = clock_now_us() };
	int rc = db_write(app->db, step_fn, &s, e);
	if (rc < 0)
		return rc;
	if (s.started && app->poke)
		app->poke(app); /* there is a deadline now */
	log_changed(app, a, deployment_id);
	return 0;
}
