#include <inttypes.h>

#include "http/internal.h"

static bool is_one_of(const char *text, const char *const *list)
{
	for (; *list; list++)
		if (streq(text, *list))
			return true;
	return false;
}

static int check_string(const struct field *f, const char *text, struct err *e)
{
	size_t n = strlen(text);
	/* An empty one says nothing, unless there has to be one: clients put arguments in whose values they do not have. */
	if (n == 0 && f->min <= 0)
		return 0;
	if (f->one_of && !is_one_of(text, f->one_of)) {
		char list[200] = "";
		size_t len = 0;
		for (const char *const *o = f->one_of; *o && len < sizeof(list); o++)
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len ? ", " : "", *o);
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: must be %s%s", f->name,
			       f->one_of[1] ? "one of " : "", list);
	}
	if (n < (uint64_t)f->min)
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: must not be empty", f->name);
	if (f->max > 0 && n > (uint64_t)f->max)
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: must have at most %" PRId64 " bytes", f->name,
			       f->max);
	return 0;
}

static int check_int(const struct field *f, const char *text, struct err *e)
{
	int64_t v;
	if (!str_to_int64(str_of(text), &v))
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: must be a whole number", f->name);
	if (f->max > f->min && (v < f->min || v > f->max))
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: must be from %" PRId64 " to %" PRId64, f->name,
			       f->min, f->max);
	return 0;
}

static int check_value(const struct field *f, const char *text, struct err *e)
{
	bool ignored;
	switch (f->type) {
	case FIELD_INT:
		return check_int(f, text, e);
	case FIELD_BOOL:
		if (!query_bool(text, &ignored))
			return err_set(e, ERR_BAD_REQUEST, "query argument %s: must be true or false", f->name);
		return 0;
	case FIELD_STRING:
	case FIELD_STRING_LIST:
		return check_string(f, text, e);
	default:
		BUG_ON(true);
	}
}

bool query_bool(const char *text, bool *ret)
{
	bool yes = streq(text, "true") || streq(text, "1") || streq(text, "");
	if (!yes && !streq(text, "false") && !streq(text, "0"))
		return false;
	*ret = yes;
	return true;
}

int query_check(const struct field *table, const struct query_arg *args, size_t count, struct err *e)
{
	for (const struct field *f = table; f && f->name; f++) {
		size_t seen = 0;
		for (size_t i = 0; i < count; i++) {
			if (!streq(args[i].name, f->name))
				continue;
			if (seen++ > 0 && f->type != FIELD_STRING_LIST)
				return err_set(e, ERR_BAD_REQUEST, "query argument %s: stands there more than once",
					       f->name);
			int rc = check_value(f, args[i].value, e);
			if (rc < 0)
				return f->wrong ? err_set(e, ERR_BAD_REQUEST, "%s", f->wrong) : rc;
		}
		if (seen == 0 && f->required)
			return err_set(e, ERR_BAD_REQUEST, "query argument %s: is required", f->name);
	}
	return 0;
}
