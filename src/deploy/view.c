/*
 * What the rooms above may see of a deployment (deploy.h).
 */
#include "base/limits.h"
#include "deploy/log_store.h"

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

void deploy_init(void)
{
	state_stack_is_deploying = is_deploying;
}
