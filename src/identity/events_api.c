/* The domain events of the last days, for the administrator of the site. */
#include "identity/event.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_event.h"
#include "identity/app.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000

const struct field site_events_query[] = {
	QUERY("kind", FIELD_STRING, .doc = "the kind, or the beginning of it"),
	QUERY("organization", FIELD_STRING, .doc = "the name"),
	QUERY("maxResults", FIELD_INT, .min = 1, .max = PAGE_MAX, .doc = "100 if absent"),
	QUERY("continuationToken", FIELD_STRING, .doc = "of the answer before"), FIELD_END
};

struct listing {
	struct arena *a;
	struct event_list_in in;
	struct event_list_row *rows;
	size_t count;
};

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct listing *p = arg;
	return q_event_list(c, p->a, &p->in, &p->rows, &p->count, e);
}

static const char *not_empty(const char *s)
{
	return s && s[0] ? s : NULL;
}

static void write_event(struct json_writer *j, struct arena *a, const struct event_list_row *v)
{
	jw_object(j);
	jw_kv_string(j, "id", v->id);
	jw_kv_string(j, "kind", v->kind);
	jw_kv_string(j, "created", clock_rfc3339(a, v->created_us));
	jw_kv_string(j, "organizationId", v->org_id);
	if (v->stack_id)
		jw_kv_string(j, "stackId", v->stack_id);
	jw_key(j, "payload");
	jw_raw_str(j, str_of(v->payload));
	jw_object_end(j);
}

int site_events_list(struct request *r, struct response *w, struct err *e)
{
	struct listing p = { .a = r->arena };
	const char *kind = request_query(r, "kind");
	int64_t page;
	p.in.before_id = not_empty(request_query(r, "continuationToken"));
	p.in.org = not_empty(request_query(r, "organization"));
	p.in.kind = kind ? kind : "";
	int rc = request_query_int(r, "maxResults", 1, PAGE_MAX, PAGE_DEFAULT, &page, e);
	if (rc == 0 && p.in.before_id && !id_valid(str_of(p.in.before_id)))
		return err_set(e, ERR_BAD_REQUEST, "continuationToken: is not one of ours");
	p.in.n = page + 1;
	if (rc == 0)
		rc = db_read(app_of(r)->db, list_fn, &p, e);
	if (rc < 0)
		return rc;
	size_t count = p.count > (size_t)page ? (size_t)page : p.count;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "events");
	jw_array(j);
	for (size_t i = 0; i < count; i++)
		write_event(j, r->arena, &p.rows[i]);
	jw_array_end(j);
	if (p.count > count)
		jw_kv_string(j, "continuationToken", p.rows[count - 1].id);
	jw_object_end(j);
	return 0;
}
