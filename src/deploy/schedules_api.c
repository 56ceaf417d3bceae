/* Schedules of a stack: raw, drift, time to live (features §4.7, cli-protocol §4.5). */
#include "base/clock.h"
#include "base/limits.h"
#include "deploy/schedule.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

#define CRON_TEXT_MAX 200
#define TIME_TEXT_MAX 64

struct schedule_body {
	const char *cron;
	const char *once;
	struct json request;
	bool auto_remediate;
	bool delete_after;
};
const struct field schedule_fields[] = { FIELD(struct schedule_body, cron, "scheduleCron", FIELD_STRING,
					       .max = CRON_TEXT_MAX, .doc = "minute hour day month weekday, in UTC"),
					 FIELD(struct schedule_body, once, "scheduleOnce", FIELD_STRING,
					       .max = TIME_TEXT_MAX,
					       .doc = "a time of RFC 3339, in place of scheduleCron"),
					 FIELD(struct schedule_body, request, "request", FIELD_JSON_OBJECT,
					       .required = true, .shape = "CreateDeploymentRequest"),
					 FIELD_END };
const struct field drift_schedule_fields[] = { FIELD(struct schedule_body, cron, "scheduleCron", FIELD_STRING,
						     .required = true, .min = 1, .max = CRON_TEXT_MAX,
						     .doc = "minute hour day month weekday, in UTC"),
					       FIELD(struct schedule_body, auto_remediate, "autoRemediate", FIELD_BOOL,
						     .doc = "run an update when there is drift"),
					       FIELD_END };
const struct field ttl_schedule_fields[] = {
	FIELD(struct schedule_body, once, "timestamp", FIELD_STRING, .max = TIME_TEXT_MAX,
	      .doc = "a time of RFC 3339: when the stack is destroyed"),
	FIELD(struct schedule_body, delete_after, "deleteAfterDestroy", FIELD_BOOL, .doc = "and removed after that"),
	FIELD_END
};

static void put_time(struct json_writer *j, struct arena *a, const char *name, int64_t us)
{
	jw_kv_string(j, name, us == DB_NULL_INT ? "" : clock_plain(a, us));
}

static int put_schedule(struct json_writer *j, struct arena *a, const struct schedule_get_row *s, struct err *e)
{
	struct deployment_request q;
	int rc = deployment_request_parse(s->request, a, &q, e);
	if (rc < 0)
		return rc;
	jw_object(j);
	jw_kv_string(j, "id", s->id);
	jw_kv_string(j, "orgID", s->org_id);
	if (s->cron)
		jw_kv_string(j, "scheduleCron", s->cron);
	else
		put_time(j, a, "scheduleOnce", s->once_us);
	/* Of a paused one: when it would run if it were resumed now. */
	put_time(j, a, "nextExecution", s->next_us == DB_NULL_INT ? schedule_next_us(s, clock_now_us()) : s->next_us);
	jw_kv_bool(j, "paused", streq(s->status, "paused"));
	jw_kv_string(j, "kind", "deployment");
	jw_key(j, "definition");
	jw_object(j);
	jw_kv_string(j, "programID", s->stack_id);
	jw_key(j, "request");
	deployment_request_show(j, &q, a);
	jw_object_end(j);
	put_time(j, a, "created", s->created_us);
	put_time(j, a, "modified", s->modified_us);
	put_time(j, a, "lastExecuted", s->last_executed_us);
	jw_object_end(j);
	return arena_failed(a) ? err_nomem(e) : 0;
}

/* --- read --- */

struct reading {
	struct arena *arena;
	const char *stack_id;
	const char *id;
	struct schedule_get_row row;
	struct schedule_list_row *list;
	size_t count;
	struct schedule_get_row *rows;
	struct schedule_run_list_row *runs;
	size_t run_count;
};

static int get_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct reading *g = arg;
	return schedule_find(c, g->arena, g->stack_id, g->id, &g->row, e);
}

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct reading *g = arg;
	struct schedule_list_in in = { .stack_id = g->stack_id };
	int rc = q_schedule_list(c, g->arena, &in, &g->list, &g->count, e);
	if (rc < 0)
		return rc;
	g->rows = arena_array(g->arena, g->count, sizeof(*g->rows));
	if (!g->rows)
		return err_nomem(e);
	for (size_t i = 0; i < g->count && rc >= 0; i++)
		rc = schedule_find(c, g->arena, g->stack_id, g->list[i].id, &g->rows[i], e);
	return rc < 0 ? rc : 0;
}

static int history_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct reading *g = arg;
	struct schedule_run_list_in in = { .schedule_id = g->id };
	int rc = get_fn(c, arg, e);
	return rc < 0 ? rc : q_schedule_run_list(c, g->arena, &in, &g->runs, &g->run_count, e);
}

static int read_with(struct request *r, int (*fn)(struct db_conn *, void *, struct err *), struct reading *g,
		     struct err *e)
{
	g->arena = r->arena;
	g->stack_id = request_access(r)->stack_id;
	g->id = request_has_param(r, "scheduleID") ? request_param(r, "scheduleID") : NULL;
	int rc = db_read(app_of(r)->db, fn, g, e);
	return rc < 0 ? rc : 0;
}

int schedules_list(struct request *r, struct response *w, struct err *e)
{
	struct reading g = { 0 };
	int rc = read_with(r, list_fn, &g, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "schedules");
	jw_array(j);
	for (size_t i = 0; i < g.count && rc == 0; i++)
		rc = put_schedule(j, r->arena, &g.rows[i], e);
	jw_array_end(j);
	jw_object_end(j);
	return rc;
}

int schedules_get(struct request *r, struct response *w, struct err *e)
{
	struct reading g = { 0 };
	int rc = read_with(r, get_fn, &g, e);
	return rc < 0 ? rc : put_schedule(response_json(w), r->arena, &g.row, e);
}

int schedules_history(struct request *r, struct response *w, struct err *e)
{
	struct reading g = { 0 };
	int rc = read_with(r, history_fn, &g, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "scheduleHistoryEvents");
	jw_array(j);
	for (size_t i = 0; i < g.run_count; i++) {
		const struct schedule_run_list_row *run = &g.runs[i];
		jw_object(j);
		jw_kv_string(j, "id", run->id);
		jw_kv_string(j, "scheduledActionID", g.id);
		put_time(j, r->arena, "executed", run->executed_us);
		jw_kv_int(j, "version", run->version);
		jw_kv_string(j, "result", run->status ? run->status : run->message[0] ? run->message : "removed");
		if (run->status) {
			jw_kv_string(j, "deploymentID", run->deployment_id);
			jw_kv_int(j, "deploymentVersion", run->deployment_version);
		}
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

/* --- write --- */

/* What a drift or time-to-live schedule asks for, as a body of a new deployment. */
static int ready_request(struct request *r, const char *operation, const char *option, bool value, struct json *ret,
			 struct err *e)
{
	const char *text =
		arena_printf(r->arena, "{\"operation\":\"%s\",\"operationContext\":{\"options\":{\"%s\":%s}}}",
			     operation, option, value ? "true" : "false");
	return text ? json_check(str_of(text), ret, e) : err_nomem(e);
}

static int request_text(struct request *r, struct response *w, struct json body, const char **ret, struct err *e)
{
	const struct access *access = request_access(r);
	struct deployment_request q;
	struct ignored_fields ig;
	ignored_fields_init(&ig);
	int rc = deployment_request_read(app_of(r), r->arena, access, body, &ig, &q, e);
	if (rc == 0)
		rc = request_note_ignored(r, w, &ig, e);
	ignored_fields_done(&ig);
	if (rc < 0)
		return rc;
	*ret = deployment_request_text(&q, r->arena, e);
	return *ret ? 0 : -(int)e->code;
}

static int save(struct request *r, struct response *w, const char *kind, const struct schedule_body *b,
		struct json request, struct err *e)
{
	const struct access *access = request_access(r);
	struct schedule_get_row row;
	struct schedule_new n = {
		.org_id = access->org.id, .stack_id = access->stack_id, .kind = kind, .user_id = access->who.user_id
	};
	int rc = schedule_time_read(b->cron, b->once, streq(kind, "ttl") ? "timestamp" : "scheduleOnce", clock_now_us(),
				    &n.time, e);
	if (rc == 0)
		rc = request_text(r, w, request, &n.request, e);
	if (rc == 0)
		rc = schedule_save(app_of(r), r->arena, &n,
				   request_has_param(r, "scheduleID") ? request_param(r, "scheduleID") : NULL, &row, e);
	return rc < 0 ? rc : put_schedule(response_json(w), r->arena, &row, e);
}

int schedules_save(struct request *r, struct response *w, struct err *e)
{
	struct schedule_body b = { 0 };
	int rc = request_decode(r, w, schedule_fields, &b, e);
	return rc < 0 ? rc : save(r, w, "raw", &b, b.request, e);
}

int schedules_save_drift(struct request *r, struct response *w, struct err *e)
{
	struct schedule_body b = { 0 };
	struct json request;
	int rc = request_decode(r, w, drift_schedule_fields, &b, e);
	if (rc == 0)
		rc = ready_request(r, "detect-drift", "remediateIfDriftDetected", b.auto_remediate, &request, e);
	return rc < 0 ? rc : save(r, w, "drift", &b, request, e);
}

int schedules_save_ttl(struct request *r, struct response *w, struct err *e)
{
	struct schedule_body b = { 0 };
	struct json request;
	int rc = request_decode(r, w, ttl_schedule_fields, &b, e);
	if (rc == 0)
		rc = ready_request(r, "destroy", "deleteAfterDestroy", b.delete_after, &request, e);
	return rc < 0 ? rc : save(r, w, "ttl", &b, request, e);
}

static int set_paused(struct request *r, struct response *w, bool paused, struct err *e)
{
	int rc = schedule_pause(app_of(r), r->arena, request_access(r)->stack_id, request_param(r, "scheduleID"),
				paused, e);
	if (rc == 0)
		response_empty(w, 200);
	return rc;
}

int schedules_pause(struct request *r, struct response *w, struct err *e)
{
	return set_paused(r, w, true, e);
}

int schedules_resume(struct request *r, struct response *w, struct err *e)
{
	return set_paused(r, w, false, e);
}

int schedules_delete(struct request *r, struct response *w, struct err *e)
{
	int rc = schedule_remove(app_of(r), request_access(r)->stack_id, request_param(r, "scheduleID"), e);
	if (rc == 0)
		response_empty(w, 200);
	return rc;
}
