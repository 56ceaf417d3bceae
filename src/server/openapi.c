/*
 * openapi.c: the API described by its own tables: a path per row of api/routes.def, a schema per field table. Answers are
 * described by their content type alone: their shapes are Pulumi's (its published document), not ours to restate.
 */
#include "http/http.h"
#include "identity/identity.h"
#include "server/server.h"

static void write_schema(struct json_writer *j, const struct field *table);

static void write_property(struct json_writer *j, const struct field *f)
{
	static const struct {
		const char *type;
		const char *format;
	} types[] = {
		[FIELD_STRING] = { "string", NULL },	  [FIELD_BYTES] = { "string", "byte" },
		[FIELD_INT] = { "integer", "int64" },	  [FIELD_BOOL] = { "boolean", NULL },
		[FIELD_TRISTATE] = { "boolean", NULL },	  [FIELD_JSON] = { NULL, NULL },
		[FIELD_JSON_OBJECT] = { "object", NULL }, [FIELD_JSON_ARRAY] = { "array", NULL },
		[FIELD_STRING_MAP] = { "object", NULL },  [FIELD_STRING_LIST] = { "array", NULL },
		[FIELD_OBJECT] = { "object", NULL },
	};
	if (f->type == FIELD_OBJECT) {
		write_schema(j, f->sub);
		return;
	}
	jw_object(j);
	if (types[f->type].type)
		jw_kv_string(j, "type", types[f->type].type);
	if (types[f->type].format)
		jw_kv_string(j, "format", types[f->type].format);
	if (f->doc)
		jw_kv_string(j, "description", f->doc);
	if (f->type == FIELD_STRING_MAP || f->type == FIELD_STRING_LIST || f->type == FIELD_JSON_ARRAY) {
		jw_key(j, f->type == FIELD_STRING_MAP ? "additionalProperties" : "items");
		jw_object(j);
		if (f->type != FIELD_JSON_ARRAY)
			jw_kv_string(j, "type", "string");
		jw_object_end(j);
	}
	if (f->type == FIELD_INT && f->max > f->min) {
		jw_kv_int(j, "minimum", f->min);
		jw_kv_int(j, "maximum", f->max);
	}
	if (f->type == FIELD_STRING && f->max > 0)
		jw_kv_int(j, "maxLength", f->max);
	if (f->one_of) {
		jw_key(j, "enum");
		jw_array(j);
		for (const char *const *p = f->one_of; *p; p++)
			jw_string(j, *p);
		jw_array_end(j);
	}
	jw_object_end(j);
}

static void write_schema(struct json_writer *j, const struct field *table)
{
	jw_object(j);
	jw_kv_string(j, "type", "object");
	jw_key(j, "properties");
	jw_object(j);
	bool any_required = false;
	for (const struct field *f = table; f->name; f++) {
		jw_key(j, f->name);
		write_property(j, f);
		any_required |= f->required;
	}
	jw_object_end(j);
	if (any_required) {
		jw_key(j, "required");
		jw_array(j);
		for (const struct field *f = table; f->name; f++)
			if (f->required)
				jw_string(j, f->name);
		jw_array_end(j);
	}
	jw_object_end(j);
}

static void write_parameters(struct json_writer *j, const char *pattern)
{
	struct str rest = str_of(pattern);
	jw_key(j, "parameters");
	jw_array(j);
	for (;;) {
		str_cut(rest, '{', &rest);
		if (!rest.p)
			break;
		struct str name = str_cut(rest, '}', &rest);
		jw_object(j);
		jw_kv_str(j, "name", name);
		jw_kv_string(j, "in", "path");
		jw_kv_bool(j, "required", true);
		jw_key(j, "schema");
		jw_object(j);
		jw_kv_string(j, "type", "string");
		jw_object_end(j);
		jw_object_end(j);
		if (!rest.p)
			break;
	}
	jw_array_end(j);
}

static void write_response(struct json_writer *j, const char *status, const char *description, const char *schema)
{
	jw_key(j, status);
	jw_object(j);
	jw_kv_string(j, "description", description);
	if (schema) {
		jw_key(j, "content");
		jw_object(j);
		jw_key(j, "application/json");
		jw_object(j);
		jw_key(j, "schema");
		jw_object(j);
		jw_kv_string(j, "$ref", schema);
		jw_object_end(j);
		jw_object_end(j);
		jw_object_end(j);
	}
	jw_object_end(j);
}

/* The handler's name, counted where several rows share one. The CLI's `api` lists only operations that have a name, by
 * the first of their tags: the first word of it. */
static void write_name(struct json_writer *j, const struct route *row)
{
	char name[96];
	struct str rest;
	int count = 1;
	for (const struct route *before = server_routes; before < row; before++)
		count += streq(before->name, row->name);
	snprintf(name, sizeof(name), count > 1 ? "%s_%d" : "%s", row->name, count);
	jw_kv_string(j, "operationId", name);
	jw_key(j, "tags");
	jw_array(j);
	jw_str(j, str_cut(str_of(row->name), '_', &rest));
	jw_array_end(j);
}

static void write_operation(struct json_writer *j, const struct route *row)
{
	char method[16] = "";
	for (size_t i = 0; row->method[i] && i < sizeof(method) - 1; i++)
		method[i] = (char)(row->method[i] | 0x20);
	jw_key(j, method);
	jw_object(j);
	write_name(j, row);
	jw_kv_string(j, "summary", row->summary);
	write_parameters(j, row->pattern);
	if (row->auth != AUTH_NONE) {
		jw_key(j, "security");
		jw_array(j);
		jw_object(j);
		jw_key(j, route_auth_name(row->auth));
		jw_array(j);
		jw_array_end(j);
		jw_object_end(j);
		jw_array_end(j);
		jw_kv_string(j, "x-slipway-permission", permission_name(row->permission));
	}
	if (row->body) {
		jw_key(j, "requestBody");
		jw_object(j);
		jw_key(j, "content");
		jw_object(j);
		jw_key(j, "application/json");
		jw_object(j);
		jw_key(j, "schema");
		write_schema(j, row->body);
		jw_object_end(j);
		jw_object_end(j);
		jw_object_end(j);
	}
	jw_key(j, "responses");
	jw_object(j);
	write_response(j, "2XX", "Done", NULL);
	write_response(j, "4XX", "Refused", "#/components/schemas/Error");
	jw_object_end(j);
	jw_object_end(j);
}

static void write_security(struct json_writer *j)
{
	static const enum route_auth kinds[] = { AUTH_USER,  AUTH_LEASE,   AUTH_POOL, AUTH_RUNNER,
						 AUTH_AGENT, AUTH_HANDLER, AUTH_SITE };
	jw_key(j, "securitySchemes");
	jw_object(j);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		jw_key(j, route_auth_name(kinds[i]));
		jw_object(j);
		jw_kv_string(j, "type", "apiKey");
		jw_kv_string(j, "in", "header");
		jw_kv_string(j, "name", "Authorization");
		jw_kv_string(j, "description", kinds[i] == AUTH_LEASE ? "update-token <token>" : "token <token>");
		jw_object_end(j);
	}
	jw_object_end(j);
}

static void write_components(struct json_writer *j)
{
	jw_key(j, "components");
	jw_object(j);
	write_security(j);
	jw_key(j, "schemas");
	jw_object(j);
	jw_key(j, "Error");
	jw_raw_str(
		j,
		STR("{\"type\":\"object\",\"required\":[\"code\",\"message\"],\"properties\":{\"code\":{\"type\":\"integer\"},"
		    "\"message\":{\"type\":\"string\"}}}"));
	jw_object_end(j);
	jw_object_end(j);
}

/* Whether an earlier row has the same pattern: then its path object holds this row too. */
static bool is_repeated(size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (streq(server_routes[k].pattern, server_routes[i].pattern))
			return true;
	return false;
}

void openapi_write(struct json_writer *j, const char *server_url)
{
	jw_object(j);
	jw_kv_string(j, "openapi", "3.1.0");
	jw_key(j, "info");
	jw_object(j);
	jw_kv_string(j, "title", "Slipway");
	jw_kv_string(j, "version", SLIPWAY_VERSION);
	jw_object_end(j);
	if (server_url) {
		jw_key(j, "servers");
		jw_array(j);
		jw_object(j);
		jw_kv_string(j, "url", server_url);
		jw_object_end(j);
		jw_array_end(j);
	}
	jw_key(j, "paths");
	jw_object(j);
	for (size_t i = 0; i < server_route_count; i++) {
		if (is_repeated(i))
			continue;
		jw_key(j, server_routes[i].pattern);
		jw_object(j);
		for (size_t k = i; k < server_route_count; k++)
			if (streq(server_routes[k].pattern, server_routes[i].pattern))
				write_operation(j, &server_routes[k]);
		jw_object_end(j);
	}
	jw_object_end(j);
	write_components(j);
	jw_object_end(j);
}
