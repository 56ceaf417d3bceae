#include "crypto/crypto.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

#include "base/encode.h"

#define SEAL_VERSION 1
#define HEAD_BYTES 5
#define FILE_PIECE_BYTES 65536
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES

_Static_assert(CRYPTO_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key size");
_Static_assert(SEAL_OVERHEAD_BYTES == HEAD_BYTES + NONCE_BYTES + TAG_BYTES, "sealed blob, version 1");
_Static_assert(CRYPTO_SHA256_BYTES == crypto_hash_sha256_BYTES, "digest size");

int crypto_init(struct err *e)
{
	if (sodium_init() < 0)
		return err_set(e, ERR_INTERNAL, "libsodium can not be initialised");
	return 0;
}

void crypto_random(void *p, size_t n)
{
	randombytes_buf(p, n);
}

void crypto_wipe(void *p, size_t n)
{
	sodium_memzero(p, n);
}

void crypto_key_new(struct crypto_key *ret, uint32_t id)
{
	ret->id = id;
	crypto_random(ret->bytes, sizeof(ret->bytes));
}

int crypto_seal(const struct crypto_key *key, const char *owner, struct str plaintext, struct arena *a,
		struct str *ret_sealed, struct err *e)
{
	unsigned char *out = plaintext.n < SIZE_MAX / 2 ? arena_alloc(a, plaintext.n + SEAL_OVERHEAD_BYTES) : NULL;
	if (!out)
		return err_nomem(e);
	out[0] = SEAL_VERSION;
	for (int i = 0; i < 4; i++)
		out[1 + i] = (unsigned char)(key->id >> (24 - 8 * i));
	unsigned char *nonce = out + HEAD_BYTES;
	crypto_random(nonce, NONCE_BYTES);
	unsigned long long n = 0;
	crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + NONCE_BYTES, &n, (const unsigned char *)plaintext.p,
						   plaintext.n, (const unsigned char *)owner, strlen(owner), NULL,
						   nonce, key->bytes);
	*ret_sealed = (struct str){ (const char *)out, HEAD_BYTES + NONCE_BYTES + (size_t)n };
	return 0;
}

bool crypto_sealed_key_id(struct str sealed, uint32_t *ret_id)
{
	if (sealed.n < SEAL_OVERHEAD_BYTES || sealed.p[0] != SEAL_VERSION)
		return false;
	uint32_t id = 0;
	for (int i = 0; i < 4; i++)
		id = id << 8 | (unsigned char)sealed.p[1 + i];
	*ret_id = id;
	return true;
}

int crypto_open(const struct crypto_key *key, const char *owner, struct str sealed, struct arena *a,
		struct str *ret_plaintext, struct err *e)
{
	uint32_t id;
	/* One sentence for every cause: which one it was is nobody's business. */
	if (!crypto_sealed_key_id(sealed, &id) || id != key->id)
		return err_set(e, ERR_BAD_REQUEST, "the sealed value can not be opened");
	unsigned char *out = arena_alloc(a, sealed.n - SEAL_OVERHEAD_BYTES + 1);
	if (!out)
		return err_nomem(e);
	const unsigned char *nonce = (const unsigned char *)sealed.p + HEAD_BYTES;
	unsigned long long n = 0;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(
		    out, &n, NULL, nonce + NONCE_BYTES, sealed.n - HEAD_BYTES - NONCE_BYTES,
		    (const unsigned char *)owner, strlen(owner), nonce, key->bytes) != 0)
		return err_set(e, ERR_BAD_REQUEST, "the sealed value can not be opened");
	*ret_plaintext = (struct str){ (const char *)out, (size_t)n }; /* the arena's zero follows */
	return 0;
}

void crypto_sha256(struct str data, unsigned char ret[CRYPTO_SHA256_BYTES])
{
	crypto_hash_sha256(ret, (const unsigned char *)data.p, data.n);
}

char *crypto_sha256_hex(struct arena *a, struct str data)
{
	unsigned char digest[CRYPTO_SHA256_BYTES];
	crypto_sha256(data, digest);
	return hex_encode_arena(a, (struct str){ (const char *)digest, sizeof(digest) });
}

int crypto_sha256_file(int fd, unsigned char ret[CRYPTO_SHA256_BYTES], struct err *e)
{
	crypto_hash_sha256_state state;
	unsigned char piece[FILE_PIECE_BYTES];
	off_t at = 0;
	crypto_hash_sha256_init(&state);
	for (;;) {
		ssize_t n = pread(fd, piece, sizeof(piece), at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "reading a file to hash it");
		if (n == 0)
			break;
		crypto_hash_sha256_update(&state, piece, (unsigned long long)n);
		at += n;
	}
	crypto_hash_sha256_final(&state, ret);
	return 0;
}

bool crypto_equal(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || sodium_memcmp(a.p, b.p, a.n) == 0);
}

const struct crypto_key *crypto_keyring_find(const struct crypto_keyring *ring, uint32_t id)
{
	for (size_t i = 0; i < ring->count; i++)
		if (ring->keys[i].id == id)
			return &ring->keys[i];
	return NULL;
}

int crypto_keyring_open(const struct crypto_keyring *ring, const char *owner, struct str sealed, struct arena *a,
			struct str *ret_plaintext, struct err *e)
{
	uint32_t id;
	const struct crypto_key *key = crypto_sealed_key_id(sealed, &id) ? crypto_keyring_find(ring, id) : NULL;
	if (!key)
		return err_set(e, ERR_BAD_REQUEST, "sealed with a key that is not there");
	return crypto_open(key, owner, sealed, a, ret_plaintext, e);
}
