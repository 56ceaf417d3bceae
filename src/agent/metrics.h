/*
 * metrics.h: what an agent counts of itself, for /metrics (health.h). One set in a process, from every thread.
 *
 * A further number is a row here and a call of metric_add where it happens.
 */
#ifndef SLIPWAY_AGENT_METRICS_H
#define SLIPWAY_AGENT_METRICS_H

#include "base/str.h"

/* X(name of the constant, name on the wire, type, help) */
#define METRICS(X)                                                                                                  \
	X(POLLS, "slipway_agent_polls_total", "counter", "Polls that the server answered.")                         \
	X(POLL_FAILURES, "slipway_agent_poll_failures_total", "counter", "Polls without a good answer.")            \
	X(CLAIMS, "slipway_agent_claims_total", "counter", "Deployments that were claimed.")                        \
	X(RUNNING, "slipway_agent_running", "gauge", "Deployments that run now.")                                   \
	X(SLOTS, "slipway_agent_slots", "gauge", "Deployments that may run at once.")                               \
	X(LOG_LINES, "slipway_agent_log_lines_total", "counter", "Lines of output, after masking.")                 \
	X(LOG_BYTES, "slipway_agent_log_bytes_total", "counter", "Bytes of output, after masking.")                 \
	X(MASKED, "slipway_agent_masked_total", "counter", "Places of the output where a secret was replaced.")     \
	X(UPLOADS, "slipway_agent_uploads_total", "counter", "Pieces of log and reports of steps that were sent.")  \
	X(UPLOAD_RETRIES, "slipway_agent_upload_retries_total", "counter", "Attempts to send one that failed.")     \
	X(LAST_POLL, "slipway_agent_last_poll_timestamp_seconds", "gauge", "When the server last answered a poll.") \
	X(FAILING_SINCE, "slipway_agent_polls_failing_since_timestamp_seconds", "gauge",                            \
	  "When polls began to fail; 0: they do not.")

enum metric {
#define METRIC_CONSTANT(constant, name, type, help) METRIC_##constant,
	METRICS(METRIC_CONSTANT)
#undef METRIC_CONSTANT
		METRIC_COUNT
};

void metric_add(enum metric m, int64_t n);
void metric_set(enum metric m, int64_t value);
int64_t metric_get(enum metric m);

enum metric_result { RESULT_SUCCEEDED, RESULT_FAILED, RESULT_LOST, RESULT_COUNT };
void metric_run(enum metric_result result);
/* A step has ended; its name says which kind it was. */
void metric_step(const char *name, int64_t took_us);

/* All of them in the text format of Prometheus. */
void metrics_write(struct buf *out, const char *isolation);

#endif
