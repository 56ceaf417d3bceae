/*
 * oidc.h: this server as an OpenID Connect issuer: keys, documents and tokens. What a token says is its caller's business
 * (deploy/oidc.h).
 *
 * Keys are made at the first use, one after the other, and stored sealed with the master key. A key is in the JWKS from the
 * moment when it is made until the last token that it has signed has expired, and OIDC_KEY_SLACK_US longer. A rotation by age publishes
 * the next key OIDC_PUBLISH_US before it signs, so that whoever keeps the JWKS for a while knows it by then.
 *
 * A token is signed only behind the transaction that wrote down until when its key is needed for it (oidc_key_take):
 * whatever is rotated or removed meanwhile, the key stays.
 */
#ifndef SLIPWAY_IDENTITY_OIDC_H
#define SLIPWAY_IDENTITY_OIDC_H

#include "base/clock.h"
#include "identity/identity.h"

/* Below the public URL; the paths of the routes. */
#define OIDC_ISSUER_PATH "/oidc"
#define OIDC_JWKS_PATH OIDC_ISSUER_PATH "/.well-known/jwks"

/* How long a verifier may keep the documents. */
#define OIDC_DOCUMENT_AGE_S "300"
#define OIDC_PUBLISH_US US_PER_DAY
/* Clocks of verifiers differ, and some take a token for a while after its end. */
#define OIDC_KEY_SLACK_US US_PER_HOUR

/* What each "kid" begins with, so that a log can be searched for our tokens (deploy/mask_tokens.c). */
#define OIDC_KID_PREFIX "slipway-"

struct oidc_key {
	const char *id;
	struct str sealed;
};

/* Makes the first key when there is none. Not inside of a transaction; may take a tenth of a second, once. */
int oidc_key_ensure(struct identity *id, struct err *e);
/* Inside of the caller's transaction: the key that signs now, which is needed until then. ERR_UNAVAILABLE if there is
 * none (oidc_key_ensure). */
int oidc_key_take(struct db_conn *c, struct arena *a, int64_t now_us, int64_t until_us, struct oidc_key *ret,
		  struct err *e);
/* The token of these claims (a JSON object), behind the commit. */
int oidc_sign(struct identity *id, const struct oidc_key *key, struct str claims, struct arena *a,
	      const char **ret_token, struct err *e);

/* A new key that signs from now on. `revoke`: all others are gone at once, and with them every token that they signed. */
int oidc_rotate(struct identity *id, struct arena *a, bool revoke, const char **ret_id, struct err *e);
/* What is due of a key that is older than age_us, and of those that nobody needs any more. */
int oidc_tick(struct identity *id, int64_t age_us, int64_t now_us, int64_t *ret_next_us, struct err *e);

/* Seals every key anew with the ring's newest. Inside of the rotation's transaction. */
int oidc_keys_seal(struct db_conn *c, struct arena *a, const struct crypto_keyring *ring, struct err *e);
/* Calls `problem` for each key that does not open, or whose halves do not belong together. */
int oidc_verify(struct identity *id, void (*problem)(void *arg, const char *key_id, const char *what), void *arg,
		int64_t *ret_looked, struct err *e);

#endif
