#include "state/search_query.h"

#include "base/limits.h"

/* Fields of Pulumi's query language that mean nothing here, so that they are not taken for text. */
static const char *const foreign[] = { "account",    "category",  "created",  "custom", "delete",   "dependencies",
				       "dependency", "id",	  "managed",  "module", "modified", "parent",
				       "pending",    "protected", "provider", "team",	"teams" };

static const char *escaped(struct arena *a, const char *before, struct str value, bool stars, const char *behind)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 16 * KIB);
	buf_adds(&b, before);
	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];
		if (c >= 'A' && c <= 'Z')
			c = (char)(c | 0x20);
		if (stars && c == '*') {
			buf_addc(&b, '%');
			continue;
		}
		if (c == '%' || c == '_' || c == '!')
			buf_addc(&b, '!');
		buf_addc(&b, c);
	}
	buf_adds(&b, behind);
	return buf_failed(&b) ? NULL : str_dup(a, buf_str(&b));
}

const char *search_pattern(struct arena *a, const char *before, struct str value)
{
	return escaped(a, before, value, true, "");
}

const char *search_text_pattern(struct arena *a, struct str value)
{
	return escaped(a, "%", value, false, "%");
}

/* --- the query --- */

/* The next word: up to a blank outside of quotes. */
static struct str next_word(struct str *rest)
{
	struct str s = str_trim(*rest);
	size_t i = 0;
	bool quoted = false;
	for (; i < s.n && (quoted || (s.p[i] != ' ' && s.p[i] != '\t')); i++)
		if (s.p[i] == '"')
			quoted = !quoted;
	*rest = (struct str){ s.p + i, s.n - i };
	return (struct str){ s.p, i };
}

static struct str unquoted(struct str s)
{
	if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
		return (struct str){ s.p + 1, s.n - 2 };
	return s;
}

/* Where the field's value goes, and what it becomes. */
static const char **find_field(struct str field, struct str value, struct arena *a, struct resource_filter *f,
			       const char **ret_value)
{
	if (str_is(field, "project") || str_is(field, "stack")) {
		*ret_value = str_dup(a, value);
		return str_is(field, "project") ? &f->project : &f->stack;
	}
	if (str_is(field, "package")) {
		*ret_value = escaped(a, "", value, true, ":%");
		return &f->type;
	}
	*ret_value = search_pattern(a, str_is(field, "name") ? "%::" : "", value);
	return str_is(field, "type")   ? &f->type
	       : str_is(field, "urn")  ? &f->urn
	       : str_is(field, "name") ? &f->name
				       : NULL;
}

static int add_text(struct str word, struct arena *a, struct resource_filter *f, struct err *e)
{
	for (size_t i = 0; i < SEARCH_TEXTS_MAX; i++) {
		if (f->text[i])
			continue;
		f->text[i] = search_text_pattern(a, unquoted(word));
		return f->text[i] ? 0 : err_nomem(e);
	}
	return err_set(e, ERR_BAD_REQUEST, "query: at most %d words without a field", SEARCH_TEXTS_MAX);
}

static int add_word(struct str word, struct arena *a, struct resource_filter *f, struct err *e)
{
	struct str value;
	struct str field = str_cut(word, ':', &value);
	const char *now;
	const char **slot = value.p ? find_field(field, unquoted(value), a, f, &now) : NULL;
	if (slot && *slot)
		return err_set(e, ERR_BAD_REQUEST, "query: %.*s: this was asked for already", STR_ARG(field));
	if (slot) {
		*slot = now;
		return now ? 0 : err_nomem(e);
	}
	for (size_t i = 0; value.p && i < ARRAY_SIZE(foreign); i++)
		if (str_is(field, foreign[i]))
			return err_set(
				e, ERR_BAD_REQUEST,
				"query: %s: is no field here; there are name, package, project, stack, type, urn",
				foreign[i]);
	return add_text(word, a, f, e);
}

int search_query_parse(struct str query, struct arena *a, struct resource_filter *ret, struct err *e)
{
	if (query.n > SEARCH_BYTES_MAX)
		return err_set(e, ERR_BAD_REQUEST, "query: at most %d bytes", SEARCH_BYTES_MAX);
	for (;;) {
		struct str word = next_word(&query);
		if (word.n == 0)
			return 0;
		int rc = add_word(word, a, ret, e);
		if (rc < 0)
			return rc;
	}
}
