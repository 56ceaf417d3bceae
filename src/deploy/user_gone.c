/* What a user had asked for, when the user is removed (identity/users.h). */
#include "base/clock.h"
#include "deploy/deploy.h"
#include "deploy/deployment.h"
#include "deploy/schedule.h"
#include "deploy/user_gone.h"

int user_gone_pause_schedules(struct db_conn *c, struct arena *a, const char *user_id, int64_t *ret_count,
			      struct err *e)
{
	struct schedules_of_user_row *rows;
	struct schedule_get_row s;
	size_t count;
	int rc = q_schedules_of_user(c, a, &(struct schedules_of_user_in){ user_id }, &rows, &count, e);
	for (size_t i = 0; rc >= 0 && i < count; i++) {
		rc = q_schedule_get(c, a, &(struct schedule_get_in){ .id = rows[i].id }, &s, e);
		if (rc > 0)
			rc = schedule_move(c, &s, "paused", clock_now_us(), e);
	}
	*ret_count = (int64_t)count;
	return rc < 0 ? rc : 0;
}

struct asked {
	struct arena *a;
	const char *user_id;
	struct deployments_of_user_row *rows;
	size_t count;
};

static int asked_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct asked *p = arg;
	return q_deployments_of_user(c, p->a, &(struct deployments_of_user_in){ p->user_id }, &p->rows, &p->count, e);
}

int deploy_cancel_of_user(struct app *app, struct arena *a, const char *user_id, const char *login, int64_t *ret_count,
			  struct err *e)
{
	struct asked p = { .a = a, .user_id = user_id };
	const char *why = arena_printf(a, "the removal of %s", login);
	int rc = why ? db_read(app->db, asked_fn, &p, e) : err_nomem(e);
	for (size_t i = 0; rc == 0 && i < p.count; i++) {
		rc = deployment_cancel(app, a, p.rows[i].id, why, e);
		/* It is over by now. */
		if (rc == -ERR_NOT_FOUND)
			rc = 0;
	}
	*ret_count = (int64_t)p.count;
	return rc;
}
