#include "unit.h"

#include "agent/lines.h"
#include "base/mask.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/clock.h"
#include "base/limits.h"

static struct mask_set *set_of(const char *const *values)
{
	struct mask_set *s = mask_set_new();
	struct err e = { 0 };
	assert_non_null(s);
	for (size_t i = 0; values[i]; i++)
		assert_int_equal(mask_set_add(s, str_of(values[i]), &e), 1);
	assert_int_equal(mask_set_build(s, &e), 0);
	return s;
}

static void check(const struct mask_set *s, const char *text, const char *expected)
{
	_cleanup_buf_ struct buf whole;
	buf_init(&whole, MIB);
	assert_true(mask_text(s, str_of(text), &whole));
	if (!str_is(buf_str(&whole), expected))
		print_message("%s\n -> %.*s\n", text, STR_ARG(buf_str(&whole)));
	assert_true(str_is(buf_str(&whole), expected));
	/* However it is cut, the same comes out. */
	size_t n = strlen(text);
	for (size_t piece = 1; piece < n; piece++) {
		_cleanup_buf_ struct buf out;
		struct mask_stream m;
		buf_init(&out, MIB);
		mask_stream_init(&m, s);
		for (size_t at = 0; at < n; at += piece)
			assert_true(
				mask_stream_feed(&m, (struct str){ text + at, n - at < piece ? n - at : piece }, &out));
		assert_true(mask_stream_end(&m, &out));
		assert_true(str_is(buf_str(&out), expected));
		mask_stream_done(&m);
	}
}

static void plain_values(void **state)
{
	const char *values[] = { "hunter2", "hunter", "s3cr3t", "aaa", NULL };
	struct mask_set *s = set_of(values);
	check(s, "nothing here", "nothing here");
	check(s, "", "");
	check(s, "pw=hunter2;", "pw=[secret];");
	check(s, "pw=hunter3;", "pw=[secret]3;");
	check(s, "pw=hunte", "pw=hunte");
	check(s, "hunter2hunter2", "[secret]"); /* touching: one */
	check(s, "hunter2 hunter2", "[secret] [secret]");
	check(s, "hunhunter2s3cr3", "hun[secret]s3cr3");
	check(s, "aa aaa aaaa aaaaaaa", "aa [secret] [secret] [secret]");
	check(s, "hunter2\ns3cr3t\n", "[secret]\n[secret]\n");
	mask_set_free(s);
}

static void overlapping_values(void **state)
{
	const char *values[] = { "abcdef", "defghi", "cde", NULL };
	struct mask_set *s = set_of(values);
	check(s, "xabcdefghix", "x[secret]x");
	check(s, "xabcdeghix", "xab[secret]ghix");
	check(s, "abcde", "ab[secret]");
	mask_set_free(s);
}

/* Every form in which a program might print it. */
static void forms(void **state)
{
	static const char value[] = "p\"a's\\s <w&ö>/r=d$!";
	const char *values[] = { value, NULL };
	struct mask_set *s = set_of(values);
	static const char *const shown[] = {
		"p\"a's\\s <w&ö>/r=d$!",			  /* raw */
		"p\\\"a's\\\\s <w&ö>/r=d$!",			  /* JSON */
		"p\\\"a's\\\\s \\u003cw\\u0026ö\\u003e/r=d$!",	  /* JSON of Go */
		"p\\\"a's\\\\s <w&\\u00f6>/r=d$!",		  /* JSON of Python */
		"p%22a%27s%5Cs%20%3Cw%26%C3%B6%3E%2Fr%3Dd%24%21", /* URL */
		"p%22a%27s%5cs%20%3cw%26%c3%b6%3e%2fr%3dd%24%21",
		"p%22a%27s%5Cs+%3Cw%26%C3%B6%3E%2Fr%3Dd%24%21", /* form */
		"p%22a's%5Cs%20%3Cw%26%C3%B6%3E%2Fr%3Dd%24!",	/* encodeURIComponent */
		"p\"a'\\''s\\s <w&ö>/r=d$!",			/* shell */
		"p\"a'\"'\"'s\\s <w&ö>/r=d$!",
		"p\\\"a\\'s\\\\s\\ \\<w\\&ö\\>/r=d\\$\\!",		      /* printf %q */
		"p\\\"a's\\\\s <w&ö>/r=d\\$!",				      /* "…" of a shell */
		"p\\\\\\\"a's\\\\\\\\s <w&ö>/r=d$!",			      /* JSON in JSON */
		"p\\u0022a\\u0027s\\\\s \\u003Cw\\u0026\\u00F6\\u003E/r=d$!", /* .NET */
		"p\"a\\'s\\\\s <w&ö>/r=d$!",				      /* repr of Python, $'…' */
		"p\"a\\'s\\\\s <w&\\303\\266>/r=d$!",			      /* $'…' in the locale C */
		"p\"a''s\\s <w&ö>/r=d$!",				      /* YAML */
		"p&quot;a&apos;s\\s &lt;w&amp;ö&gt;/r=d$!",		      /* XML */
		"70226127735c73203c7726c3b63e2f723d642421",		      /* hexadecimal */
	};
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		char text[256];
		snprintf(text, sizeof(text), "<<%s>>", shown[i]);
		check(s, text, "<<[secret]>>");
	}
	mask_set_free(s);
}

/* In base64 a value may begin at any of three places of a group; what depends on it alone must be gone. */
static void base64_offsets(void **state)
{
	const char *values[] = { "correct-horse-battery?>~", NULL };
	struct mask_set *s = set_of(values);
	for (size_t before = 0; before < 6; before++) {
		for (size_t after = 0; after < 4; after++) {
			_cleanup_buf_ struct buf plain, text, out;
			buf_init(&plain, 1000);
			buf_init(&text, 1000);
			buf_init(&out, 1000);
			buf_add(&plain, "((((((", before);
			buf_adds(&plain, values[0]);
			buf_add(&plain, "))))", after);
			base64_encode(&text, buf_str(&plain));
			assert_true(mask_text(s, buf_str(&text), &out));
			assert_non_null(memmem(out.data, out.len, MASK_TEXT, strlen(MASK_TEXT)));
			/* At most a group at either side is left of it. */
			assert_true(out.len <= strlen(MASK_TEXT) + (before + 2) / 3 * 4 + (after + 2) / 3 * 4 + 8);
			buf_reset(&text);
			buf_reset(&out);
			base64url_encode(&text, buf_str(&plain));
			assert_true(mask_text(s, buf_str(&text), &out));
			assert_non_null(memmem(out.data, out.len, MASK_TEXT, strlen(MASK_TEXT)));
		}
	}
	mask_set_free(s);
}

static void several_lines(void **state)
{
	const char *values[] = {
		"-----BEGIN KEY-----\r\nMIIBVAIBADANBg\r\n  kqhkiG9w0BAQ\r\n}\r\n-----END KEY-----\r\n", NULL
	};
	struct mask_set *s = set_of(values);
	check(s, "MIIBVAIBADANBg", "[secret]");
	check(s, "key: kqhkiG9w0BAQ, {}", "key: [secret], {}"); /* a line that is but a brace is no secret */
	check(s, "-----BEGIN KEY-----\nMIIBVAIBADANBg\nkqhkiG9w0BAQ\n}\n-----END KEY-----\n",
	      "[secret]\n[secret]\n[secret]\n}\n[secret]\n");
	check(s,
	      "{\"k\":\"-----BEGIN KEY-----\\r\\nMIIBVAIBADANBg\\r\\n  kqhkiG9w0BAQ\\r\\n}\\r\\n-----END KEY-----\\r\\n\"}",
	      "{\"k\":\"[secret]\"}");
	mask_set_free(s);
}

static void short_values(void **state)
{
	struct mask_set *s = mask_set_new();
	struct err e = { 0 };
	assert_int_equal(mask_set_add(s, STR(""), &e), 0);
	assert_int_equal(mask_set_add(s, STR("ab"), &e), 0);
	assert_int_equal(mask_set_add(s, STR("abc"), &e), 1);
	assert_int_equal(mask_set_build(s, &e), 0);
	check(s, "ab abc", "ab [secret]");
	mask_set_free(s);
	s = mask_set_new();
	assert_int_equal(mask_set_build(s, &e), 0);
	check(s, "no secrets at all", "no secrets at all");
	mask_set_free(s);
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Against the obvious way to do it, on a small alphabet where everything overlaps. */
static void against_naive(void **state)
{
	uint32_t x = 12345;
	for (int round = 0; round < 300; round++) {
		char values[4][8] = { 0 }, text[64] = { 0 };
		bool hit[64] = { 0 };
		struct mask_set *s = mask_set_new();
		for (int v = 0; v < 4; v++) {
			size_t n = 3 + next_random(&x) % 4;
			for (size_t i = 0; i < n; i++)
				values[v][i] = "ab"[next_random(&x) % 2];
			assert_int_equal(mask_set_add(s, str_of(values[v]), NULL), 1);
		}
		assert_int_equal(mask_set_build(s, NULL), 0);
		for (size_t i = 0; i < sizeof(text) - 1; i++)
			text[i] = "abc"[next_random(&x) % 3];
		for (int v = 0; v < 4; v++) {
			for (const char *p = text; (p = strstr(p, values[v])); p++)
				memset(hit + (p - text), 1, strlen(values[v]));
		}
		_cleanup_buf_ struct buf expected;
		buf_init(&expected, 1000);
		for (size_t i = 0; i < sizeof(text) - 1; i++) {
			if (!hit[i])
				buf_addc(&expected, text[i]);
			else if (i == 0 || !hit[i - 1])
				buf_adds(&expected, MASK_TEXT);
		}
		buf_addc(&expected, '\0');
		check(s, text, expected.data);
		mask_set_free(s);
	}
}

/* A program that prints the beginning of a long secret over and over must not cost more than its length. */
static void hostile_prefixes(void **state)
{
	size_t n = 50000;
	char *value = malloc(n + 1), *text = malloc(8 * MIB);
	memset(value, 'a', n);
	value[n - 1] = 'b';
	value[n] = '\0';
	memset(text, 'a', 8 * MIB);
	const char *values[] = { value, NULL };
	struct mask_set *s = set_of(values);
	_cleanup_buf_ struct buf out;
	buf_init(&out, 16 * MIB);
	int64_t began = clock();
	assert_true(mask_text(s, (struct str){ text, 8 * MIB }, &out));
	assert_int_equal(out.len, 8 * MIB);
	assert_true(clock() - began < 20 * CLOCKS_PER_SEC);
	mask_set_free(s);
	free(value);
	free(text);
}

/* --- lines --- */
static struct buf got;

static void on_line(void *arg, struct str line)
{
	assert_true(str_is_utf8(line));
	assert_true(line.n <= LOG_LINE_BYTES);
	buf_add_str(&got, line);
	buf_addc(&got, '|');
}

static void feed_lines(const char *const *pieces, const char *expected)
{
	const char *values[] = { "hunter2", NULL };
	struct mask_set *s = set_of(values);
	struct lines l;
	buf_init(&got, 16 * MIB);
	lines_init(&l, s, on_line, NULL);
	for (size_t i = 0; pieces[i]; i++)
		lines_feed(&l, str_of(pieces[i]));
	lines_end(&l);
	assert_true(str_is(buf_str(&got), expected));
	buf_done(&got);
	lines_done(&l);
	mask_set_free(s);
}

static void lines_are_whole(void **state)
{
	feed_lines((const char *[]){ "one\ntw", "o\n\nthree", NULL }, "one\n|two\n|\n|three|");
	feed_lines((const char *[]){ "a hun", "ter2\nhunter", "2", NULL }, "a [secret]\n|[secret]|");
	feed_lines((const char *[]){ "a\xff"
				     "b\n\xc3",
				     "\xb6\n\xc3", NULL },
		   "a\xEF\xBF\xBD"
		   "b\n|\xc3\xb6\n|\xEF\xBF\xBD|");
}

static void lines_of_our_own(void **state)
{
	const char *values[] = { "hunter2", NULL };
	struct mask_set *s = set_of(values);
	struct lines l;
	buf_init(&got, MIB);
	lines_init(&l, s, on_line, NULL);
	lines_feed(&l, STR("half"));
	lines_own(&l, STR("own\n"));
	lines_feed(&l, STR("hunt")); /* held back by the mask */
	lines_own(&l, STR("own\n"));
	lines_feed(&l, (struct str){ "n\0ul\n", 5 });
	lines_end(&l);
	assert_true(str_is(buf_str(&got), "half\n|own\n|hunt\n|own\n|nul\n|"));
	buf_done(&got);
	lines_done(&l);
	mask_set_free(s);
}

/* Text of two bytes a letter, and bytes that are no text at all. */
static void secrets_with_nul_between(void **state)
{
	const char *values[] = { "hunter2", NULL };
	struct mask_set *s = set_of(values);
	struct lines l;
	buf_init(&got, MIB);
	lines_init(&l, s, on_line, NULL);
	lines_feed(&l, (struct str){ "a \0h\0u\0n\0t", 10 });
	lines_feed(&l, (struct str){ "\0e\0r\0002\0!\n\0", 10 });
	lines_end(&l);
	assert_true(str_is(buf_str(&got), "a [secret]!\n|"));
	buf_done(&got);
	lines_done(&l);
	mask_set_free(s);
}

static void prompts_and_progress(void **state)
{
	const char *values[] = { "hunter2", NULL };
	struct mask_set *s = set_of(values);
	struct lines l;
	buf_init(&got, MIB);
	lines_init(&l, s, on_line, NULL);
	assert_int_equal(lines_tick(&l), -1);
	lines_feed(&l, STR("name? \xE2\x82"));
	assert_in_range(lines_tick(&l), 1, 1001);
	l.since_us -= 2 * US_PER_S; /* it stood still */
	assert_int_equal(lines_tick(&l), -1);
	assert_true(str_is(buf_str(&got), "name? |"));
	/* Half a character waits for its other half, however long. */
	l.since_us -= 100 * US_PER_S;
	assert_int_equal(lines_tick(&l), -1);
	lines_feed(&l, STR("\xAC\n"));
	assert_true(str_is(buf_str(&got), "name? |\xE2\x82\xAC\n|"));
	buf_reset(&got);
	/* It grows all the time, but goes back to its beginning. */
	lines_feed(&l, STR("10 %\r20 %\r30 hunter2 %"));
	assert_in_range(lines_tick(&l), 1, 1001);
	assert_int_equal(got.len, 0);
	l.shown_us -= 3 * US_PER_S;
	assert_in_range(lines_tick(&l), 1, 1001);
	assert_true(str_is(buf_str(&got), "10 %\r20 %\r|"));
	lines_feed(&l, STR("\r"));
	l.shown_us -= 3 * US_PER_S;
	lines_tick(&l);
	assert_true(str_is(buf_str(&got), "10 %\r20 %\r|"));
	lines_feed(&l, STR("\n"));
	assert_true(str_is(buf_str(&got), "10 %\r20 %\r|30 [secret] %\r\n|"));
	buf_reset(&got);
	/* One that only grows is left whole. */
	lines_feed(&l, STR("....."));
	l.shown_us -= 3 * US_PER_S;
	lines_tick(&l);
	assert_int_equal(got.len, 0);
	lines_end(&l);
	assert_true(str_is(buf_str(&got), ".....|"));
	buf_done(&got);
	lines_done(&l);
	mask_set_free(s);
}

static void long_lines_are_cut(void **state)
{
	const char *values[] = { "hunter2", NULL };
	struct mask_set *s = set_of(values);
	struct lines l;
	buf_init(&got, 16 * MIB);
	lines_init(&l, s, on_line, NULL);
	/* Three bytes each: no cut may fall inside of one, wherever what was read ended. */
	for (int i = 0; i < 1000000; i++) {
		lines_feed(&l, STR("\xE2"));
		lines_feed(&l, STR("\x82"));
		lines_feed(&l, STR("\xAC"));
	}
	assert_null(memmem(got.data, got.len, "\xEF\xBF\xBD", 3));
	for (int i = 0; i < 100000; i++)
		lines_feed(&l, STR("\xff"));
	lines_end(&l);
	size_t pieces = 0;
	for (size_t i = 0; i < got.len; i++)
		pieces += got.data[i] == '|';
	assert_int_equal(got.len - pieces, 3000000 + 300000);
	assert_int_equal(pieces, 4);
	buf_done(&got);
	lines_done(&l);
	mask_set_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_values),
		cmocka_unit_test(overlapping_values),
		cmocka_unit_test(forms),
		cmocka_unit_test(base64_offsets),
		cmocka_unit_test(several_lines),
		cmocka_unit_test(short_values),
		cmocka_unit_test(against_naive),
		cmocka_unit_test(hostile_prefixes),
		cmocka_unit_test(lines_are_whole),
		cmocka_unit_test(lines_of_our_own),
		cmocka_unit_test(secrets_with_nul_between),
		cmocka_unit_test(prompts_and_progress),
		cmocka_unit_test(long_lines_are_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
