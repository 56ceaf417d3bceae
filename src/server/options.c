#include "server/options.h"

#include "base/clock.h"
#include "os/file.h"

#define FILE_MAX_BYTES (256 * (size_t)1024)

int address_parse(struct arena *a, const char *text, struct address *ret, struct err *e)
{
	struct str s = str_of(text);
	struct str host, port;
	if (s.n > 0 && s.p[0] == '[') {
		host = str_cut((struct str){ s.p + 1, s.n - 1 }, ']', &port);
		if (!port.p || port.n == 0 || port.p[0] != ':')
			return err_set(e, ERR_USAGE, "must be HOST:PORT or [IPv6]:PORT, not '%s'", text);
		port.p++;
		port.n--;
	} else {
		host = str_cut(s, ':', &port);
	}
	int64_t number;
	if (host.n == 0 || !port.p || !str_to_int64(port, &number) || number < 0 || number > 65535)
		return err_set(e, ERR_USAGE, "must be HOST:PORT with a port of 0 to 65535, not '%s'", text);
	const char *copy = str_dup(a, host);
	if (!copy)
		return err_nomem(e);
	*ret = (struct address){ copy, (int)number };
	return 0;
}

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

/* Index of the row with that name, of any command; o->count if there is none. */
static size_t find_row(const struct options *o, struct str name)
{
	size_t i = 0;
	while (i < o->count && !str_is(name, o->table[i].name))
		i++;
	return i;
}

/* As str_to_duration_us reads it, in the largest unit that leaves no rest. */
static void print_duration(char *to, size_t n, int64_t us)
{
	static const struct {
		int64_t us;
		const char *name;
	} units[] = { { US_PER_HOUR, "h" }, { US_PER_MINUTE, "m" }, { US_PER_S, "s" }, { US_PER_MS, "ms" } };
	size_t i = 0;
	while (i + 1 < ARRAY_SIZE(units) && us % units[i].us != 0)
		i++;
	snprintf(to, n, "%lld%s", (long long)(us / units[i].us), units[i].name);
}

static int check_range(const struct option *row, int64_t v, const char *what, struct err *e)
{
	char min[32], max[32];
	if (row->max <= 0 || (v >= row->min && v <= row->max))
		return 0;
	if (row->type == OPTION_DURATION) {
		print_duration(min, sizeof(min), row->min);
		print_duration(max, sizeof(max), row->max);
	} else {
		snprintf(min, sizeof(min), "%lld", (long long)row->min);
		snprintf(max, sizeof(max), "%lld", (long long)row->max);
	}
	return err_set(e, ERR_USAGE, "must be %s between %s and %s", what, min, max);
}

static int parse_bool(const char *text, bool *ret, struct err *e)
{
	if (streq(text, "true") || streq(text, "yes") || streq(text, "1"))
		*ret = true;
	else if (streq(text, "false") || streq(text, "no") || streq(text, "0"))
		*ret = false;
	else
		return err_set(e, ERR_USAGE, "must be true or false, not '%s'", text);
	return 0;
}

static int parse_choice(const struct option *row, const char *text, struct err *e)
{
	char all[256] = "";
	size_t n = 0;
	for (const char *const *p = row->one_of; *p; p++) {
		if (streq(*p, text))
			return 0;
		int more = snprintf(all + n, sizeof(all) - n, "%s%s", n ? ", " : "", *p);
		if (more > 0 && n + (size_t)more < sizeof(all))
			n += (size_t)more;
	}
	return err_set(e, ERR_USAGE, "must be one of %s, not '%s'", all, text);
}

static int parse_value(struct options *o, const struct option *row, const char *text, void *to, struct err *e)
{
	int64_t number;
	int rc;
	switch (row->type) {
	case OPTION_STRING:
		*(const char **)to = text;
		return 0;
	case OPTION_CHOICE:
		rc = parse_choice(row, text, e);
		if (rc == 0)
			*(const char **)to = text;
		return rc;
	case OPTION_BOOL:
		return parse_bool(text, to, e);
	case OPTION_INT:
		if (!str_to_int64(str_of(text), &number))
			return err_set(e, ERR_USAGE, "must be a whole number, not '%s'", text);
		rc = check_range(row, number, "a number", e);
		break;
	case OPTION_DURATION:
		if (!str_to_duration_us(str_of(text), &number))
			return err_set(e, ERR_USAGE, "must be a time such as 90s, 10m or 168h, not '%s'", text);
		rc = check_range(row, number, "a time", e);
		break;
	case OPTION_ADDRESS:
		return address_parse(o->arena, text, to, e);
	default:
		BUG_ON(true);
		return -ERR_INTERNAL;
	}
	if (rc == 0)
		*(int64_t *)to = number;
	return rc;
}

/* Takes the value unless a stronger source has spoken already. It is checked either way, so that a mistake does not lie
 * in wait. */
static int set_value(struct options *o, size_t i, enum option_source source, const char *where, struct str text,
		     struct err *e)
{
	const char *copy = str_dup(o->arena, text);
	if (!copy)
		return err_nomem(e);
	struct option_value *v = &o->values[i];
	bool weaker = v->text && v->source > source;
	union {
		const char *string;
		int64_t number;
		bool flag;
		struct address address;
	} unused;
	void *to = weaker ? (void *)&unused : (char *)o->out + o->table[i].offset;
	int rc = parse_value(o, &o->table[i], copy, to, e);
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

int options_read_environment(struct options *o, char *(*lookup)(const char *name), struct err *e)
{
	for (size_t i = 0; i < o->count; i++) {
		if (o->table[i].flag_only || !has_row(o, i))
			continue;
		const char *name = option_environment_name(o->arena, &o->table[i]);
		if (!name)
			return err_nomem(e);
		const char *text = lookup(name);
		if (!text || !*text)
			continue;
		int rc = set_value(o, i, OPTION_FROM_ENVIRONMENT, name, str_of(text), e);
		if (rc < 0)
			return rc;
	}
	return 0;
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
	size_t row = find_row(o, name);
	if (row == o->count || o->table[row].flag_only)
		return err_set(e, ERR_USAGE, "%s: unknown option '%.*s'", where, STR_ARG(name));
	if (!has_row(o, row))
		return 0;
	return set_value(o, row, OPTION_FROM_FILE, where, str_trim(value), e);
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

void options_print_help(const struct options *o, FILE *out)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct option *row = &o->table[i];
		if (!has_row(o, i))
			continue;
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", row->name, row->argument ? " " : "",
			 row->argument ? row->argument : "");
		fprintf(out, "  %-30s %s", left, row->help);
		if (row->fallback && row->type != OPTION_BOOL)
			fprintf(out, " (default %s)", row->fallback);
		fputc('\n', out);
	}
}

void options_print_values(const struct options *o, FILE *out)
{
	for (size_t i = 0; i < o->count; i++) {
		const struct option_value *v = &o->values[i];
		if (!has_row(o, i) || o->table[i].flag_only)
			continue;
		const char *text = v->text ? v->text : "";
		const char *where = v->where ? v->where : v->text ? "default" : "not set";
		char left[512];
		snprintf(left, sizeof(left), "%s%s = %s", v->text ? "" : "# ", o->table[i].name, text);
		fprintf(out, "%-40s # %s\n", left, where);
	}
}
