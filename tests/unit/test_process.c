#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/file.h"
#include "os/process.h"

static int run(const char *const *argv, struct buf *out, struct process_status *s)
{
	struct process_config c = { .argv = argv, .stdin_fd = -1 };
	struct err e = { 0 };
	int r = process_run(&c, 20000, out, s, &e);
	if (r < 0)
		print_message("%s\n", e.message);
	return r;
}

static void test_output_and_status(void **state)
{
	const char *argv[] = { "sh", "-c", "echo out; echo err >&2; exit 3", NULL };
	_cleanup_buf_ struct buf out;
	struct process_status s;
	char text[64];
	buf_init(&out, 4096);
	assert_int_equal(run(argv, &out, &s), 0);
	assert_true(str_is(buf_str(&out), "out\nerr\n"));
	assert_false(s.signalled);
	assert_int_equal(s.code, 3);
	assert_string_equal(process_status_text(s, text, sizeof(text)), "exit status 3");
}

static void test_missing_program(void **state)
{
	const char *argv[] = { "no-such-program-anywhere", NULL };
	const char *absolute[] = { "/no/such/program", NULL };
	struct process_config c = { .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	struct process p = PROCESS_NONE;
	struct err e = { 0 };
	assert_int_equal(process_spawn(&c, &p, &e), -ERR_NOT_FOUND);
	assert_non_null(strstr(e.message, "no-such-program-anywhere"));
	c.argv = absolute;
	assert_int_equal(process_spawn(&c, &p, &e), -ERR_NOT_FOUND);
	c.argv = (const char *[]){ "/", NULL };
	assert_int_equal(process_spawn(&c, &p, &e), -ERR_IO);
	c.argv = (const char *[]){ "true", NULL };
	c.cwd = "/no/such/folder";
	assert_int_equal(process_spawn(&c, &p, &e), -ERR_IO);
	assert_non_null(strstr(e.message, "/no/such/folder"));
	assert_int_equal(p.pid, 0);
}

/* Nothing of ours leaks: only what was named is open, wherever it lay before. */
static void test_descriptors(void **state)
{
	int leak = open("/dev/null", O_RDONLY);
	int one[2], two[2];
	assert_int_equal(pipe(one), 0);
	assert_int_equal(pipe(two), 0);
	/* The targets cross the sources. */
	struct process_fd fds[] = { { one[1], two[1] }, { two[1], one[1] } };
	char script[200];
	snprintf(script, sizeof(script), "echo first >&%d; echo second >&%d; ls /proc/self/fd | tr '\\n' ' ' >&%d",
		 two[1], one[1], one[1]);
	const char *argv[] = { "sh", "-c", script, NULL };
	struct process_config c = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .fds = fds, .fd_count = 2
	};
	struct process p;
	struct process_status s;
	struct err e = { 0 };
	char text[256] = "", expected[64];
	assert_int_equal(process_spawn(&c, &p, &e), 0);
	assert_int_equal(process_wait(&p, -1, &s, &e), 1);
	assert_int_equal(s.code, 0);
	assert_int_equal(read(one[0], text, sizeof(text)), 6);
	assert_memory_equal(text, "first\n", 6);
	memset(text, 0, sizeof(text));
	assert_true(read(two[0], text, sizeof(text) - 1) > 7);
	/* 3 is ls itself, which reads the folder. */
	snprintf(expected, sizeof(expected), "second\n0 1 2 3 %d %d ", one[1], two[1]);
	assert_string_equal(text, expected);
	int all[] = { leak, one[0], one[1], two[0], two[1] };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		close(all[i]);
}

static void test_environment_and_path(void **state)
{
	const char *argv[] = { "env", NULL };
	const char *envp[] = { "ONLY=this", NULL };
	_cleanup_buf_ struct buf out;
	struct process_config c = { .argv = argv, .envp = envp, .path = "/usr/bin:/bin", .stdin_fd = -1 };
	struct process_status s;
	struct err e = { 0 };
	buf_init(&out, 4096);
	assert_int_equal(process_run(&c, 20000, &out, &s, &e), 0);
	assert_true(str_is(buf_str(&out), "ONLY=this\n"));
	/* A relative element of the path is never the current folder. */
	c.path = ".:relative:";
	buf_reset(&out);
	assert_int_equal(process_run(&c, 20000, &out, &s, &e), -ERR_NOT_FOUND);
}

static void test_signals_are_fresh(void **state)
{
	const char *argv[] = { "sh", "-c", "grep -E '^(SigBlk|SigIgn)' /proc/self/status", NULL };
	_cleanup_buf_ struct buf out;
	struct process_status s;
	sigset_t all, before;
	buf_init(&out, 4096);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(run(argv, &out, &s), 0);
	signal(SIGPIPE, SIG_DFL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	assert_true(str_is(buf_str(&out), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"));
}

static void test_timeout_kills(void **state)
{
	const char *argv[] = { "sleep", "60", NULL };
	_cleanup_buf_ struct buf out;
	struct process_config c = { .argv = argv, .stdin_fd = -1, .new_session = true };
	struct process_status s;
	struct err e = { 0 };
	buf_init(&out, 4096);
	int64_t began = clock_mono_us();
	assert_int_equal(process_run(&c, 200, &out, &s, &e), -ERR_TIMEOUT);
	assert_true(clock_mono_us() - began < 5 * US_PER_S);
	struct process p;
	c.stdout_fd = c.stderr_fd = -1;
	assert_int_equal(process_spawn(&c, &p, &e), 0);
	assert_int_equal(process_wait(&p, 20, &s, &e), 0);
	process_signal(&p, SIGTERM, true);
	assert_int_equal(process_wait(&p, 5000, &s, &e), 1);
	assert_true(s.signalled);
	assert_int_equal(s.code, SIGTERM);
	process_kill(&p); /* gone: harmless */
}

static void test_output_is_bounded(void **state)
{
	const char *argv[] = { "sh", "-c", "head -c 1000000 /dev/zero", NULL };
	_cleanup_buf_ struct buf out;
	struct process_status s;
	buf_init(&out, 8192);
	assert_int_equal(run(argv, &out, &s), 0);
	assert_int_equal(s.code, 0);
	assert_true(out.len <= 8192);
}

/* A descendant that left its session and lost its parent is still found. */
static void test_kill_descendants(void **state)
{
	const char *argv[] = { "sh", "-c", "setsid sh -c 'sleep 61 & sleep 61 & wait' & sleep 61", NULL };
	struct process_config c = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .new_session = true
	};
	struct process p;
	struct err e = { 0 };
	pid_t sub = fork();
	if (sub == 0) {
		int ok = process_become_subreaper(&e) == 0 && process_spawn(&c, &p, &e) == 0;
		usleep(300000);
		kill(p.pid, SIGKILL); /* its children are ours now */
		usleep(50000);
		int found = process_kill_descendants(getpid());
		while (waitpid(-1, NULL, 0) > 0)
			;
		_exit(ok && found >= 3 && process_kill_descendants(getpid()) == 0 ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(sub, &status, 0), sub);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* What has lost its parents and its session is found by where it works, or by what it knows of the folder. */
static void test_kill_in(void **state)
{
	char dir[] = "/tmp/process-XXXXXX", other[64], command[512];
	assert_non_null(mkdtemp(dir));
	snprintf(other, sizeof(other), "%s-other", dir); /* a name that only begins like it */
	assert_int_equal(mkdir(other, 0700), 0);
	snprintf(command, sizeof(command),
		 "(cd %s && env -i setsid sleep 61 &) ; (X=/a:%s/b setsid sleep 62 &) ; "
		 "(cd %s && Y=%s setsid sleep 63 & echo $!)",
		 dir, dir, other, other);
	const char *argv[] = { "sh", "-c", command, NULL };
	struct process_config c = { .argv = argv, .stdin_fd = -1 };
	struct process_status s;
	struct err e = { 0 };
	_cleanup_buf_ struct buf out;
	int64_t spared;
	buf_init(&out, 100);
	assert_int_equal(process_run(&c, 20000, &out, &s, &e), 0);
	assert_true(str_to_int64(str_trim(buf_str(&out)), &spared));
	/* They may still be shells that have not come so far, and one that is killed may be met again before it is gone: so it
	 * is looked at until two were found and none was for a while. */
	int found = 0;
	for (int tries = 0, quiet = 0; (found < 2 || quiet < 20) && tries < 1000; tries++) {
		usleep(10000);
		int more = process_kill_in(dir);
		found += more;
		quiet = more ? 0 : quiet + 1;
	}
	assert_true(found >= 2);
	assert_int_equal(kill((pid_t)spared, 0), 0);
	assert_true(process_kill_in(other) >= 1);
	assert_int_equal(rmdir(other), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void *spawn_many(void *arg)
{
	for (int i = 0; i < 50; i++) {
		const char *argv[] = { "true", NULL };
		struct process_status s;
		_cleanup_buf_ struct buf out;
		struct process_config c = { .argv = argv, .stdin_fd = -1 };
		buf_init(&out, 100);
		if (process_run(&c, 20000, &out, &s, NULL) != 0 || s.signalled || s.code != 0)
			return arg;
	}
	return NULL;
}

static void test_from_many_threads(void **state)
{
	pthread_t threads[4];
	int wrong = 0;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, spawn_many, &wrong), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		void *result;
		pthread_join(threads[i], &result);
		assert_null(result);
	}
}

/* As root: the child gets another user, and sees a folder that this user could not reach, under the stage. */
static void test_drop_and_mounts(void **state)
{
	if (geteuid() != 0)
		skip();
	char dir[] = "/tmp/slipway-test-XXXXXX", inner[64], file[80];
	assert_non_null(mkdtemp(dir)); /* 0700, root's */
	snprintf(inner, sizeof(inner), "%s/inner", dir);
	snprintf(file, sizeof(file), "%s/word", inner);
	assert_int_equal(mkdir(inner, 0755), 0);
	assert_int_equal(file_write_new(file, STR("found\n"), 0644, NULL), 0);
	struct process_mount mounts[] = { { .source = inner, .target = "seen", .read_only = true } };
	const char *argv[] = { "sh", "-c",
			       "id -u; id -G; cat " PROCESS_STAGE "/seen/word; touch " PROCESS_STAGE
			       "/seen/x || echo no",
			       NULL };
	struct process_config c = { .argv = argv,
				    .stdin_fd = -1,
				    .drop = true,
				    .uid = 64777,
				    .gid = 64777,
				    .mounts = mounts,
				    .mount_count = 1 };
	_cleanup_buf_ struct buf out;
	struct process_status s;
	struct err e = { 0 };
	buf_init(&out, 4096);
	int r = process_run(&c, 20000, &out, &s, &e);
	if (r < 0 && strstr(e.message, "mount"))
		skip(); /* a container without the right to mount */
	assert_int_equal(r, 0);
	assert_true(str_starts_with(buf_str(&out), "64777\n64777\nfound\n"));
	assert_true(str_ends_with(buf_str(&out), "no\n"));
	/* The host saw nothing of it. */
	assert_false(file_exists(PROCESS_STAGE "/seen"));
	assert_int_equal(file_remove_tree(dir, &e), 0);
}

static void test_remove_tree(void **state)
{
	char dir[] = "/tmp/slipway-test-XXXXXX", path[128], outside[] = "/tmp/slipway-keep-XXXXXX";
	struct err e = { 0 };
	assert_non_null(mkdtemp(dir));
	assert_non_null(mkdtemp(outside));
	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	assert_int_equal(file_mkdir_p(path, 0700, &e), 0);
	snprintf(path, sizeof(path), "%s/a/link", dir);
	assert_int_equal(symlink(outside, path), 0);
	snprintf(path, sizeof(path), "%s/kept", outside);
	assert_int_equal(file_write_new(path, STR("x"), 0600, &e), 0);
	snprintf(path, sizeof(path), "%s/a/b", dir);
	assert_int_equal(chmod(path, 0), 0);
	assert_int_equal(file_remove_tree(dir, &e), 0);
	assert_false(file_exists(dir));
	snprintf(path, sizeof(path), "%s/kept", outside);
	assert_true(file_exists(path));
	assert_int_equal(file_remove_tree(outside, &e), 0);
	assert_int_equal(file_remove_tree(outside, &e), 0); /* nothing there is fine */
}

static void test_files(void **state)
{
	char dir[] = "/tmp/slipway-test-XXXXXX", path[128];
	_cleanup_arena_ struct arena a;
	struct err e = { 0 };
	struct str text;
	int one, two;
	struct stat st;
	arena_init(&a, 1 << 20);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(file_read(&a, path, 100, &text, &e), -ERR_NOT_FOUND);
	assert_int_equal(file_write_atomic(path, STR("one"), 0600, &e), 0);
	assert_int_equal(file_write_atomic(path, STR("three"), 0640, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(file_read(&a, path, 100, &text, &e), 0);
	assert_true(str_is(text, "three"));
	assert_int_equal(file_read(&a, path, 4, &text, &e), -ERR_TOO_LARGE);
	assert_int_equal(file_read(&a, path, 5, &text, &e), 0);
	assert_int_equal(file_write_new(path, STR("x"), 0600, &e), -ERR_CONFLICT);
	snprintf(path, sizeof(path), "%s/lock", dir);
	assert_int_equal(file_lock(path, &one, &e), 0);
	assert_int_equal(file_lock(path, &two, &e), -ERR_CONFLICT);
	close(one);
	assert_int_equal(file_lock(path, &two, &e), 0);
	close(two);
	assert_int_equal(file_remove_tree(dir, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output_and_status),
		cmocka_unit_test(test_missing_program),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_environment_and_path),
		cmocka_unit_test(test_signals_are_fresh),
		cmocka_unit_test(test_timeout_kills),
		cmocka_unit_test(test_output_is_bounded),
		cmocka_unit_test(test_kill_descendants),
		cmocka_unit_test(test_from_many_threads),
		cmocka_unit_test(test_drop_and_mounts),
		cmocka_unit_test(test_kill_in),
		cmocka_unit_test(test_remove_tree),
		cmocka_unit_test(test_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
