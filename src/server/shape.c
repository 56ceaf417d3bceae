#include "server/shape.h"

#define TYPES_MAX 16

static const struct shape *find(struct str name)
{
	for (const struct shape *s = server_shapes; s->name; s++)
		if (str_is(name, s->name))
			return s;
	BUG_ON(true); /* no such shape */
}

struct str shape_cut(struct str s, char sep, struct str *ret_rest)
{
	int depth = 0;
	bool quoted = false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '"')
			quoted = !quoted;
		if (quoted)
			continue;
		if (c == '[' || c == '{' || c == '(')
			depth++;
		if (c == ']' || c == '}' || c == ')')
			depth--;
		if (c == sep && depth == 0) {
			*ret_rest = (struct str){ s.p + i + 1, s.n - i - 1 };
			return str_trim((struct str){ s.p, i });
		}
	}
	*ret_rest = STR_NULL;
	return str_trim(s);
}

static struct str inner(struct str s)
{
	return str_trim((struct str){ s.p + 1, s.n - 2 });
}

static bool is_null(struct str type)
{
	return str_is(type, "null");
}

static bool is_literal(struct str type)
{
	return type.n >= 2 && type.p[0] == '"';
}

/* Members of a schema without the braces. Returns the type as JSON Schema calls it, NULL when it says more than that. */
static const char *write_plain(struct json_writer *j, struct str type, bool nullable)
{
	static const struct {
		const char *name;
		const char *type;
		const char *format;
	} types[] = {
		{ "string", "string", NULL },	   { "int", "integer", "int64" }, { "number", "number", NULL },
		{ "bool", "boolean", NULL },	   { "null", "null", NULL },	  { "object", "object", NULL },
		{ "time", "string", "date-time" }, { "bytes", "string", "byte" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!str_is(type, types[i].name))
			continue;
		jw_key(j, "type");
		if (nullable) {
			jw_array(j);
			jw_string(j, types[i].type);
			jw_string(j, "null");
			jw_array_end(j);
		} else {
			jw_string(j, types[i].type);
		}
		if (types[i].format)
			jw_kv_string(j, "format", types[i].format);
		return types[i].type;
	}
	return NULL;
}

static void write_reference(struct json_writer *j, struct str name)
{
	char reference[96];
	snprintf(reference, sizeof(reference), "#/components/schemas/%s", find(name)->name);
	jw_kv_string(j, "$ref", reference);
}

static void write_container(struct json_writer *j, struct str type)
{
	bool array = type.p[0] == '[';
	BUG_ON(type.n < 2 || type.p[type.n - 1] != (array ? ']' : '}'));
	jw_kv_string(j, "type", array ? "array" : "object");
	jw_key(j, array ? "items" : "additionalProperties");
	shape_write_type(j, inner(type));
}

static void write_one(struct json_writer *j, struct str type)
{
	if (str_is(type, "any") || write_plain(j, type, false))
		return;
	BUG_ON(type.n == 0);
	if (type.p[0] == '[' || type.p[0] == '{')
		write_container(j, type);
	else
		write_reference(j, type);
}

static void write_values(struct json_writer *j, const struct str *types, size_t count)
{
	jw_kv_string(j, "type", "string");
	jw_key(j, "enum");
	jw_array(j);
	for (size_t i = 0; i < count; i++)
		jw_str(j, inner(types[i]));
	jw_array_end(j);
}

static void write_choice(struct json_writer *j, const struct str *types, size_t count)
{
	size_t literals = 0;
	for (size_t i = 0; i < count; i++)
		literals += is_literal(types[i]);
	if (literals == count) {
		write_values(j, types, count);
		return;
	}
	if (count == 1) {
		write_one(j, types[0]);
		return;
	}
	if (count == 2 && is_null(types[1]) && write_plain(j, types[0], true))
		return;
	jw_key(j, "anyOf");
	jw_array(j);
	for (size_t i = 0; i < count; i++)
		shape_write_type(j, types[i]);
	jw_array_end(j);
}

static void write_type_members(struct json_writer *j, struct str type)
{
	struct str types[TYPES_MAX], rest = type;
	size_t count = 0;
	while (rest.p) {
		BUG_ON(count == TYPES_MAX);
		types[count++] = shape_cut(rest, '|', &rest);
	}
	write_choice(j, types, count);
}

void shape_write_type(struct json_writer *j, struct str type)
{
	jw_object(j);
	write_type_members(j, type);
	jw_object_end(j);
}

static bool is_spread(struct str member)
{
	return str_starts_with(member, "...");
}

static bool is_others(struct str member)
{
	return str_starts_with(member, "*:");
}

static struct str spread_text(struct str member)
{
	return str_of(find((struct str){ member.p + 3, member.n - 3 })->text);
}

/* A name with a dot in it stands in quotes. */
static struct str unquoted(struct str name)
{
	return is_literal(name) ? inner(name) : name;
}

static void write_properties(struct json_writer *j, struct str members)
{
	while (members.p) {
		struct str doc, type, member = shape_cut(members, ';', &members);
		if (member.n == 0 || is_others(member))
			continue;
		if (is_spread(member)) {
			write_properties(j, spread_text(member));
			continue;
		}
		struct str name = shape_cut(member, ':', &type);
		if (name.n > 0 && name.p[name.n - 1] == '?')
			name.n--;
		/* The explanation stands in parentheses, which no type has. */
		type = str_cut(type, '(', &doc);
		jw_key_str(j, unquoted(name));
		jw_object(j);
		write_type_members(j, str_trim(type));
		if (doc.p)
			jw_kv_str(j, "description", (struct str){ doc.p, doc.n - 1 });
		jw_object_end(j);
	}
}

static void write_required(struct json_writer *j, struct str members)
{
	while (members.p) {
		struct str rest, member = shape_cut(members, ';', &members);
		if (member.n == 0 || is_others(member))
			continue;
		if (is_spread(member)) {
			write_required(j, spread_text(member));
			continue;
		}
		struct str name = shape_cut(member, ':', &rest);
		if (name.p[name.n - 1] != '?')
			jw_str(j, unquoted(name));
	}
}

/* What members with other names are, where a row says so. */
static void write_others(struct json_writer *j, struct str members)
{
	while (members.p) {
		struct str type, member = shape_cut(members, ';', &members);
		if (!is_others(member))
			continue;
		shape_cut(member, ':', &type);
		type = str_cut(type, '(', &(struct str){ 0 });
		jw_key(j, "additionalProperties");
		shape_write_type(j, str_trim(type));
	}
}

static void write_members(struct json_writer *j, struct str members)
{
	jw_object(j);
	jw_kv_string(j, "type", "object");
	jw_key(j, "properties");
	jw_object(j);
	write_properties(j, members);
	jw_object_end(j);
	jw_key(j, "required");
	jw_array(j);
	write_required(j, members);
	jw_array_end(j);
	write_others(j, members);
	jw_object_end(j);
}

static void write_list(struct json_writer *j, const char *const *values)
{
	jw_object(j);
	jw_kv_string(j, "type", "string");
	jw_key(j, "enum");
	jw_array(j);
	for (; *values; values++)
		jw_string(j, *values);
	jw_array_end(j);
	jw_object_end(j);
}

void shape_write(struct json_writer *j, const struct shape *s)
{
	if (s->write) {
		s->write(j);
		return;
	}
	if (s->values) {
		write_list(j, s->values);
		return;
	}
	struct str text = str_trim(str_of(s->text));
	if (text.n > 0 && text.p[0] == '=')
		shape_write_type(j, str_trim((struct str){ text.p + 1, text.n - 1 }));
	else
		write_members(j, text);
}
