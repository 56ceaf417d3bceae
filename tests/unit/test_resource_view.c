/* What lists show of a resource, what stays closed, and what a query asks for. */
#include "unit.h"

#include "base/limits.h"
#include "state/event_filter.h"
#include "state/resource_view.h"
#include "state/search_query.h"

static struct arena arena;
static struct err err;

static int setup(void **state)
{
	arena_init(&arena, 0);
	err_reset(&err);
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

static struct json json_of(const char *text)
{
	char *copy = arena_strdup(&arena, text);
	struct json v;
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (json_check(str_of(copy), &v, &err) < 0)
		fail_msg("%s: %s", err.message, copy);
	return v;
}

static void assert_str(struct str s, const char *expected)
{
	assert_string_equal(str_dup(&arena, s), expected);
}

static void test_parts_of_a_urn(void **state)
{
	struct str urn = STR("urn:pulumi:dev::proj::a:b:C$aws:s3/bucket:Bucket::my::odd name");
	assert_str(urn_stack(urn), "dev");
	assert_str(urn_project(urn), "proj");
	assert_str(urn_name(urn), "my::odd name");
	static const char *const broken[] = { "",   "urn:pulumi:dev", "urn:pulumi:dev::p", "urn:pulumi:dev::p::t",
					      "::", "x::y::z::n" };
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		assert_true(urn_stack(str_of(broken[i])).n == 0 || urn_name(str_of(broken[i])).n == 0);
	assert_str(type_package(STR("aws:s3/bucket:Bucket")), "aws");
	assert_str(type_module(STR("aws:s3/bucket:Bucket")), "s3/bucket");
	assert_str(type_module(STR("odd")), "");
	assert_str(type_module(STR("odd:er")), "");
}

static void test_views(void **state)
{
	struct resource_view *list;
	size_t count;
	struct json root = json_of("{'deployment':{'resources':["
				   "{'urn':'urn:pulumi:s::p::t:i:T::a','delete':true,'id':'1'},"
				   "{'urn':'urn:pulumi:s::p::t:i:T::a','id':'2','type':'t:i:T','custom':true},"
				   "{'urn':'urn:pulumi:s::p::x:i:P$t:i:T::b','id':'','parent':null},"
				   "{'urn':'nul\\u0000'}]}}");
	assert_int_equal(resource_views_read(root, &arena, &list, &count, &err), 0);
	assert_int_equal(count, 3);
	assert_int_equal(list[0].ordinal, 1);
	assert_int_equal(list[1].ordinal, 0);
	assert_string_equal(list[2].type, "t:i:T");
	assert_null(list[2].id);
	assert_true(list[1].custom && list[0].pending_delete);
	assert_int_equal(resource_views_read(json_of("{'deployment':{'resources':{}}}"), &arena, &list, &count, &err),
			 0);
	assert_int_equal(count, 0);
	assert_int_equal(resource_views_read(JSON_ABSENT, &arena, &list, &count, &err), 0);
	assert_int_equal(count, 0);
}

#define MARK "'4dabf18193072939515e22adb298388d':'1b47061264138c4ac30d75fd1eb44270'"

static void test_redaction(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "{'a':1.0,'b':[1e400,'x']}", "{'a':1.0,'b':[1e400,'x']}" },
		{ "{'a':{" MARK ",'ciphertext':'c'}}", "{'a':'[secret]'}" },
		{ "[{'ciphertext':'c'," MARK "},{'b':{" MARK "}}]", "['[secret]',{'b':'[secret]'}]" },
		{ "{'4dabf18193072939515e22adb298388\\u0064':'\\u0031b47061264138c4ac30d75fd1eb44270','plaintext':'p'}",
		  "'[secret]'" },
		/* The mark of a resource reference, and the mark's value elsewhere, are no secrets. */
		{ "{'4dabf18193072939515e22adb298388d':'5cf8f73096256a8f31e491e813e4eb8e','urn':'u'}",
		  "{'4dabf18193072939515e22adb298388d':'5cf8f73096256a8f31e491e813e4eb8e','urn':'u'}" },
		{ "{'x':'1b47061264138c4ac30d75fd1eb44270'}", "{'x':'1b47061264138c4ac30d75fd1eb44270'}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_buf_ struct buf b;
		buf_init(&b, MIB);
		json_redact(json_of(cases[i].in), &b);
		assert_str(buf_str(&b), str_dup(&arena, json_text(json_of(cases[i].out))));
	}
}

static void test_queries(void **state)
{
	struct resource_filter f = { 0 };
	const char *text = " project:p  type:\"aws:S3/*\" name:my_x \"two words\" 100%! ";
	assert_int_equal(search_query_parse(str_of(text), &arena, &f, &err), 0);
	assert_string_equal(f.project, "p");
	assert_string_equal(f.type, "aws:s3/%");
	assert_string_equal(f.name, "%::my!_x");
	assert_string_equal(f.text[0], "%two words%");
	assert_string_equal(f.text[1], "%100!%!!%");
	assert_null(f.text[2]);
	assert_null(f.urn);
	static const char *const refused[] = { "type:a type:b", "package:a type:b", "modified:>1", "a b c d" };
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		f = (struct resource_filter){ 0 };
		assert_int_equal(search_query_parse(str_of(refused[i]), &arena, &f, &err), -ERR_BAD_REQUEST);
	}
	f = (struct resource_filter){ 0 };
	assert_int_equal(search_query_parse(STR("unfinished:\"quote of words"), &arena, &f, &err), 0);
	assert_string_equal(f.text[0], "%unfinished:\"quote of words%");
}

static void test_kinds_of_events(void **state)
{
	struct json pre = json_of("{'sequence':1,'resourcePreEvent':{'metadata':{'urn':'u'}}}");
	struct json out = json_of("{'sequence':2,'stdoutEvent':{'message':'m'},'cancelEvent':null}");
	struct event_filter f = { 0 };
	assert_true(event_filter_wants(&f, pre) && event_filter_wants(&f, out));
	assert_int_equal(event_filter_add_type(&f, "1", &err), 0);
	assert_true(!event_filter_wants(&f, pre) && event_filter_wants(&f, out));
	assert_int_equal(event_filter_add_type(&f, "resourcePreEvent", &err), 0);
	assert_true(event_filter_wants(&f, pre));
	f.urn = "u";
	assert_true(event_filter_wants(&f, pre) && !event_filter_wants(&f, out));
	f.urn = "other";
	assert_false(event_filter_wants(&f, pre));
	static const char *const refused[] = { "", "-1", "17", "resourcePre", "1x" };
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		assert_int_equal(event_filter_add_type(&f, refused[i], &err), -ERR_BAD_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parts_of_a_urn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_views, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redaction, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kinds_of_events, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
