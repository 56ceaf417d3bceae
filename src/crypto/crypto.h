/*
 * crypto.h: sealing of secrets, tokens, digests. libsodium beneath. Thread-safe after crypto_init().
 *
 * Sealed blob, version 1 (others read it: to change it, add a version, keep opening the old ones):
 *
 *	byte 0       version = 1
 *	bytes 1..4   key id, big endian: which generation of the key sealed it
 *	bytes 5..28  nonce, random
 *	rest         XChaCha20-Poly1305 ciphertext and tag
 *
 * Associated data is the owner's identity ("stack:<id>", "org:<id>", "settings:<stack id>"), so that a blob can not be
 * moved to another owner.
 */
#ifndef SLIPWAY_CRYPTO_CRYPTO_H
#define SLIPWAY_CRYPTO_CRYPTO_H

#include <stdint.h>

#include "base/str.h"

#define CRYPTO_KEY_BYTES 32
#define CRYPTO_SHA256_BYTES 32
#define SEAL_OVERHEAD_BYTES (5 + 24 + 16)

struct crypto_key {
	uint32_t id;
	unsigned char bytes[CRYPTO_KEY_BYTES];
};

int crypto_init(struct err *e);
void crypto_random(void *p, size_t n);
void crypto_wipe(void *p, size_t n);
void crypto_key_new(struct crypto_key *ret, uint32_t id);

/* Seals plaintext for `owner`; the blob is in the arena. */
int crypto_seal(const struct crypto_key *key, const char *owner, struct str plaintext, struct arena *a,
		struct str *ret_sealed, struct err *e);
/* ERR_BAD_REQUEST if it was not sealed with this key for this owner, or was changed. */
int crypto_open(const struct crypto_key *key, const char *owner, struct str sealed, struct arena *a,
		struct str *ret_plaintext, struct err *e);

/* Which generation of the key sealed it; false if it is no sealed blob that we know. */
bool crypto_sealed_key_id(struct str sealed, uint32_t *ret_id);

/* The keys of one purpose, newest first: the first one seals, each of them opens what it once sealed. */
#define CRYPTO_KEYRING_MAX 8
struct crypto_keyring {
	struct crypto_key keys[CRYPTO_KEYRING_MAX];
	size_t count;
};
/* NULL if there is none of that id. */
const struct crypto_key *crypto_keyring_find(const struct crypto_keyring *ring, uint32_t id);
/* crypto_open with the key that the blob names. */
int crypto_keyring_open(const struct crypto_keyring *ring, const char *owner, struct str sealed, struct arena *a,
			struct str *ret_plaintext, struct err *e);

/*
 * The master key: a file of 0600 with a line "<id> <64 hex characters>" for each key, newest first; in general one. Key 1
 * may stand alone as 64 hex characters, as it does until the first rotation.
 *
 * load: created (whole or not at all, fsynced) if absent and `create`; ERR_NOT_FOUND if absent otherwise; ERR_IO if it is
 * damaged, or if others may read it. save: replaces the file, whole or not at all, fsynced.
 */
int crypto_master_load(const char *path, bool create, struct crypto_keyring *ret, struct err *e);
int crypto_master_save(const char *path, const struct crypto_keyring *ring, struct err *e);

void crypto_sha256(struct str data, unsigned char ret[CRYPTO_SHA256_BYTES]);
char *crypto_sha256_hex(struct arena *a, struct str data);
/* Of a whole file, read from its beginning in pieces, wherever its offset is. */
int crypto_sha256_file(int fd, unsigned char ret[CRYPTO_SHA256_BYTES], struct err *e);

/* Tokens: "<prefix>" and 40 characters from a CSPRNG, shown once; only the SHA-256 is stored (32 bytes, looked up by
 * equality: the token has 200 bits of entropy, so a slow hash would add nothing). */
#define TOKEN_PREFIX_PERSONAL "pul-"
#define TOKEN_PREFIX_POOL "pul-pool-"
#define TOKEN_PREFIX_RUN "pul-run-"
#define TOKEN_PREFIX_RUNNER "pul-runner-"
#define TOKEN_PREFIX_LEASE "pul-lease-"
char *token_new(struct arena *a, const char *prefix);
struct str token_hash(struct arena *a, struct str token); /* 32 bytes */
/* What a page of ours sends beside its session's cookie, to show that it is a page of ours: 64 hexadecimal digits that
 * only the holder of the session can make. NULL: out of memory. */
char *token_csrf(struct arena *a, struct str session);

bool crypto_equal(struct str a, struct str b); /* constant time */

#endif
