#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/disk.h"
#include "os/file.h"

static char base[] = "/tmp/slipway-disk-XXXXXX";

static int make_folder(void **state)
{
	snprintf(base, sizeof(base), "/tmp/slipway-disk-XXXXXX");
	return mkdtemp(base) ? 0 : -1;
}

static int remove_folder(void **state)
{
	return file_remove_tree(base, NULL);
}

static const char *in(const char *name)
{
	static char path[4][4096];
	static int next;
	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", base, name);
	return path[next];
}

static void write_bytes(const char *name, size_t n)
{
	int fd = open(in(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	char block[4096];
	memset(block, 'x', sizeof(block));
	for (; n; n -= n < sizeof(block) ? n : sizeof(block))
		assert_true(write(fd, block, n < sizeof(block) ? n : sizeof(block)) > 0);
	fsync(fd); /* some file systems give out blocks late */
	close(fd);
}

static int64_t use(void)
{
	int64_t bytes = -1;
	assert_int_equal(disk_use(base, NULL, &bytes, NULL), 0);
	return bytes;
}

static void test_what_counts(void **state)
{
	assert_int_equal(use(), 0);
	write_bytes("a", 1 << 20);
	int64_t one = use();
	assert_in_range(one, 1 << 20, (1 << 20) + 65536);
	/* A second name of the same file is nothing new. */
	assert_int_equal(link(in("a"), in("b")), 0);
	assert_in_range(use(), one, one + 2);
	/* A link is a small file, however large what it leads to. */
	assert_int_equal(symlink("/usr", in("c")), 0);
	assert_in_range(use(), one + 4094, one + 8192);
	/* A hole takes nothing, an empty file its inode. */
	int64_t before = use();
	int fd = open(in("hole"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, 1 << 30), 0);
	close(fd);
	assert_in_range(use(), before + 4096, before + 65536);
	before = use();
	for (int i = 0; i < 100; i++) {
		char name[16];
		snprintf(name, sizeof(name), "e%d", i);
		write_bytes(name, 0);
	}
	assert_int_equal(use(), before + 100 * 4096);
}

static void test_nested_without_end(void **state)
{
	int at = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 1500; i++) {
		assert_int_equal(mkdirat(at, "d", 0700), 0);
		int below = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(below >= 0);
		close(at);
		at = below;
	}
	close(at);
	int64_t bytes;
	assert_int_equal(disk_use(base, NULL, &bytes, NULL), -ERR_TOO_LARGE);
	/* And it can be removed (remove_folder fails otherwise). */
	assert_int_equal(file_remove_tree(in("d"), NULL), 0);
}

static void test_stopped(void **state)
{
	atomic_bool stop = true;
	int64_t bytes;
	write_bytes("a", 1);
	assert_int_equal(disk_use(base, &stop, &bytes, NULL), -ERR_CANCELLED);
}

static void test_space(void **state)
{
	struct disk_space before, after;
	assert_int_equal(disk_space(base, &before, NULL), 0);
	assert_true(before.free_bytes > 0 && before.total_bytes > before.free_bytes);
	write_bytes("a", 8 << 20);
	assert_int_equal(disk_space(base, &after, NULL), 0);
	assert_true(after.taken > before.taken);
	assert_true(disk_space(in("nothing"), &after, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_counts, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_nested_without_end, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_stopped, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_space, make_folder, remove_folder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
