/* How long deployments have run: by hour, day, week, month or year, and as a report (features §3.6). */
#include <time.h>

#include "base/clock.h"
#include "db/queries_usage.h"
#include "deploy/deployment.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

#define DAYS_MAX 366
#define HOURLY_DAYS_MAX 2
#define REPORT_DAYS_DEFAULT 30

static const char *const granularities[] = { "hourly", "daily", "weekly", "monthly", "yearly", NULL };
const struct field usage_summary_query[] = {
	QUERY("granularity", FIELD_STRING, .required = true, .min = 1, .one_of = granularities),
	QUERY("lookbackDays", FIELD_INT, .min = 1, .max = DAYS_MAX, .doc = "2 at most where hourly"),
	QUERY("lookbackStart", FIELD_INT, .min = 1, .max = INT64_MAX / US_PER_S,
	      .doc = "Unix seconds; either this or lookbackDays"),
	FIELD_END
};
const struct field usage_report_query[] = {
	QUERY("lookbackDays", FIELD_INT, .min = 1, .max = DAYS_MAX, .doc = "30 if absent"), FIELD_END
};

/* In the order of `granularities`. A unit is made of buckets that the database counts: hours, or days; two buckets are one
 * when their labels are. */
enum { LABEL_MONTH = 1, LABEL_DAY = 2, LABEL_WEEK = 4, LABEL_HOUR = 8 };
static const struct unit {
	int64_t bucket_us;
	unsigned labels; /* beside the year */
} units[] = {
	{ US_PER_HOUR, LABEL_MONTH | LABEL_DAY | LABEL_HOUR },
	{ US_PER_DAY, LABEL_MONTH | LABEL_DAY },
	{ US_PER_DAY, LABEL_WEEK },
	{ US_PER_DAY, LABEL_MONTH },
	{ US_PER_DAY, 0 },
};

struct looking {
	struct arena *a;
	struct usage_buckets_in in;
	struct usage_buckets_row *rows;
	size_t count;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	return q_usage_buckets(c, l->a, &l->in, &l->rows, &l->count, e);
}

struct label {
	int year, month, day, week, hour;
};

/* Weeks begin on Sunday, days before the first one are of week 0 (as the official schema has it). */
static struct label label_of(const struct unit *u, int64_t us)
{
	time_t t = (time_t)(us / US_PER_S);
	struct tm tm;
	gmtime_r(&t, &tm);
	struct label l = { .year = tm.tm_year + 1900 };
	if (u->labels & LABEL_MONTH)
		l.month = tm.tm_mon + 1;
	if (u->labels & LABEL_DAY)
		l.day = tm.tm_mday;
	if (u->labels & LABEL_WEEK)
		l.week = (tm.tm_yday + 7 - tm.tm_wday) / 7;
	if (u->labels & LABEL_HOUR)
		l.hour = tm.tm_hour;
	return l;
}

static void put_unit(struct json_writer *j, const struct unit *u, const struct label *l, int64_t deployments,
		     int64_t run_us)
{
	int64_t minutes = (run_us + US_PER_MINUTE - 1) / US_PER_MINUTE;
	jw_object(j);
	jw_kv_int(j, "year", l->year);
	if (u->labels & LABEL_MONTH)
		jw_kv_int(j, "month", l->month);
	if (u->labels & LABEL_DAY)
		jw_kv_int(j, "day", l->day);
	if (u->labels & LABEL_WEEK)
		jw_kv_int(j, "weekNumber", l->week);
	if (u->labels & LABEL_HOUR)
		jw_kv_int(j, "hour", l->hour);
	/* The official schema is that of resources; what its numbers mean here, the other two names say. */
	jw_kv_int(j, "resources", deployments);
	jw_kv_int(j, "resourceHours", minutes);
	jw_kv_int(j, "deployments", deployments);
	jw_kv_int(j, "deploymentMinutes", minutes);
	jw_object_end(j);
}

static const struct unit *unit_of(const char *granularity)
{
	size_t i = 0;
	while (!streq(granularity, granularities[i])) /* it is one of them: the table of the query says so */
		i++;
	return &units[i];
}

static int window_of(struct request *r, bool hourly, int64_t now_us, int64_t *ret_from_us, struct err *e)
{
	int64_t days, start;
	int64_t days_max = hourly ? HOURLY_DAYS_MAX : DAYS_MAX;
	bool has_days = request_query(r, "lookbackDays") != NULL, has_start = request_query(r, "lookbackStart") != NULL;
	if (has_days == has_start)
		return err_set(e, ERR_BAD_REQUEST, "exactly one of lookbackDays and lookbackStart must be given");
	int rc = request_query_int(r, "lookbackDays", 1, days_max, 1, &days, e);
	if (rc == 0)
		rc = request_query_int(r, "lookbackStart", 1, INT64_MAX / US_PER_S, 1, &start, e);
	if (rc < 0)
		return rc;
	*ret_from_us = has_days ? now_us - days * US_PER_DAY : start * US_PER_S;
	if (has_start && (*ret_from_us > now_us || *ret_from_us < now_us - days_max * US_PER_DAY))
		return err_set(e, ERR_BAD_REQUEST, "lookbackStart: must lie within the last %d days", (int)days_max);
	return 0;
}

int deploy_usage_summary(struct request *r, struct response *w, struct err *e)
{
	const struct unit *u = unit_of(request_query(r, "granularity"));
	int64_t now_us = clock_now_us();
	struct looking l = { .a = r->arena, .in = { .org_id = request_access(r)->org.id, .now_us = now_us } };
	int rc = window_of(r, u->bucket_us == US_PER_HOUR, now_us, &l.in.from_us, e);
	if (rc < 0)
		return rc;
	l.in.bucket_us = u->bucket_us;
	rc = db_read(app_of(r)->db, look_fn, &l, e);
	if (rc < 0)
		return rc;
	if (l.count == 0) {
		response_empty(w, 204);
		return 0;
	}
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "summary");
	jw_array(j);
	for (size_t i = 0; i < l.count;) {
		struct label label = label_of(u, l.rows[i].bucket * u->bucket_us), next = label;
		int64_t deployments = 0, run_us = 0;
		while (i < l.count && memcmp(&label, &next, sizeof(label)) == 0) {
			deployments += l.rows[i].deployments;
			run_us += l.rows[i].run_us;
			if (++i < l.count)
				next = label_of(u, l.rows[i].bucket * u->bucket_us);
		}
		put_unit(j, u, &label, deployments, run_us);
	}
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

int deploy_usage_report(struct request *r, struct response *w, struct err *e)
{
	int64_t days, now_us = clock_now_us();
	struct looking l = { .a = r->arena,
			     .in = { .org_id = request_access(r)->org.id, .bucket_us = US_PER_DAY, .now_us = now_us } };
	int rc = request_query_int(r, "lookbackDays", 1, DAYS_MAX, REPORT_DAYS_DEFAULT, &days, e);
	l.in.from_us = now_us - days * US_PER_DAY;
	if (rc == 0)
		rc = db_read(app_of(r)->db, look_fn, &l, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_array(j);
	for (size_t i = 0; i < l.count; i++) {
		int64_t day_s = l.rows[i].bucket * (US_PER_DAY / US_PER_S);
		jw_object(j);
		jw_kv_string(j, "OrgID", l.in.org_id);
		jw_kv_int(j, "Timestamp", now_us / US_PER_S);
		jw_kv_int(j, "UsageRangeStart", day_s);
		jw_kv_int(j, "UsageRangeEnd", day_s + US_PER_DAY / US_PER_S);
		jw_kv_int(j, "Value", (l.rows[i].run_us + US_PER_MINUTE - 1) / US_PER_MINUTE);
		jw_kv_int(j, "Count", l.rows[i].deployments);
		jw_object_end(j);
	}
	jw_array_end(j);
	return 0;
}
