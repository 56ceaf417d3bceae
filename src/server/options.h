/*
 * options.h: options from tables: flags, environment and file are parsed, checked, explained and listed from one row.
 *
 *	flag         --runner-timeout 10m, --runner-timeout=10m; a bool: --json, --json=false
 *	environment  SLIPWAY_RUNNER_TIMEOUT=10m (an empty value counts as absent)
 *	file         runner-timeout = 10m     (# comments; a name that no row has is an error that names file and line)
 *	             or YAML (options_yaml.c): one mapping of names to values and lists
 *
 * A flag wins over the environment, the environment over the file, the file over the row's fallback; in which order the
 * three are read does not matter. Values go to the offset in the caller's struct, strings into the arena.
 *
 * A row may have a second name, by which users of another program know it: service_url for `server`. It is good wherever the
 * first is, in flags also as --service-url, and in the environment behind another prefix. Names of that program that
 * have no meaning here are a table of their own: they are accepted, and listed in `ignored`.
 */
#ifndef SLIPWAY_SERVER_OPTIONS_H
#define SLIPWAY_SERVER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/str.h"

enum option_type {
	OPTION_STRING,	 /* const char * */
	OPTION_LIST,	 /* const char *, names apart by commas; blanks around them go */
	OPTION_INT,	 /* int64_t within [min, max] */
	OPTION_BOOL,	 /* bool */
	OPTION_DURATION, /* int64_t, microseconds; min and max too */
	OPTION_CHOICE,	 /* const char *, one of `one_of` */
	OPTION_ADDRESS,	 /* struct address: HOST:PORT, [IPv6]:PORT */
};

struct address {
	const char *host;
	int port; /* 0: any free one */
};

struct option {
	const char *name; /* "runner-timeout" */
	enum option_type type;
	size_t offset;
	unsigned commands;    /* bits of the commands that have it */
	const char *argument; /* as shown: "DIR"; NULL for a bool */
	const char *fallback; /* as text; NULL: the destination stays as it was */
	const char *help;
	const char *const *one_of;
	int64_t min, max; /* checked when max > 0 */
	bool flag_only;	  /* a matter of one call: neither in the environment nor in a file */
	const char *alias;
	bool secret;	     /* never shown; what the environment has of it is overwritten when it was read */
	const char *refused; /* a value of the other program that is none here, and what to do about it */
	const char *refused_why;
};

/* A name of the other program that has no meaning here, and why. */
struct option_foreign {
	const char *name, *why;
};

#define OPTION(struct_, member_, name_, type_, commands_, ...)                                                   \
	{                                                                                                        \
		.name = (name_), .type = (type_), .offset = offsetof(struct_, member_), .commands = (commands_), \
		##__VA_ARGS__                                                                                    \
	}

/* Weakest first. */
enum option_source { OPTION_FROM_DEFAULT, OPTION_FROM_FILE, OPTION_FROM_ENVIRONMENT, OPTION_FROM_FLAG };

struct option_value {
	enum option_source source;
	const char *where; /* "--listen", "SLIPWAY_LISTEN", "slipway.conf:3"; NULL: default */
	const char *text;  /* NULL: not set at all */
};

struct options {
	const struct option *table;
	size_t count;
	unsigned command; /* the bit of this command */
	void *out;
	struct option_value *values; /* one per row */
	/* The other program's names count, in the environment behind this; NULL: they do not. */
	const char *alias_prefix;
	const struct option_foreign *foreign;
	size_t foreign_count;
	const char **ignored; /* "shared_volume_directory (agent.yaml:3): why" */
	size_t ignored_count;
	struct arena *arena;
};

/* Sets the fallbacks. The table and `out` must outlive it. */
int options_init(struct options *o, const struct option *table, size_t count, unsigned command, void *out,
		 struct arena *a, struct err *e);
/* Flags may stand before, between and behind the other arguments, "--" ends them. *ret_rest: the others, in the arena.
 * ERR_USAGE, with a suggestion where a flag is close to what was written. */
int options_read_args(struct options *o, int argc, char *const *argv, const char *const **ret_rest, size_t *ret_count,
		      struct err *e);
/* `lookup` is getenv, or a test's. */
int options_read_environment(struct options *o, char *(*lookup)(const char *name), struct err *e);
/* A file that is not there is fine unless `required`. Rows of other commands are accepted and left alone. */
int options_read_file(struct options *o, const char *path, bool required, struct err *e);
/* The same for YAML. *ret_found may be NULL. */
int options_read_yaml(struct options *o, const char *path, bool required, bool *ret_found, struct err *e);
/* For readers of files: one value. */
int options_set_from_file(struct options *o, struct str name, struct str value, const char *where, struct err *e);
/* Before anything is read: the other program's names count. */
int options_use_aliases(struct options *o, const char *prefix, const struct option_foreign *foreign, size_t count,
			struct err *e);

const struct option_value *options_value(const struct options *o, const char *name);
/* "SLIPWAY_RUNNER_TIMEOUT". */
const char *option_environment_name(struct arena *a, const struct option *row);
/* One paragraph per option of the command. */
void options_print_help(const struct options *o, FILE *out);
/* "name = value  # origin" per option that may stand in a file. */
void options_print_values(const struct options *o, FILE *out);

/* One value into `to`, whose type is the row's. Text that is kept must live in the arena. */
int option_parse(struct arena *a, const struct option *row, const char *text, void *to, struct err *e);
int address_parse(struct arena *a, const char *text, struct address *ret, struct err *e);
/* Which of the names was probably meant: NULL if none is close. `name_at` returns NULL behind the last. */
const char *suggest(const char *word, const char *(*name_at)(const void *table, size_t i), const void *table);

#endif
