#include "crypto/crypto.h"

/* 32 characters: each carries five bits, and a byte's low five bits choose without bias. */
static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
#define TOKEN_RANDOM_CHARS 40

char *token_new(struct arena *a, const char *prefix)
{
	unsigned char random[TOKEN_RANDOM_CHARS];
	char text[TOKEN_RANDOM_CHARS + 1];
	crypto_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		text[i] = alphabet[random[i] & 31];
	text[TOKEN_RANDOM_CHARS] = '\0';
	char *token = arena_printf(a, "%s%s", prefix, text);
	crypto_wipe(random, sizeof(random));
	crypto_wipe(text, sizeof(text));
	return token;
}

struct str token_hash(struct arena *a, struct str token)
{
	unsigned char *digest = arena_alloc(a, CRYPTO_SHA256_BYTES);
	if (!digest)
		return STR_NULL;
	crypto_sha256(token, digest);
	return (struct str){ (const char *)digest, CRYPTO_SHA256_BYTES };
}

char *token_csrf(struct arena *a, struct str session)
{
	char *text = arena_printf(a, "slipway csrf %.*s", (int)session.n, session.p);
	return text ? crypto_sha256_hex(a, str_of(text)) : NULL;
}
