#include "unit.h"

#include <unistd.h>

#include "executor/executor.h"
#include "executor/plan.h"
#include "os/file.h"

static const char text[] = "{\"version\":2,\"root\":\"/\",\"tree\":\"/deployment\",\"workDir\":\"/deployment/infra\","
			   "\"stack\":\"acme/shop/prod\",\"operation\":\"destroy\",\"shell\":\"sh\","
			   "\"preRunCommands\":[\"one\",\"two \\\"x\\\"\"],\"skipInstallDependencies\":true,"
			   "\"deleteAfterDestroy\":true,\"remediateIfDriftDetected\":false,"
			   "\"environment\":[[\"A\",\"1\"],[\"B\",\"x=y\\nz\"],[\"A\",\"2\"]]}";

static void check(const struct plan *p)
{
	assert_string_equal(p->work_dir, "/deployment/infra");
	assert_string_equal(p->stack, "acme/shop/prod");
	assert_string_equal(p->operation, "destroy");
	assert_string_equal(p->shell, "sh");
	assert_string_equal(p->pre_run[0], "one");
	assert_string_equal(p->pre_run[1], "two \"x\"");
	assert_null(p->pre_run[2]);
	assert_true(p->skip_install_dependencies);
	assert_true(p->delete_after_destroy);
	assert_false(p->remediate_if_drift_detected);
	assert_string_equal(env_set_get(p->env, "A"), "2");
	assert_string_equal(env_set_get(p->env, "B"), "x=y\nz");
	assert_null(env_set_get(p->env, "C"));
	assert_int_equal(p->env->n, 2);
}

static void from_file(void **state)
{
	char path[] = "/tmp/slipway-plan-XXXXXX";
	_cleanup_arena_ struct arena a;
	struct plan p;
	struct err e = { 0 };
	arena_init(&a, 0);
	close(mkstemp(path));
	unlink(path);
	assert_int_equal(file_write_new(path, STR(text), 0600, &e), 0);
	assert_int_equal(plan_load(path, &a, &p, &e), 0);
	check(&p);
	assert_false(file_exists(path)); /* its secrets are on no disk any more */
}

static void from_descriptor(void **state)
{
	_cleanup_arena_ struct arena a;
	struct plan p;
	struct err e = { 0 };
	char source[32];
	int fd, reserved = dup(0); /* descriptor 3 is the frames' */
	arena_init(&a, 0);
	assert_int_equal(file_memory("plan", STR(text), &fd, &e), 0);
	assert_true(fd > FRAME_FD);
	snprintf(source, sizeof(source), "fd:%d", fd);
	assert_int_equal(plan_load(source, &a, &p, &e), 0);
	check(&p);
	assert_int_equal(close(fd), -1); /* and no descriptor either */
	close(reserved);
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"version\":99,\"root\":\"/\",\"tree\":\"/\",\"workDir\":\"/\",\"stack\":\"s\",\"operation\":\"o\",\"environment\":[]}",
		"{\"version\":2,\"root\":\"/\",\"tree\":\"/\",\"workDir\":\"/\",\"stack\":\"s\",\"operation\":\"o\",\"environment\":[[\"A\"]]}",
		"{\"version\":2,\"root\":\"/\",\"tree\":\"/\",\"workDir\":\"/\",\"stack\":\"s\",\"operation\":\"o\",\"environment\":[[\"A\",\"a\\u0000b\"]]}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_arena_ struct arena a;
		struct plan p;
		struct err e = { 0 };
		arena_init(&a, 0);
		assert_int_equal(plan_parse(str_of(bad[i]), &a, &p, &e), -ERR_BAD_REQUEST);
	}
}

static void pulumi_env(void **state)
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf said;
	arena_init(&a, 0);
	buf_init(&said, 10000);
	struct env_set *s = env_set_new(&a);
	assert_true(env_set_put(s, STR("OLD"), STR("kept")));
	assert_true(env_set_load(s, STR("# a note\nA=1\r\n\nB_2=x=y z\nEMPTY=\nnonsense\n9X=1\nA-B=2\nLAST=no break"),
				 &said));
	assert_string_equal(env_set_get(s, "A"), "1");
	assert_string_equal(env_set_get(s, "B_2"), "x=y z");
	assert_string_equal(env_set_get(s, "EMPTY"), "");
	assert_string_equal(env_set_get(s, "LAST"), "no break");
	assert_string_equal(env_set_get(s, "OLD"), "kept");
	assert_int_equal(s->n, 5);
	assert_true(str_is(buf_str(&said),
			   "Loading PULUMI_ENV: A, B_2, EMPTY, LAST\n"
			   "warning: PULUMI_ENV: 3 lines without NAME=value ignored (the first is line 6)\n"));
	/* The same file again says nothing new. */
	buf_reset(&said);
	assert_true(env_set_load(s, STR("A=1\nB_2=changed\n"), &said));
	assert_true(str_is(buf_str(&said), "Loading PULUMI_ENV: B_2\n"));
	buf_reset(&said);
	assert_true(env_set_load(s, STR(""), &said));
	assert_int_equal(said.len, 0);
	assert_null(s->list[s->n]);
}

static void many_variables(void **state)
{
	_cleanup_arena_ struct arena a;
	char name[32];
	arena_init(&a, 0);
	struct env_set *s = env_set_new(&a);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "NAME_%d", i);
		assert_true(env_set_put(s, str_of(name), STR("v")));
	}
	assert_string_equal(env_set_get(s, "NAME_999"), "v");
	assert_null(env_set_get(s, "NAME_"));
	assert_null(s->list[1000]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(from_file),  cmocka_unit_test(from_descriptor), cmocka_unit_test(refused),
		cmocka_unit_test(pulumi_env), cmocka_unit_test(many_variables),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
