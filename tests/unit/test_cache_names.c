#include "unit.h"

#include "base/encode.h"
#include "base/sha256.h"
#include "crypto/crypto.h"
#include "executor/cache.h"

static const char *const places[] = { "tree/infra/node_modules", "home/.npm/_cacache", NULL };

static void names(void **state)
{
	static const char *const good[] = { "tree/infra/node_modules", "tree/infra/node_modules/a",
					    "home/.npm/_cacache/x/y", "tree/infra/node_modules/..a/...",
					    "tree/infra/node_modules/a b\n\\" };
	static const char *const bad[] = { "",
					   "/",
					   ".",
					   "..",
					   "tree",
					   "tree/infra",
					   "tree/infra/node_modules/",
					   "tree/infra/node_modules//a",
					   "tree/infra/node_modules/./a",
					   "tree/infra/node_modules/..",
					   "tree/infra/node_modules/../x",
					   "/tree/infra/node_modules",
					   "tree/infra/node_modules2",
					   "tree/infra/Node_modules",
					   "home/.npm",
					   "./tree/infra/node_modules" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(cache_name_ok(places, good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(cache_name_ok(places, bad[i]));
}

static void targets(void **state)
{
	static const char name[] = "tree/infra/node_modules/.bin/tool"; /* three folders below the tree */
	static const char *const good[] = { "x",    "../x",	 "../../x", "../../../x",    "../../../",
					    "./x/", "a/../../b", "..//x",   "/usr/bin/node", "/opt/x/y" };
	static const char *const bad[] = { "../../../../x",
					   "../../../..",
					   "a/../../../../../x",
					   "/",
					   "/etc/passwd",
					   "/usr/../etc/passwd",
					   "/usr",
					   "/usr/lib/x/../..",
					   "/var/lib/x",
					   "//usr/bin/x",
					   "../../../../../tree/infra" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		if (!cache_target_ok(name, good[i]))
			print_error("%s is refused\n", good[i]);
		assert_true(cache_target_ok(name, good[i]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (cache_target_ok(name, bad[i]))
			print_error("%s is taken\n", bad[i]);
		assert_false(cache_target_ok(name, bad[i]));
	}
	assert_true(cache_target_ok("tree/x", "y"));
	assert_false(cache_target_ok("tree/x", ".."));
	assert_false(cache_target_ok("tree/x", "a/../../y"));
}

/* Beside the other implementation that is in the tree. */
static void sha256(void **state)
{
	_cleanup_arena_ struct arena a;
	static char text[1000];
	arena_init(&a, 0);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 31);
	for (size_t n = 0; n <= sizeof(text); n++) {
		unsigned char ours[SHA256_BYTES], theirs[SHA256_BYTES];
		struct sha256 s;
		sha256_init(&s);
		sha256_add(&s, (struct str){ text, n / 3 });
		sha256_add(&s, (struct str){ text + n / 3, n - n / 3 });
		sha256_end(&s, ours);
		crypto_sha256((struct str){ text, n }, theirs);
		assert_memory_equal(ours, theirs, sizeof(ours));
	}
	unsigned char abc[SHA256_BYTES];
	struct sha256 s;
	sha256_init(&s);
	sha256_add(&s, STR("abc"));
	sha256_end(&s, abc);
	assert_string_equal(hex_encode_arena(&a, (struct str){ (const char *)abc, sizeof(abc) }),
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(targets),
		cmocka_unit_test(sha256),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
