#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/crypto.h"

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

static void seal_and_open(void **state)
{
	struct crypto_key key;
	struct str sealed;
	struct str again;
	struct str plain;
	uint32_t id;
	crypto_key_new(&key, 0x01020304);
	assert_int_equal(crypto_seal(&key, "stack:1", STR("secret"), &arena, &sealed, &err), 0);
	assert_int_equal(sealed.n, 6 + SEAL_OVERHEAD_BYTES);
	assert_memory_equal(sealed.p, "\x01\x01\x02\x03\x04", 5);
	assert_true(crypto_sealed_key_id(sealed, &id) && id == 0x01020304);
	assert_int_equal(crypto_open(&key, "stack:1", sealed, &arena, &plain, &err), 0);
	assert_true(str_is(plain, "secret"));
	assert_int_equal(plain.p[plain.n], '\0');
	/* A nonce of its own each time. */
	assert_int_equal(crypto_seal(&key, "stack:1", STR("secret"), &arena, &again, &err), 0);
	assert_false(str_eq(sealed, again));
	assert_int_equal(crypto_seal(&key, "", STR_NULL, &arena, &sealed, &err), 0);
	assert_int_equal(crypto_open(&key, "", sealed, &arena, &plain, &err), 0);
	assert_int_equal(plain.n, 0);
}

static void what_was_changed_stays_shut(void **state)
{
	struct crypto_key key;
	struct crypto_key other;
	struct str sealed;
	struct str plain;
	crypto_key_new(&key, 7);
	crypto_key_new(&other, 7);
	assert_int_equal(crypto_seal(&key, "org:1", STR("secret"), &arena, &sealed, &err), 0);
	assert_int_equal(crypto_open(&key, "org:2", sealed, &arena, &plain, &err), -ERR_BAD_REQUEST);
	assert_int_equal(crypto_open(&other, "org:1", sealed, &arena, &plain, &err), -ERR_BAD_REQUEST);
	other = key;
	other.id = 8;
	assert_int_equal(crypto_open(&other, "org:1", sealed, &arena, &plain, &err), -ERR_BAD_REQUEST);
	for (size_t i = 0; i < sealed.n; i++) {
		char *copy = arena_strndup(&arena, sealed.p, sealed.n);
		copy[i] ^= 1;
		assert_int_equal(crypto_open(&key, "org:1", (struct str){ copy, sealed.n }, &arena, &plain, &err),
				 -ERR_BAD_REQUEST);
		assert_int_equal(crypto_open(&key, "org:1", (struct str){ sealed.p, i }, &arena, &plain, &err),
				 -ERR_BAD_REQUEST);
	}
	assert_int_equal(crypto_open(&key, "org:1", STR_NULL, &arena, &plain, &err), -ERR_BAD_REQUEST);
	assert_string_equal(err.message, "the sealed value can not be opened");
}

static void a_blob_of_version_1_opens_for_ever(void **state)
{
	/* Made by another implementation of XChaCha20-Poly1305, key id 9, nonce 40 to 57 (hexadecimal). */
	struct crypto_key key = { .id = 9 };
	struct str plain;
	for (int i = 0; i < CRYPTO_KEY_BYTES; i++)
		key.bytes[i] = (unsigned char)i;
	static const unsigned char blob[] = {
		0x01, 0x00, 0x00, 0x00, 0x09, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
		0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0xa0,
		0x51, 0x60, 0x50, 0xa3, 0x85, 0x18, 0x7a, 0xea, 0x90, 0xa7, 0xca, 0xca, 0xe4, 0x11, 0x47,
		0xec, 0x8e, 0x3f, 0xd3, 0x5e, 0x6d, 0x61, 0x4f, 0xb9, 0x4d, 0x62, 0xd4, 0x18, 0x13, 0x78,
	};
	assert_int_equal(crypto_open(&key, "stack:0192d3a4", (struct str){ (const char *)blob, sizeof(blob) }, &arena,
				     &plain, &err),
			 0);
	assert_true(str_is(plain, "the sealed text"));
}

static void digests(void **state)
{
	assert_string_equal(crypto_sha256_hex(&arena, STR("abc")),
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(crypto_sha256_hex(&arena, STR_NULL),
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	assert_true(crypto_equal(STR("ab"), STR("ab")));
	assert_false(crypto_equal(STR("ab"), STR("ac")));
	assert_false(crypto_equal(STR("ab"), STR("abc")));
	assert_true(crypto_equal(STR_NULL, STR("")));
}

static void tokens(void **state)
{
	char *one = token_new(&arena, TOKEN_PREFIX_PERSONAL);
	char *two = token_new(&arena, TOKEN_PREFIX_PERSONAL);
	if (!one || !two) {
		fail_msg("no token");
		return; /* the compiler does not know that fail_msg does not */
	}
	assert_true(str_starts_with(str_of(one), "pul-"));
	assert_int_equal(strlen(one), 44);
	assert_int_equal(strspn(one + 4, "abcdefghijklmnopqrstuvwxyz234567"), 40);
	assert_string_not_equal(one, two);
	struct str hash = token_hash(&arena, str_of(one));
	assert_int_equal(hash.n, 32);
	assert_true(str_eq(hash, token_hash(&arena, str_of(one))));
	assert_false(str_eq(hash, token_hash(&arena, str_of(two))));
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	unlink(path);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

static void master_key(void **state)
{
	char dir[] = "/tmp/slipway-master-XXXXXX";
	assert_non_null(mkdtemp(dir));
	const char *path = arena_printf(&arena, "%s/master.key", dir);
	struct crypto_keyring key = { 0 };
	struct crypto_keyring again = { 0 };
	struct stat st;
	assert_int_equal(crypto_master_load(path, false, &key, &err), -ERR_NOT_FOUND);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(crypto_master_load(path, true, &key, &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 65);
	assert_int_equal(crypto_master_load(path, true, &again, &err), 0);
	assert_memory_equal(key.keys[0].bytes, again.keys[0].bytes, CRYPTO_KEY_BYTES);
	assert_int_equal(key.keys[0].id, again.keys[0].id);
	assert_int_equal(again.count, 1);
	/* Readable by others. */
	chmod(path, 0640);
	assert_int_equal(crypto_master_load(path, true, &again, &err), -ERR_IO);
	assert_non_null(strstr(err.message, "others may read it"));
	/* Damaged ones are named, and never replaced. */
	static const char hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	const char *const damaged[] = { "",
					"\n",
					"00",
					arena_printf(&arena, "%.63s", hex),
					arena_printf(&arena, "%s00", hex),
					arena_printf(&arena, "%s\n\n", hex),
					arena_printf(&arena, "%.63sx", hex),
					arena_printf(&arena, "%.63s\n", hex),
					arena_printf(&arena, "0 %s\n", hex),
					arena_printf(&arena, "2 %s\n2 %s\n", hex, hex),
					arena_printf(&arena, "1 %s\n2 %s\n", hex, hex),
					arena_printf(&arena, "2 %s\n1 %.63s\n", hex, hex),
					arena_printf(&arena, "4294967296 %s\n", hex) };
	for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
		write_file(path, damaged[i], 0600);
		assert_int_equal(crypto_master_load(path, true, &again, &err), -ERR_IO);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, strlen(damaged[i]));
	}
	/* By hand, without a newline. */
	write_file(path, hex, 0600);
	assert_int_equal(crypto_master_load(path, true, &again, &err), 0);
	assert_int_equal(again.keys[0].bytes[31], 31);
	assert_int_equal(again.keys[0].id, 1);
	/* Several, numbered, newest first. */
	struct crypto_keyring two = { .count = 2 };
	crypto_key_new(&two.keys[0], 7);
	crypto_key_new(&two.keys[1], 6);
	assert_int_equal(crypto_master_save(path, &two, &err), 0);
	assert_int_equal(crypto_master_load(path, false, &again, &err), 0);
	assert_int_equal(again.count, 2);
	assert_memory_equal(again.keys, two.keys, sizeof(two.keys));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_ptr_equal(crypto_keyring_find(&again, 6), &again.keys[1]);
	assert_null(crypto_keyring_find(&again, 1));
	unlink(path);
	assert_int_equal(rmdir(dir), 0); /* nothing else was left there */
	assert_int_equal(crypto_master_load(path, true, &key, &err), -ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seal_and_open), cmocka_unit_test(what_was_changed_stays_shut),
		cmocka_unit_test(digests),	 cmocka_unit_test(a_blob_of_version_1_opens_for_ever),
		cmocka_unit_test(tokens),	 cmocka_unit_test(master_key),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
