/* Versions of a stack's state: which there are, what differs, going back to one. Routes of ours. */
#include "state/update.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/limits.h"
#include "db/queries_state.h"
#include "db/queries_version.h"
#include "http/http.h"
#include "state/busy.h"
#include "state/compare.h"
#include "state/deployment.h"
#include "state/document.h"
#include "state/import.h"
#include "state/rename.h"
#include "state/resource.h"
#include "state/resource_view.h"
#include "state/stack.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

#define PAGE_DEFAULT 50
#define PAGE_MAX 500

/* --- list --- */

struct listing {
	struct request *r;
	struct version_list_in in;
	struct version_list_row *rows;
	size_t count;
};

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct listing *l = arg;
	return q_version_list(c, l->r->arena, &l->in, &l->rows, &l->count, e);
}

static void put_version(struct json_writer *j, const struct version_list_row *v)
{
	jw_object(j);
	jw_kv_int(j, "version", v->version);
	jw_kv_string(j, "updateID", v->update_id);
	jw_kv_string(j, "kind", v->kind);
	jw_kv_string(j, "result", state_update_result(v->status));
	jw_kv_string(j, "message", v->message);
	jw_kv_string(j, "requestedBy", v->author ? v->author : "");
	if (v->started_us != DB_NULL_INT)
		jw_kv_int(j, "startTime", v->started_us / US_PER_S);
	if (v->ended_us != DB_NULL_INT)
		jw_kv_int(j, "endTime", v->ended_us / US_PER_S);
	if (v->resource_count != DB_NULL_INT)
		jw_kv_int(j, "resourceCount", v->resource_count);
	if (v->resource_changes) {
		jw_key(j, "resourceChanges");
		jw_raw_str(j, str_of(v->resource_changes));
	}
	if (v->deployment_id)
		jw_kv_string(j, "deploymentID", v->deployment_id);
	jw_kv_bool(j, "stored", v->size_bytes != DB_NULL_INT);
	if (v->size_bytes != DB_NULL_INT)
		jw_kv_int(j, "sizeBytes", v->size_bytes);
	jw_object_end(j);
}

const struct field version_list_query[] = { QUERY("pageSize", FIELD_INT, .min = 1, .max = PAGE_MAX),
					    QUERY("continuationToken", FIELD_INT, .min = 1, .max = INT64_MAX),
					    FIELD_END };
const struct field version_compare_query[] = {
	QUERY("from", FIELD_INT, .required = true, .min = 1, .max = INT64_MAX, .doc = "a version"),
	QUERY("to", FIELD_INT, .required = true, .min = 1, .max = INT64_MAX, .doc = "a version"), FIELD_END
};

int versions_api_list(struct request *r, struct response *w, struct err *e)
{
	struct listing l = { .r = r, .in = { .stack_id = request_access(r)->stack_id } };
	int64_t n;
	int rc = request_query_int(r, "pageSize", 1, PAGE_MAX, PAGE_DEFAULT, &n, e);
	/* The token is the last version that was shown. */
	if (rc == 0)
		rc = request_query_int(r, "continuationToken", 1, INT64_MAX, INT64_MAX, &l.in.before, e);
	l.in.n = n + 1;
	if (rc == 0)
		rc = db_read(app_of(r)->db, list_fn, &l, e);
	if (rc < 0)
		return rc;
	bool more = l.count > (size_t)n;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "versions");
	jw_array(j);
	for (size_t i = 0; i < l.count - more; i++)
		put_version(j, &l.rows[i]);
	jw_array_end(j);
	if (more)
		jw_kv_string(j, "continuationToken", arena_printf(r->arena, "%" PRId64, l.rows[n - 1].version));
	jw_object_end(j);
	return 0;
}

/* --- compare, restore --- */

int versions_api_compare(struct request *r, struct response *w, struct err *e)
{
	int64_t from, to;
	const char *stack_id = request_access(r)->stack_id;
	struct document before, after;
	struct json old, new;
	int rc = request_query_int(r, "from", 1, INT64_MAX, 0, &from, e);
	if (rc == 0)
		rc = request_query_int(r, "to", 1, INT64_MAX, 0, &to, e);
	if (rc == 0)
		rc = document_read(app_of(r), r->arena, stack_id, from, &before, e);
	if (rc == 0)
		rc = document_read(app_of(r), r->arena, stack_id, to, &after, e);
	if (rc == 0)
		rc = document_open(&before, r->arena, &old, e);
	if (rc == 0)
		rc = document_open(&after, r->arena, &new, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_int(j, "from", from);
	jw_kv_int(j, "to", to);
	rc = compare_states(old, new, r->arena, j, e);
	jw_object_end(j);
	return rc;
}

/* The names in the URNs of a state, by its first resource, or the one that was being made. */
static bool names_in(const struct access *access, struct json state, struct arena *a, struct rename_names *ret)
{
	struct json item, urn = JSON_ABSENT;
	json_foreach(item, json_path(state, "deployment", "resources", NULL)) {
		urn = json_get(item, "urn");
		break;
	}
	json_foreach(item, json_path(state, "deployment", "pending_operations", NULL)) {
		if (!urn.p)
			urn = json_path(item, "resource", "urn", NULL);
		break;
	}
	struct str text = json_view(urn, a);
	*ret = (struct rename_names){ .old_project = str_dup(a, urn_project(text)),
				      .old_name = str_dup(a, urn_stack(text)),
				      .project = access->stack_project,
				      .name = access->stack_name };
	return ret->old_project && ret->old_project[0] && ret->old_name && ret->old_name[0];
}

/* A state from before a rename comes back under the stack's present names, as the rename itself had it. */
static int prepare_restored(struct request *r, struct document *d, struct checkpoint *ret, struct err *e)
{
	struct rename_names names;
	struct json state;
	int64_t resources;
	_cleanup_buf_ struct buf renamed;
	buf_init(&renamed, HTTP_DOCUMENT_BODY_BYTES * 2);
	int rc = document_open(d, r->arena, &state, e);
	struct str text = d->text, gzip = d->gzip;
	if (rc == 0)
		rc = untyped_deployment_check(state, &resources, e);
	if (rc == 0 && names_in(request_access(r), state, r->arena, &names) &&
	    !(streq(names.old_project, names.project) && streq(names.old_name, names.name))) {
		rc = rename_document(state, &names, r->arena, &renamed, e);
		text = buf_str(&renamed);
		gzip = STR_NULL;
	}
	return rc < 0 ? rc : checkpoint_prepare(app_of(r), r->arena, text, gzip, resources, ret, e);
}

int versions_api_restore(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	int64_t version;
	struct document document;
	struct checkpoint checkpoint;
	if (!str_to_int64(str_of(request_param(r, "version")), &version) || version < 1)
		return err_set(e, ERR_BAD_REQUEST, "version: must be an integer of at least 1");
	int rc = document_read(app_of(r), r->arena, access->stack_id, version, &document, e);
	if (rc == 0)
		rc = prepare_restored(r, &document, &checkpoint, e);
	if (rc < 0)
		return rc;
	struct import n = { .stack_id = access->stack_id,
			    .message = arena_printf(r->arena, "version %" PRId64 " restored", version),
			    .requested_by = access->who.user_id,
			    .deployment_id = access->who.kind == PRINCIPAL_RUN ? access->who.deployment_id : NULL,
			    .checkpoint = &checkpoint };
	struct imported done;
	rc = state_import(app_of(r), r->arena, &n, &done, e);
	if (rc < 0)
		return busy_answer(w, rc, &done.holder, e);
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "updateID", done.update_id);
	jw_kv_int(j, "version", done.version);
	jw_object_end(j);
	return 0;
}
