/* Every rule of cli-protocol §3.6.4, one hand-made journal each. JSON is written with ' for ". */
#include "unit.h"

#include "state/journal_entry.h"
#include "state/replay.h"

#define S "urn:pulumi:dev::p::"
#define URN(name) "'" S "t:i:T::" name "'"
#define R(name, more) "{'urn':" URN(name) more "}"

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

/* Members of the entries as they come: sequence ids are given where there is none. */
static struct json result_of(const char *base, const char *entries)
{
	_cleanup_buf_ struct buf numbered, out;
	struct json entry, root, list = json_of(entries);
	int64_t n = 0, count, resources;
	buf_init(&numbered, 1 << 20);
	buf_init(&out, 1 << 20);
	buf_adds(&numbered, "{\"entries\":[");
	json_foreach(entry, list) {
		buf_adds(&numbered, n ? "," : "");
		if (json_get(entry, "sequenceID").p)
			buf_add(&numbered, entry.p, entry.n);
		else
			buf_addf(&numbered, "{\"sequenceID\":%d,%.*s", (int)n + 1, (int)entry.n - 1, entry.p + 1);
		n++;
	}
	buf_adds(&numbered, "]}");
	struct json batch = json_of(numbered.data);
	if (journal_body_check(batch, &count, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(count, n);
	struct replay_input in = { .base = base ? json_of(base) : JSON_ABSENT,
				   .batches = &batch,
				   .batch_count = 1,
				   .engine_version = "v3.259.0" };
	if (replay(&in, &arena, &out, &resources, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(json_check(buf_str(&out), &root, &err), 0);
	assert_int_equal(resources, json_count(json_path(root, "deployment", "resources", NULL)));
	return (struct json){ arena_strndup(&arena, root.p, root.n), root.n };
}

static void assert_text(struct json seen, const char *wanted)
{
	if (!wanted) {
		if (seen.p)
			fail_msg("unexpected: %.*s", (int)seen.n, seen.p);
		return;
	}
	struct json v = json_of(wanted);
	if (!seen.p || !str_eq(json_text(seen), json_text(v)))
		fail_msg("\n  seen   %.*s\n  wanted %.*s", (int)seen.n, seen.p ? seen.p : "", (int)v.n, v.p);
}

static void check_part(const char *part, const char *base, const char *entries, const char *wanted)
{
	assert_text(json_path(result_of(base, entries), "deployment", part, NULL), wanted);
}

/* resources of the result; NULL: it has none */
static void check(const char *base, const char *entries, const char *wanted)
{
	check_part("resources", base, entries, wanted);
}

#define BASE(resources) "{'version':3,'deployment':{'manifest':{},'resources':[" resources "]}}"
#define BASE3 BASE(R("a", ",'x':1.0") "," R("b", "") "," R("c", ""))

static void test_base_stays(void **state)
{
	check(NULL, "[]", NULL);
	check(BASE3, "[]", "[" R("a", ",'x':1.0") "," R("b", "") "," R("c", "") "]");
}

static void test_success_appends_before_the_base(void **state)
{
	check(BASE3,
	      "[{'kind':0,'operationID':1},{'kind':1,'operationID':1,'removeOld':1,'state':" R("b", ",'n':2") "}]",
	      "[" R("b", ",'n':2") "," R("a", ",'x':1.0") "," R("c", "") "]");
}

static void test_success_removes(void **state)
{
	check(BASE3, "[{'kind':1,'operationID':1,'removeOld':0}]", "[" R("b", "") "," R("c", "") "]");
	check(NULL,
	      "[{'kind':1,'operationID':7,'state':" R("n", "") "},{'kind':1,'operationID':8,'state':" R(
		      "m", "") "},{'kind':1,'operationID':9,'removeNew':7}]",
	      "[" R("m", "") "]");
}

static void test_success_marks(void **state)
{
	check(BASE3, "[{'kind':1,'operationID':1,'deleteOld':0},{'kind':1,'operationID':2,'pendingReplacementOld':1}]",
	      "[" R("a", ",'x':1.0,'delete':true") "," R("b", ",'pendingReplacement':true") "," R("c", "") "]");
	check(NULL,
	      "[{'kind':1,'operationID':3,'state':" R(
		      "n", ",'delete':false") "},"
					      "{'kind':1,'operationID':4,'deleteNew':3,'pendingReplacementNew':3}]",
	      "[" R("n", ",'delete':true,'pendingReplacement':true") "]");
}

static void test_unknown_references_change_nothing(void **state)
{
	check(BASE3,
	      "[{'kind':1,'operationID':1,'removeNew':77,'deleteNew':78,'pendingReplacementNew':79,'removeOld':99,"
	      "'deleteOld':-1},{'kind':4,'operationID':1,'removeNew':5,'state':" R("q", "") "}]",
	      "[" R("a", ",'x':1.0") "," R("b", "") "," R("c", "") "]");
}

static void test_outputs_and_refresh_replace_in_place(void **state)
{
	check(BASE3, "[{'kind':4,'operationID':1,'removeOld':1,'state':" R("b", ",'o':1") "}]",
	      "[" R("a", ",'x':1.0") "," R("b", ",'o':1") "," R("c", "") "]");
	check(BASE3, "[{'kind':3,'operationID':1,'removeOld':1,'state':" R("b", ",'o':2") "}]",
	      "[" R("a", ",'x':1.0") "," R("b", ",'o':2") "," R("c", "") "]");
	check(BASE3, "[{'kind':3,'operationID':1,'removeOld':1}]", "[" R("a", ",'x':1.0") "," R("c", "") "]");
	check(BASE3, "[{'kind':4,'operationID':1,'removeOld':1}]",
	      "[" R("a", ",'x':1.0") "," R("b", "") "," R("c", "") "]");
	check(NULL,
	      "[{'kind':1,'operationID':1,'state':" R("n", "") "},{'kind':1,'operationID':2,'state':" R(
		      "m", "") "},"
			       "{'kind':4,'operationID':1,'removeNew':1,'state':" R(
				       "n", ",'o':3") "},{'kind':3,'operationID':3,'removeNew':2}]",
	      "[" R("n", ",'o':3") "]");
}

/* A replaced state is emitted as it is: marks of the old one do not apply; a removal wins. */
static void test_marks_and_replacements(void **state)
{
	check(BASE3,
	      "[{'kind':4,'operationID':1,'removeOld':1,'state':" R(
		      "b", ",'o':1") "},{'kind':1,'operationID':2,'deleteOld':1,"
				     "'pendingReplacementOld':1},{'kind':4,'operationID':1,'removeOld':2,'state':" R(
					     "c", ",'o':1") "},{'kind':1,'operationID':4,'removeOld':2}]",
	      "[" R("a", ",'x':1.0") "," R("b", ",'o':1") "]");
}

#define OP(name, type) "{'resource':" R(name, "") ",'type':'" type "'}"

static void test_pending_operations(void **state)
{
	check_part(
		"pending_operations", NULL,
		"[{'kind':0,'operationID':9,'operation':" OP("x", "updating") "},{'kind':0,'operationID':2,'operation':" OP("y", "creating") "},{'kind':0,'operationID':3,'operation':" OP(
			"z",
			"creating") "},{'kind':1,'operationID':3},{'kind':0,'operationID':4,'operation':" OP("w",
													     "deleting") "},{'kind':2,'operationID':4,'state':" R("w",
																				  "") "},{'kind':0,'operationID':5}]",
		"[" OP("y", "creating") "," OP("x", "updating") "]");
	/* Of the base only creations last. */
	check_part(
		"pending_operations",
		"{'version':3,'deployment':{'pending_operations':[" OP("a", "creating") "," OP("b", "updating") "]}}",
		"[{'kind':0,'operationID':1,'operation':" OP("c", "reading") "}]",
		"[" OP("c", "reading") "," OP("a", "creating") "]");
}

static void test_failure_drops_the_state(void **state)
{
	check(NULL, "[{'kind':0,'operationID':4},{'kind':2,'operationID':4,'state':" R("w", "") "}]", NULL);
}

static void test_write_replaces_the_base(void **state)
{
	check(BASE3,
	      "[{'kind':5,'operationID':0,'newSnapshot':{'resources':[" R("z", "") "," R(
		      "y", "") "]}},"
			       "{'kind':1,'operationID':1,'removeOld':0}]",
	      "[" R("y", "") "]");
}

static void test_secrets_manager(void **state)
{
	const char *base =
		"{'version':3,'deployment':{'secrets_providers':{'type':'service','state':{'a':1},'kept':0}}}";
	check_part("secrets_providers", base,
		   "[{'kind':6,'operationID':0,'secretsProvider':{'type':'service','state':{'a':1}}}]",
		   "{'type':'service','state':{'a':1},'kept':0}");
	check_part("secrets_providers", base,
		   "[{'kind':6,'operationID':0,'secretsProvider':{'type':'service','state':{'a':2}}}]",
		   "{'type':'service','state':{'a':2}}");
	check_part("secrets_providers", NULL, "[{'kind':6,'operationID':0,'secretsProvider':{'type':'passphrase'}}]",
		   "{'type':'passphrase'}");
}

/* After a rebuild the indices are those of the rebuilt list. */
static void test_rebuilt_base_state(void **state)
{
	check(BASE3,
	      "[{'kind':1,'operationID':1,'removeOld':0},{'kind':4,'operationID':2,'removeOld':1,'state':" R(
		      "b",
		      ",'o':1") "},{'kind':7,'operationID':0},{'kind':1,'operationID':1,'removeOld':0,'state':" R("n",
														  "") "}]",
	      "[" R("n", "") "," R("c", "") "]");
	/* What was open stays in the new base, of which only creations last. */
	check_part(
		"pending_operations", NULL,
		"[{'kind':0,'operationID':1,'operation':" OP("x", "updating") "},{'kind':0,'operationID':2,'operation':" OP(
			"y", "creating") "},{'kind':7,'operationID':0}]",
		"[" OP("y", "creating") "]");
}

static void test_extensions(void **state)
{
	check_part("extensions", "{'version':4,'deployment':{'extensions':{'r1':{'name':'base'}}}}",
		   "[{'kind':8,'operationID':1,'extensionRef':'r1','extension':{'name':'new'}},"
		   "{'kind':8,'operationID':2,'extensionRef':'r2','extension':{'name':'two'}},"
		   "{'kind':8,'operationID':2,'extensionRef':'r2','extension':{'name':'too'}}]",
		   "{'r1':{'name':'base'},'r2':{'name':'too'}}");
	check_part(
		"extensions", NULL,
		"[{'kind':8,'operationID':1,'extensionRef':'r1','extension':{'name':'n'}},{'kind':7,'operationID':0}]",
		"{'r1':{'name':'n'}}");
}

static void test_snippets(void **state)
{
	check_part("snippets", "{'version':4,'deployment':{'snippets':[{'uuid':'1'}]}}",
		   "[{'kind':9,'operationID':0,'snippets':[{'uuid':'2'}]}]", "[{'uuid':'2'}]");
	check_part("snippets", "{'version':4,'deployment':{'snippets':[{'uuid':'1'}]}}", "[{'kind':9,'operationID':0}]",
		   NULL);
}

static void test_refresh_drops_dangling_references(void **state)
{
	const char *base =
		BASE(R("a", "") "," R("b", ",'parent':" URN("a") ",'dependencies':[" URN("a") "," URN("c") "]") "," R(
			"c",
			",'dependencies':[" URN("a") "],'propertyDependencies':{'k':[" URN("a") "],'l':[" URN(
				"b") "," URN("a") "],'m':[]},'deletedWith':" URN("a") ",'replaceWith':[" URN("b") "]"));
	/* b's dependency on c is dropped as well: c comes later. */
	check(base, "[{'kind':3,'operationID':1,'removeOld':0}]",
	      "[" R("b", "") "," R("c",
				   ",'propertyDependencies':{'l':[" URN("b") "]},'replaceWith':[" URN("b") "]") "]");
	/* Without a refresh nothing is touched. */
	check(BASE(R("c", ",'dependencies':[" URN("a") "]")), "[]", "[" R("c", ",'dependencies':[" URN("a") "]") "]");
	/* isRefresh of a success counts. */
	check(BASE(R("c", ",'dependencies':[" URN("a") "]")), "[{'kind':1,'operationID':1,'isRefresh':true}]",
	      "[" R("c", "") "]");
}

static void test_aliases(void **state)
{
	/* b keeps the old URN of a in every place; its own is made anew, since its parent's type has changed. */
	check(BASE("{'urn':'" S "t:i:T$t:i:C::b','parent':" URN(
		      "old") ",'provider':'" S
			     "t:i:T::old::id1','dependencies':[" URN("old") "],'propertyDependencies':{'k':[" URN(
				     "old") "]},"
					    "'deletedWith':" URN("old") ",'viewOf':" URN("old") "}"),
	      "[{'kind':1,'operationID':1,'state':{'urn':'" S
	      "t:i:N::new','aliases':[" URN("old") "," URN("old") "]}}]",
	      "[{'urn':'" S "t:i:N::new'},{'urn':'" S "t:i:N$t:i:C::b','parent':'" S "t:i:N::new','provider':'" S
	      "t:i:N::new::id1','dependencies':['" S "t:i:N::new'],'propertyDependencies':{'k':['" S "t:i:N::new']},"
	      "'deletedWith':'" S "t:i:N::new','viewOf':'" S "t:i:N::new'}]");
	check_part("snippets",
		   "{'version':4,'deployment':{'snippets':[{'uuid':'1','references':{'x':" URN("old") ",'y':" URN(
			   "b") "}}]}}",
		   "[{'kind':1,'operationID':1,'state':" R("new", ",'aliases':[" URN("old") "]") "}]",
		   "[{'uuid':'1','references':{'x':" URN("new") ",'y':" URN("b") "}}]");
}

static void check_features(const char *base, const char *resource, const char *wanted)
{
	struct json root = result_of(base, arena_printf(&arena, "[{'kind':1,'operationID':1,'state':%s}]", resource));
	int64_t version;
	assert_true(json_int64(json_get(root, "version"), &version));
	assert_int_equal(version, wanted ? 4 : 3);
	assert_text(json_get(root, "features"), wanted);
}

static void test_features(void **state)
{
	check_features(NULL, R("a", ",'taint':false,'viewOf':'','resourceHooks':{},'replaceWith':[]"), NULL);
	check_features(NULL, R("a", ",'viewOf':'x','taint':true,'refreshBeforeUpdate':true"),
		       "['refreshBeforeUpdate','taint','views']");
	check_features(NULL,
		       R("a", ",'snippetID':'s','resourceHooks':{'x':['y']},'replaceWith':['u'],'extensionRef':'e'"),
		       "['extensionParameterization','hooks','replaceWith','snippets-prototype']");
	check_features("{'version':4,'features':['byteString'],'deployment':{}}", R("a", ""), "['byteString']");
	/* What a newer engine declared stays, although nobody here knows it. */
	check_features("{'version':4,'features':['fromTheFuture'],'deployment':{}}", R("a", ",'taint':true"),
		       "['taint','fromTheFuture']");
	check_features("{'version':4,'features':['fromTheFuture'],'deployment':{}}", R("a", ""), "['fromTheFuture']");
	/* A known one comes from the resources alone. */
	check_features("{'version':4,'features':['taint'],'deployment':{}}", R("a", ""), NULL);
	struct json root =
		result_of(NULL, "[{'kind':1,'operationID':1,'requiresByteString':true,'state':" R("a", "") "}]");
	assert_text(json_get(root, "features"), "['byteString']");
	root = result_of(NULL, "[{'kind':6,'operationID':1,'requiresByteString':true,'secretsProvider':{}}]");
	assert_text(json_get(root, "features"), NULL);
}

static void test_order_and_repeats(void **state)
{
	check(NULL,
	      "[{'sequenceID':5,'kind':1,'operationID':2,'state':" R(
		      "b",
		      "") "},{'sequenceID':2,'kind':1,'operationID':1,"
			  "'state':" R("a", "") "},{'sequenceID':5,'kind':1,'operationID':2,'state':" R(
				  "again",
				  "") "},"
				      "{'sequenceID':9007199254740993,'kind':1,'operationID':9007199254740993,'state':" R(
					      "c", "") "}]",
	      "[" R("a", "") "," R("b", "") "," R("c", "") "]");
}

static void test_text_stays(void **state)
{
	const char *text =
		R("a", ",'inputs':{'n':[1.0,1e400,-0.0,12345678901234567890123],'s':'\\u003cb\\u003e \\ud83d\\ude00'}");
	check(NULL, arena_printf(&arena, "[{'kind':1,'operationID':1,'state':%s}]", text),
	      arena_printf(&arena, "[%s]", text));
	/* Also where a member beside it is changed, and keys that are spelled with escapes. */
	check(BASE("{'\\u0075rn':" URN("a") ",'inputs':{'n':1.0} , 'delete' : false}"),
	      "[{'kind':1,'operationID':1,'deleteOld':0}]",
	      "[{'\\u0075rn':" URN("a") ",'inputs':{'n':1.0},'delete':true}]");
}

static void test_manifest_and_metadata(void **state)
{
	struct json root =
		result_of("{'version':3,'deployment':{'manifest':{'plugins':[]},'metadata':{'integrity_error':{}},"
			  "'unknown':{'x':1.0}}}",
			  "[]");
	struct json d = json_get(root, "deployment");
	assert_text(json_path(d, "manifest", "magic", NULL),
		    "'ab35920a3077459b09dd1a3f7ddc28df4e3efc81b3240013bb6906688abc684d'");
	assert_text(json_path(d, "manifest", "time", NULL), "'1970-01-01T00:00:00.000000Z'");
	assert_text(json_get(d, "metadata"), "{'integrity_error':{}}");
	assert_text(json_get(d, "unknown"), "{'x':1.0}");
	assert_text(json_path(result_of(NULL, "[]"), "deployment", "metadata", NULL), "{}");
}

static void refuse(const char *entry, const char *message)
{
	int64_t count;
	struct json body = json_of(arena_printf(&arena, "{'entries':[%s]}", entry));
	assert_int_equal(journal_body_check(body, &count, &err), -ERR_BAD_REQUEST);
	assert_string_equal(err.message, message);
}

static void test_what_is_refused(void **state)
{
	refuse("1", "/entries/0: must be an object");
	refuse("{'kind':10,'sequenceID':1}", "/entries/0: kind: must be an integer from 0 to 9");
	refuse("{'version':2,'kind':0,'sequenceID':1}", "/entries/0: version: must be 1");
	refuse("{'version':'1','kind':0,'sequenceID':1}", "/entries/0: version: must be an integer");
	refuse("{'sequenceID':1}", "/entries/0: kind: is required");
	refuse("{'kind':1}", "/entries/0: sequenceID: must be an integer of at least 1");
	refuse("{'kind':1,'sequenceID':0}", "/entries/0: sequenceID: must be an integer of at least 1");
	refuse("{'kind':1,'sequenceID':1.5}", "/entries/0: sequenceID: must be an integer");
	refuse("{'kind':1,'sequenceID':1,'state':[]}", "/entries/0: state: must be an object");
	refuse("{'kind':1,'sequenceID':1,'state':{}}", "/entries/0: state/urn: must be a string");
	refuse("{'kind':0,'sequenceID':1,'operation':{}}", "/entries/0: operation/resource: must be an object");
	refuse("{'kind':5,'sequenceID':1}", "/entries/0: newSnapshot: is required");
	refuse("{'kind':5,'sequenceID':1,'newSnapshot':{'resources':{}}}",
	       "/entries/0: newSnapshot/resources: must be an array");
	refuse("{'kind':6,'sequenceID':1}", "/entries/0: secretsProvider: is required");
	refuse("{'kind':8,'sequenceID':1,'extension':{}}", "/entries/0: extensionRef: is required");
	refuse("{'kind':9,'sequenceID':1,'snippets':{}}", "/entries/0: snippets: must be an array");
	int64_t count;
	assert_int_equal(journal_body_check(json_of("{'entries':{}}"), &count, &err), -ERR_BAD_REQUEST);
	assert_int_equal(journal_body_check(json_of("{}"), &count, &err), -ERR_BAD_REQUEST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(base_stays),
		TEST(success_appends_before_the_base),
		TEST(success_removes),
		TEST(success_marks),
		TEST(unknown_references_change_nothing),
		TEST(outputs_and_refresh_replace_in_place),
		TEST(marks_and_replacements),
		TEST(pending_operations),
		TEST(failure_drops_the_state),
		TEST(write_replaces_the_base),
		TEST(secrets_manager),
		TEST(rebuilt_base_state),
		TEST(extensions),
		TEST(snippets),
		TEST(refresh_drops_dangling_references),
		TEST(aliases),
		TEST(features),
		TEST(order_and_repeats),
		TEST(text_stays),
		TEST(manifest_and_metadata),
		TEST(what_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
