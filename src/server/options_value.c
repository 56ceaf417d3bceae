/* From a text to a value, as a row of the table says. */
#include "base/clock.h"
#include "server/options.h"

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
	if (row->refused && streq(text, row->refused))
		return err_set(e, ERR_USAGE, "'%s': %s", text, row->refused_why);
	for (const char *const *p = row->one_of; *p; p++) {
		if (streq(*p, text))
			return 0;
		int more = snprintf(all + n, sizeof(all) - n, "%s%s", n ? ", " : "", *p);
		if (more > 0 && n + (size_t)more < sizeof(all))
			n += (size_t)more;
	}
	return err_set(e, ERR_USAGE, "must be one of %s, not '%s'", all, text);
}

/* "A, B" and "A B" are "A,B". */
static int parse_list(struct arena *a, const char *text, const char **ret, struct err *e)
{
	char *copy = arena_strdup(a, text), *to = copy;
	if (!copy)
		return err_nomem(e);
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, ", \t");
		if (n > 0 && to > copy)
			*to++ = ',';
		memcpy(to, p, n);
		to += n;
		p += n;
		p += strspn(p, ", \t");
	}
	*to = '\0';
	*ret = copy;
	return 0;
}

int option_parse(struct arena *a, const struct option *row, const char *text, void *to, struct err *e)
{
	int64_t number;
	int rc;
	switch (row->type) {
	case OPTION_STRING:
		*(const char **)to = text;
		return 0;
	case OPTION_LIST:
		return parse_list(a, text, to, e);
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
		/* The other program has only a port there, and listens on it everywhere. */
		if (row->alias && text[0] && strspn(text, "0123456789") == strlen(text))
			text = arena_printf(a, "0.0.0.0:%s", text);
		return text ? address_parse(a, text, to, e) : err_nomem(e);
	default:
		BUG_ON(true);
		return -ERR_INTERNAL;
	}
	if (rc == 0)
		*(int64_t *)to = number;
	return rc;
}
