/* Timed work of the schedules: what is due is found, and done one by one (schedule.h). */
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "deploy/schedule.h"
#include "identity/event.h"

#define RUNS_KEPT 100

struct firing {
	struct arena *arena;
	const char *id;
	const char *run_id;
	const char *deployment_id;
	int64_t now_us;
	struct schedule_get_row s;
	bool queued;
};

static int add_run(struct db_conn *c, const struct firing *f, const char *message, struct err *e)
{
	struct schedule_run_insert_in run = { .schedule_id = f->id,
					      .id = f->run_id,
					      .now_us = f->now_us,
					      .version = f->s.version,
					      .deployment_id = message[0] ? NULL : f->deployment_id,
					      .message = message };
	struct schedule_run_trim_in trim = { .schedule_id = f->id, .keep = RUNS_KEPT };
	int rc = q_schedule_run_insert(c, &run, e);
	return rc < 0 ? rc : q_schedule_run_trim(c, &trim, e);
}

/* 0, or what has to be written into the history: *ret_message is never NULL. */
static int queue(struct db_conn *c, struct firing *f, const char **ret_message, struct err *e)
{
	struct deployment_request q;
	struct deployment_origin from = {
		.org_id = f->s.org_id, .stack_id = f->s.stack_id, .initiator = "scheduled", .user_id = f->s.created_by
	};
	int64_t version;
	struct err why = { 0 };
	*ret_message = "";
	int rc = deployment_request_parse(f->s.request, f->arena, &q, &why);
	if (rc == 0)
		rc = deployment_request_queue(c, f->arena, &q, &from, f->deployment_id, f->now_us, &version, &why);
	f->queued = rc == 0;
	if (rc == -ERR_BAD_REQUEST) {
		*ret_message = arena_strdup(f->arena, why.message);
		return *ret_message ? 0 : err_nomem(e);
	}
	return rc < 0 ? err_set(e, why.code, "%s", why.message) : 0;
}

static int fire_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct firing *f = arg;
	struct schedule_get_in in = { .id = f->id };
	struct schedule_names_row names = { 0 };
	f->queued = false;
	int rc = q_schedule_get(c, f->arena, &in, &f->s, e);
	if (rc <= 0 || f->s.next_us == DB_NULL_INT || f->s.next_us > f->now_us)
		return rc < 0 ? rc : 0;
	struct schedule_names_in stack = { .stack_id = f->s.stack_id };
	rc = q_schedule_names(c, f->arena, &stack, &names, e);
	if (rc < 0)
		return rc;
	const char *message = "the stack has been removed";
	if (rc > 0 && !names.deleted)
		rc = queue(c, f, &message, e);
	if (rc >= 0)
		rc = add_run(c, f, message, e);
	struct schedule_set_executed_in done = { .id = f->id,
						 .next_us =
							 f->s.cron ? schedule_next_us(&f->s, f->now_us) : DB_NULL_INT,
						 .now_us = f->now_us };
	if (rc >= 0)
		rc = q_schedule_set_executed(c, &done, e);
	if (rc < 0 || f->s.cron)
		return rc < 0 ? rc : 0;
	return schedule_move(c, &f->s, "fired", f->now_us, e);
}

static int put_warning(struct db_conn *c, const struct schedule_get_row *s, struct arena *a, struct err *e)
{
	struct event_subject subject = { .org_id = s->org_id, .stack_id = s->stack_id, .user_id = s->created_by };
	struct json request;
	struct event v;
	int rc = json_check(str_of(s->request), &request, e);
	if (rc == 0)
		rc = event_begin(c, a, &subject, &v, e);
	if (rc < 0)
		return rc;
	jw_kv_string(&v.w, "scheduleId", s->id);
	jw_kv_string(&v.w, "destroyAt", clock_rfc3339(a, s->once_us));
	jw_kv_bool(&v.w, "deleteAfterDestroy",
		   json_is_true(
			   json_path(request, "settings", "operationContext", "options", "deleteAfterDestroy", NULL)));
	return event_put(c, &v, "stack.ttl_warning", e);
}

static int warn_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct firing *f = arg;
	struct schedule_get_in in = { .id = f->id };
	int rc = q_schedule_get(c, f->arena, &in, &f->s, e);
	if (rc <= 0 || f->s.warn_us == DB_NULL_INT || f->s.warn_us > f->now_us)
		return rc < 0 ? rc : 0;
	struct schedule_names_in stack = { .stack_id = f->s.stack_id };
	struct schedule_names_row names;
	rc = q_schedule_names(c, f->arena, &stack, &names, e);
	/* Several that were missed while no server ran are one. */
	if (rc > 0 && !names.deleted && f->s.once_us > f->now_us)
		rc = put_warning(c, &f->s, f->arena, e);
	struct schedule_set_warn_in set = { .id = f->id,
					    .warn_us = schedule_warning_us(f->s.kind, f->s.once_us, f->now_us) };
	return rc < 0 ? rc : q_schedule_set_warn(c, &set, e);
}

struct looking {
	struct arena *arena;
	int64_t now_us;
	struct schedule_due_row *due;
	size_t due_count;
	struct schedule_warn_due_row *warn;
	size_t warn_count;
	struct schedule_next_row next;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	struct schedule_due_in due = { .now_us = l->now_us };
	struct schedule_warn_due_in warn = { .now_us = l->now_us };
	int rc = q_schedule_due(c, l->arena, &due, &l->due, &l->due_count, e);
	return rc < 0 ? rc : q_schedule_warn_due(c, l->arena, &warn, &l->warn, &l->warn_count, e);
}

static int next_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	int rc = q_schedule_next(c, l->arena, &l->next, e);
	return rc < 0 ? rc : 0;
}

static int fire(struct app *app, struct firing *f, struct err *e)
{
	f->run_id = id_new_arena(f->arena);
	f->deployment_id = id_new_arena(f->arena);
	if (!f->run_id || !f->deployment_id)
		return err_nomem(e);
	int rc = db_write(app->db, fire_fn, f, e);
	if (rc == 0 && f->queued)
		deployment_queued(app, f->arena, f->s.org_id, f->s.stack_id);
	return rc;
}

/* One that cannot be done must not stop the others: it is tried again at the next tick. */
static bool failed(struct app *app, int rc, const char *id, struct err *e)
{
	if (rc >= 0)
		return false;
	if (!app_log_has(app, e))
		log_warn("deploy", "schedule %s: %s", id, e->message);
	err_reset(e);
	return true;
}

int schedule_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct looking l = { .arena = &a, .now_us = now_us };
	bool again = false;
	int rc = db_read(app->db, look_fn, &l, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < l.warn_count; i++) {
		struct firing f = { .arena = &a, .id = l.warn[i].id, .now_us = now_us };
		again |= failed(app, db_write(app->db, warn_fn, &f, e), f.id, e);
	}
	for (size_t i = 0; i < l.due_count; i++) {
		struct firing f = { .arena = &a, .id = l.due[i].id, .now_us = now_us };
		again |= failed(app, fire(app, &f, e), f.id, e);
	}
	rc = db_read(app->db, next_fn, &l, e);
	if (rc < 0)
		return rc;
	int64_t next_us = INT64_MAX;
	if (l.next.next_us != DB_NULL_INT)
		next_us = l.next.next_us;
	if (l.next.warn_us != DB_NULL_INT && l.next.warn_us < next_us)
		next_us = l.next.warn_us;
	/* What failed is not tried in a tight loop. */
	*ret_next_us = again && next_us < now_us + US_PER_S ? now_us + US_PER_S : next_us;
	return 0;
}
