/*
 * What the rooms above may see of a deployment (deploy.h).
 */
#include "base/limits.h"
#include "db/queries_schedule.h"
#include "db/queries_settings.h"
#include "deploy/log_follow.h"
#include "deploy/listing.h"
#include "deploy/log_store.h"
#include "deploy/queue.h"
#include "deploy/user_gone.h"
#include "identity/limits.h"
#include "identity/users.h"

#define VIEW_LOG_BYTES (2 * MIB)

struct view {
	struct arena *arena;
	const char *stack_id;
	int64_t version;
	struct deployment_view *ret;
	bool found;
};

static int add_steps(struct db_conn *c, struct view *v, const char *id, struct err *e)
{
	struct step_list_in in = { .deployment_id = id };
	struct step_list_row *rows;
	size_t count, left = VIEW_LOG_BYTES;
	int rc = q_step_list(c, v->arena, &in, &rows, &count, e);
	if (rc < 0)
		return rc;
	v->ret->steps = arena_array(v->arena, count, sizeof(*v->ret->steps));
	if (!v->ret->steps)
		return err_nomem(e);
	v->ret->step_count = count;
	/* From the last one: when there is too much, it is the beginning that is left out. */
	for (size_t i = count; i-- > 0;) {
		struct deployment_step_view *s = &v->ret->steps[i];
		*s = (struct deployment_step_view){ .name = rows[i].name,
						    .status = rows[i].status,
						    .started_us = rows[i].started_us,
						    .updated_us = rows[i].updated_us,
						    .text = STR("") };
		if (left > 0 && rows[i].line_count > 0)
			rc = log_tail_text(c, v->arena, id, rows[i].step, left, &s->text, e);
		if (rc < 0)
			return rc;
		left -= s->text.n < left ? s->text.n : left;
	}
	return 0;
}

static int view_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct view *v = arg;
	struct deployment_by_version_in in = { .stack_id = v->stack_id, .version = v->version };
	struct deployment_by_version_row row;
	struct deployment_get_row d;
	int rc = q_deployment_by_version(c, v->arena, &in, &row, e);
	if (rc > 0) {
		struct deployment_get_in get = { .id = row.id };
		rc = q_deployment_get(c, v->arena, &get, &d, e);
	}
	v->found = rc > 0;
	if (rc <= 0)
		return rc;
	*v->ret = (struct deployment_view){ .id = d.id,
					    .version = d.version,
					    .operation = d.operation,
					    .status = d.status,
					    .message = d.message,
					    .requested_by = d.user_name ? d.user_name : "",
					    .agent_name = d.agent_name,
					    .created_us = d.created_us,
					    .started_us = d.started_us,
					    .ended_us = d.ended_us };
	return add_steps(c, v, d.id, e);
}

int deploy_view(struct app *app, struct arena *a, const char *stack_id, int64_t version, struct deployment_view *ret,
		struct err *e)
{
	struct view v = { .arena = a, .stack_id = stack_id, .version = version, .ret = ret };
	int rc = db_read(app->db, view_fn, &v, e);
	return rc < 0 ? rc : v.found;
}

struct recent {
	struct arena *arena;
	const char *stack_id;
	const char *user_id;
	int64_t n;
	struct deployment_summary *list;
	size_t count;
};

/* Both statements give the same columns; the generator makes a struct for each. */
#define SUMMARY_OF(row)                                                                                                \
	((struct deployment_summary){ (row).org_name, (row).project, (row).stack_name, (row).version, (row).operation, \
				      (row).status, (row).user_name ? (row).user_name : "", (row).created_us,          \
				      (row).started_us, (row).ended_us })

static int recent_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct recent *r = arg;
	int rc;
	if (r->stack_id) {
		struct deployment_recent_stack_in in = { .stack_id = r->stack_id, .n = r->n };
		struct deployment_recent_stack_row *rows;
		rc = q_deployment_recent_stack(c, r->arena, &in, &rows, &r->count, e);
		for (size_t i = 0; rc >= 0 && i < r->count; i++)
			r->list[i] = SUMMARY_OF(rows[i]);
		return rc;
	}
	struct deployment_recent_user_in in = { .user_id = r->user_id, .n = r->n };
	struct deployment_recent_user_row *rows;
	rc = q_deployment_recent_user(c, r->arena, &in, &rows, &r->count, e);
	for (size_t i = 0; rc >= 0 && i < r->count; i++)
		r->list[i] = SUMMARY_OF(rows[i]);
	return rc;
}

int deploy_recent(struct app *app, struct arena *a, const char *stack_id, const char *user_id, int64_t n,
		  struct deployment_summary **ret, size_t *ret_count, struct err *e)
{
	struct recent r = { .arena = a, .stack_id = stack_id, .user_id = user_id, .n = n };
	r.list = arena_array(a, (size_t)n, sizeof(*r.list));
	if (!r.list)
		return err_nomem(e);
	int rc = db_read(app->db, recent_fn, &r, e);
	if (rc < 0)
		return rc;
	*ret = r.list;
	*ret_count = r.count;
	return 0;
}

struct shown_update {
	struct arena *arena;
	struct update_shown_in in;
	struct update_view *ret;
	bool found;
};

static int update_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct shown_update *s = arg;
	struct update_shown_row row;
	int rc = q_update_shown(c, s->arena, &s->in, &row, e);
	s->found = rc > 0;
	if (rc > 0)
		*s->ret = (struct update_view){ .id = row.id,
						.kind = row.kind,
						.dry_run = row.dry_run,
						.status = row.status,
						.version = row.version,
						.message = row.message,
						.resource_changes = row.resource_changes,
						.requested_by = row.user_name ? row.user_name : "",
						.created_us = row.created_us,
						.started_us = row.started_us,
						.ended_us = row.ended_us,
						.deployment_version = row.deployment_version };
	return rc < 0 ? rc : 0;
}

int deploy_update_view(struct app *app, struct arena *a, const char *stack_id, const char *id, int64_t version,
		       struct update_view *ret, struct err *e)
{
	struct shown_update s = { .arena = a, .in = { stack_id, id, version }, .ret = ret };
	int rc = db_read(app->db, update_fn, &s, e);
	return rc < 0 ? rc : s.found;
}

static int is_deploying(struct db_conn *c, const char *stack_id, bool *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 64 * KIB);
	struct deployment_active_on_stack_in in = { .stack_id = stack_id };
	struct deployment_active_on_stack_row row;
	int rc = q_deployment_active_on_stack(c, &a, &in, &row, e);
	if (rc <= 0)
		return rc;
	*ret = row.n > 0;
	return 0;
}

/* Of a stack that is gone nothing is configured, and nothing is due. */
static int bury(struct db_conn *c, const char *stack_id, struct err *e)
{
	int rc = q_settings_delete(c, &(struct settings_delete_in){ stack_id }, e);
	if (rc >= 0)
		rc = q_settings_version_trim(c, &(struct settings_version_trim_in){ stack_id, INT64_MAX }, e);
	if (rc >= 0)
		rc = q_schedules_remove(c, &(struct schedules_remove_in){ stack_id }, e);
	return rc < 0 ? rc : 0;
}

void deploy_init(void)
{
	state_stack_burying = bury;
	state_stack_is_deploying = is_deploying;
	state_deployment_update_started = log_changed;
	state_stack_removing = counts_stack_removed;
	identity_limits_raised = queue_wake;
	identity_user_removing = user_gone_pause_schedules;
}
