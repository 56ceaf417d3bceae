#include "state/names.h"

#include <ctype.h>

#define NAME_MAX_BYTES 100
#define TAG_NAME_MAX_BYTES 40
#define TAG_VALUE_MAX_BYTES 256
/* The service keeps them in memory for each request on the stack. */
#define TAGS_MAX 200

static bool all_of(struct str s, const char *punctuation)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char ch = (unsigned char)s.p[i];
		if (!(ch < 0x80 && isalnum(ch)) && !(ch && strchr(punctuation, ch)))
			return false;
	}
	return true;
}

int name_check(const char *name, const char *field, struct err *e)
{
	struct str s = str_of(name);
	if (s.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "%s: must not be empty", field);
	if (s.n > NAME_MAX_BYTES)
		return err_set(e, ERR_BAD_REQUEST, "%s: must not be longer than %d characters", field, NAME_MAX_BYTES);
	if (!all_of(s, "-_.") || str_is(s, ".") || str_is(s, ".."))
		return err_set(e, ERR_BAD_REQUEST,
			       "%s: may only hold letters, digits, hyphens, underscores and periods", field);
	return 0;
}

int tag_check(struct str name, struct str value, const char *field, struct err *e)
{
	if (name.n == 0 || name.n > TAG_NAME_MAX_BYTES)
		return err_set(e, ERR_BAD_REQUEST, "%s: a tag's name has 1 to %d characters", field,
			       TAG_NAME_MAX_BYTES);
	if (!all_of(name, "-_.:"))
		return err_set(
			e, ERR_BAD_REQUEST,
			"%s: a tag's name may only hold letters, digits, hyphens, underscores, periods and colons",
			field);
	if (value.n > TAG_VALUE_MAX_BYTES)
		return err_set(e, ERR_BAD_REQUEST, "%s: the value of %.*s must not be longer than %d bytes", field,
			       STR_ARG(name), TAG_VALUE_MAX_BYTES);
	if (str_has_nul(value))
		return err_set(e, ERR_BAD_REQUEST, "%s: the value of %.*s holds a NUL", field, STR_ARG(name));
	return 0;
}

int tags_check(struct json tags, const char *field, struct arena *a, struct err *e)
{
	struct json_iter it = json_iter_start(tags);
	struct json key, value;
	size_t count = 0;
	while (json_next(&it, &key, &value)) {
		struct str name, text;
		if (json_type(value) != JSON_STRING)
			return err_set(e, ERR_BAD_REQUEST, "%s: all values must be strings", field);
		if (!json_string(key, a, &name) || !json_string(value, a, &text))
			return err_nomem(e);
		int rc = tag_check(name, text, field, e);
		if (rc < 0)
			return rc;
		if (++count > TAGS_MAX)
			return err_set(e, ERR_BAD_REQUEST, "%s: there may be at most %d tags", field, TAGS_MAX);
	}
	return 0;
}
