#include "agent/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/clock.h"

static const struct {
	const char *name, *type, *help;
} metrics[METRIC_COUNT] = {
#define METRIC_ROW(constant, name, type, help) { name, type, help },
	METRICS(METRIC_ROW)
#undef METRIC_ROW
};
static _Atomic int64_t values[METRIC_COUNT];

static const char *const results[RESULT_COUNT] = { "succeeded", "failed", "lost" };
static _Atomic int64_t runs[RESULT_COUNT];

/* Steps by how their names begin: what is numbered, or named by its operation, is one kind. */
static const struct {
	const char *prefix, *kind;
} kinds[] = {
	{ "Setup", "setup" },
	{ "Download deployment executor", "executor" },
	{ "Fetch provider credentials", "oidc" },
	{ "Get source", "source" },
	{ "Restore cache", "restore-cache" },
	{ "Pre-run command", "pre-run" },
	{ "Download dep", "dependencies" },
	{ "Save cache", "save-cache" },
	{ "pulumi", "pulumi" },
	{ "", "other" },
};
static const int bounds_s[] = { 1, 5, 15, 60, 300, 900, 3600 };
static struct {
	_Atomic int64_t buckets[ARRAY_SIZE(bounds_s)]; /* each without those below it */
	_Atomic int64_t count;
	_Atomic int64_t sum_us;
} steps[ARRAY_SIZE(kinds)];

void metric_add(enum metric m, int64_t n)
{
	atomic_fetch_add_explicit(&values[m], n, memory_order_relaxed);
}

void metric_set(enum metric m, int64_t value)
{
	values[m] = value;
}

int64_t metric_get(enum metric m)
{
	return values[m];
}

void metric_run(enum metric_result result)
{
	runs[result]++;
}

void metric_step(const char *name, int64_t took_us)
{
	size_t kind = 0, bucket = 0;
	while (!str_starts_with(str_of(name), kinds[kind].prefix))
		kind++;
	while (bucket < ARRAY_SIZE(bounds_s) && took_us > bounds_s[bucket] * US_PER_S)
		bucket++;
	if (bucket < ARRAY_SIZE(bounds_s))
		steps[kind].buckets[bucket]++;
	steps[kind].count++;
	steps[kind].sum_us += took_us;
}

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_steps(struct buf *out)
{
	static const char name[] = "slipway_agent_step_seconds";
	head(out, name, "histogram", "How long steps took, by their kind.");
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		int64_t sum = 0, count = steps[k].count;
		if (count == 0)
			continue;
		for (size_t b = 0; b < ARRAY_SIZE(bounds_s); b++) {
			sum += steps[k].buckets[b];
			buf_addf(out, "%s_bucket{step=\"%s\",le=\"%d\"} %" PRId64 "\n", name, kinds[k].kind,
				 bounds_s[b], sum);
		}
		/* Another thread may count meanwhile: a reader must never see more below a bound than in all. */
		buf_addf(out, "%s_bucket{step=\"%s\",le=\"+Inf\"} %" PRId64 "\n", name, kinds[k].kind,
			 count > sum ? count : sum);
		buf_addf(out, "%s_sum{step=\"%s\"} %.6f\n", name, kinds[k].kind,
			 (double)steps[k].sum_us / (double)US_PER_S);
		buf_addf(out, "%s_count{step=\"%s\"} %" PRId64 "\n", name, kinds[k].kind, count > sum ? count : sum);
	}
}

void metrics_write(struct buf *out, const char *isolation)
{
	head(out, "slipway_agent_info", "gauge", "Version and level of isolation, as labels.");
	buf_addf(out, "slipway_agent_info{version=\"%s\",isolation=\"%s\"} 1\n", SLIPWAY_VERSION, isolation);
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		head(out, metrics[i].name, metrics[i].type, metrics[i].help);
		buf_addf(out, "%s %" PRId64 "\n", metrics[i].name, values[i]);
	}
	head(out, "slipway_agent_runs_total", "counter", "Deployments that have ended here, by their result.");
	for (size_t i = 0; i < RESULT_COUNT; i++)
		buf_addf(out, "slipway_agent_runs_total{result=\"%s\"} %" PRId64 "\n", results[i], runs[i]);
	write_steps(out);
}
