#include "server/openapi.h"

#include "http/http.h"
#include "identity/identity.h"
#include "server/server.h"
#include "server/shape.h"

#define REFERENCE "#/components/"

static void write_reference(struct json_writer *j, const char *room, const char *name)
{
	char text[96];
	snprintf(text, sizeof(text), REFERENCE "%s/%s", room, name);
	jw_object(j);
	jw_kv_string(j, "$ref", text);
	jw_object_end(j);
}

/* --- names --- */

/* What Pulumi calls the operation; else the handler's name, counted where several rows share one. */
static void write_name(struct json_writer *j, const struct route *row)
{
	char name[96];
	int count = 1;
	for (const struct route *before = server_routes; before < row; before++)
		count += streq(before->name, row->name) && !before->operation;
	snprintf(name, sizeof(name), count > 1 ? "%s_%d" : "%s", row->name, count);
	jw_kv_string(j, "operationId", row->operation ? row->operation : name);
	/* The CLI's `api` lists operations by their tag. */
	jw_key(j, "tags");
	jw_array(j);
	jw_string(j, row->tag);
	jw_array_end(j);
}

static void write_parameters(struct json_writer *j, const struct route *row)
{
	struct str rest = str_of(row->pattern);
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
		jw_raw_str(j, STR("{\"type\":\"string\",\"minLength\":1}"));
		jw_object_end(j);
		if (!rest.p)
			break;
	}
	openapi_write_query(j, row->query);
	jw_array_end(j);
}

/* --- bodies and answers --- */

static void write_content(struct json_writer *j, struct str type)
{
	bool media = memchr(type.p, '/', type.n) != NULL;
	jw_key(j, "content");
	jw_object(j);
	jw_key_str(j, media ? type : STR("application/json"));
	jw_object(j);
	jw_key(j, "schema");
	if (media)
		jw_raw_str(j, STR("{\"type\":\"string\"}"));
	else
		shape_write_type(j, type);
	jw_object_end(j);
	jw_object_end(j);
}

/* "BODY -> answers": the body's type; absent when the row does not name one. */
static struct str cut_body(struct str *answers)
{
	for (size_t i = 0; i + 1 < answers->n; i++) {
		if (answers->p[i] != '-' || answers->p[i + 1] != '>')
			continue;
		struct str body = str_trim((struct str){ answers->p, i });
		*answers = (struct str){ answers->p + i + 2, answers->n - i - 2 };
		return body;
	}
	return STR_NULL;
}

static void write_body(struct json_writer *j, const struct route *row, struct str type)
{
	if (!row->body && !type.p)
		return;
	jw_key(j, "requestBody");
	jw_object(j);
	/* Without a body a table decodes as {}. */
	bool required = type.p != NULL;
	for (const struct field *f = row->body; f && f->name; f++)
		required |= f->required;
	if (required)
		jw_kv_bool(j, "required", true);
	if (type.p) {
		write_content(j, type);
	} else {
		jw_key(j, "content");
		jw_object(j);
		jw_key(j, "application/json");
		jw_object(j);
		jw_key(j, "schema");
		openapi_write_body(j, row->body);
		jw_object_end(j);
		jw_object_end(j);
	}
	jw_object_end(j);
}

/* What may go wrong, as far as the row itself tells; statuses beyond that stand in its answers. */
static bool may_answer(const struct route *row, int status)
{
	static const bool refuses[] = {
		/* Who holds less than these may know that the thing is there. */
		[PERM_USER_WRITE] = true,   [PERM_ORG_ADMIN] = true,	 [PERM_STACK_CREATE] = true,
		[PERM_STACK_DEPLOY] = true, [PERM_STACK_WRITE] = true,	 [PERM_STACK_ADMIN] = true,
		[PERM_STACK_ACCESS] = true, [PERM_SETTINGS_READ] = true, [PERM_SETTINGS_WRITE] = true,
		[PERM_LEASE] = true,	    [PERM_POOL] = true,		 [PERM_RUNNER] = true,
		[PERM_AGENT] = true,	    [PERM_SITE] = true,
	};
	switch (status) {
	case 401:
		return row->auth != AUTH_NONE && row->auth != AUTH_URL;
	case 403:
		/* A browser's session without the header that shows whose page asks (authorize.c). */
		return refuses[row->permission] ||
		       (row->auth == AUTH_USER && !streq(row->method, "GET") && !streq(row->method, "HEAD"));
	case 404:
		return strchr(row->pattern, '{') != NULL;
	case 413:
		return row->body_limit_bytes > 0;
	default:
		return true;
	}
}

static const struct {
	int status;
	const char *name; /* in components/responses */
	const char *description;
	bool always; /* as may_answer tells; else only where a row names it */
} refusals[] = {
	{ 400, "BadRequest", "The request is wrong; the message names what of it", true },
	{ 401, "Unauthorized", "No token, or one that is not good here", true },
	{ 403, "Forbidden", "The token may see it, but not do this", true },
	{ 404, "NotFound", "It does not exist, or the token may not know of it", true },
	{ 409, "Conflict", "It does not fit what is there now", false },
	{ 410, "Gone", "It was there, and is not any more", false },
	{ 413, "ContentTooLarge", "The body is larger than this route takes", true },
	{ 429, "TooManyRequests", "Later, please", false },
	{ 503, "ServiceUnavailable", "The server starts or stops", true },
};

/* A status that a row names. */
struct named {
	int status;
	struct str type; /* p NULL: none */
};

static void write_refusals(struct json_writer *j, const struct route *row, const struct named *named, size_t count)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct named *own = NULL;
		for (size_t k = 0; k < count; k++)
			if (named[k].status == refusals[i].status)
				own = &named[k];
		if (!own && !(refusals[i].always && may_answer(row, refusals[i].status)))
			continue;
		char status[8];
		snprintf(status, sizeof(status), "%d", refusals[i].status);
		jw_key(j, status);
		if (!own || !own->type.p) {
			write_reference(j, "responses", refusals[i].name);
			continue;
		}
		jw_object(j);
		jw_kv_string(j, "description", refusals[i].description);
		write_content(j, own->type);
		jw_object_end(j);
	}
}

static void write_answers(struct json_writer *j, const struct route *row, struct str answers)
{
	struct named named[8];
	size_t count = 0;
	jw_key(j, "responses");
	jw_object(j);
	while (answers.p) {
		struct str type, one = shape_cut(answers, ';', &answers);
		struct str status = str_cut(one, ' ', &type);
		int64_t number = 0;
		BUG_ON(!str_to_int64(status, &number) || count == ARRAY_SIZE(named));
		if (type.p)
			type = str_trim(type);
		if (number >= 400) {
			named[count++] = (struct named){ (int)number, type };
			continue;
		}
		jw_key_str(j, status);
		jw_object(j);
		jw_kv_string(j, "description", type.p ? "Done" : "Done; the body is empty");
		if (type.p)
			write_content(j, type);
		jw_object_end(j);
	}
	write_refusals(j, row, named, count);
	jw_object_end(j);
}

static void write_operation(struct json_writer *j, const struct route *row)
{
	char method[16] = "";
	struct str answers = str_of(row->answers);
	struct str body = cut_body(&answers);
	for (size_t i = 0; row->method[i] && i < sizeof(method) - 1; i++)
		method[i] = (char)(row->method[i] | 0x20);
	jw_key(j, method);
	jw_object(j);
	write_name(j, row);
	jw_kv_string(j, "summary", row->summary);
	write_parameters(j, row);
	if (row->auth != AUTH_NONE && row->auth != AUTH_URL) {
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
	write_body(j, row, body);
	write_answers(j, row, answers);
	jw_object_end(j);
}

/* --- what is referred to --- */

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
	jw_key(j, "responses");
	jw_object(j);
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		jw_key(j, refusals[i].name);
		jw_object(j);
		jw_kv_string(j, "description", refusals[i].description);
		write_content(j, STR("Error"));
		jw_object_end(j);
	}
	jw_object_end(j);
	jw_key(j, "schemas");
	jw_object(j);
	for (const struct shape *s = server_shapes; s->name; s++) {
		jw_key(j, s->name);
		shape_write(j, s);
	}
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

static void write_paths(struct json_writer *j)
{
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
	write_paths(j);
	write_components(j);
	jw_object_end(j);
}
