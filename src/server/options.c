#include "server/options.h"

#include "os/file.h"

#define HELP_COLUMNS 120
#define HELP_TEXT_COLUMN 33

#define FILE_MAX_BYTES (256 * (size_t)1024)

/* Distance of two short words: insertions, deletions, changes. Long words are far from everything. */
static size_t edit_distance(const char *a, const char *b)
{
	enum { MAX = 40 };
	size_t n = strlen(a), m = strlen(b);
	if (n > MAX || m > MAX)
		return SIZE_MAX;
	size_t row[MAX + 1];
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			row[j] = change < other ? change : other;
		}
	}
	return row[m];
}

const char *suggest(const char *word, const char *(*name_at)(const void *table, size_t i), const void *table)
{
	const char *best = NULL;
	size_t best_distance = strlen(word) / 3 + 2; /* closer than this, or it is no help */
	const char *name;
	for (size_t i = 0; (name = name_at(table, i)); i++) {
		size_t distance = edit_distance(word, name);
		/* The beginning of a longer name is meant, however much is missing. */
		if (strlen(word) >= 3 && str_starts_with(str_of(name), word))
			distance = 1;
		if (distance < best_distance) {
			best = name;
			best_distance = distance;
		}
	}
	return best;
}

static bool has_row(const struct options *o, size_t i)
{
	return (o->table[i].commands & o->command) != 0;
}

static const char *flag_at(const void *table, size_t wanted)
{
	const struct options *o = table;
	for (size_t i = 0; i < o->count; i++)
		if (has_row(o, i) && wanted-- == 0)
			return o->table[i].name;
	return NULL;
}

/* Whether it is that name of the other program, which has "_" where flags have "-". */
static bool is_alias(struct str name, const char *alias)
{
	if (!alias || name.n != strlen(alias))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		if (alias[i] != (name.p[i] == '-' ? '_' : name.p[i]))
			return false;
	}
	return true;
}

/* Index of the row with that name, of any command; o->count if there is none. */
static size_t find_row(const struct options *o, struct str name)
{
	size_t i = 0;
	while (i < o->count && !str_is(name, o->table[i].name))
		i++;
	if (i < o->count || !o->alias_prefix)
		return i;
	for (i = 0; i < o->count && !is_alias(name, o->table[i].alias);)
		i++;
	return i;
}

/* A name of the other program that says nothing to us. */
static const struct option_foreign *find_foreign(const struct options *o, struct str name)
{
	for (size_t i = 0; i < o->foreign_count; i++) {
		if (is_alias(name, o->foreign[i].name))
			return &o->foreign[i];
	}
	return NULL;
}

static int ignore(struct options *o, const struct option_foreign *foreign, const char *where, struct err *e)
{
	const char *line = arena_printf(o->arena, "%s (%s): %s", foreign->name, where, foreign->why);
	if (!line)
		return err_nomem(e);
	if (o->ignored_count < 3 * o->foreign_count) /* flag, environment, file */
		o->ignored[o->ignored_count++] = line;
	return 0;
}

int options_use_aliases(struct options *o, const char *prefix, const struct option_foreign *foreign, size_t count,
			struct err *e)
{
	o->alias_prefix = prefix;
	o->foreign = foreign;
	o->foreign_count = count;
	o->ignored = arena_array(o->arena, 3 * count + 1, sizeof(*o->ignored));
	return o->ignored ? 0 : err_nomem(e);
}

/* Takes the value unless a stronger source has spoken already. It is checked either way, so that a mistake does not lie
 * in wait. */
static int set_value(struct options *o, size_t i, enum option_source source, const char *where, struct str text,
		     struct err *e)
{
	const char *copy = str_dup(o->arena, text);
	if (!copy)
		return err_nomem(e);
	if (str_has_nul(text))
		return err_set(e, ERR_USAGE, "%s: holds a NUL byte", where ? where : o->table[i].name);
	struct option_value *v = &o->values[i];
	bool weaker = v->text && v->source > source;
	union {
		const char *string;
		int64_t number;
		bool flag;
		struct address address;
	} unused;
	void *to = weaker ? (void *)&unused : (char *)o->out + o->table[i].offset;
	int rc = option_parse(o->arena, &o->table[i], copy, to, e);
	if (rc < 0 && source == OPTION_FROM_FILE)
		return err_wrap(e, "%s: %s", where, o->table[i].name);
	if (rc < 0)
		return err_wrap(e, "%s", where ? where : o->table[i].name);
	if (!weaker)
		*v = (struct option_value){ source, where, copy };
	return 0;
}

int options_init(struct options *o, const struct option *table, size_t count, unsigned command, void *out,
		 struct arena *a, struct err *e)
{
	*o = (struct options){ .table = table, .count = count, .command = command, .out = out, .arena = a };
	o->values = arena_array(a, count, sizeof(*o->values));
	if (!o->values)
		return err_nomem(e);
	for (size_t i = 0; i < count; i++) {
		if (!table[i].fallback)
			continue;
		int rc = set_value(o, i, OPTION_FROM_DEFAULT, NULL, str_of(table[i].fallback), e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int unknown_flag(const struct options *o, struct str name, struct err *e)
{
	char word[64];
	snprintf(word, sizeof(word), "%.*s", STR_ARG(name));
	const char *meant = suggest(word, flag_at, o);
	return meant ? err_set(e, ERR_USAGE, "unknown option --%s; did you mean --%s?", word, meant)
		     : err_set(e, ERR_USAGE, "unknown option --%s", word);
}

int options_read_args(struct options *o, int argc, char *const *argv, const char *const **ret_rest, size_t *ret_count,
		      struct err *e)
{
	const char **rest = arena_array(o->arena, (size_t)argc + 1, sizeof(*rest));
	size_t n = 0;
	bool only_rest = false;
	if (!rest)
		return err_nomem(e);
	for (int i = 0; i < argc; i++) {
		struct str arg = str_of(argv[i]);
		if (only_rest || arg.n < 2 || arg.p[0] != '-') {
			rest[n++] = argv[i];
			continue;
		}
		if (str_is(arg, "--")) {
			only_rest = true;
			continue;
		}
		if (str_is(arg, "-h"))
			arg = STR("--help");
		if (arg.p[1] != '-')
			return err_set(e, ERR_USAGE, "unknown option %s", argv[i]);
		struct str value;
		struct str name = str_cut((struct str){ arg.p + 2, arg.n - 2 }, '=', &value);
		size_t row = find_row(o, name);
		const struct option_foreign *foreign = row == o->count ? find_foreign(o, name) : NULL;
		if (foreign) {
			i += !value.p && i + 1 < argc && argv[i + 1][0] != '-';
			int rc = ignore(o, foreign, arena_printf(o->arena, "--%.*s", STR_ARG(name)), e);
			if (rc < 0)
				return rc;
			continue;
		}
		if (row == o->count || !has_row(o, row))
			return unknown_flag(o, name, e);
		if (!value.p) {
			if (o->table[row].type == OPTION_BOOL)
				value = STR("true");
			else if (i + 1 < argc)
				value = str_of(argv[++i]);
			else
				return err_set(e, ERR_USAGE, "--%s needs a value: %s", o->table[row].name,
					       o->table[row].argument);
		}
		const char *where = arena_printf(o->arena, "--%s", o->table[row].name);
		int rc = set_value(o, row, OPTION_FROM_FLAG, where, value, e);
		if (rc < 0)
			return rc;
	}
	*ret_rest = rest;
	*ret_count = n;
	return 0;
}

const char *option_environment_name(struct arena *a, const struct option *row)
{
	char *name = arena_printf(a, "SLIPWAY_%s", row->name);
	for (char *p = name; p && *p; p++) {
		if (*p == '-')
			*p = '_';
		else if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	}
	return name;
}

static const char *alias_environment_name(const struct options *o, const char *alias)
{
	char *name = arena_printf(o->arena, "%s%s", o->alias_prefix, alias);
	for (char *p = name; p && *p; p++)
		*p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
	return name;
}

static int read_variable(struct options *o, size_t row, const char *name, char *(*lookup)(const char *name),
			 struct err *e)
{
	char *text = name ? lookup(name) : NULL;
	if (!name)
		return err_nomem(e);
	if (!text || !*text)
		return 0;
	int rc = set_value(o, row, OPTION_FROM_ENVIRONMENT, name, str_of(text), e);
	/* Anybody of the same user may read a process's first environment. */
	if (rc == 0 && o->table[row].secret)
		explicit_bzero(text, strlen(text));
	return rc;
}

int options_read_environment(struct options *o, char *(*lookup)(const char *name), struct err *e)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < o->count; i++) {
		const struct option *row = &o->table[i];
		if (row->flag_only || !has_row(o, i))
			continue;
		/* Our own name is read last: it counts where both are there. */
		if (o->alias_prefix && row->alias)
			rc = read_variable(o, i, alias_environment_name(o, row->alias), lookup, e);
		if (rc == 0)
			rc = read_variable(o, i, option_environment_name(o->arena, row), lookup, e);
	}
	for (size_t i = 0; rc == 0 && i < o->foreign_count; i++) {
		const char *name = alias_environment_name(o, o->foreign[i].name);
		const char *text = name ? lookup(name) : NULL;
		if (text && *text)
			rc = ignore(o, &o->foreign[i], name, e);
	}
	return rc;
}

int options_set_from_file(struct options *o, struct str name, struct str value, const char *where, struct err *e)
{
	size_t row = find_row(o, name);
	const struct option_foreign *foreign = row == o->count ? find_foreign(o, name) : NULL;
	if (foreign)
		return ignore(o, foreign, where, e);
	if (row == o->count || o->table[row].flag_only)
		return err_set(e, ERR_USAGE, "%s: unknown option '%.*s'", where, STR_ARG(name));
	return has_row(o, row) ? set_value(o, row, OPTION_FROM_FILE, where, value, e) : 0;
}

static int read_line(struct options *o, const char *where, struct str line, struct err *e)
{
	line = str_trim(line);
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	struct str value;
	struct str name = str_trim(str_cut(line, '=', &value));
	if (!value.p)
		return err_set(e, ERR_USAGE, "%s: must be 'name = value'", where);
	return options_set_from_file(o, name, str_trim(value), where, e);
}

int options_read_file(struct options *o, const char *path, bool required, struct err *e)
{
	struct str text;
	int rc = file_read(o->arena, path, FILE_MAX_BYTES, &text, e);
	if (rc == -ERR_NOT_FOUND && !required) {
		err_reset(e);
		return 0;
	}
	if (rc < 0)
		return rc;
	for (int number = 1; text.p; number++) {
		struct str line = str_cut(text, '\n', &text);
		const char *where = arena_printf(o->arena, "%s:%d", path, number);
		if (!where)
			return err_nomem(e);
		rc = read_line(o, where, line, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

const struct option_value *options_value(const struct options *o, const char *name)
{
	size_t i = find_row(o, str_of(name));
	BUG_ON(i == o->count);
	return &o->values[i];
}

/* In lines of HELP_COLUMNS, each behind the column of the names. */
static void print_wrapped(const char *text, FILE *out)
{
	size_t width = HELP_COLUMNS - HELP_TEXT_COLUMN;
	while (strlen(text) > width) {
		size_t n = width;
		while (n > 0 && text[n] != ' ')
			n--;
		if (n == 0)
			break;
		fprintf(out, "%.*s\n%*s", (int)n, text, HELP_TEXT_COLUMN, "");
		text += n + 1;
	}
	fprintf(out, "%s\n", text);
}

void options_print_help(const struct options *o, FILE *out)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct option *row = &o->table[i];
		if (!has_row(o, i))
			continue;
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", row->name, row->argument ? " " : "",
			 row->argument ? row->argument : "");
		bool fallback = row->fallback && row->type != OPTION_BOOL, alias = row->alias && o->alias_prefix;
		char text[512];
		snprintf(text, sizeof(text), "%s%s%s%s%s%s%s", row->help, fallback ? " (default " : "",
			 fallback ? row->fallback : "", fallback ? ")" : "", alias ? " [" : "", alias ? row->alias : "",
			 alias ? "]" : "");
		fprintf(out, "  %-30s ", left);
		print_wrapped(text, out);
	}
}

void options_print_values(const struct options *o, FILE *out)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct option_value *v = &o->values[i];
		if (!has_row(o, i) || o->table[i].flag_only)
			continue;
		const char *text = !v->text ? "" : o->table[i].secret ? "[secret]" : v->text;
		const char *where = v->where ? v->where : v->text ? "default" : "not set";
		char left[512];
		snprintf(left, sizeof(left), "%s%s = %s", v->text ? "" : "# ", o->table[i].name, text);
		fprintf(out, "%-40s # %s\n", left, where);
	}
	for (size_t i = 0; i < o->ignored_count; i++)
		fprintf(out, "# without meaning here: %s\n", o->ignored[i]);
}
