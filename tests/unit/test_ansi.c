#include "base/ansi.h"

#include "unit.h"

static void check(const char *in, const char *out)
{
	/* Cut anywhere, and whole. */
	size_t n = strlen(in);
	for (size_t at = 0; at <= n; at++) {
		struct ansi_filter f = { 0 };
		_cleanup_buf_ struct buf b;
		buf_init(&b, 4096);
		ansi_strip(&f, (struct str){ in, at }, &b);
		ansi_strip(&f, (struct str){ in + at, n - at }, &b);
		assert_string_equal(buf_str(&b).p, out);
	}
}

static void test_sequences(void **state)
{
	check("", "");
	check("plain\r\n", "plain\r\n");
	check("\x1b[1;31mred\x1b[0m and \x1b[38;2;1;2;3mblue\x1b[m", "red and blue");
	check("\x1b[2K\rprogress \x1b[1A\x1b[?25l", "\rprogress ");
	check("\x1b]0;title\atext", "text");
	check("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\!", "link!");
	check("\x1b(Bascii\x1b=\x1b>\x1b"
	      "7\x1b"
	      "8\x1b"
	      "c.",
	      "ascii.");
	check("\x1bP1$r0m\x1b\\a\x1b_x\x1b\\b\x1b^y\x1b\\c", "abc");
	check("a\xc3\xa4\x1b[31m\xc3\xb6", "a\xc3\xa4\xc3\xb6");
}

/* What is no whole sequence takes no more with it than its own line. */
static void test_broken(void **state)
{
	check("\x1b", "");
	check("a\x1b\nb", "a\nb");
	check("\x1b[31\nb", "\nb");
	check("\x1b]0;title without an end\nb", "\nb");
	check("\x1b\x1b[1mb", "b");
	check("\x1b[31\x1b[0mb", "b");
	check("\x1b]x\x1b[1mb", "b");
	check("\x1b[\xc3\xa4", "\xc3\xa4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_broken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
