/*
 * sha256.h: SHA-256 (FIPS 180-4) in pieces, for the executor, which is linked without the crypto library. Not for secrets:
 * no care is taken of what stays in memory. Everybody else uses crypto/.
 */
#ifndef SLIPWAY_BASE_SHA256_H
#define SLIPWAY_BASE_SHA256_H

#include <stdint.h>

#include "base/str.h"

#define SHA256_BYTES 32

struct sha256 {
	uint32_t state[8];
	uint64_t bytes;
	unsigned char block[64];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, struct str bytes);
void sha256_end(struct sha256 *s, unsigned char ret[SHA256_BYTES]);

#endif
