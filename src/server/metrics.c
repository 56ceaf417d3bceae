#include "server/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/limits.h"
#include "deploy/deploy.h"
#include "identity/identity.h"
#include "server/server.h"

#define ROUTE_FILE "routes_server.def"
#include "../api/declare.h"

/* Requests by the part of the API that they belong to (ROUTE_TAG); the last is for what no row has. */
static const char *const tags[] = { "Stacks",	 "Deployments", "DeploymentRunners",
				    "Schedules", "Users",	"Console",
				    "Server",	 "Absent",	"other" };
#define PARTS ARRAY_SIZE(tags)
#define STATUS_CLASSES 5 /* 1xx to 5xx */
static const int bounds_ms[] = { 1, 5, 25, 100, 500, 2500, 10000 };

static struct {
	_Atomic int64_t answers[STATUS_CLASSES];
	_Atomic int64_t buckets[ARRAY_SIZE(bounds_ms)]; /* each without those below it */
	_Atomic int64_t count;
	_Atomic int64_t sum_us;
} parts[PARTS];

static size_t part_of(const char *tag)
{
	size_t part = 0;
	while (part < PARTS - 1 && !streq(tag, tags[part]))
		part++;
	return part;
}

void metrics_answered(const struct request *r, int status, int64_t took_us)
{
	size_t part = part_of(r->route ? r->route->tag : NULL), bucket = 0;
	if (status >= 100 && status < 600)
		parts[part].answers[status / 100 - 1]++;
	/* A poll that was held, and a stream, take as long as somebody wants. */
	if (r->parked_until_us || r->stream)
		return;
	while (bucket < ARRAY_SIZE(bounds_ms) && took_us > bounds_ms[bucket] * US_PER_MS)
		bucket++;
	if (bucket < ARRAY_SIZE(bounds_ms))
		parts[part].buckets[bucket]++;
	parts[part].count++;
	parts[part].sum_us += took_us;
}

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(struct buf *out, const char *name, const char *type, const char *help, int64_t value)
{
	head(out, name, type, help);
	buf_addf(out, "%s %" PRId64 "\n", name, value);
}

static void write_latency(struct buf *out, size_t part)
{
	static const char name[] = "slipway_request_seconds";
	int64_t sum = 0, count = parts[part].count;
	if (!count)
		return;
	for (size_t b = 0; b < ARRAY_SIZE(bounds_ms); b++) {
		sum += parts[part].buckets[b];
		buf_addf(out, "%s_bucket{part=\"%s\",le=\"%g\"} %" PRId64 "\n", name, tags[part], bounds_ms[b] / 1e3,
			 sum);
	}
	count = count > sum ? count : sum; /* another thread may count meanwhile */
	buf_addf(out, "%s_bucket{part=\"%s\",le=\"+Inf\"} %" PRId64 "\n", name, tags[part], count);
	buf_addf(out, "%s_sum{part=\"%s\"} %.6f\n", name, tags[part], (double)parts[part].sum_us / (double)US_PER_S);
	buf_addf(out, "%s_count{part=\"%s\"} %" PRId64 "\n", name, tags[part], count);
}

static void write_requests(struct buf *out)
{
	head(out, "slipway_requests_total", "counter", "Answers, by the part of the API and the class of the status.");
	for (size_t part = 0; part < PARTS; part++) {
		for (int c = 0; c < STATUS_CLASSES; c++) {
			if (parts[part].answers[c])
				buf_addf(out, "slipway_requests_total{part=\"%s\",status=\"%dxx\"} %" PRId64 "\n",
					 tags[part], c + 1, (int64_t)parts[part].answers[c]);
		}
	}
	head(out, "slipway_request_seconds", "histogram",
	     "From the head of a request to its answer; polls that are held, and streams, are left out.");
	for (size_t part = 0; part < PARTS; part++)
		write_latency(out, part);
}

static int64_t file_bytes(struct arena *a, const char *dir, const char *name)
{
	struct stat st;
	const char *path = arena_printf(a, "%s/%s", dir, name);
	return path && stat(path, &st) == 0 ? st.st_size : 0;
}

static void write_deployments(struct buf *out, const struct deploy_numbers *n, int64_t now_us)
{
	head(out, "slipway_deployments", "gauge", "Deployments that have not ended.");
	buf_addf(out, "slipway_deployments{status=\"not-started\"} %" PRId64 "\n", n->queued);
	buf_addf(out, "slipway_deployments{status=\"accepted\"} %" PRId64 "\n", n->accepted);
	buf_addf(out, "slipway_deployments{status=\"running\"} %" PRId64 "\n", n->running);
	number(out, "slipway_deployments_claimable", "gauge", "Those in the queue that an agent might take now.",
	       n->claimable);
	number(out, "slipway_queue_oldest_seconds", "gauge", "How long the first of the queue has waited.",
	       n->oldest_us > 0 && n->oldest_us < now_us ? (now_us - n->oldest_us) / US_PER_S : 0);
	number(out, "slipway_agents", "gauge", "Agents that are online.", n->agents);
	number(out, "slipway_pools", "gauge", "Pools of agents.", n->pools);
}

int metrics_get(struct request *r, struct response *w, struct err *e)
{
	const struct app *app = app_of(r);
	struct deploy_numbers n;
	int64_t now_us = clock_now_us();
	_cleanup_buf_ struct buf out;
	buf_init(&out, MIB);
	int rc = deploy_numbers(app_of(r), r->arena, now_us, &n, e);
	if (rc < 0)
		return rc;
	head(&out, "slipway_info", "gauge", "The server's version, as a label.");
	buf_addf(&out, "slipway_info{version=\"%s\"} 1\n", SLIPWAY_VERSION);
	write_deployments(&out, &n, now_us);
	write_requests(&out);
	number(&out, "slipway_database_bytes", "gauge", "Size of the database.",
	       file_bytes(r->arena, app->data_dir, "slipway.db"));
	number(&out, "slipway_database_wal_bytes", "gauge", "Size of its write-ahead log.",
	       file_bytes(r->arena, app->data_dir, "slipway.db-wal"));
	char *text = str_dup(r->arena, buf_str(&out));
	if (!text || buf_failed(&out))
		return err_nomem(e);
	response_body(w, "text/plain; version=0.0.4; charset=utf-8", (struct str){ text, out.len });
	return 0;
}
