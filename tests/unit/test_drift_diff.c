/* What differs between the two states of a resource in an engine event. */
#include "unit.h"

#include "state/drift_changes.h"
#include "state/drift_diff.h"

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

/* With ' for ". */
static const char *quoted(const char *text)
{
	char *copy = arena_strdup(&arena, text);
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	return copy;
}

static const char *diff_of(const char *metadata, bool *ret_cut, size_t *ret_count)
{
	_cleanup_buf_ struct buf out;
	struct json_writer w;
	struct json v;
	buf_init(&out, 16 * 1024 * 1024);
	jw_init(&w, &out);
	if (json_check(str_of(metadata), &v, &err) < 0)
		fail_msg("%s: %s", err.message, metadata);
	*ret_count = drift_diff_write(v, &arena, &w, ret_cut);
	assert_int_equal(json_check(buf_str(&out), &v, &err), 0);
	assert_int_equal(json_count(v), *ret_count);
	return str_dup(&arena, buf_str(&out));
}

static void assert_diff(const char *old, const char *new, const char *more, const char *expected)
{
	bool cut;
	size_t count;
	const char *text = diff_of(quoted(arena_printf(&arena, "{'old':%s,'new':%s%s}", old, new, more)), &cut, &count);
	assert_string_equal(text, quoted(expected));
	assert_false(cut);
}

#define SECRET(text) "{'4dabf18193072939515e22adb298388d':'1b47061264138c4ac30d75fd1eb44270','ciphertext':'" text "'}"

static void test_properties(void **state)
{
	assert_diff("{'outputs':{'a':1,'b':'x'}}", "{'outputs':{'b':'x','a':1}}", "", "[]");
	assert_diff("{'outputs':{'a':1,'gone':null}}", "{'outputs':{'a':1.0,'came':[]}}", "",
		    "[{'path':'a','kind':'update','old':1,'new':1.0},{'path':'gone','kind':'delete','old':null},"
		    "{'path':'came','kind':'add','new':[]}]");
	/* A null map is an empty one, and so is none at all. */
	assert_diff("{'outputs':null}", "{}", "", "[]");
	assert_diff("null", "{'outputs':{'a':1}}", "", "[{'path':'a','kind':'add','new':1}]");
}

static void test_paths(void **state)
{
	assert_diff("{'outputs':{'tags':{'Name':'x','a.b':1,'0':1,'':1},'list':[1,{'k':1},3]}}",
		    "{'outputs':{'tags':{'Name':'y','a.b':2,'0':2,'':2},'list':[1,{'k':2}]}}", "",
		    "[{'path':'tags.Name','kind':'update','old':'x','new':'y'},"
		    "{'path':'tags[\\'a.b\\']','kind':'update','old':1,'new':2},"
		    "{'path':'tags[\\'0\\']','kind':'update','old':1,'new':2},"
		    "{'path':'tags[\\'\\']','kind':'update','old':1,'new':2},"
		    "{'path':'list[1].k','kind':'update','old':1,'new':2},"
		    "{'path':'list[2]','kind':'delete','old':3}]");
}

static void test_inputs_where_the_outputs_tell_nothing(void **state)
{
	assert_diff("{'inputs':{'a':1,'b':1,'__defaults':[]},'outputs':{'a':1}}",
		    "{'inputs':{'a':2,'b':2,'__defaults':['x']},'outputs':{'a':2}}", "",
		    "[{'path':'a','kind':'update','old':1,'new':2},"
		    "{'path':'b','kind':'update','old':1,'new':2,'input':true}]");
}

static void test_secrets_stay_closed(void **state)
{
	assert_diff("{'outputs':{'p':" SECRET("one") ",'deep':{'q':[" SECRET("two") "]}}}",
		    "{'outputs':{'p':" SECRET("three") ",'deep':{'q':['open']}}}", "",
		    "[{'path':'p','kind':'update','old':'[secret]','new':'[secret]'},"
		    "{'path':'deep.q[0]','kind':'update','old':'[secret]','new':'[secret]'}]");
	/* A provider that knows no secrets gives back in the open what went in closed: nothing of it is told. */
	assert_diff("{'inputs':{'p':" SECRET("x") "},'outputs':{'p':'one'}}",
		    "{'inputs':{'p':'two'},'outputs':{'p':'two'}}", "",
		    "[{'path':'p','kind':'update','old':'[secret]','new':'[secret]'}]");
	assert_diff("{'inputs':{'t':{'k':" SECRET("x") ",'o':'a'},'l':" SECRET(
			    "y") "},'outputs':{'t':{'k':1,'o':'a'},'l':[1,{'m':2}]}}",
		    "{'outputs':{'t':{'k':2,'o':'b'},'l':[1,{'m':3}],'n':4}}", "",
		    "[{'path':'t.k','kind':'update','old':'[secret]','new':'[secret]'},"
		    "{'path':'t.o','kind':'update','old':'a','new':'b'},"
		    "{'path':'l[1].m','kind':'update','old':'[secret]','new':'[secret]'},"
		    "{'path':'n','kind':'add','new':4}]");
	assert_diff("{'outputs':{'v':{'k':" SECRET("x") "}}}", "{'outputs':{'v':'in the open'}}", "",
		    "[{'path':'v','kind':'update','old':{'k':'[secret]'},'new':'[secret]'}]");
	/* Written with escapes it is the same. */
	assert_diff("{'outputs':{'v':{'4dabf18193072939515e22adb298388d':'\\u0031b47061264138c4ac30d75fd1eb44270'}}}",
		    "{'outputs':{'v':'in the open'}}", "",
		    "[{'path':'v','kind':'update','old':'[secret]','new':'[secret]'}]");
	/* Closed alike on both sides: only the provider knows. */
	assert_diff("{'outputs':{'p':" SECRET("x") "}}", "{'outputs':{'p':" SECRET("x") "}}",
		    ",'detailedDiff':{'p':{'diffKind':'update-replace','inputDiff':false}}",
		    "[{'path':'p','kind':'update','old':'[secret]','new':'[secret]'}]");
}

static void test_what_the_provider_says(void **state)
{
	/* Of what has been told already nothing is added. */
	assert_diff(
		"{'outputs':{'a':{'b':1}}}", "{'outputs':{'a':{'b':2}}}",
		",'detailedDiff':{'a.b':{'diffKind':'update'},'c[0]':{'diffKind':'add-replace'},'d':{'diffKind':'delete'}}",
		"[{'path':'a.b','kind':'update','old':1,'new':2},{'path':'c[0]','kind':'add'},"
		"{'path':'d','kind':'delete'}]");
	assert_diff("{}", "{}", ",'detailedDiff':null,'diffs':['x','x']", "[{'path':'x','kind':'update'}]");
	assert_diff("{}", "{}", ",'detailedDiff':{},'diffs':[1,'a\\u0000b']", "[]");
}

static void test_bounds(void **state)
{
	_cleanup_buf_ struct buf b;
	bool cut;
	size_t count;
	/* More properties than are told. */
	buf_init(&b, 64 * 1024 * 1024);
	buf_adds(&b, "{\"old\":{\"outputs\":{}},\"new\":{\"outputs\":{");
	for (int i = 0; i < 200; i++)
		buf_addf(&b, "%s\"p%d\":%d", i ? "," : "", i, i);
	buf_adds(&b, "}}}");
	diff_of(b.data, &cut, &count);
	assert_true(cut);
	assert_int_equal(count, DRIFT_PROPERTIES_MAX);
	/* A map too wide to be walked, and a value too long to be kept: told without it. */
	buf_reset(&b);
	buf_adds(&b, "{\"old\":{\"outputs\":{\"wide\":{}}},\"new\":{\"outputs\":{\"wide\":{");
	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%s\"p%d\":%d", i ? "," : "", i, i);
	buf_adds(&b, "}}}}");
	assert_string_equal(diff_of(b.data, &cut, &count),
			    quoted("[{'path':'wide','kind':'update','old':{},'cut':true}]"));
	assert_true(cut);
	/* Deep nesting, long names. */
	buf_reset(&b);
	buf_adds(&b, "{\"new\":{\"outputs\":");
	for (int i = 0; i < 300; i++)
		buf_addf(&b, "{\"%s%d\":", i % 2 ? "x" : "a-name-of-some-length-that-fills-the-path-soon", i);
	buf_adds(&b, "1");
	for (int i = 0; i < 300; i++)
		buf_addc(&b, '}');
	buf_adds(&b, "}}");
	diff_of(b.data, &cut, &count);
	assert_int_equal(count, 1);
	/* A name longer than a path may be; half of a character at its end. */
	buf_reset(&b);
	buf_adds(&b, "{\"new\":{\"outputs\":{\"");
	for (int i = 0; i < 100000; i++)
		buf_adds(&b, "\xc3\xa4");
	buf_adds(&b, "\":1}}}");
	diff_of(b.data, &cut, &count);
	assert_int_equal(count, 1);
}

static void test_summary(void **state)
{
	assert_false(drift_in_summary(NULL));
	assert_false(drift_in_summary("{}"));
	assert_false(drift_in_summary("{\"same\":7,\"update\":0}"));
	assert_true(drift_in_summary("{\"same\":7,\"update\":1}"));
	assert_true(drift_in_summary("{\"delete\":1}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_properties, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inputs_where_the_outputs_tell_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secrets_stay_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_the_provider_says, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_summary, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
