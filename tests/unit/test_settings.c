/* Deployment settings: what is read, how it is merged (features §3). */
#include "deploy/settings.h"

#include "unit.h"

static struct arena arena;
static struct secrets_key key, other;

static int setup(void **state)
{
	struct err e;
	arena_init(&arena, 0);
	assert_int_equal(crypto_init(&e), 0);
	crypto_key_new(&key.key, 1);
	key.owner = "settings:one";
	other = key;
	other.owner = "settings:two";
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

static struct json parse(const char *text)
{
	struct json v = JSON_ABSENT;
	struct err e = { 0 };
	if (text && json_check(str_of(text), &v, &e) < 0)
		fail_msg("%s: %s", text, e.message);
	return v;
}

static const char *text_of(struct json v)
{
	return arena_strndup(&arena, v.p, v.n);
}

static void assert_json(struct json got, const char *wanted)
{
	if (!json_equal(got, parse(wanted)))
		fail_msg("%s, not %s", text_of(got), wanted);
}

/* The appendix of RFC 7396, as far as targets and patches are objects. */
static void merge_as_the_rfc_says(void **state)
{
	static const char *const rows[][3] = {
		{ "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
		{ "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
		{ "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
		{ "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
		{ "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
		{ "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
		{ "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
		{ "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
		{ "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
		{ "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
		{ NULL, "{\"a\":{\"b\":1},\"c\":null}", "{\"a\":{\"b\":1}}" },
		/* ours: a secret and an image are one value */
		{ "{\"s\":{\"$sealed\":\"x\"}}", "{\"s\":{\"$sealed\":\"y\"}}", "{\"s\":{\"$sealed\":\"y\"}}" },
		{ "{\"s\":\"plain\"}", "{\"s\":{\"$sealed\":\"y\"}}", "{\"s\":{\"$sealed\":\"y\"}}" },
		{ "{\"executorImage\":{\"reference\":\"a\",\"credentials\":{}}}",
		  "{\"executorImage\":{\"reference\":\"b\"}}", "{\"executorImage\":{\"reference\":\"b\"}}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct json got;
		struct err e = { 0 };
		assert_int_equal(settings_merge(parse(rows[i][0]), parse(rows[i][1]), &arena, &got, &e), 0);
		assert_json(got, rows[i][2]);
	}
}

static int read_as(const char *in, const char *stored, enum settings_mode mode, struct settings_input *ret,
		   struct err *e)
{
	*e = (struct err){ 0 };
	return settings_read(parse(in), parse(stored), &key, mode, &arena, NULL, ret, e);
}

static void names_and_shapes(void **state)
{
	static const char *const rows[][2] = {
		{ "{\"sourceContext\":{\"git\":{\"repoURL\":\"u\"}}}",
		  "{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\"},\"hg\":null,\"template\":null}}" },
		{ "{\"tag\":\"a\",\"tag\":\"b\"}", "{\"tag\":\"b\"}" },
		{ "{\"executorContext\":{\"executorImage\":\"img\"}}",
		  "{\"executorContext\":{\"executorImage\":\"img\"}}" },
		{ "{\"version\":7,\"source\":\"api\",\"cacheOptions\":{\"enable\":true}}",
		  "{\"cacheOptions\":{\"enable\":true}}" },
		{ "{\"operationContext\":null}", "{\"operationContext\":null}" },
		{ "{\"operationContext\":{\"environmentVariables\":{\"ciphertext\":\"a\",\"secret\":\"\",\"X\":null}}}",
		  "{\"operationContext\":{\"environmentVariables\":{\"ciphertext\":\"a\",\"secret\":\"\",\"X\":null}}}" },
		{ "{\"operationContext\":{\"oidc\":{\"aws\":{\"duration\":\"1h30m0.5s\",\"policyArns\":[]}}}}",
		  "{\"operationContext\":{\"oidc\":{\"aws\":{\"duration\":\"1h30m0.5s\",\"policyArns\":[]}}}}" },
		{ "{\"gitHub\":{\"installationId\":5,\"paths\":[\"a/**\"]}}",
		  "{\"gitHub\":{\"installationId\":\"5\",\"paths\":[\"a/**\"]}}" },
		{ "{\"operationContext\":{\"environmentVariables\":{\"A\":{\"isSecret\":false,\"value\":\"v\"}}}}",
		  "{\"operationContext\":{\"environmentVariables\":{\"A\":\"v\"}}}" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct settings_input in;
		struct err e;
		if (read_as(rows[i][0], NULL, SETTINGS_SAVE, &in, &e) < 0)
			fail_msg("%s: %s", rows[i][0], e.message);
		assert_json(in.patch, rows[i][1]);
	}
}

static void errors_name_the_place(void **state)
{
	static const char *const rows[][2] = {
		{ "[]", "the body: must be an object" },
		{ "{\"sourceContext\":5}", "/sourceContext: must be an object" },
		{ "{\"sourceContext\":{\"git\":{\"branch\":{}}}}", "/sourceContext/git/branch: must be a string" },
		{ "{\"sourceContext\":{\"git\":{\"branch\":\"a\",\"commit\":\"b\"}}}",
		  "/sourceContext/git: branch and commit" },
		{ "{\"sourceContext\":{\"git\":{\"repoDir\":\"a/../../b\"}}}",
		  "/sourceContext/git/repoDir: must be a relative" },
		{ "{\"sourceContext\":{\"git\":{\"repoDir\":\"/etc\"}}}",
		  "/sourceContext/git/repoDir: must be a relative" },
		{ "{\"sourceContext\":{\"git\":{\"repoUrl\":\"a\"},\"template\":{\"sourceUrl\":\"b\"}}}",
		  "only one of" },
		{ "{\"operationContext\":{\"preRunCommands\":[\"a\",1]}}",
		  "/operationContext/preRunCommands/1: must be a string" },
		{ "{\"operationContext\":{\"environmentVariables\":{\"a b\":\"c\"}}}",
		  "/operationContext/environmentVariables/a b:" },
		{ "{\"operationContext\":{\"environmentVariables\":{\"A\":7}}}",
		  "/operationContext/environmentVariables/A:" },
		{ "{\"operationContext\":{\"environmentVariables\":{\"A\":\"x\\u0000y\"}}}", "NUL" },
		{ "{\"operationContext\":{\"environmentVariables\":{\"A\":{\"secret\":\"[secret]\"}}}}",
		  "no stored value" },
		{ "{\"operationContext\":{\"environmentVariables\":{\"A\":{}}}}", "neither" },
		{ "{\"operationContext\":{\"environmentVariables\":{\"A\":{\"ciphertext\":\"!\"}}}}",
		  "/A: the ciphertext is not valid" },
		{ "{\"operationContext\":{\"oidc\":{\"aws\":{\"duration\":\"soon\"}}}}",
		  "/operationContext/oidc/aws/duration: must be a dur" },
		{ "{\"vcs\":{\"provider\":\"sourceforge\"}}", "/vcs/provider: is not one of" },
		{ "{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\"}},\"gitHub\":{\"repository\":\"a/b\"}}",
		  "cannot be set together" },
		{ "{\"cacheOptions\":{\"enable\":\"yes\"}}", "/cacheOptions/enable: must be true or false" },
		{ "{\"agentPoolID\":5}", "/agentPoolID: must be a string" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct settings_input in;
		struct err e;
		int rc = read_as(rows[i][0], NULL, SETTINGS_SAVE, &in, &e);
		if (rc != -ERR_BAD_REQUEST || !strstr(e.message, rows[i][1]))
			fail_msg("%s: %d %s", rows[i][0], rc, e.message);
	}
}

static void unknown_fields_are_named(void **state)
{
	struct ignored_fields ig;
	struct settings_input in;
	struct err e = { 0 };
	ignored_fields_init(&ig);
	const char *text = "{\"surprise\":1,\"sourceContext\":{\"git\":{\"depth\":1,\"branch\":\"m\"}},"
			   "\"executorContext\":{\"workingDirectory\":\"\"}}";
	assert_int_equal(settings_read(parse(text), JSON_ABSENT, &key, SETTINGS_SAVE, &arena, &ig, &in, &e), 0);
	assert_int_equal(ig.count, 2);
	assert_non_null(strstr(ig.names.data, "/surprise"));
	assert_non_null(strstr(ig.names.data, "/sourceContext/git/depth"));
	ignored_fields_done(&ig);
}

static struct json variable(struct json document, const char *name)
{
	return json_path(document, "operationContext", "environmentVariables", name, NULL);
}

static void secrets_go_in_and_stay(void **state)
{
	struct settings_input in;
	struct err e;
	struct json stored, merged;
	struct str plain;
	const char *body =
		"{\"operationContext\":{\"environmentVariables\":{\"A\":{\"secret\":\"hush\"},\"B\":\"open\","
		"\"C\":{\"isSecret\":true,\"value\":\"third\"}}},"
		"\"sourceContext\":{\"git\":{\"gitAuth\":{\"accessToken\":\"bare\"}}}}";
	assert_int_equal(read_as(body, NULL, SETTINGS_SAVE, &in, &e), 0);
	assert_int_equal(settings_merge(JSON_ABSENT, in.patch, &arena, &stored, &e), 0);
	assert_null(memmem(stored.p, stored.n, "hush", 4));
	assert_null(memmem(stored.p, stored.n, "bare", 4)); /* a credential is sealed in any shape */
	assert_int_equal(secret_open(&key, variable(stored, "A"), &arena, &plain, &e), 0);
	assert_true(str_is(plain, "hush"));
	assert_int_equal(secret_open(&key, variable(stored, "C"), &arena, &plain, &e), 0);
	assert_true(str_is(plain, "third"));

	/* What a client reads, it may write again. */
	struct buf b;
	struct json_writer w;
	buf_init(&b, 1 << 20);
	jw_init(&w, &b);
	secrets_write_redacted(&w, stored, &arena);
	const char *shown = arena_strndup(&arena, b.data, b.len);
	buf_done(&b);
	assert_non_null(strstr(shown, "\"secret\":\"[secret]\",\"ciphertext\":\""));
	assert_null(strstr(shown, "$sealed"));
	assert_int_equal(read_as(shown, NULL, SETTINGS_SAVE, &in, &e), 0);
	assert_int_equal(settings_merge(JSON_ABSENT, in.patch, &arena, &merged, &e), 0);
	assert_true(json_equal(merged, stored));

	/* The marker alone keeps what is stored; a new value beside an old ciphertext is new. */
	const char *again = "{\"operationContext\":{\"environmentVariables\":{\"A\":{\"secret\":\"[secret]\"}}}}";
	assert_int_equal(read_as(again, text_of(stored), SETTINGS_SAVE, &in, &e), 0);
	assert_true(json_equal(variable(in.patch, "A"), variable(stored, "A")));
	const char *leaf = arena_printf(&arena,
					"{\"operationContext\":{\"environmentVariables\":{\"A\":{\"secret\":\"new\","
					"\"ciphertext\":%s}}}}",
					text_of(json_get(variable(stored, "A"), SECRET_LEAF)));
	assert_int_equal(read_as(leaf, text_of(stored), SETTINGS_SAVE, &in, &e), 0);
	assert_int_equal(secret_open(&key, variable(in.patch, "A"), &arena, &plain, &e), 0);
	assert_true(str_is(plain, "new"));

	/* Ciphertext of another stack. */
	e = (struct err){ 0 };
	assert_int_equal(settings_read(parse(shown), JSON_ABSENT, &other, SETTINGS_SAVE, &arena, NULL, &in, &e),
			 -ERR_BAD_REQUEST);
	assert_non_null(strstr(e.message, "was not encrypted for this stack"));
}

static void every_secret_is_collected(void **state)
{
	struct settings_input in;
	struct err e;
	struct secret_list list = { 0 };
	const char *body =
		"{\"executorContext\":{\"executorImage\":{\"reference\":\"r\",\"credentials\":{\"username\":\"u\","
		"\"password\":{\"secret\":\"one1\"}}}},\"sourceContext\":{\"git\":{\"gitAuth\":{\"sshAuth\":{"
		"\"sshPrivateKey\":{\"secret\":\"two2\"}}}}},\"operationContext\":{\"environmentVariables\":{\"X\":{"
		"\"secret\":\"three3\"},\"Y\":\"plain\"}}}";
	assert_int_equal(read_as(body, NULL, SETTINGS_SAVE, &in, &e), 0);
	assert_int_equal(secrets_collect(&key, in.patch, &arena, &list, &e), 0);
	assert_int_equal(list.count, 3);
	assert_true(str_is(list.items[0], "one1") && str_is(list.items[1], "two2") && str_is(list.items[2], "three3"));
}

static void merged(const char *saved, const char *request, enum settings_mode mode, const char *wanted)
{
	struct settings_input in;
	struct err e;
	struct json got;
	if (read_as(request, saved, mode, &in, &e) < 0)
		fail_msg("%s: %s", request, e.message);
	assert_int_equal(settings_merge(parse(saved), in.patch, &arena, &got, &e), 0);
	assert_json(got, wanted);
}

#define SAVED                                                                                      \
	"{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"branch\":\"main\",\"repoDir\":\"d\"}},"  \
	"\"operationContext\":{\"preRunCommands\":[\"a\"],\"environmentVariables\":{\"K\":\"v\"}," \
	"\"options\":{\"shell\":\"zsh\",\"skipInstallDependencies\":true}}}"

static void what_the_cli_sends_empty_wipes_nothing(void **state)
{
	merged(SAVED,
	       "{\"operation\":\"update\",\"inheritSettings\":true,\"executorContext\":{\"workingDirectory\":\"\"},"
	       "\"operationContext\":{\"preRunCommands\":[],\"operation\":\"\",\"environmentVariables\":{}},"
	       "\"agentPoolID\":null,\"sourceContext\":{\"git\":{\"repoUrl\":\"\",\"branch\":\"\"}}}",
	       SETTINGS_CREATE,
	       "{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"branch\":\"main\",\"repoDir\":\"d\"}},"
	       "\"operationContext\":{\"preRunCommands\":[\"a\"],\"environmentVariables\":{\"K\":\"v\"},"
	       "\"options\":{\"shell\":\"zsh\",\"skipInstallDependencies\":true}},\"executorContext\":{}}");
	/* but in the settings themselves, empty is empty */
	merged("{\"operationContext\":{\"preRunCommands\":[\"a\"]}}", "{\"operationContext\":{\"preRunCommands\":[]}}",
	       SETTINGS_SAVE, "{\"operationContext\":{\"preRunCommands\":[]}}");
	/* and an empty variable, or false, is a value */
	merged("{\"operationContext\":{\"environmentVariables\":{\"K\":\"v\"},\"options\":{\"deleteAfterDestroy\":true}}}",
	       "{\"operationContext\":{\"environmentVariables\":{\"K\":\"\"},\"options\":{\"deleteAfterDestroy\":false}}}",
	       SETTINGS_CREATE,
	       "{\"operationContext\":{\"environmentVariables\":{\"K\":\"\"},\"options\":{\"deleteAfterDestroy\":false}}}");
}

static void a_revision_takes_the_place_of_another(void **state)
{
	static const enum settings_mode modes[] = { SETTINGS_SAVE, SETTINGS_CREATE };
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		merged("{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"branch\":\"main\"}}}",
		       "{\"sourceContext\":{\"git\":{\"commit\":\"c0ffee\"}}}", modes[i],
		       "{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"commit\":\"c0ffee\"}}}");
		merged("{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"commit\":\"c0ffee\",\"tag\":\"t\"}}}",
		       "{\"sourceContext\":{\"git\":{\"branch\":\"next\"}}}", modes[i],
		       "{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"branch\":\"next\"}}}");
		merged("{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"branch\":\"m\"}}}",
		       "{\"sourceContext\":{\"template\":{\"sourceUrl\":\"t\"}}}", modes[i],
		       "{\"sourceContext\":{\"template\":{\"sourceUrl\":\"t\"}}}");
	}
	merged("{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"branch\":\"main\"}}}",
	       "{\"sourceContext\":{\"git\":{\"repoUrl\":\"\",\"branch\":\"\",\"commit\":\"c0ffee\"}}}",
	       SETTINGS_CREATE, "{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"commit\":\"c0ffee\"}}}");
}

/* How the repository is named in a run takes the place of how it was saved. */
static void a_repository_is_named_once(void **state)
{
	static const char *const url = "{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\",\"branch\":\"m\"}}}";
	static const char *const forge = "{\"gitHub\":{\"repository\":\"a/b\"},\"vcs\":{\"provider\":\"gitlab\"}}";
	merged(forge, "{\"sourceContext\":{\"git\":{\"repoUrl\":\"v\"}}}", SETTINGS_CREATE,
	       "{\"sourceContext\":{\"git\":{\"repoUrl\":\"v\"}}}");
	merged(url, "{\"gitHub\":{\"repository\":\"a/b\"}}", SETTINGS_CREATE,
	       "{\"sourceContext\":{\"git\":{\"branch\":\"m\"}},\"gitHub\":{\"repository\":\"a/b\"}}");
	merged(url, "{\"vcs\":{\"repository\":\"a/b\"},\"sourceContext\":{}}", SETTINGS_CREATE,
	       "{\"sourceContext\":{\"git\":{\"branch\":\"m\"}},\"vcs\":{\"repository\":\"a/b\"}}");
	merged(url,
	       "{\"vcs\":{\"repository\":\"a/b\"},\"sourceContext\":{\"git\":{\"repoUrl\":\"\",\"branch\":\"n\"}}}",
	       SETTINGS_CREATE, "{\"sourceContext\":{\"git\":{\"branch\":\"n\"}},\"vcs\":{\"repository\":\"a/b\"}}");
}

static void the_pool_is_taken_out(void **state)
{
	struct settings_input in;
	struct err e;
	assert_int_equal(read_as("{}", NULL, SETTINGS_CREATE, &in, &e), 0);
	assert_int_equal(in.pool, POOL_INHERIT);
	assert_int_equal(read_as("{\"agentPoolID\":null}", NULL, SETTINGS_CREATE, &in, &e), 0);
	assert_int_equal(in.pool, POOL_DEFAULT);
	assert_int_equal(read_as("{\"agentPoolID\":\"p\"}", NULL, SETTINGS_CREATE, &in, &e), 0);
	assert_int_equal(in.pool, POOL_NAMED);
	assert_string_equal(in.pool_id, "p");
	assert_json(in.patch, "{}");
}

static void the_operation_stands_at_the_top(void **state)
{
	struct settings_input in;
	struct err e;
	const char *text = "{\"operationContext\":{\"operation\":\"update\"}}";
	assert_int_equal(read_as(text, NULL, SETTINGS_CREATE, &in, &e), -ERR_BAD_REQUEST);
	assert_string_equal(e.message, "operation must only be set at the top level");
	assert_int_equal(read_as(text, NULL, SETTINGS_SAVE, &in, &e), 0);
}

static void the_whole_document(void **state)
{
	struct err e = { 0 };
	assert_int_equal(settings_check(parse("{}"), SETTINGS_SAVE, &e), 0);
	assert_int_equal(settings_check(parse("{\"sourceContext\":{\"template\":{}}}"), SETTINGS_SAVE, &e),
			 -ERR_BAD_REQUEST);
	assert_int_equal(settings_check(parse("{\"vcs\":{}}"), SETTINGS_SAVE, &e), -ERR_BAD_REQUEST);
	assert_false(settings_has_source(parse("{\"sourceContext\":{\"git\":{\"branch\":\"m\",\"repoUrl\":\"\"}}}")));
	assert_true(settings_has_source(parse("{\"sourceContext\":{\"git\":{\"repoUrl\":\"u\"}}}")));
	assert_true(settings_has_source(parse("{\"gitHub\":{\"repository\":\"a/b\"}}")));
	assert_true(settings_has_source(parse("{\"executorContext\":{\"executorImage\":\"i\"}}")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merge_as_the_rfc_says),
		cmocka_unit_test(names_and_shapes),
		cmocka_unit_test(errors_name_the_place),
		cmocka_unit_test(unknown_fields_are_named),
		cmocka_unit_test(secrets_go_in_and_stay),
		cmocka_unit_test(every_secret_is_collected),
		cmocka_unit_test(what_the_cli_sends_empty_wipes_nothing),
		cmocka_unit_test(a_revision_takes_the_place_of_another),
		cmocka_unit_test(a_repository_is_named_once),
		cmocka_unit_test(the_pool_is_taken_out),
		cmocka_unit_test(the_operation_stands_at_the_top),
		cmocka_unit_test(the_whole_document),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
