/*
 * secrets.h: values sealed with a stack's own key, the provider "service" of the CLI (cli-protocol §3.4).
 *
 * The sealed blob names the stack as its owner: a ciphertext of another stack does not open.
 */
#ifndef SLIPWAY_STATE_SECRETS_H
#define SLIPWAY_STATE_SECRETS_H

#include "base/json.h"
#include "identity/app.h"
#include "identity/identity.h"

struct sealer {
	struct crypto_key key;
	const char *owner;
};

/* For the stack of the request. Always followed by sealer_done. */
int sealer_init(struct sealer *s, struct app *app, struct arena *a, const struct access *access, struct err *e);
void sealer_done(struct sealer *s);
int sealer_seal(const struct sealer *s, struct str plain, struct arena *a, struct str *ret_sealed, struct err *e);
/* ERR_BAD_REQUEST that names the field. */
int sealer_open(const struct sealer *s, struct str sealed, struct arena *a, const char *field, struct str *ret_plain,
		struct err *e);

/* Whether every secret of a DeploymentV3 opens, if its provider is this service: what was sealed for another stack
 * could never be read again. ERR_BAD_REQUEST otherwise. */
int secrets_check(const struct sealer *s, struct json deployment, struct err *e);

#endif
