/* The tables of bodies and queries (base/fields.h) as JSON Schema. */
#include "server/openapi.h"

#include "server/shape.h"

static const struct {
	const char *type; /* NULL: any */
	const char *format;
	const char *below; /* the word for the schema of what is inside */
} types[] = {
	[FIELD_STRING] = { "string", NULL, NULL },
	[FIELD_BYTES] = { "string", "byte", NULL },
	[FIELD_INT] = { "integer", "int64", NULL },
	[FIELD_BOOL] = { "boolean", NULL, NULL },
	[FIELD_TRISTATE] = { "boolean", NULL, NULL },
	[FIELD_JSON] = { NULL, NULL, NULL },
	[FIELD_JSON_OBJECT] = { "object", NULL, NULL },
	[FIELD_JSON_ARRAY] = { "array", NULL, "items" },
	[FIELD_STRING_MAP] = { "object", NULL, "additionalProperties" },
	[FIELD_STRING_LIST] = { "array", NULL, "items" },
	[FIELD_OBJECT] = { "object", NULL, NULL },
};

static void write_type(struct json_writer *j, const char *type, bool nullable)
{
	jw_key(j, "type");
	if (!nullable) {
		jw_string(j, type);
		return;
	}
	jw_array(j);
	jw_string(j, type);
	jw_string(j, "null");
	jw_array_end(j);
}

static void write_bounds(struct json_writer *j, const struct field *f)
{
	if (f->type == FIELD_INT) {
		bool bounded = f->max > f->min;
		jw_kv_int(j, "minimum", bounded ? f->min : INT64_MIN);
		jw_kv_int(j, "maximum", bounded ? f->max : INT64_MAX);
	}
	if (f->type == FIELD_STRING && f->min > 0)
		jw_kv_int(j, "minLength", f->min);
	if (f->type == FIELD_STRING && f->max > 0)
		jw_kv_int(j, "maxLength", f->max);
	bool list = f->type == FIELD_STRING_LIST || f->type == FIELD_JSON_ARRAY;
	if (list && f->min > 0)
		jw_kv_int(j, "minItems", f->min);
	if (list && f->max > 0)
		jw_kv_int(j, "maxItems", f->max);
}

static void write_values(struct json_writer *j, const struct field *f, bool nullable)
{
	jw_key(j, "enum");
	jw_array(j);
	for (const char *const *p = f->one_of; *p; p++)
		jw_string(j, *p);
	if (nullable)
		jw_null(j);
	jw_array_end(j);
}

static void write_field(struct json_writer *j, const struct field *f, bool is_argument);

static void write_members(struct json_writer *j, const struct field *table)
{
	bool any_required = false;
	jw_key(j, "properties");
	jw_object(j);
	for (const struct field *f = table; f->name; f++) {
		jw_key(j, f->name);
		write_field(j, f, false);
		any_required |= f->required;
	}
	jw_object_end(j);
	if (!any_required)
		return;
	jw_key(j, "required");
	jw_array(j);
	for (const struct field *f = table; f->name; f++)
		if (f->required)
			jw_string(j, f->name);
	jw_array_end(j);
}

/* In a body a null is as good as an absent member. Of an argument of a query the parameter says what it means. */
static void write_field(struct json_writer *j, const struct field *f, bool is_argument)
{
	bool nullable = !is_argument && !f->required;
	if (f->shape) {
		shape_write_type(j, str_of(f->shape));
		return;
	}
	jw_object(j);
	if (types[f->type].type)
		write_type(j, types[f->type].type, nullable);
	if (types[f->type].format)
		jw_kv_string(j, "format", types[f->type].format);
	if (f->doc && !is_argument)
		jw_kv_string(j, "description", f->doc);
	if (types[f->type].below) {
		jw_key(j, types[f->type].below);
		jw_object(j);
		if (f->type != FIELD_JSON_ARRAY)
			jw_kv_string(j, "type", "string");
		jw_object_end(j);
	}
	if (f->type == FIELD_OBJECT)
		write_members(j, f->sub);
	write_bounds(j, f);
	if (f->one_of)
		write_values(j, f, nullable);
	jw_object_end(j);
}

void openapi_write_body(struct json_writer *j, const struct field *table)
{
	jw_object(j);
	jw_kv_string(j, "type", "object");
	write_members(j, table);
	jw_object_end(j);
}

void openapi_write_query(struct json_writer *j, const struct field *table)
{
	for (const struct field *f = table; f && f->name; f++) {
		jw_object(j);
		jw_kv_string(j, "name", f->name);
		jw_kv_string(j, "in", "query");
		if (f->required)
			jw_kv_bool(j, "required", true);
		if (f->doc)
			jw_kv_string(j, "description", f->doc);
		jw_key(j, "schema");
		write_field(j, f, true);
		jw_object_end(j);
	}
}
