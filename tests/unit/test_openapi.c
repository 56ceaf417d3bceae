#include "unit.h"

#include "http/http.h"
#include "server/openapi.h"
#include "server/server.h"
#include "server/shape.h"

static struct str written(struct buf *b, void (*write)(struct json_writer *j, const char *text), const char *text)
{
	struct json_writer j;
	buf_init(b, 16 * 1024 * 1024);
	jw_init(&j, b);
	write(&j, text);
	assert_int_equal(buf_check(b, "schema", NULL), 0);
	struct json root;
	assert_int_equal(json_check(buf_str(b), &root, NULL), 0);
	return buf_str(b);
}

static void write_type(struct json_writer *j, const char *text)
{
	shape_write_type(j, str_of(text));
}

static void write_shape(struct json_writer *j, const char *text)
{
	const struct shape s = { .name = "Test", .text = text };
	shape_write(j, &s);
}

static void expect(void (*write)(struct json_writer *j, const char *text), const char *text, const char *schema)
{
	_cleanup_buf_ struct buf b;
	struct str s = written(&b, write, text);
	assert_int_equal(s.n, strlen(schema));
	assert_memory_equal(s.p, schema, s.n);
}

static void test_types(void **state)
{
	expect(write_type, "string", "{\"type\":\"string\"}");
	expect(write_type, "int", "{\"type\":\"integer\",\"format\":\"int64\"}");
	expect(write_type, "any", "{}");
	expect(write_type, "time", "{\"type\":\"string\",\"format\":\"date-time\"}");
	expect(write_type, "string | null", "{\"type\":[\"string\",\"null\"]}");
	expect(write_type, "[string]", "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}");
	expect(write_type, "{ [int | null] }",
	       "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"array\",\"items\":"
	       "{\"type\":[\"integer\",\"null\"],\"format\":\"int64\"}}}");
	expect(write_type, "\"a\" | \"b|c\"", "{\"type\":\"string\",\"enum\":[\"a\",\"b|c\"]}");
	expect(write_type, "UserInfo", "{\"$ref\":\"#/components/schemas/UserInfo\"}");
	expect(write_type, "UserInfo | null",
	       "{\"anyOf\":[{\"$ref\":\"#/components/schemas/UserInfo\"},{\"type\":\"null\"}]}");
}

static void test_shapes(void **state)
{
	expect(write_shape, "= string | bool", "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"boolean\"}]}");
	expect(write_shape, "a: int (one; two: three); b?: [string];",
	       "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"format\":\"int64\",\"description\":"
	       "\"one; two: three\"},\"b\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}},\"required\":[\"a\"]}");
	expect(write_shape, "...AgentPoolReference; more?: bool",
	       "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"},\"more\":"
	       "{\"type\":\"boolean\"}},\"required\":[\"id\",\"name\"]}");
}

static void write_document(struct json_writer *j, const char *url)
{
	openapi_write(j, url);
}

static size_t count_of(struct str text, const char *what)
{
	size_t n = 0;
	for (const char *p = text.p; (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

/* Every row in the notation is read: a slip of one is a bug, and ends the test. */
static void test_the_document(void **state)
{
	_cleanup_buf_ struct buf b;
	struct str text = written(&b, write_document, "http://localhost");
	assert_int_equal(count_of(text, "\"operationId\":"), server_route_count);
	/* A shape that nobody names is a leftover. */
	for (const struct shape *s = server_shapes; s->name; s++) {
		char reference[96], spread[96];
		snprintf(reference, sizeof(reference), "schemas/%s\"", s->name);
		snprintf(spread, sizeof(spread), "...%s;", s->name);
		bool used = count_of(text, reference) > 0;
		for (const struct shape *o = server_shapes; o->name; o++)
			used |= o->text && strstr(o->text, spread) != NULL;
		if (!used)
			fail_msg("nothing names the shape %s", s->name);
	}
}

static void test_every_route_is_described(void **state)
{
	for (size_t i = 0; i < server_route_count; i++)
		if (!server_routes[i].answers)
			fail_msg("%s %s does not say what it answers", server_routes[i].method,
				 server_routes[i].pattern);
}

/* Arguments of a query that a handler reads are those of its table; so two rows of one handler have the same table. */
static void test_one_query_for_a_handler(void **state)
{
	for (size_t i = 0; i < server_route_count; i++)
		for (size_t k = 0; k < i; k++)
			if (server_routes[i].handler == server_routes[k].handler)
				assert_ptr_equal(server_routes[i].query, server_routes[k].query);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_the_document),
		cmocka_unit_test(test_every_route_is_described),
		cmocka_unit_test(test_one_query_for_a_handler),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
