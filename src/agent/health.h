/*
 * health.h: what an agent tells whoever watches it, if it was asked to listen: GET /healthz and GET /metrics over plain
 * HTTP/1.0, one request at a time, each within two seconds.
 *
 * Not the server of src/http: that is made for thousands of clients, and costs three threads and the library's memory. What
 * is here reads one line, looks at nothing else of what comes, and tells no secret.
 */
#ifndef SLIPWAY_AGENT_HEALTH_H
#define SLIPWAY_AGENT_HEALTH_H

#include <stdint.h>

#include "base/err.h"

struct health_config {
	const char *host;
	int port;	       /* 0: any free one */
	const char *isolation; /* level */
	int64_t threshold_us;  /* an idle agent whose polls have failed for so long is ill */
};

struct health;
int health_start(const struct health_config *config, struct health **ret, struct err *e);
int health_port(const struct health *h);
void health_stop(struct health *h); /* NULL is fine */

#endif
