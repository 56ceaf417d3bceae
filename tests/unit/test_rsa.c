#include "unit.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "crypto/crypto.h"
#include "crypto/rsa.h"

static struct arena arena;
static struct err err;

static int setup(void **state)
{
	arena_init(&arena, 0);
	return crypto_init(&err);
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

/* As somebody would who has nothing but the JWK. */
static EVP_PKEY *from_public(const struct rsa_public *public)
{
	BIGNUM *n = BN_bin2bn((const unsigned char *)public->n.p, (int)public->n.n, NULL);
	BIGNUM *exponent = BN_bin2bn((const unsigned char *)public->e.p, (int)public->e.n, NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n);
	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *key = NULL;
	assert_int_equal(EVP_PKEY_fromdata_init(context), 1);
	assert_int_equal(EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	BN_free(n);
	BN_free(exponent);
	return key;
}

static bool verifies(EVP_PKEY *key, struct str data, struct str signature)
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestVerifyInit(digest, NULL, EVP_sha256(), NULL, key), 1);
	int r = EVP_DigestVerify(digest, (const unsigned char *)signature.p, signature.n, (const unsigned char *)data.p,
				 data.n);
	EVP_MD_CTX_free(digest);
	return r == 1;
}

static void what_is_signed_verifies(void **state)
{
	struct str private, signature, again;
	struct rsa_public public;
	assert_int_equal(rsa_key_new(&arena, &private, &err), 0);
	assert_int_equal(rsa_key_public(private, &arena, &public, &err), 0);
	assert_int_equal(public.n.n, RSA_KEY_BITS / 8);
	assert_true(public.n.p[0] != 0);
	assert_memory_equal(public.e.p, "\x01\x00\x01", public.e.n);
	assert_int_equal(rsa_sign(private, STR("a text"), &arena, &signature, &err), 0);
	assert_int_equal(signature.n, RSA_KEY_BITS / 8);
	/* PKCS#1 v1.5 has no salt: the same text, the same signature. */
	assert_int_equal(rsa_sign(private, STR("a text"), &arena, &again, &err), 0);
	assert_true(str_eq(signature, again));
	EVP_PKEY *key = from_public(&public);
	assert_true(verifies(key, STR("a text"), signature));
	assert_false(verifies(key, STR("a test"), signature));
	EVP_PKEY_free(key);
	assert_int_equal(rsa_sign(private, STR(""), &arena, &signature, &err), 0);
}

static void keys_differ(void **state)
{
	struct str one, two;
	assert_int_equal(rsa_key_new(&arena, &one, &err), 0);
	assert_int_equal(rsa_key_new(&arena, &two, &err), 0);
	assert_false(str_eq(one, two));
}

static void what_is_no_key_is_told(void **state)
{
	struct str signature;
	struct rsa_public public;
	assert_int_equal(rsa_sign(STR("no key"), STR("a text"), &arena, &signature, &err), -ERR_INTERNAL);
	assert_non_null(strstr(err.message, "cannot read an RSA key"));
	assert_int_equal(rsa_key_public(STR(""), &arena, &public, &err), -ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_signed_verifies),
		cmocka_unit_test(keys_differ),
		cmocka_unit_test(what_is_no_key_is_told),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
