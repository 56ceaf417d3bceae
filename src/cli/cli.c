#include "cli/command.h"

#include <stdio.h>

#include "base/log.h"

static const char *command_at(const void *table, size_t i)
{
	return i < command_count ? commands[i].name : NULL;
}

/* How many words of argv the command's name takes; 0 if it is not that command. */
static size_t match(const struct command *c, int argc, char *const *argv)
{
	struct str rest = str_of(c->name);
	size_t words = 0;
	while (rest.p) {
		struct str word = str_cut(rest, ' ', &rest);
		if (words >= (size_t)argc || !str_is(word, argv[words]))
			return 0;
		words++;
	}
	return words;
}

static void print_usage(FILE *out, const char *prefix)
{
	fprintf(out, "Usage: slipway %sCOMMAND [OPTIONS]\n\n", prefix);
	for (size_t i = 0; i < command_count; i++) {
		if (!str_starts_with(str_of(commands[i].name), prefix))
			continue;
		char left[64];
		snprintf(left, sizeof(left), "%s%s%s", commands[i].name, commands[i].arguments ? " " : "",
			 commands[i].arguments ? commands[i].arguments : "");
		fprintf(out, "  %-30s %s\n", left, commands[i].summary);
	}
	fputs("\n'slipway COMMAND --help' shows a command's options.\n", out);
}

static void print_command_help(const struct invocation *in)
{
	const struct command *c = in->command;
	printf("Usage: slipway %s%s%s [OPTIONS]\n\n%s\n", c->name, c->arguments ? " " : "",
	       c->arguments ? c->arguments : "", c->summary);
	if (c->text)
		printf("%s\n", c->text);
	puts("\nOptions:");
	options_print_help(&in->options, stdout);
}

int command_help(struct invocation *in, struct err *e)
{
	print_usage(stdout, "");
	return 0;
}

int command_version(struct invocation *in, struct err *e)
{
	printf("slipway %s\n", SLIPWAY_VERSION);
	return 0;
}

int command_config(struct invocation *in, struct err *e)
{
	options_print_values(&in->options, stdout);
	return 0;
}

/* Nothing matched: the words that were given, against the names that there are. */
static int unknown_command(int argc, char *const *argv)
{
	char given[128] = "";
	size_t n = 0;
	for (int i = 0; i < argc && argv[i][0] != '-'; i++) {
		int more = snprintf(given + n, sizeof(given) - n, "%s%s", n ? " " : "", argv[i]);
		if (more < 0 || n + (size_t)more >= sizeof(given))
			break;
		n += (size_t)more;
	}
	bool help = argc > 0 && (streq(argv[argc - 1], "--help") || streq(argv[argc - 1], "-h"));
	/* "admin", "admin org": the beginning of several names. */
	for (size_t i = 0; n > 0 && i < command_count; i++) {
		if (str_starts_with(str_of(commands[i].name), given) && commands[i].name[n] == ' ') {
			char prefix[130];
			snprintf(prefix, sizeof(prefix), "%s ", given);
			print_usage(help ? stdout : stderr, prefix);
			return help ? 0 : 2;
		}
	}
	const char *meant = n > 0 ? suggest(given, command_at, NULL) : NULL;
	fprintf(stderr, "slipway: unknown command '%s'%s%s%s\n", n > 0 ? given : argv[0],
		meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
	fputs("'slipway help' lists the commands.\n", stderr);
	return 2;
}

static int check_arguments(const struct invocation *in, struct err *e)
{
	const struct command *c = in->command;
	if (in->arg_count < c->argument_count)
		return err_set(e, ERR_USAGE, "%s is missing", c->arguments);
	if (in->arg_count > c->argument_count)
		return err_set(e, ERR_USAGE, "unexpected argument '%s'", in->args[c->argument_count]);
	return 0;
}

static int run(const struct command *command, int argc, char *const *argv, struct arena *a, struct err *e)
{
	struct invocation in = { .command = command, .arena = a };
	int rc = config_read(&in.options, &in.config, command->bit, argc, argv, a, &in.args, &in.arg_count, e);
	if (rc < 0)
		return rc;
	if (in.config.help) {
		print_command_help(&in);
		return 0;
	}
	rc = check_arguments(&in, e);
	if (rc < 0)
		return rc;
	enum log_level level;
	if (in.config.log_level && log_level_parse(in.config.log_level, &level))
		log_set_level(level);
	return command->run(&in, e);
}

static const struct command *find_command(int argc, char *const *argv, size_t *ret_words)
{
	for (size_t i = 0; i < command_count; i++) {
		*ret_words = match(&commands[i], argc, argv);
		if (*ret_words > 0)
			return &commands[i];
	}
	return NULL;
}

int cli_main(int argc, char **argv)
{
	argc--;
	argv++;
	if (argc <= 0) {
		print_usage(stderr, "");
		return 2;
	}
	if (streq(argv[0], "--help") || streq(argv[0], "-h"))
		return command_help(NULL, NULL);
	if (streq(argv[0], "--version"))
		return command_version(NULL, NULL);
	size_t words;
	const struct command *command = find_command(argc, argv, &words);
	if (!command)
		return unknown_command(argc, argv);
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct err e = { 0 };
	int rc = run(command, argc - (int)words, argv + words, &a, &e);
	if (rc >= 0)
		return rc;
	fprintf(stderr, "slipway: %s\n", e.message);
	if (rc == -ERR_USAGE)
		fprintf(stderr, "'slipway %s --help' shows the options.\n", command->name);
	return err_exit_code(-rc);
}
