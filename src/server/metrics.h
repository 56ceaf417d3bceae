/*
 * metrics.h: GET /metrics: the queue, the agents, the requests and the files of this server, in the text format of Prometheus.
 * Requests are counted from every worker; what is in the database is asked for when somebody looks.
 */
#ifndef SLIPWAY_SERVER_METRICS_H
#define SLIPWAY_SERVER_METRICS_H

#include "http/http.h"

/* For http_config.answered. */
void metrics_answered(const struct request *r, int status, int64_t took_us);

#endif
