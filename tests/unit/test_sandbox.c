#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "os/sandbox.h"

static bool has_pair(const char *const *argv, const char *option, const char *one, const char *two)
{
	for (size_t i = 0; argv[i]; i++) {
		if (strcmp(argv[i], option) == 0 && argv[i + 1] && strcmp(argv[i + 1], one) == 0 &&
		    (!two || (argv[i + 2] && strcmp(argv[i + 2], two) == 0)))
			return true;
	}
	return false;
}

static bool has(const char *const *argv, const char *word)
{
	for (size_t i = 0; argv[i]; i++) {
		if (strcmp(argv[i], word) == 0)
			return true;
	}
	return false;
}

static const char *const command[] = { "sh", "-c", "exit 0", NULL };
static const struct sandbox_bind binds[] = { { "/srv/tree", "/deployment", true },
					     { "/srv/tools", "/slipway/tools", false } };
static const char *const hide[] = { "/etc/hostname" };

static void test_arguments(void **state)
{
	_cleanup_arena_ struct arena a;
	struct sandbox_config c = { .bwrap = "/usr/bin/bwrap",
				    .uid = 64800,
				    .gid = 64800,
				    .binds = binds,
				    .bind_count = 2,
				    .hide = hide,
				    .hide_count = 1,
				    .memory_bytes = 80 << 20,
				    .cwd = "/deployment",
				    .command = command };
	const char *const *argv;
	struct err e = { 0 };
	arena_init(&a, 1 << 20);
	assert_int_equal(sandbox_arguments(&a, &c, &argv, &e), 0);
	assert_string_equal(argv[0], "/usr/bin/bwrap");
	static const char *const wanted[] = { "--unshare-user",	   "--unshare-pid", "--unshare-ipc", "--unshare-uts",
					      "--die-with-parent", "--new-session", "--as-pid-1",    "--clearenv" };
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_true(has(argv, wanted[i]));
	assert_true(has_pair(argv, "--cap-drop", "ALL", NULL));
	assert_true(has_pair(argv, "--bind", "/srv/tree", "/deployment"));
	assert_true(has_pair(argv, "--ro-bind", "/srv/tools", "/slipway/tools"));
	assert_true(has_pair(argv, "--ro-bind", "/usr", "/usr"));
	assert_true(has_pair(argv, "--ro-bind", "/dev/null", "/etc/hostname"));
	/* Exactly one thing of the host can be written. */
	size_t writable = 0;
	for (size_t i = 0; argv[i]; i++)
		writable += strcmp(argv[i], "--bind") == 0;
	assert_int_equal(writable, 1);
	static const char *const never[] = { "/root", "/home", "/var/lib", "/sys", "--dev-bind" };
	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		assert_false(has(argv, never[i]));
	assert_false(has_pair(argv, "--ro-bind", "/", NULL));
	/* No file system in memory without a size, but for those that cannot be written to. */
	for (size_t i = 1; argv[i]; i++) {
		if (strcmp(argv[i], "--tmpfs") == 0)
			assert_true(strcmp(argv[i - 2], "--size") == 0 ||
				    has_pair(argv, "--remount-ro", argv[i + 1], NULL));
	}
}

/* Runs a script inside, as an ordinary user. Skips where bubblewrap or user namespaces are missing. */
static struct str inside(const char *script, struct buf *out, bool *ret_skip)
{
	_cleanup_arena_ struct arena a;
	const char *const argv_inside[] = { "/bin/sh", "-c", script, NULL };
	struct err e = { 0 };
	arena_init(&a, 1 << 20);
	bool root = geteuid() == 0;
	struct sandbox_config c = { .bwrap = process_find(&a, "bwrap", NULL),
				    .uid = root ? 64800 : getuid(),
				    .gid = root ? 64800 : getgid(),
				    .hide = hide,
				    .hide_count = 1,
				    .memory_bytes = 80 << 20,
				    .cwd = "/tmp",
				    .command = argv_inside };
	const char *empty[] = { NULL };
	struct sandbox_fds fds;
	struct process_status s;
	*ret_skip = !c.bwrap;
	if (!c.bwrap)
		return STR_NULL;
	struct process_config p = { .envp = empty,
				    .cwd = "/",
				    .stdin_fd = -1,
				    .new_session = true,
				    .drop = root,
				    .uid = c.uid,
				    .gid = c.gid,
				    .fds = fds.fds };
	assert_int_equal(sandbox_arguments(&a, &c, &p.argv, &e), 0);
	assert_int_equal(sandbox_fds_open(&c, &fds, &e), 0);
	p.fd_count = fds.count;
	assert_int_equal(process_run(&p, 30000, out, &s, &e), 0);
	sandbox_fds_close(&fds);
	*ret_skip = strstr(out->data ? out->data : "", "bwrap: ") != NULL;
	return buf_str(out);
}

static void check(const char *script, const char *expected)
{
	_cleanup_buf_ struct buf out;
	bool skip_it;
	buf_init(&out, 64 * 1024);
	struct str said = inside(script, &out, &skip_it);
	if (skip_it)
		skip();
	if (!str_is(said, expected))
		print_message("%s\n -> %.*s\n", script, STR_ARG(said));
	assert_true(str_is(said, expected));
}

static void test_inside(void **state)
{
	check("echo $$; hostname; whoami; cat /etc/hostname 2>/dev/null; ls /proc/self/fd | wc -l",
	      "1\nslipway\nslipway\n4\n");
}

static void test_host_is_hidden(void **state)
{
	check("ls -d /root /home/* /var/lib /sys /srv 2>/dev/null; cat /etc/shadow 2>/dev/null; "
	      "touch /usr/x /etc/x /opt/x 2>/dev/null; ls /tmp | wc -l; ls /proc >/tmp/seen; grep -c '^[0-9]' /tmp/seen",
	      "/home/run\n0\n2\n");
}

static void test_memory_is_bounded(void **state)
{
	check("for d in / /tmp /home/run /dev/shm /var/tmp; do head -c 100000000 /dev/zero 2>/dev/null >$d/big; "
	      "echo $d $(($(stat -c %s $d/big) >> 20)); rm $d/big; done; "
	      "for d in /dev /proc /usr; do touch $d/x 2>/dev/null || echo no $d; done",
	      "/ 10\n/tmp 20\n/home/run 40\n/dev/shm 10\n/var/tmp 10\nno /dev\nno /proc\nno /usr\n");
}

static void test_system_calls(void **state)
{
	/* The sandbox has no namespaces to give, no mounts, no capabilities. */
	check("unshare -U true 2>/dev/null || echo no user namespace; mount -t tmpfs x /tmp 2>/dev/null || echo no mount; "
	      "grep CapEff /proc/self/status; grep ^Seccomp: /proc/self/status; grep NoNewPrivs /proc/self/status",
	      "no user namespace\nno mount\nCapEff:\t0000000000000000\nSeccomp:\t2\nNoNewPrivs:\t1\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),      cmocka_unit_test(test_inside),
		cmocka_unit_test(test_host_is_hidden), cmocka_unit_test(test_memory_is_bounded),
		cmocka_unit_test(test_system_calls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
