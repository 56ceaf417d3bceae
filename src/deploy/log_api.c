/* The log of a deployment: streaming form, step form (features §9.2, cli-protocol §4.2). */
#include <inttypes.h>

#include "base/clock.h"
#include "deploy/deployments_api.h"
#include "deploy/log_follow.h"
#include "deploy/log_store.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

#define LOG_COUNT_DEFAULT 100
#define LOG_COUNT_MAX 499
#define LOG_OFFSET_MAX (INT64_C(1) << 40)
/* How long an answer waits for more of the log, unless the client says otherwise. The CLI goes on at once when the token
 * moved, and sleeps half a second when it did not (cli-protocol §4.2): so it hears of a line at once, and asks no more
 * often than this. Somebody who only wants what is there waits no longer either. */
#define LOG_WAIT_S 5

const struct field deployment_logs_query[] = {
	QUERY("continuationToken", FIELD_STRING, .doc = "nextToken of the answer before; absent: from the beginning"),
	QUERY("job", FIELD_INT, .min = 0, .max = INT32_MAX, .doc = "0; with it, or step, one step is read by offsets"),
	QUERY("step", FIELD_INT, .min = 0, .max = INT32_MAX, .doc = "number of the step"),
	QUERY("offset", FIELD_INT, .min = 0, .max = LOG_OFFSET_MAX, .doc = "first line of the step"),
	QUERY("count", FIELD_INT, .min = 1, .max = LOG_COUNT_MAX,
	      .wrong = "Count must be less than 500 and more than 0", .doc = "lines at most"),
	FIELD_END
};

static void put_lines(struct json_writer *j, struct arena *a, const struct log_page *page)
{
	jw_key(j, "lines");
	jw_array(j);
	for (size_t i = 0; i < page->count; i++) {
		const struct log_item *item = &page->items[i];
		jw_object(j);
		if (item->header) {
			jw_kv_string(j, "header", item->header);
		} else {
			jw_kv_string(j, "timestamp", clock_rfc3339(a, item->t_us));
			jw_kv_raw(j, "line", item->text);
		}
		jw_object_end(j);
	}
	jw_array_end(j);
}

/* Whether the request may wait for more: a client that comes with a token has read what there was (log_follow.h). */
static int wait_for_more(struct request *r, const char *id, int64_t fallback_s, bool *ret, struct err *e)
{
	int64_t wait_s = request_wait_s(r, fallback_s);
	const char *key = log_key(r->arena, id);
	*ret = wait_s > 0;
	if (!key)
		return err_nomem(e);
	if (*ret)
		http_park(r, key, clock_mono_us() + wait_s * US_PER_S);
	return 0;
}

static bool still_waits(const struct request *r)
{
	return clock_mono_us() < r->parked_until_us && !request_stopping(r);
}

static int step_log(struct request *r, struct response *w, const char *id, struct err *e)
{
	int64_t job, step, offset, count;
	bool may_wait;
	struct log_page page;
	int rc = request_query_int(r, "job", 0, INT32_MAX, 0, &job, e);
	if (rc == 0)
		rc = request_query_int(r, "step", 0, INT32_MAX, 0, &step, e);
	if (rc == 0)
		rc = request_query_int(r, "offset", 0, LOG_OFFSET_MAX, 0, &offset, e);
	if (rc == 0)
		rc = request_query_int(r, "count", 1, LOG_COUNT_MAX, LOG_COUNT_DEFAULT, &count, e);
	if (rc == 0 && job != 0)
		return err_set(e, ERR_NOT_FOUND, "job %" PRId64, job);
	if (rc == 0)
		rc = wait_for_more(r, id, 0, &may_wait, e);
	if (rc == 0)
		rc = log_read_step(app_of(r), r->arena, id, step, offset, count, &page, e);
	if (rc < 0)
		return rc;
	if (may_wait && page.count == 0 && page.next_offset != DB_NULL_INT && still_waits(r))
		return HTTP_PARKED;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "__type", "DeploymentLogsStep");
	jw_kv_string(j, "name", page.step_name);
	put_lines(j, r->arena, &page);
	if (page.next_offset != DB_NULL_INT)
		jw_kv_int(j, "nextOffset", page.next_offset);
	jw_object_end(j);
	return 0;
}

int deploy_logs(struct request *r, struct response *w, struct err *e)
{
	const char *id, *token = request_query(r, "continuationToken");
	struct log_place from = { 0 };
	int64_t count;
	bool may_wait;
	struct log_page page;
	int rc = deploy_find(r, &id, e);
	if (rc < 0)
		return rc;
	if (request_query(r, "job") || request_query(r, "step"))
		return step_log(r, w, id, e);
	bool begun = token && token[0];
	if (begun && !log_place_parse(token, &from))
		return err_set(e, ERR_BAD_REQUEST, "continuationToken: is none");
	rc = request_query_int(r, "count", 1, LOG_COUNT_MAX, LOG_PAGE_LINES, &count, e);
	if (rc == 0)
		rc = wait_for_more(r, id, begun ? LOG_WAIT_S : 0, &may_wait, e);
	if (rc == 0)
		rc = log_read_stream(app_of(r), r->arena, id, from, count, LOG_PAGE_BYTES, &page, e);
	if (rc < 0)
		return rc;
	bool moved = page.complete || page.next.step != from.step || page.next.offset != from.offset;
	if (may_wait && !moved && still_waits(r))
		return HTTP_PARKED;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "__type", "DeploymentLogs");
	put_lines(j, r->arena, &page);
	if (!page.complete)
		jw_kv_string(j, "nextToken", log_place_token(r->arena, page.next));
	jw_object_end(j);
	return 0;
}
