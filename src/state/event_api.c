/*
 * Engine events (cli-protocol §3.6). Batches arrive out of order, since the CLI posts up to three at once; each event
 * has a sequence number, from 0 and without gaps. A reader gets them in order: what lies behind a gap waits until the
 * gap is filled, or is given up (GAP_US), or the update has ended.
 */
#include "state/update.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_state.h"
#include "http/http.h"
#include "state/event_filter.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

/* The CLI gives up on a batch after four tries, some seven seconds; a reader should not notice much of it. */
#define GAP_US (5 * US_PER_S)
/* Batches (of up to 50 events) per page. */
#define PAGE_BATCHES 20
/* Ends a page early. */
#define PAGE_BYTES (4 * MIB)
/* A filter may leave nothing of a page: then the next one is looked at, up to so many for one answer. */
#define FILTER_PAGES 64
/* Of the argument `type`. */
#define TYPES_MAX 32

/* --- writing --- */

struct put {
	struct arena *a;
	struct events_insert_in row;
	const char *changes; /* resourceChanges of the summary event; NULL: there was none */
};

static int put_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct put *p = arg;
	struct update u;
	int rc = update_for_write(c, p->a, p->row.update_id, &u, e);
	if (rc >= 0)
		rc = q_events_insert(c, &p->row, e);
	if (rc >= 0 && p->changes)
		rc = q_update_set_changes(c, &(struct update_set_changes_in){ u.id, p->changes }, e);
	return rc < 0 ? rc : 0;
}

static int note_event(struct put *p, struct json event, struct err *e)
{
	int64_t sequence;
	struct json number = JSON_ABSENT, summary = JSON_ABSENT, key, value;
	if (json_type(event) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "/events/%lld: must be an object", (long long)p->row.event_count);
	/* One walk: an event of a resource holds its whole state, old and new. */
	struct json_iter it = json_iter_start(event);
	while (json_next(&it, &key, &value)) {
		if (json_string_is(key, "sequence"))
			number = value;
		else if (json_string_is(key, "summaryEvent"))
			summary = value;
	}
	if (!json_int64(number, &sequence) || sequence < 0)
		return err_set(e, ERR_BAD_REQUEST, "/events/%lld/sequence: must be an integer of at least 0",
			       (long long)p->row.event_count);
	if (p->row.event_count == 0 || sequence < p->row.first_sequence)
		p->row.first_sequence = sequence;
	if (p->row.event_count == 0 || sequence > p->row.last_sequence)
		p->row.last_sequence = sequence;
	p->row.event_count++;
	struct json changes = json_get(summary, "resourceChanges");
	if (json_type(changes) == JSON_OBJECT)
		p->changes = str_dup(p->a, json_text(changes));
	return 0;
}

static int put(struct request *r, struct put *p, struct response *w, struct err *e)
{
	if (!p->row.id)
		return err_nomem(e);
	int rc = p->row.event_count > 0 ? db_write(app_of(r)->db, put_fn, p, e) : 0;
	if (rc == 0)
		response_empty(w, 204);
	return rc;
}

static struct put put_init(struct request *r)
{
	return (struct put){ .a = r->arena,
			     .row = { .update_id = request_param(r, "updateID"),
				      .id = id_new_arena(r->arena),
				      .now_us = clock_now_us() } };
}

int event_api_add_batch(struct request *r, struct response *w, struct err *e)
{
	struct put p = put_init(r);
	struct json body, event;
	int rc = request_json(r, false, &body, e);
	if (rc < 0)
		return rc;
	struct json events = json_get(body, "events");
	if (json_type(events) != JSON_ARRAY)
		return err_set(e, ERR_BAD_REQUEST, "/events: must be an array");
	json_foreach(event, events)
		if ((rc = note_event(&p, event, e)) < 0)
			return rc;
	p.row.body = r->body_gzip;
	if (!p.row.body.p)
		rc = document_deflate(r->arena, r->body, &p.row.body, e);
	return rc < 0 ? rc : put(r, &p, w, e);
}

int event_api_add(struct request *r, struct response *w, struct err *e)
{
	struct put p = put_init(r);
	struct json event;
	int rc = request_json(r, false, &event, e);
	if (rc == 0)
		rc = note_event(&p, event, e);
	if (rc < 0)
		return rc;
	_cleanup_buf_ struct buf b;
	buf_init(&b, HTTP_BATCH_BODY_BYTES + KIB);
	buf_adds(&b, "{\"events\":[");
	buf_add(&b, event.p, event.n);
	buf_adds(&b, "]}");
	rc = buf_check(&b, "the event", e);
	if (rc == 0)
		rc = document_deflate(r->arena, buf_str(&b), &p.row.body, e);
	return rc < 0 ? rc : put(r, &p, w, e);
}

/* --- reading --- */

struct page {
	struct request *r;
	struct arena *a; /* of this page alone */
	int64_t from;	 /* the next sequence that the reader wants */
	struct update u;
	struct events_read_row *batches;
	size_t count;
};

static int page_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	int rc = update_get(c, p->a, request_param(p->r, "updateID"), request_access(p->r)->stack_id, &p->u, e);
	if (rc < 0)
		return rc;
	/* One more than are shown: tells whether that was all. */
	return q_events_read(c, p->a, &(struct events_read_in){ p->u.id, p->from, PAGE_BATCHES + 1 }, &p->batches,
			     &p->count, e);
}

struct event {
	int64_t sequence;
	size_t arrival;
	int64_t came_us;
	struct json text;
};

static int by_sequence(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? -1 : 1;
	return x->arrival < y->arrival ? -1 : x->arrival > y->arrival;
}

/* All events of the page's batches from p->from on and below *ret_end, sorted. */
static int unpack(struct page *p, struct event **ret, size_t *ret_count, bool *ret_more, struct err *e)
{
	struct arena *a = p->a;
	size_t capacity = 0, count = 0, bytes = 0, used = 0;
	struct event *list = NULL;
	for (; used < p->count && used < PAGE_BATCHES && bytes < PAGE_BYTES; used++) {
		struct str text;
		struct json event;
		int rc = document_inflate(a, p->batches[used].body, &text, e);
		if (rc < 0)
			return rc;
		text = str_trim(text);
		bytes += text.n;
		struct json events = json_get((struct json){ text.p, text.n }, "events");
		size_t n = json_count(events);
		if (count + n > capacity) {
			capacity = (count + n) * 2;
			struct event *bigger = arena_array(a, capacity, sizeof(*bigger));
			if (!bigger)
				return err_nomem(e);
			if (count)
				memcpy(bigger, list, count * sizeof(*list));
			list = bigger;
		}
		json_foreach(event, events) {
			struct event v = { 0, count, p->batches[used].created_us, event };
			if (json_int64(json_get(event, "sequence"), &v.sequence) && v.sequence >= p->from)
				list[count++] = v;
		}
	}
	if (count)
		qsort(list, count, sizeof(*list), by_sequence);
	*ret_more = used < p->count;
	/* Batches are ordered by their first event: what a batch that was left out holds may belong before some that are
	 * here. Only what lies before its first is sure. */
	while (*ret_more && count > 0 && list[count - 1].sequence >= p->batches[used].first_sequence &&
	       list[0].sequence < p->batches[used].first_sequence)
		count--;
	*ret = list;
	*ret_count = count;
	return 0;
}

/* What the reader wants, and what was written of it. */
struct reader {
	struct event_filter filter;
	int64_t next;	 /* sequence */
	int64_t written; /* events */
	bool all_told;	 /* the update has ended, and nothing is left */
	bool waits;	 /* nothing more is there yet, or is sure yet */
};

static void write_events(struct json_writer *j, struct reader *reader, const struct page *p, const struct event *list,
			 size_t count)
{
	bool ended = update_has_ended(&p->u);
	int64_t now = clock_now_us();
	for (size_t i = 0; i < count; i++) {
		if (list[i].sequence < reader->next)
			continue; /* a repeat */
		if (list[i].sequence > reader->next && !ended && now - list[i].came_us < GAP_US) {
			reader->waits = true;
			return;
		}
		reader->next = list[i].sequence + 1;
		if (!event_filter_wants(&reader->filter, list[i].text))
			continue;
		jw_raw(j, list[i].text);
		reader->written++;
	}
}

static int write_page(struct request *r, struct json_writer *j, struct reader *reader, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct page p = { .r = r, .a = &a, .from = reader->next };
	struct event *list = NULL;
	size_t count = 0;
	bool more = false;
	int rc = db_read(app_of(r)->db, page_fn, &p, e);
	if (rc == 0)
		rc = unpack(&p, &list, &count, &more, e);
	if (rc < 0)
		return rc;
	write_events(j, reader, &p, list, count);
	reader->waits |= !more;
	reader->all_told = !more && update_has_ended(&p.u);
	return 0;
}

const struct field engine_event_query[] = {
	QUERY("continuationToken", FIELD_STRING),
	QUERY("type", FIELD_STRING_LIST, .doc = "only events of these kinds; may be repeated"),
	QUERY("urn", FIELD_STRING, .doc = "only events of this resource"),
	QUERY("include_non_activated", FIELD_BOOL, .doc = "there are none: each is told as soon as it is in its place"),
	FIELD_END
};

static int read_arguments(struct request *r, struct reader *ret, struct err *e)
{
	const char *types[TYPES_MAX];
	bool all;
	const char *token = request_query(r, "continuationToken"), *urn = request_query(r, "urn");
	/* The CLI sends an empty one at first. */
	if (token && token[0] && (!str_to_int64(str_of(token), &ret->next) || ret->next < 0))
		return err_set(e, ERR_BAD_REQUEST, "continuationToken: is not one of ours");
	ret->filter.urn = urn && urn[0] ? urn : NULL;
	size_t n = request_query_all(r, "type", types, TYPES_MAX);
	if (n > TYPES_MAX)
		return err_set(e, ERR_BAD_REQUEST, "type: at most %d of them", TYPES_MAX);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = event_filter_add_type(&ret->filter, types[i], e);
	/* There are no others here: each event is told as soon as it is in its place. */
	return rc < 0 ? rc : request_query_bool(r, "include_non_activated", false, &all, e);
}

int event_api_list(struct request *r, struct response *w, struct err *e)
{
	struct reader reader = { 0 };
	int rc = read_arguments(r, &reader, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "events");
	jw_array(j);
	for (int i = 0; rc == 0 && i < FILTER_PAGES && !reader.waits && reader.written == 0; i++)
		rc = write_page(r, j, &reader, e);
	jw_array_end(j);
	jw_key(j, "continuationToken");
	if (reader.all_told)
		jw_null(j);
	else
		jw_string(j, arena_printf(r->arena, "%lld", (long long)reader.next));
	jw_object_end(j);
	return rc;
}
