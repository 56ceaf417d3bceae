/*
 * rsa.h: key pairs that sign tokens for others (RS256: RSASSA-PKCS1-v1_5 with SHA-256), the one signature that the identity
 * services of AWS, Azure and Google all take. OpenSSL's libcrypto beneath, and nowhere else. Thread-safe.
 *
 * A private key is PKCS#8 in DER while it is in memory; whoever has it wipes it (crypto_wipe). It is stored sealed.
 */
#ifndef SLIPWAY_CRYPTO_RSA_H
#define SLIPWAY_CRYPTO_RSA_H

#include "base/str.h"

/* What all three clouds take; a larger one makes each token larger and slower, for keys that live for months. */
#define RSA_KEY_BITS 2048

/* The public half as a JWK has it (RFC 7518 §6.3.1): numbers, big endian, without leading zeros. */
struct rsa_public {
	struct str n;
	struct str e;
};

/* Takes a tenth of a second. */
int rsa_key_new(struct arena *a, struct str *ret_private, struct err *e);
/* ERR_INTERNAL if it is no private key. */
int rsa_key_public(struct str private, struct arena *a, struct rsa_public *ret, struct err *e);
int rsa_sign(struct str private, struct str data, struct arena *a, struct str *ret_signature, struct err *e);

#endif
