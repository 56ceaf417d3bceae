#include "state/update_event.h"

#include <inttypes.h>

#include "db/queries_drift.h"
#include "identity/event.h"

const char *update_event_page(struct arena *a, const struct update_outcome *o)
{
	return o->dry_run ? arena_printf(a, "previews/%s", o->id) : arena_printf(a, "updates/%" PRId64, o->version);
}

int update_event_put(struct db_conn *c, struct arena *a, struct update_outcome *o, struct err *e)
{
	struct update_outcome_row row;
	struct event v;
	int rc = q_update_outcome(c, a, &(struct update_outcome_in){ o->id }, &row, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, ERR_INTERNAL, "update %s is not there", o->id);
	o->kind = row.kind;
	o->resource_changes = row.resource_changes;
	o->requested_by = row.requested_by;
	struct event_subject subject = { .org_id = o->org_id, .stack_id = o->stack_id, .user_id = o->requested_by };
	rc = event_begin(c, a, &subject, &v, e);
	if (rc < 0)
		return rc;
	jw_kv_string(&v.w, "updateId", o->id);
	jw_kv_string(&v.w, "kind", o->kind);
	jw_kv_string(&v.w, "result", o->result);
	jw_kv_int(&v.w, "version", o->version);
	jw_kv_bool(&v.w, "isPreview", o->dry_run);
	event_object(&v, "resourceChanges", o->resource_changes);
	event_url(&v, "updateUrl", a, update_event_page(a, o));
	if (o->deployment_id)
		jw_kv_string(&v.w, "deploymentId", o->deployment_id);
	return event_put(c, &v, o->dry_run ? "stack.preview" : "stack.update", e);
}
