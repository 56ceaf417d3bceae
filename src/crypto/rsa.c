#include "crypto/rsa.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "crypto/crypto.h"

static void key_cleanup(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}
#define _cleanup_key_ __attribute__((cleanup(key_cleanup)))

static void digest_cleanup(EVP_MD_CTX **digest)
{
	EVP_MD_CTX_free(*digest);
}
#define _cleanup_digest_ __attribute__((cleanup(digest_cleanup)))

static int failed(const char *what, struct err *e)
{
	char text[256];
	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	return err_set(e, ERR_INTERNAL, "%s: %s", what, text);
}

int rsa_key_new(struct arena *a, struct str *ret_private, struct err *e)
{
	_cleanup_key_ EVP_PKEY *key = EVP_RSA_gen(RSA_KEY_BITS);
	PKCS8_PRIV_KEY_INFO *info = key ? EVP_PKEY2PKCS8(key) : NULL;
	unsigned char *der = NULL;
	int n = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
	PKCS8_PRIV_KEY_INFO_free(info);
	if (n <= 0)
		return failed("cannot make an RSA key", e);
	char *copy = arena_bytes(a, (size_t)n);
	if (copy)
		memcpy(copy, der, (size_t)n);
	OPENSSL_clear_free(der, (size_t)n);
	if (!copy)
		return err_nomem(e);
	*ret_private = (struct str){ copy, (size_t)n };
	return 0;
}

static int load(struct str private, EVP_PKEY **ret, struct err *e)
{
	const unsigned char *p = (const unsigned char *)private.p;
	*ret = private.n <= LONG_MAX ? d2i_AutoPrivateKey(NULL, &p, (long)private.n) : NULL;
	return *ret ? 0 : failed("cannot read an RSA key", e);
}

static int number(const EVP_PKEY *key, const char *name, struct arena *a, struct str *ret, struct err *e)
{
	BIGNUM *number = NULL;
	if (EVP_PKEY_get_bn_param(key, name, &number) != 1)
		return failed("cannot read an RSA key", e);
	unsigned char *bytes = arena_bytes(a, (size_t)BN_num_bytes(number));
	if (bytes)
		*ret = (struct str){ (const char *)bytes, (size_t)BN_bn2bin(number, bytes) };
	BN_free(number);
	return bytes ? 0 : err_nomem(e);
}

int rsa_key_public(struct str private, struct arena *a, struct rsa_public *ret, struct err *e)
{
	_cleanup_key_ EVP_PKEY *key = NULL;
	struct rsa_public public;
	int rc = load(private, &key, e);
	if (rc == 0)
		rc = number(key, OSSL_PKEY_PARAM_RSA_N, a, &public.n, e);
	if (rc == 0)
		rc = number(key, OSSL_PKEY_PARAM_RSA_E, a, &public.e, e);
	if (rc == 0)
		*ret = public;
	return rc;
}

int rsa_sign(struct str private, struct str data, struct arena *a, struct str *ret_signature, struct err *e)
{
	_cleanup_key_ EVP_PKEY *key = NULL;
	_cleanup_digest_ EVP_MD_CTX *digest = EVP_MD_CTX_new();
	size_t n = 0;
	int rc = load(private, &key, e);
	if (rc < 0)
		return rc;
	const unsigned char *bytes = (const unsigned char *)data.p;
	/* PKCS#1 v1.5 is what EVP does with an RSA key unless it is told otherwise. */
	if (!digest || EVP_DigestSignInit(digest, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(digest, NULL, &n, bytes, data.n) != 1)
		return failed("cannot sign", e);
	unsigned char *signature = arena_bytes(a, n);
	if (!signature)
		return err_nomem(e);
	if (EVP_DigestSign(digest, signature, &n, bytes, data.n) != 1)
		return failed("cannot sign", e);
	*ret_signature = (struct str){ (const char *)signature, n };
	return 0;
}
