/*
 * move_secrets.h: sealed values inside of documents, found and put back in another seal.
 */
#ifndef SLIPWAY_CLI_MOVE_SECRETS_H
#define SLIPWAY_CLI_MOVE_SECRETS_H

#include "base/json.h"

/* Seals anew, in order; both lists are base64. */
typedef int (*move_reseal_fn)(void *arg, const struct str *old, size_t count, struct arena *a, struct str *ret_new,
			      struct err *e);

/* The secrets provider of an UntypedDeployment: "service", "passphrase", ... ; NULL: none. */
const char *move_state_provider(struct json root, struct arena *a);

/* An UntypedDeployment whose provider is "service": every secret sealed anew, and `provider_state` (JSON) in the place of
 * secrets_providers.state. Everything else stays as the text is. */
int move_reseal_state(struct json root, struct str provider_state, move_reseal_fn reseal, void *arg, struct arena *a,
		      struct str *ret, struct err *e);

/* The config of an update, as the service has it. *ret_count: how many secrets are in it. */
int move_reseal_config(struct json config, move_reseal_fn reseal, void *arg, struct arena *a, struct json *ret,
		       size_t *ret_count, struct err *e);

#endif
