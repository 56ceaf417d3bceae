/* The server's masking of its own tokens in log text. */
#include "deploy/mask_tokens.h"

#include "unit.h"

static void check(const char *text, const char *expected)
{
	_cleanup_buf_ struct buf out;
	buf_init(&out, 4096);
	mask_tokens(str_of(text), &out);
	assert_false(buf_failed(&out));
	assert_string_equal(buf_str(&out).p, expected);
}

static void our_own_tokens(void **state)
{
	static const char *const prefixes[] = { "pul-",	     "pul-run-",   "pul-runner-",
						"pul-pool-", "pul-lease-", "pul-session-" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		char text[128];
		snprintf(text, sizeof(text), "t=%sabcdefghijklmnopqrstuvwxyz234567abcdefgh.", prefixes[i]);
		check(text, "t=[secret].");
	}
	check("pul-abcdefghijklmnopqrstuvwxyz234567abcdefghpul-abcdefghijklmnopqrstuvwxyz234567abcdefgh",
	      "[secret][secret]");
}

#define JWT                                                                                                           \
	"eyJraWQiOiJzbGlwd2F5LTAxOWE5YjMwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMCIsImFsZyI6IlJTMjU2IiwidHlwIjoiSldUIn0" \
	".eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xIn0.c2ln_bmF0-dXJl"

static void oidc_tokens(void **state)
{
	check("TOKEN=" JWT "\n", "TOKEN=[secret]\n");
	check("\"" JWT "\" pul-abcdefghijklmnopqrstuvwxyz234567abcdefgh", "\"[secret]\" [secret]");
	check("pul- " JWT, "pul- [secret]");
	/* That of somebody else, and something short. */
	check("eyJraWQiOiJhYmMiLCJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln",
	      "eyJraWQiOiJhYmMiLCJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln");
	check("eyJraWQiOiJzbGlwd2F5LTE", "eyJraWQiOiJzbGlwd2F5LTE");
	assert_true(mask_tokens_may(STR(JWT)));
	assert_false(mask_tokens_may(STR("text")));
}

static void other_text(void **state)
{
	check("", "");
	check("text", "text");
	check("pul- pul-run- pul-run-short pulpul-", "pul- pul-run- pul-run-short pulpul-");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(our_own_tokens), cmocka_unit_test(oidc_tokens),
					    cmocka_unit_test(other_text) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
