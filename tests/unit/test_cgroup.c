#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "os/cgroup_files.h"
#include "os/file.h"
#include "os/process.h"

static char base[64];
static struct arena arena;

static int set_up(void **state)
{
	snprintf(base, sizeof(base), "/tmp/slipway-cgroup-XXXXXX");
	arena_init(&arena, 1 << 20);
	return mkdtemp(base) ? 0 : -1;
}

static int tear_down(void **state)
{
	arena_done(&arena);
	return file_remove_tree(base, NULL);
}

static const char *in(const char *name)
{
	return arena_printf(&arena, "%s/%s", base, name);
}

static void put(const char *name, const char *text)
{
	char *folder = arena_strdup(&arena, in(name));
	*strrchr(folder, '/') = '\0';
	assert_int_equal(file_mkdir_p(folder, 0755, NULL), 0);
	assert_int_equal(file_write_atomic(in(name), str_of(text), 0644, NULL), 0);
}

static void assert_text(const char *name, const char *text)
{
	struct str got;
	assert_int_equal(file_read(&arena, in(name), 4096, &got, NULL), 0);
	assert_string_equal(str_dup(&arena, got), text);
}

static struct cgroup_base find(const char *mountinfo, const char *self)
{
	struct cgroup_base found;
	put("mountinfo", mountinfo);
	put("self", self);
	assert_int_equal(cgroup_find(&arena, in("mountinfo"), in("self"), "slipway-x", &found, NULL), 0);
	return found;
}

static const struct cgroup_limits some = { .memory_bytes = 64 << 20, .pids = 50, .cpu_percent = 150 };

/* What the kernel would do when a group is removed: its files are not in the way. */
static void forget(struct cgroup *g)
{
	cgroup_close(g);
	for (int i = 0; i < CGROUP_KINDS; i++)
		free(g->dirs[i]);
}

/* A machine of systemd: our service has a group of its own, in which we are alone. */
static void test_version_2(void **state)
{
	put("fs/system.slice/slipway.service/cgroup.controllers", "cpuset cpu io memory pids\n");
	put("fs/system.slice/slipway.service/cgroup.subtree_control", "\n");
	struct cgroup_base found =
		find(arena_printf(&arena,
				  "22 1 0:21 / /proc rw - proc proc rw\n"
				  "36 25 0:32 / %s rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
				  in("fs")),
		     "0::/system.slice/slipway.service\n");
	for (int i = 0; i < CGROUP_KINDS; i++) {
		assert_string_equal(found.parents[i].dir, in("fs/system.slice/slipway.service"));
		assert_int_equal(found.parents[i].version, 2);
	}
	assert_text("fs/system.slice/slipway.service/cgroup.subtree_control", "+pids +memory +cpu");
	struct cgroup g;
	assert_int_equal(cgroup_make(&found, "one", &some, &g, NULL), 0);
	assert_int_equal(g.join_count, 1);
	assert_text("fs/system.slice/slipway.service/slipway-x-one/memory.max", "67108864");
	assert_text("fs/system.slice/slipway.service/slipway-x-one/memory.swap.max", "0");
	assert_text("fs/system.slice/slipway.service/slipway-x-one/memory.oom.group", "1");
	assert_text("fs/system.slice/slipway.service/slipway-x-one/pids.max", "50");
	assert_text("fs/system.slice/slipway.service/slipway-x-one/cpu.max", "150000 100000");
	put("fs/system.slice/slipway.service/slipway-x-one/memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\n");
	put("fs/system.slice/slipway.service/slipway-x-one/pids.events", "max 4\n");
	assert_int_equal(cgroup_oom_kills(&g), 3);
	assert_int_equal(cgroup_pids_refused(&g), 4);
	forget(&g);
}

/* A group that others are in too (a login): only root may go elsewhere, to the top. */
static void test_version_2_beside_others(void **state)
{
	put("fs/user.slice/session-1.scope/cgroup.controllers", "memory pids\n");
	/* A file that cannot be written stands for the kernel's refusal. */
	assert_int_equal(file_mkdir_p(in("fs/user.slice/session-1.scope/cgroup.subtree_control"), 0755, NULL), 0);
	put("fs/cgroup.controllers", "cpu memory pids\n");
	put("fs/cgroup.subtree_control", "memory pids\n");
	put("fs/slipway/cgroup.controllers", "memory pids\n");
	put("fs/slipway/cgroup.subtree_control", "\n");
	struct cgroup_base found = find(arena_printf(&arena, "36 25 0:32 / %s rw - cgroup2 cgroup2 rw\n", in("fs")),
					"0::/user.slice/session-1.scope\n");
	if (geteuid() == 0) {
		assert_string_equal(found.parents[CGROUP_MEMORY].dir, in("fs/slipway"));
		assert_string_equal(found.parents[CGROUP_PIDS].dir, in("fs/slipway"));
		assert_null(found.parents[CGROUP_CPU].dir);
		assert_text("fs/cgroup.subtree_control", "+cpu");
		assert_text("fs/slipway/cgroup.subtree_control", "+pids +memory");
	} else {
		assert_null(found.parents[CGROUP_MEMORY].dir);
	}
}

/* The older hierarchies, one of them shown from a group on (as in a container), and a newer one with what is left. */
static void test_both(void **state)
{
	put("unified/cgroup.controllers", "pids\n");
	put("unified/cgroup.subtree_control", "pids\n");
	assert_int_equal(file_mkdir_p(in("memory/below"), 0755, NULL), 0);
	assert_int_equal(file_mkdir_p(in("cpu"), 0755, NULL), 0);
	struct cgroup_base found = find(arena_printf(&arena,
						     "30 1 0:30 /docker/abc %s rw - cgroup cgroup rw,memory\n"
						     "31 1 0:31 / %s rw - cgroup cgroup rw,cpu,cpuacct\n"
						     "32 1 0:32 / %s rw - cgroup2 cgroup2 rw\n",
						     in("memory"), in("cpu"), in("unified")),
					"5:memory:/docker/abc/below\n4:cpu,cpuacct:/\n1:name=systemd:/x\n0::/\n");
	assert_string_equal(found.parents[CGROUP_MEMORY].dir, in("memory/below"));
	assert_string_equal(found.parents[CGROUP_CPU].dir, in("cpu"));
	assert_string_equal(found.parents[CGROUP_PIDS].dir, in("unified"));
	assert_int_equal(found.parents[CGROUP_MEMORY].version, 1);
	assert_int_equal(found.parents[CGROUP_PIDS].version, 2);
	struct cgroup g;
	assert_int_equal(cgroup_make(&found, "one", &some, &g, NULL), 0);
	assert_int_equal(g.join_count, 3);
	assert_text("memory/below/slipway-x-one/memory.limit_in_bytes", "67108864");
	assert_text("cpu/slipway-x-one/cpu.cfs_quota_us", "150000");
	assert_text("unified/slipway-x-one/pids.max", "50");
	put("memory/below/slipway-x-one/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
	assert_int_equal(cgroup_oom_kills(&g), 1);
	forget(&g);
	/* The same name again. */
	struct err e = { 0 };
	assert_true(cgroup_make(&found, "one", &some, &g, &e) < 0);
	assert_non_null(strstr(e.message, "slipway-x-one"));
	assert_text("unified/slipway-x-one/pids.max", "50");
}

static void test_none(void **state)
{
	static const char *const tables[][2] = {
		{ "", "" },
		{ "not a table\n\n- - -\n36 25", "0:\n::\n" },
		{ "36 25 0:32 /elsewhere /mnt rw - cgroup2 cgroup2 rw\n", "0::/here\n" },
		{ "36 25 0:32 / /mnt rw - cgroup2 cgroup2 rw\n", "0::/../..\n" },
		{ "36 25 0:32 / /nowhere rw - cgroup cgroup rw,memory\n", "3:memory:/\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		struct cgroup_base found = find(tables[i][0], tables[i][1]);
		cgroup_probe(&found);
		for (int kind = 0; kind < CGROUP_KINDS; kind++)
			assert_null(found.parents[kind].dir);
		struct cgroup g;
		assert_int_equal(cgroup_make(&found, "one", &some, &g, NULL), 0);
		assert_int_equal(g.join_count, 0);
		assert_int_equal(cgroup_oom_kills(&g), 0);
		cgroup_remove(&g);
	}
}

/* The machine's own. */
static struct cgroup_base real(void)
{
	struct cgroup_base found;
	const char *prefix = arena_printf(&arena, "slipway-test-%d", (int)getpid());
	assert_int_equal(cgroup_find(&arena, "/proc/self/mountinfo", "/proc/self/cgroup", prefix, &found, NULL), 0);
	cgroup_probe(&found);
	if (!found.parents[CGROUP_PIDS].dir || !found.parents[CGROUP_MEMORY].dir)
		skip();
	return found;
}

static int run(const struct cgroup *g, const char *script, struct process_status *ret)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct process_config c = { .argv = argv,
				    .stdin_fd = -1,
				    .stdout_fd = -1,
				    .stderr_fd = -1,
				    .new_session = true,
				    .join_fds = g->join_fds,
				    .join_count = g->join_count,
				    .oom_score = 900 };
	struct process p = PROCESS_NONE;
	assert_int_equal(process_spawn(&c, &p, NULL), 0);
	int r = process_wait(&p, 20000, ret, NULL);
	if (r == 0)
		process_kill(&p);
	return r;
}

static void test_real_limits(void **state)
{
	struct cgroup_base found = real();
	struct process_status s;
	struct cgroup g;
	const struct cgroup_limits limits = { .memory_bytes = 32 << 20, .pids = 20, .cpu_percent = 50 };
	assert_int_equal(cgroup_make(&found, "a", &limits, &g, NULL), 0);
	/* head keeps what it is given in one piece of memory. */
	assert_int_equal(
		run(&g,
		    "test $(cat /proc/self/oom_score_adj) = 900 || exit 9; head -c 100000000 /dev/zero | tail -c 90000000 >/dev/null",
		    &s),
		1);
	assert_true(s.signalled || s.code != 0);
	assert_int_not_equal(s.code, 9);
	assert_true(cgroup_oom_kills(&g) > 0);
	assert_int_equal(cgroup_pids_refused(&g), 0);
	assert_int_equal(
		run(&g,
		    "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 60 & done 2>/dev/null",
		    &s),
		1);
	assert_true(cgroup_pids_refused(&g) > 0);
	char *dir = strdup(g.dirs[CGROUP_PIDS]);
	cgroup_remove(&g);
	assert_int_not_equal(access(dir, F_OK), 0);
	free(dir);
}

/* What a former life left, processes included, and nothing of others. */
static void test_real_sweep(void **state)
{
	struct cgroup_base found = real(), other = found;
	struct process_status s;
	struct cgroup mine, theirs;
	other.prefix = arena_printf(&arena, "%sx", found.prefix);
	assert_int_equal(cgroup_make(&found, "a", &some, &mine, NULL), 0);
	assert_int_equal(cgroup_make(&other, "a", &some, &theirs, NULL), 0);
	assert_int_equal(run(&mine, "sleep 600 & setsid sleep 600 &", &s), 1);
	assert_int_equal(cgroup_sweep(&found), 1);
	assert_int_not_equal(access(mine.dirs[CGROUP_PIDS], F_OK), 0);
	assert_int_equal(access(theirs.dirs[CGROUP_PIDS], F_OK), 0);
	assert_int_equal(cgroup_sweep(&found), 0);
	cgroup_remove(&mine);
	cgroup_remove(&theirs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_version_2, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_version_2_beside_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_both, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_none, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_real_limits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_real_sweep, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
