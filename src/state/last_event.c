#include "state/last_event.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "db/queries_state.h"

static const char *const reasons[] = {
	[END_COMPLETE] = "the update failed",
	[END_CANCEL] = "the update was cancelled",
	[END_LEASE] = "the client of the update is gone: it did not renew its lease",
	[END_DEPLOYMENT] = "the deployment ended before the update did",
};

struct looking {
	struct arena *a;
	const char *id;
	struct update_stream_row row;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	int rc = q_update_stream(c, l->a, &(struct update_stream_in){ l->id }, &l->row, e);
	return rc < 0 ? rc : 0;
}

static void write_head(struct json_writer *j, int64_t sequence, int64_t now_us)
{
	jw_object(j);
	jw_kv_int(j, "sequence", sequence);
	jw_kv_int(j, "timestamp", now_us / US_PER_S);
}

static void write_events(struct json_writer *j, const struct update *u, int64_t sequence, const char *reason,
			 const char *result, const char *changes)
{
	int64_t now_us = clock_now_us();
	jw_object(j);
	jw_key(j, "events");
	jw_array(j);
	write_head(j, sequence, now_us);
	jw_key(j, "diagnosticEvent");
	jw_object(j);
	jw_kv_string(j, "prefix", "error: ");
	jw_kv_string(j, "message", reason);
	jw_kv_string(j, "color", "raw");
	jw_kv_string(j, "severity", "error");
	jw_object_end(j);
	jw_object_end(j);
	write_head(j, sequence + 1, now_us);
	jw_key(j, "summaryEvent");
	jw_object(j);
	jw_kv_bool(j, "maybeCorrupt", false);
	jw_kv_int(j, "durationSeconds", u->started_us == DB_NULL_INT ? 0 : (now_us - u->started_us) / US_PER_S);
	jw_key(j, "resourceChanges");
	jw_raw_str(j, str_of(changes ? changes : "{}"));
	jw_key(j, "PolicyPacks");
	jw_object(j);
	jw_object_end(j);
	jw_kv_string(j, "result", result);
	jw_object_end(j);
	jw_object_end(j);
	jw_array_end(j);
	jw_object_end(j);
}

int last_event_prepare(struct app *app, struct arena *a, const struct update *u, const char *status, enum ending why,
		       const char *changes, struct last_event *ret, struct err *e)
{
	struct looking l = { .a = a, .id = u->id };
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	buf_init(&b, 64 * KIB);
	*ret = (struct last_event){ 0 };
	if (streq(status, "succeeded"))
		return 0;
	int rc = db_read(app->db, look_fn, &l, e);
	if (rc < 0 || l.row.resource_changes)
		return rc;
	*ret = (struct last_event){ .id = id_new_arena(a),
				    .sequence = l.row.last_sequence == DB_NULL_INT ? 0 : l.row.last_sequence + 1 };
	if (!ret->id)
		return err_nomem(e);
	jw_init(&j, &b);
	write_events(&j, u, ret->sequence, reasons[why], streq(status, "cancelled") ? "canceled" : "failed", changes);
	rc = buf_check(&b, "the last events of an update", e);
	return rc < 0 ? rc : document_deflate(a, buf_str(&b), &ret->body, e);
}

int last_event_insert(struct db_conn *c, const char *update_id, const struct last_event *p, int64_t now_us,
		      struct err *e)
{
	if (!p->id)
		return 0;
	struct events_insert_in in = { .update_id = update_id,
				       .id = p->id,
				       .first_sequence = p->sequence,
				       .last_sequence = p->sequence + 1,
				       .event_count = 2,
				       .body = p->body,
				       .now_us = now_us };
	int rc = q_events_insert(c, &in, e);
	return rc < 0 ? rc : 0;
}
