/* The server's masking of log text. */
#include "deploy/mask.h"

#include "base/encode.h"
#include "unit.h"

static struct arena arena;

static int setup(void **state)
{
	arena_init(&arena, 0);
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

static const char *masked(const char *secret, const char *text)
{
	struct mask m = { 0 };
	struct err e;
	struct str out;
	assert_int_equal(mask_add(&m, &arena, str_of(secret), &e), 0);
	mask_finish(&m);
	assert_int_equal(mask_apply(&m, str_of(text), &arena, &out, &e), 0);
	/* The quick look must never miss what would be replaced. */
	assert_true(mask_hits(&m, str_of(text)) || str_is(out, text));
	return arena_strndup(&arena, out.p, out.n);
}

static void forms(void **state)
{
	static const char *const rows[][3] = {
		{ "hunter2", "a hunter2 b hunter2", "a [secret] b [secret]" },
		{ "hunter2", "hunter", "hunter" },
		{ "a\"b\\c", "{\"x\":\"a\\\"b\\\\c\"}", "{\"x\":\"[secret]\"}" },
		{ "a<b>&c", "\"a\\u003cb\\u003e\\u0026c\"", "\"[secret]\"" },
		{ "p@ss w/rd", "http://u:p%40ss%20w%2Frd@h", "http://u:[secret]@h" },
		{ "it's so", "'it'\\''s so'", "'[secret]'" },
		{ "it's so", "it'\"'\"'s so", "[secret]" },
		{ "abcabc", "abcabcabc", "[secret]abc" },
		{ "ab", "ab ab", "ab ab" },
		{ "", "text", "text" },
		{ "first line of it\nsecond line of it\n}", "x first line of it y } second line of it",
		  "x [secret] y } [secret]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(masked(rows[i][0], rows[i][1]), rows[i][2]);
}

static void base64_at_every_offset(void **state)
{
	const char *secret = "correct horse battery";
	for (size_t before = 0; before < 6; before++)
		for (size_t behind = 0; behind < 4; behind++) {
			const char *plain =
				arena_printf(&arena, "%.*s%s%.*s", (int)before, "xyzxyz", secret, (int)behind, "123");
			const char *text = base64_encode_arena(&arena, str_of(plain));
			const char *out = masked(secret, text);
			if (!strstr(out, MASK_TEXT))
				fail_msg("%s stays in %s", plain, out);
			/* What is left at both ends tells at most what stood beside the secret. */
			assert_true(strlen(out) - strlen(MASK_TEXT) <= (before + behind + 4) * 2);
		}
}

static void our_own_tokens(void **state)
{
	const char *random = "abcdefghijklmnopqrstuvwxyz234567abcdefgh";
	static const char *const prefixes[] = { "pul-",	     "pul-run-",   "pul-runner-",
						"pul-pool-", "pul-lease-", "pul-session-" };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		assert_string_equal(masked("unrelated", arena_printf(&arena, "t=%s%s.", prefixes[i], random)),
				    "t=[secret].");
	assert_string_equal(masked("unrelated", "pul- pul-run- pul-run-short"), "pul- pul-run- pul-run-short");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(base64_at_every_offset),
		cmocka_unit_test(our_own_tokens),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
