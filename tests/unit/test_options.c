#include "server/options.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "unit.h"

enum { ONE = 1, TWO = 2 };

struct values {
	const char *text;
	int64_t number;
	bool flag;
	int64_t pause_us;
	const char *level;
	struct address listen;
	const char *other;
	const char *once;
};

static const char *const levels[] = { "low", "high", NULL };
static const struct option table[] = {
	OPTION(struct values, text, "some-text", OPTION_STRING, ONE, .argument = "TEXT", .fallback = "as it was"),
	OPTION(struct values, number, "number", OPTION_INT, ONE, .argument = "N", .min = 1, .max = 9),
	OPTION(struct values, flag, "flag", OPTION_BOOL, ONE),
	OPTION(struct values, pause_us, "pause", OPTION_DURATION, ONE, .argument = "TIME", .fallback = "10m",
	       .min = 500 * US_PER_MS, .max = 24 * US_PER_HOUR),
	OPTION(struct values, level, "level", OPTION_CHOICE, ONE, .argument = "LEVEL", .one_of = levels),
	OPTION(struct values, listen, "listen", OPTION_ADDRESS, ONE, .argument = "HOST:PORT"),
	OPTION(struct values, other, "other", OPTION_STRING, TWO, .argument = "TEXT"),
	OPTION(struct values, once, "once", OPTION_STRING, ONE, .argument = "TEXT", .flag_only = true),
};

struct fixture {
	struct arena arena;
	struct options options;
	struct values values;
	struct err e;
	const char *const *rest;
	size_t rest_count;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	arena_init(&f->arena, 0);
	assert_int_equal(options_init(&f->options, table, ARRAY_SIZE(table), ONE, &f->values, &f->arena, &f->e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	arena_done(&f->arena);
	free(f);
	return 0;
}

#define ARGS(f, ...) \
	read_args((f), (int)(sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *)), (char *[]){ __VA_ARGS__ })
static int read_args(struct fixture *f, int argc, char *const *argv)
{
	err_reset(&f->e);
	return options_read_args(&f->options, argc, argv, &f->rest, &f->rest_count, &f->e);
}

static void defaults(void **state)
{
	struct fixture *f = *state;
	assert_string_equal(f->values.text, "as it was");
	assert_int_equal(f->values.pause_us, 10 * US_PER_MINUTE);
	assert_null(f->values.level);
	assert_int_equal(options_value(&f->options, "pause")->source, OPTION_FROM_DEFAULT);
}

static void flags_in_all_spellings(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ARGS(f, "first", "--some-text", "a", "--number=7", "--flag", "second", "--pause=90s",
			      "--level", "high", "--listen=[::1]:80", "--", "--flag"),
			 0);
	assert_string_equal(f->values.text, "a");
	assert_int_equal(f->values.number, 7);
	assert_true(f->values.flag);
	assert_int_equal(f->values.pause_us, 90 * US_PER_S);
	assert_string_equal(f->values.level, "high");
	assert_string_equal(f->values.listen.host, "::1");
	assert_int_equal(f->values.listen.port, 80);
	assert_int_equal(f->rest_count, 3);
	assert_string_equal(f->rest[0], "first");
	assert_string_equal(f->rest[1], "second");
	assert_string_equal(f->rest[2], "--flag");
	assert_int_equal(ARGS(f, "--flag=false"), 0);
	assert_false(f->values.flag);
	assert_int_equal(ARGS(f, "--some-text="), 0);
	assert_string_equal(f->values.text, "");
}

static void mistakes_are_named(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *flag, *value, *says;
	} cases[] = {
		{ "--numbr", "1", "did you mean --number" },
		{ "--num", "1", "did you mean --number" },
		{ "--zzzzzz", "1", "unknown option --zzzzzz" },
		{ "--other", "1", "unknown option --other" }, /* of another command */
		{ "--number", "0", "--number: must be a number between 1 and 9" },
		{ "--number", "1x", "whole number" },
		{ "--pause", "5 parsecs", "--pause: must be a time" },
		{ "--pause", "10", "must be a time" },
		{ "--pause", "1ms", "must be a time between 500ms and 24h" },
		{ "--level", "middle", "must be one of low, high, not 'middle'" },
		{ "--listen", "nonsense", "HOST:PORT" },
		{ "--listen", ":80", "HOST:PORT" },
		{ "--listen", "h:65536", "HOST:PORT" },
		{ "--listen", "[::1]80", "[IPv6]:PORT" },
		{ "-x", "1", "unknown option -x" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(ARGS(f, (char *)cases[i].flag, (char *)cases[i].value), -ERR_USAGE);
		if (!strstr(f->e.message, cases[i].says))
			fail_msg("%s %s: %s", cases[i].flag, cases[i].value, f->e.message);
	}
	assert_int_equal(ARGS(f, "--number"), -ERR_USAGE);
	assert_non_null(strstr(f->e.message, "--number needs a value"));
	assert_int_equal(ARGS(f, "--flag=perhaps"), -ERR_USAGE);
}

static char *environment(const char *name)
{
	static char number[] = "5", text[] = "of the environment", empty[] = "", once[] = "no";
	if (streq(name, "SLIPWAY_NUMBER"))
		return number;
	if (streq(name, "SLIPWAY_SOME_TEXT"))
		return text;
	if (streq(name, "SLIPWAY_LEVEL"))
		return empty;
	return streq(name, "SLIPWAY_ONCE") ? once : NULL;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void stronger_sources_win(void **state)
{
	struct fixture *f = *state;
	char path[] = "/tmp/test_options_XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	write_file(path,
		   "# a comment\n\nnumber = 2\n  some-text = of the file  \npause=3s\nother = not ours\nlevel = low");
	assert_int_equal(ARGS(f, "--some-text", "of the flag"), 0);
	assert_int_equal(options_read_environment(&f->options, environment, &f->e), 0);
	assert_int_equal(options_read_file(&f->options, path, true, &f->e), 0);
	unlink(path);
	assert_string_equal(f->values.text, "of the flag");
	assert_int_equal(f->values.number, 5);
	assert_int_equal(f->values.pause_us, 3 * US_PER_S);
	assert_string_equal(f->values.level, "low"); /* an empty variable is none */
	assert_null(f->values.once);		     /* neither by the environment */
	assert_null(f->values.other);
	assert_string_equal(options_value(&f->options, "some-text")->where, "--some-text");
	assert_string_equal(options_value(&f->options, "number")->where, "SLIPWAY_NUMBER");
	assert_non_null(strstr(options_value(&f->options, "pause")->where, ":5"));
}

static void bad_files(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "number = 1\nnumbr = 2\n", ":2: unknown option 'numbr'" },
		{ "number\n", ":1: must be 'name = value'" },
		{ "\n\nnumber = many\n", ":3: number: must be a whole number" },
		{ "once = 1\n", "unknown option 'once'" },
		/* Also where something stronger has spoken. */
		{ "pause = soon\n", "must be a time" },
	};
	assert_int_equal(ARGS(f, "--pause=1s"), 0);
	char path[] = "/tmp/test_options_XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		write_file(path, cases[i].text);
		assert_int_equal(options_read_file(&f->options, path, true, &f->e), -ERR_USAGE);
		if (!strstr(f->e.message, cases[i].says) || !strstr(f->e.message, path))
			fail_msg("%s: %s", cases[i].text, f->e.message);
	}
	assert_int_equal(f->values.pause_us, US_PER_S);
	unlink(path);
	assert_int_equal(options_read_file(&f->options, path, false, &f->e), 0);
	assert_true(options_read_file(&f->options, path, true, &f->e) < 0);
	assert_non_null(strstr(f->e.message, path));
}

static void names_of_variables(void **state)
{
	struct fixture *f = *state;
	assert_string_equal(option_environment_name(&f->arena, &table[0]), "SLIPWAY_SOME_TEXT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(flags_in_all_spellings, setup, teardown),
		cmocka_unit_test_setup_teardown(mistakes_are_named, setup, teardown),
		cmocka_unit_test_setup_teardown(stronger_sources_win, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_files, setup, teardown),
		cmocka_unit_test_setup_teardown(names_of_variables, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
