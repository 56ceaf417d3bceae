#include "unit.h"

#include "base/json.h"
#include "base/limits.h"
#include "state/delta.h"

#define EDIT(from, to, text) \
	"{\"Span\":{\"start\":{\"offset\":" #from "},\"end\":{\"offset\":" #to "}},\"NewText\":" text "}"

static int apply(const char *base, const char *edits, size_t max, char *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf out;
	struct json v;
	arena_init(&a, 0);
	buf_init(&out, max);
	assert_int_equal(json_check(str_of(edits), &v, NULL), 0);
	_cleanup_delta_pieces_ struct delta_pieces p = { 0 };
	assert_int_equal(delta_pieces_init(&p, &a, str_of(base), NULL), 0);
	int rc = delta_edit(&p, v, e);
	if (rc == 0)
		rc = delta_write(&p, &out, e);
	if (rc == 0)
		memcpy(ret, out.data ? out.data : "", out.len + 1);
	return rc;
}

static void edits(void **state)
{
	static const struct {
		const char *base, *edits, *result;
	} rows[] = {
		{ "abcdef", "[]", "abcdef" },
		{ "abcdef", "[" EDIT(2, 4, "\"XYZ\"") "]", "abXYZef" },
		{ "abcdef", "[" EDIT(0, 0, "\"<\"") "," EDIT(6, 6, "\">\"") "]", "<abcdef>" },
		{ "abcdef", "[" EDIT(0, 6, "\"\"") "]", "" },
		{ "abcdef", "[" EDIT(1, 2, "\"1\"") "," EDIT(2, 3, "\"2\"") "]", "a12def" },
		/* Equal spans: in their order. */
		{ "abcdef", "[" EDIT(3, 3, "\"1\"") "," EDIT(3, 3, "\"2\"") "]", "abc12def" },
		{ "abcdef", "[" EDIT(3, 3, "\"\\u00e9\\ud83d\\ude00\\u003c\"") "]", "abc\xC3\xA9\xF0\x9F\x98\x80<def" },
	};
	char out[64];
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(apply(rows[i].base, rows[i].edits, 1024, out, NULL), 0);
		assert_string_equal(out, rows[i].result);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *edits, *names;
	} rows[] = {
		{ "{}", "/deploymentDelta: must be an array" },
		{ "[5]", "/deploymentDelta/0/Span/start/offset" },
		{ "[" EDIT(1.5, 2, "\"\"") "]", "/deploymentDelta/0/Span/start/offset" },
		{ "[" EDIT(1, null, "\"\"") "]", "/deploymentDelta/0/Span/end/offset" },
		{ "[" EDIT(1, 2, "7") "]", "/deploymentDelta/0/NewText" },
		{ "[" EDIT(-1, 2, "\"\"") "]", "/deploymentDelta/0: the span -1 to 2" },
		{ "[" EDIT(3, 2, "\"\"") "]", "/deploymentDelta/0: the span 3 to 2" },
		{ "[" EDIT(5, 7, "\"\"") "]", "within the 6 bytes" },
		{ "[" EDIT(0, 3, "\"\"") "," EDIT(2, 4, "\"\"") "]", "/deploymentDelta/1" },
		{ "[" EDIT(9223372036854775807, 9223372036854775807, "\"\"") "]", "/deploymentDelta/0" },
	};
	char out[64];
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = { 0 };
		assert_int_equal(apply("abcdef", rows[i].edits, 1024, out, &e), -ERR_BAD_REQUEST);
		if (!strstr(e.message, rows[i].names))
			fail_msg("%s says: %s", rows[i].edits, e.message);
	}
	assert_int_equal(apply("abcdef", "[" EDIT(0, 0, "\"0123456789\"") "]", 12, out, NULL), -ERR_TOO_LARGE);
}

/* Edits of edits: the pieces make what a copy at every step would. */
static void chain(void **state)
{
	static const struct {
		const char *edits, *text;
	} steps[] = {
		{ "[" EDIT(3, 3, "\"123\"") "]", "abc123def" },
		{ "[" EDIT(2, 4, "\"\"") "]", "ab23def" },
		{ "[" EDIT(0, 0, "\"<\"") "," EDIT(1, 2, "\"B\"") "," EDIT(7, 7, "\">\"") "]", "<aB23def>" },
		{ "[]", "<aB23def>" },
		/* Across every piece there is. */
		{ "[" EDIT(1, 8, "\"-\"") "]", "<->" },
		{ "[" EDIT(0, 3, "\"\"") "]", "" },
		{ "[]", "" },
		{ "[" EDIT(0, 0, "\"\"") "," EDIT(0, 0, "\"new\"") "]", "new" },
	};
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf out;
	_cleanup_delta_pieces_ struct delta_pieces p = { 0 };
	struct json v;
	arena_init(&a, 0);
	buf_init(&out, 1024);
	assert_int_equal(delta_pieces_init(&p, &a, STR("abcdef"), NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		assert_int_equal(json_check(str_of(steps[i].edits), &v, NULL), 0);
		assert_int_equal(delta_edit(&p, v, NULL), 0);
		buf_reset(&out);
		assert_int_equal(delta_write(&p, &out, NULL), 0);
		assert_int_equal(p.n, out.len);
		assert_string_equal(out.data ? out.data : "", steps[i].text);
		/* What does not fit leaves it alone. */
		assert_int_equal(json_check(STR("[" EDIT(0, 0, "\"x\"") "," EDIT(0, 99, "\"\"") "]"), &v, NULL), 0);
		assert_int_equal(delta_edit(&p, v, NULL), -ERR_BAD_REQUEST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edits),
		cmocka_unit_test(chain),
		cmocka_unit_test(refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
