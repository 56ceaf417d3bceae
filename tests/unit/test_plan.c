#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "executor/executor.h"
#include "executor/plan.h"
#include "os/file.h"

static const char text[] = "{\"version\":3,\"root\":\"/\",\"tree\":\"/deployment\",\"workDir\":\"/deployment/infra\","
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

/* What the agent writes, in pieces as a pipe may bring it. */
static void files_come_and_change(void **state)
{
	char folder[] = "/tmp/slipway-files-XXXXXX", plan[1024], path[128], message[512];
	_cleanup_arena_ struct arena a;
	struct plan p;
	struct str content;
	struct err e = { 0 };
	struct channel c;
	int frames[2], control[2];
	struct stat st;
	arena_init(&a, 0);
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/mnt/pulumi/token", folder);
	snprintf(plan, sizeof(plan),
		 "{\"version\":3,\"root\":\"/\",\"tree\":\"/\",\"workDir\":\"/\",\"stack\":\"s\",\"operation\":\"o\","
		 "\"environment\":[],\"filesRequired\":true,\"files\":[[\"%s\",\"one\"]]}",
		 path);
	assert_int_equal(plan_parse(str_of(plan), &a, &p, &e), 0);
	assert_int_equal(files_write(&p, &a, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(pipe(frames), 0);
	assert_int_equal(pipe(control), 0);
	channel_init(&c, frames[1], control[0]);
	size_t n = strlen(path) + 1 + strlen("a longer content");
	memcpy(message, (char[]){ CONTROL_FILE, (char)n, 0, 0, 0 }, FRAME_HEADER_BYTES);
	snprintf(message + FRAME_HEADER_BYTES, sizeof(message) - FRAME_HEADER_BYTES, "%s", path);
	memcpy(message + FRAME_HEADER_BYTES + strlen(path) + 1, "a longer content", 16);
	size_t length = FRAME_HEADER_BYTES + n;
	for (size_t i = 0; i < length; i++) {
		assert_int_equal(write(control[1], message + i, 1), 1);
		channel_pump(&c);
		assert_int_equal(file_read(&a, path, 100, &content, &e), 0);
		assert_true(str_is(content, i + 1 < length ? "one" : "a longer content"));
	}
	/* Two at once, the second being a cancel; a path's letters are not one. */
	message[length] = CONTROL_CANCEL;
	assert_false(c.cancelled);
	assert_int_equal(write(control[1], message, length + 1), length + 1);
	channel_pump(&c);
	assert_true(c.cancelled && !c.dead);
	assert_int_equal(write(control[1], (char[]){ CONTROL_FILE, 0, 0, 0, 127 }, FRAME_HEADER_BYTES),
			 FRAME_HEADER_BYTES);
	channel_pump(&c);
	assert_true(c.dead);
	for (int i = 0; i < 2; i++) {
		close(frames[i]);
		close(control[i]);
	}
	channel_done(&c);
	/* A folder that cannot be made. */
	snprintf(path, sizeof(path), "%s/mnt/pulumi/token/below", folder);
	struct plan_file bad = { path, STR("x") };
	p.files = &bad;
	assert_true(files_write(&p, &a, &e) < 0);
	assert_non_null(strstr(e.message, "the credentials of this run"));
	p.files_required = false;
	assert_int_equal(files_write(&p, &a, &e), 0);
	assert_int_equal(file_remove_tree(folder, &e), 0);
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
		"{\"version\":3,\"root\":\"/\",\"tree\":\"/\",\"workDir\":\"/\",\"stack\":\"s\",\"operation\":\"o\",\"environment\":[[\"A\"]]}",
		"{\"version\":3,\"root\":\"/\",\"tree\":\"/\",\"workDir\":\"/\",\"stack\":\"s\",\"operation\":\"o\",\"environment\":[[\"A\",\"a\\u0000b\"]]}",
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
		cmocka_unit_test(files_come_and_change),
		cmocka_unit_test(from_file),
		cmocka_unit_test(from_descriptor),
		cmocka_unit_test(refused),
		cmocka_unit_test(pulumi_env),
		cmocka_unit_test(many_variables),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
