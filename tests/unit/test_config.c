#include "server/config.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "unit.h"

struct fixture {
	struct arena arena;
	struct options options;
	struct config config;
	struct err e;
	char dir[32];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	arena_init(&f->arena, 0);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_config_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static const char *path_in(struct fixture *f, const char *name)
{
	return arena_printf(&f->arena, "%s/%s", f->dir, name);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	unlink(path_in(f, "slipway.conf"));
	unlink(path_in(f, "other.conf"));
	assert_int_equal(rmdir(f->dir), 0);
	arena_done(&f->arena);
	free(f);
	return 0;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

#define READ(f, command, ...)                                                                        \
	read_config((f), (command), (int)(sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *)), \
		    (const char *[]){ __VA_ARGS__ })
static int read_config(struct fixture *f, unsigned command, int argc, const char *const *argv)
{
	const char *const *rest;
	size_t count;
	err_reset(&f->e);
	return config_read(&f->options, &f->config, command, argc, (char *const *)argv, &f->arena, &rest, &count,
			   &f->e);
}

/* Names are unique, fallbacks are values that the row itself accepts, and a shown argument is there where one is taken. */
static void the_table_is_sound(void **state)
{
	for (size_t i = 0; i < config_option_count; i++) {
		const struct option *row = &config_options[i];
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(row->name, config_options[k].name);
		for (size_t k = 0; row->alias && k < i; k++)
			assert_true(!config_options[k].alias || !streq(row->alias, config_options[k].alias));
		assert_true(row->commands != 0);
		assert_non_null(row->help);
		assert_true((row->type == OPTION_BOOL) == (row->argument == NULL));
		assert_true((row->type == OPTION_CHOICE) == (row->one_of != NULL));
	}
}

static void defaults_of_the_issue(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(READ(f, COMMAND_DEV, "--data", f->dir), 0);
	assert_string_equal(f->config.listen.host, "127.0.0.1");
	assert_int_equal(f->config.listen.port, 8420);
	assert_int_equal(f->config.concurrency, 0);
	assert_int_equal(f->config.times.runner_timeout_us, 10 * US_PER_MINUTE);
	assert_int_equal(f->config.times.claim_timeout_us, 15 * US_PER_S);
	assert_int_equal(f->config.times.queue_expiry_us, 7 * US_PER_DAY);
	assert_int_equal(f->config.times.deployment_timeout_us, 2 * US_PER_HOUR);
	assert_int_equal(f->config.times.deployment_timeout_max_us, 24 * US_PER_HOUR);
	assert_int_equal(f->config.times.concurrency_max, 100);
	assert_int_equal(f->config.times.lease_us, 5 * US_PER_MINUTE);
	assert_int_equal(f->config.times.log_retention_us, 90 * US_PER_DAY);
	assert_string_equal(f->config.isolation, "auto");
	assert_null(f->config.public_url);
}

static void file_of_the_data_directory(void **state)
{
	struct fixture *f = *state;
	write_file(path_in(f, "slipway.conf"), "listen = 0.0.0.0:1\nserver = http://x\n");
	assert_int_equal(READ(f, COMMAND_SERVE, "--data", f->dir), 0);
	assert_int_equal(f->config.listen.port, 1);
	/* The agent has no data directory. */
	assert_int_equal(READ(f, COMMAND_AGENT, "--token-file", "t"), 0);
	assert_null(f->config.server);
	/* A file that is named stands in its place. */
	write_file(path_in(f, "other.conf"), "server = http://y\n");
	assert_int_equal(READ(f, COMMAND_AGENT, "--config", path_in(f, "other.conf")), 0);
	assert_string_equal(f->config.server, "http://y");
	assert_int_equal(READ(f, COMMAND_SERVE, "--data", f->dir, "--config", path_in(f, "other.conf")), 0);
	assert_int_equal(f->config.listen.port, 8420);
}

static void a_file_may_not_lead_elsewhere(void **state)
{
	struct fixture *f = *state;
	/* With --data, the flag wins and the line is only checked; without, the file itself was found by it. */
	setenv("SLIPWAY_CONFIG", "", 1);
	write_file(path_in(f, "slipway.conf"), "data = /elsewhere\n");
	assert_int_equal(READ(f, COMMAND_SERVE, "--data", f->dir), 0);
	assert_string_equal(f->config.data, f->dir);
	char before[4096];
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(f->dir), 0);
	assert_int_equal(mkdir("slipway-data", 0700), 0);
	write_file("slipway-data/slipway.conf", "data = /elsewhere\n");
	assert_int_equal(READ(f, COMMAND_SERVE, "--access-log"), -ERR_USAGE);
	assert_non_null(strstr(f->e.message, "slipway.conf:1"));
	unlink("slipway-data/slipway.conf");
	rmdir("slipway-data");
	assert_int_equal(chdir(before), 0);
}

static void environment(void **state)
{
	struct fixture *f = *state;
	setenv("SLIPWAY_LEASE", "7m", 1);
	setenv("SLIPWAY_ROLE", "king", 1); /* a matter of one call: not read at all */
	assert_int_equal(READ(f, COMMAND_SERVE, "--data", f->dir), 0);
	assert_int_equal(f->config.times.lease_us, 7 * US_PER_MINUTE);
	assert_int_equal(READ(f, COMMAND_USER_ADD, "operator"), 0);
	setenv("SLIPWAY_LEASE", "seven", 1);
	assert_int_equal(READ(f, COMMAND_SERVE, "--data", f->dir), -ERR_USAGE);
	assert_non_null(strstr(f->e.message, "SLIPWAY_LEASE"));
	/* --help helps also whoever has a broken environment. */
	assert_int_equal(READ(f, COMMAND_SERVE, "--help"), 0);
	assert_true(f->config.help);
	unsetenv("SLIPWAY_LEASE");
	unsetenv("SLIPWAY_ROLE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_sound),
		cmocka_unit_test_setup_teardown(defaults_of_the_issue, setup, teardown),
		cmocka_unit_test_setup_teardown(file_of_the_data_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_may_not_lead_elsewhere, setup, teardown),
		cmocka_unit_test_setup_teardown(environment, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
