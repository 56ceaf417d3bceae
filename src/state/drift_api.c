/* Drift runs over HTTP (features §4.8). */
#include "state/drift.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_drift.h"
#include "http/http.h"
#include "state/checkpoint.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

#define PAGE_DEFAULT 10
#define PAGE_MAX 100

const struct field drift_runs_query[] = {
	QUERY("page", FIELD_INT, .min = 1, .max = INT32_MAX, .doc = "from 1, which it is if absent"),
	QUERY("pageSize", FIELD_INT, .min = 1, .max = PAGE_MAX, .doc = "10 if absent"), FIELD_END
};

struct runs {
	struct arena *a;
	struct drift_run_list_in in;
	struct drift_run_list_row *rows;
	size_t count;
	struct drift_run_count_row total;
};

static int runs_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct runs *p = arg;
	int rc = q_drift_run_list(c, p->a, &p->in, &p->rows, &p->count, e);
	if (rc >= 0)
		rc = q_drift_run_count(c, p->a, &(struct drift_run_count_in){ p->in.stack_id }, &p->total, e);
	return rc < 0 ? rc : 0;
}

/* What a job's status is called (DriftRunUpdate). */
static const char *job_status(const char *update_status)
{
	static const struct {
		const char *update, *job;
	} names[] = { { "in-progress", "running" }, { "succeeded", "succeeded" }, { "not-started", "not-started" } };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(update_status, names[i].update))
			return names[i].job;
	return "failed";
}

static void write_update(struct json_writer *j, struct arena *a, const char *name, const char *id, const char *status,
			 const char *changes, int64_t modified_us)
{
	if (!id)
		return;
	jw_key(j, name);
	jw_object(j);
	jw_kv_string(j, "updateId", id);
	if (changes) {
		jw_key(j, "resourceChanges");
		jw_raw_str(j, str_of(changes));
	}
	jw_kv_string(j, "modified", clock_plain(a, modified_us));
	jw_kv_string(j, "status", job_status(status));
	jw_object_end(j);
}

static void write_run(struct json_writer *j, struct arena *a, const struct drift_run_list_row *r)
{
	jw_object(j);
	jw_kv_string(j, "id", r->id);
	jw_kv_bool(j, "driftDetected", r->drift_detected);
	jw_kv_string(j, "created", clock_plain(a, r->created_us));
	jw_kv_string(j, "status", r->status);
	if (r->deployment_id)
		jw_kv_string(j, "deploymentId", r->deployment_id);
	if (r->deployment_version != DB_NULL_INT)
		jw_kv_int(j, "deploymentVersion", r->deployment_version);
	write_update(j, a, "detectUpdate", r->detect_id, r->detect_status, r->detect_changes, r->detect_us);
	write_update(j, a, "remediateUpdate", r->remediate_id, r->remediate_status, r->remediate_changes,
		     r->remediate_us);
	/* Ours: how much .../resources has to tell. */
	jw_kv_int(j, "resourceCount", r->resource_count);
	jw_kv_bool(j, "resourcesCut", r->resources_cut);
	jw_object_end(j);
}

int drift_api_list(struct request *r, struct response *w, struct err *e)
{
	struct runs p = { .a = r->arena, .in = { .stack_id = request_access(r)->stack_id } };
	int64_t page;
	int rc = request_query_int(r, "page", 1, INT32_MAX, 1, &page, e);
	if (rc == 0)
		rc = request_query_int(r, "pageSize", 1, PAGE_MAX, PAGE_DEFAULT, &p.in.n, e);
	p.in.skip = (page - 1) * p.in.n;
	if (rc == 0)
		rc = db_read(app_of(r)->db, runs_fn, &p, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "driftRuns");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++)
		write_run(j, r->arena, &p.rows[i]);
	jw_array_end(j);
	jw_kv_int(j, "itemsPerPage", p.in.n);
	jw_kv_int(j, "total", p.total.total);
	jw_object_end(j);
	return 0;
}

static int not_there(struct request *r, struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "drift run '%s'", request_param(r, "driftRunId"));
}

int drift_api_get(struct request *r, struct response *w, struct err *e)
{
	struct runs p = {
		.a = r->arena,
		.in = { .stack_id = request_access(r)->stack_id, .id = request_param(r, "driftRunId"), .n = 1 }
	};
	int rc = db_read(app_of(r)->db, runs_fn, &p, e);
	if (rc < 0)
		return rc;
	if (p.count == 0)
		return not_there(r, e);
	write_run(response_json(w), r->arena, &p.rows[0]);
	return 0;
}

struct found {
	struct request *r;
	struct drift_run_resources_row row;
	int found;
};

static int resources_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct found *p = arg;
	struct drift_run_resources_in in = { request_access(p->r)->stack_id, request_param(p->r, "driftRunId") };
	p->found = q_drift_run_resources(c, p->r->arena, &in, &p->row, e);
	return p->found < 0 ? p->found : 0;
}

int drift_api_resources(struct request *r, struct response *w, struct err *e)
{
	struct found p = { .r = r };
	struct str text = STR("[]");
	int rc = db_read(app_of(r)->db, resources_fn, &p, e);
	if (rc == 0 && p.found == 0)
		return not_there(r, e);
	if (rc == 0 && p.row.resources.p)
		rc = document_inflate(r->arena, p.row.resources, &text, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "driftRunId", request_param(r, "driftRunId"));
	jw_key(j, "resources");
	jw_raw_str(j, text);
	jw_kv_int(j, "resourceCount", p.row.resource_count);
	jw_kv_bool(j, "resourcesCut", p.row.resources_cut);
	jw_object_end(j);
	return 0;
}

struct looking {
	struct request *r;
	struct drift_status status;
};

static int status_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *p = arg;
	return state_drift_status(c, p->r->arena, request_access(p->r)->stack_id, &p->status, e);
}

int drift_api_status(struct request *r, struct response *w, struct err *e)
{
	struct looking p = { .r = r };
	int rc = db_read(app_of(r)->db, status_fn, &p, e);
	if (rc == 0)
		state_drift_write(response_json(w), &p.status);
	return rc;
}
