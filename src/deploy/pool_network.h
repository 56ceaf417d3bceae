/*
 * pool_network.h: the network that a pool gives its runs, as the API takes it, as the row keeps it and as the work order
 * has it. `auto` and nothing are the same: the row is empty then.
 */
#ifndef SLIPWAY_DEPLOY_POOL_NETWORK_H
#define SLIPWAY_DEPLOY_POOL_NETWORK_H

#include "base/fields.h"

#define POOL_NETWORK_ALLOW_MAX 200

struct pool_network {
	const char *mode; /* NULL: it was not given */
	struct json allow;
};
extern const struct field pool_network_fields[];

/* The row's text; *ret stays when nothing was given. ERR_BAD_REQUEST: a line of the list is wrong, or the mode has no use
 * for one. */
int pool_network_text(const struct pool_network *n, struct arena *a, const char **ret, struct err *e);
/* The member `network` of an answer, from the row's text. */
void pool_network_put(struct json_writer *w, const char *text);
/* The member `networks`, from "host,none". */
void pool_networks_put(struct json_writer *w, const char *modes);

#endif
