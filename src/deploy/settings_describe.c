/* The settings as JSON Schema, from their table (settings_fields.h): for the description of the API. */
#include "deploy/deployment.h"
#include "deploy/settings.h"
#include "deploy/settings_fields.h"

enum view {
	AS_SENT,      /* also under former names; a null takes away */
	AS_SAVED,     /* by canonical names, without nulls */
	AS_SCHEDULED, /* a change that waits for its time: canonical, but nulls are kept */
};

static void write_object(struct json_writer *j, const struct setting *table, enum view view);

static void write_type(struct json_writer *j, const char *type, enum view view)
{
	jw_key(j, "type");
	if (view == AS_SAVED) {
		jw_string(j, type);
		return;
	}
	jw_array(j);
	jw_string(j, type);
	jw_string(j, "null");
	jw_array_end(j);
}

static void write_reference(struct json_writer *j, const char *name)
{
	jw_object(j);
	jw_kv_string(j, "$ref", name);
	jw_object_end(j);
}

static void write_plain(struct json_writer *j, const char *type, enum view view)
{
	jw_object(j);
	write_type(j, type, view);
	jw_object_end(j);
}

static void write_text(struct json_writer *j, const struct setting *row, enum view view)
{
	jw_object(j);
	write_type(j, "string", view);
	if (row->kind == SET_DURATION)
		jw_kv_string(j, "pattern", "^(0|([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))*)$");
	if (row->kind == SET_PATH)
		jw_kv_string(j, "pattern", "^(?!/)(?!(.*/)?[.][.](/|$))");
	if (row->one_of) {
		jw_key(j, "enum");
		jw_array(j);
		for (const char *const *v = row->one_of; *v; v++)
			jw_string(j, *v);
		jw_string(j, "");
		if (view != AS_SAVED)
			jw_null(j);
		jw_array_end(j);
	}
	jw_object_end(j);
}

/* Either of two schemas, or a null. */
static void open_choice(struct json_writer *j, const char *plain, enum view view)
{
	jw_object(j);
	jw_key(j, "anyOf");
	jw_array(j);
	write_plain(j, plain, view);
}

static void close_choice(struct json_writer *j)
{
	jw_array_end(j);
	jw_object_end(j);
}

static void write_secret(struct json_writer *j, enum view view)
{
	open_choice(j, "string", view);
	write_reference(j, view == AS_SENT ? "#/components/schemas/SecretRequest" : "#/components/schemas/Secret");
	close_choice(j);
}

static void write_variables(struct json_writer *j, enum view view)
{
	jw_object(j);
	write_type(j, "object", view);
	jw_key(j, "propertyNames");
	jw_object(j);
	jw_kv_string(j, "pattern", "^[A-Za-z_][A-Za-z0-9_]*$");
	jw_object_end(j);
	jw_key(j, "additionalProperties");
	write_secret(j, view);
	jw_object_end(j);
}

static void write_strings(struct json_writer *j, enum view view)
{
	jw_object(j);
	write_type(j, "array", view);
	jw_key(j, "items");
	write_plain(j, "string", AS_SAVED);
	jw_object_end(j);
}

static void write_value(struct json_writer *j, const struct setting *row, enum view view)
{
	switch (row->kind) {
	case SET_STRING:
	case SET_DURATION:
	case SET_PATH:
	case SET_OPERATION:
	case SET_POOL:
		write_text(j, row, view);
		return;
	case SET_BOOL:
		write_plain(j, "boolean", view);
		return;
	case SET_INT:
		write_plain(j, "integer", view);
		return;
	case SET_ID:
		open_choice(j, "string", view);
		write_plain(j, "integer", AS_SAVED);
		close_choice(j);
		return;
	case SET_STRINGS:
		write_strings(j, view);
		return;
	case SET_SECRET:
	case SET_CREDENTIAL:
		write_secret(j, view);
		return;
	case SET_VARIABLES:
		write_variables(j, view);
		return;
	case SET_IMAGE:
		open_choice(j, "string", view);
		write_object(j, row->sub, view);
		close_choice(j);
		return;
	case SET_ROLE:
	case SET_OBJECT:
		write_object(j, row->sub, view);
		return;
	case SET_READ_ONLY:
		jw_object(j);
		jw_object_end(j);
		return;
	}
}

static void write_members(struct json_writer *j, const struct setting *table, enum view view)
{
	for (const struct setting *row = table; row->name; row++) {
		if (view != AS_SENT && (row->canonical || row->kind == SET_READ_ONLY))
			continue;
		jw_key(j, row->name);
		write_value(j, row, view);
	}
}

static void write_object(struct json_writer *j, const struct setting *table, enum view view)
{
	jw_object(j);
	write_type(j, "object", view);
	jw_key(j, "properties");
	jw_object(j);
	write_members(j, table, view);
	jw_object_end(j);
	jw_object_end(j);
}

void settings_describe_request(struct json_writer *j)
{
	jw_object(j);
	jw_kv_string(j, "type", "object");
	jw_key(j, "properties");
	jw_object(j);
	write_members(j, settings_document, AS_SENT);
	jw_object_end(j);
	jw_object_end(j);
}

void settings_describe_answer(struct json_writer *j)
{
	jw_object(j);
	jw_kv_string(j, "type", "object");
	jw_key(j, "properties");
	jw_object(j);
	jw_key(j, "version");
	write_plain(j, "integer", AS_SAVED);
	jw_key(j, "source");
	write_plain(j, "string", AS_SAVED);
	write_members(j, settings_document, AS_SAVED);
	jw_object_end(j);
	jw_key(j, "required");
	jw_raw_str(j, STR("[\"version\",\"source\"]"));
	jw_object_end(j);
}

static void write_deployment(struct json_writer *j, enum view view)
{
	jw_object(j);
	jw_kv_string(j, "type", "object");
	jw_key(j, "properties");
	jw_object(j);
	jw_key(j, "operation");
	jw_object(j);
	jw_kv_string(j, "type", "string");
	jw_key(j, "enum");
	jw_array(j);
	for (const char *const *v = deployment_operations; *v; v++)
		jw_string(j, *v);
	jw_array_end(j);
	jw_object_end(j);
	jw_key(j, "inheritSettings");
	jw_object(j);
	write_type(j, "boolean", view == AS_SENT ? AS_SENT : AS_SAVED);
	jw_kv_string(j, "description",
		     "merge the request over the saved settings of the stack (default), or do without them");
	jw_object_end(j);
	for (const struct setting *row = settings_document; row->name; row++) {
		if (row->kind == SET_READ_ONLY)
			continue;
		jw_key(j, row->name);
		write_value(j, row, view);
	}
	jw_object_end(j);
	jw_key(j, "required");
	jw_raw_str(j, STR("[\"operation\"]"));
	jw_object_end(j);
}

void settings_describe_deployment(struct json_writer *j)
{
	write_deployment(j, AS_SENT);
}

void settings_describe_scheduled(struct json_writer *j)
{
	write_deployment(j, AS_SCHEDULED);
}
