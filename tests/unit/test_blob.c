#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "blob/blob.h"

/* SHA-256 of "hello" */
#define HELLO_KEY "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

struct fixture {
	char dir[64];
	struct blob_store *store;
	struct arena arena;
};

static void open_store(struct fixture *f)
{
	char path[128];
	struct err e = { 0 };
	snprintf(path, sizeof(path), "%s/blobs", f->dir);
	if (blob_open(path, &f->store, &e) < 0)
		fail_msg("%s", e.message);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_blob.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	arena_init(&f->arena, 0);
	open_store(f);
	*state = f;
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	blob_close(f->store);
	arena_done(&f->arena);
	nftw(f->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static const char *hello_path(struct fixture *f)
{
	return arena_printf(&f->arena, "%s/blobs/2c/f2/%s", f->dir, HELLO_KEY);
}

static int count_tmp(struct fixture *f)
{
	DIR *d = opendir(arena_printf(&f->arena, "%s/blobs/tmp", f->dir));
	assert_non_null(d);
	int n = 0;
	for (struct dirent *entry; (entry = readdir(d));)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static void test_put_get_delete(void **state)
{
	struct fixture *f = *state;
	char key[BLOB_KEY_SIZE];
	struct str got;
	struct err e = { 0 };
	assert_int_equal(blob_get(f->store, HELLO_KEY, &f->arena, &got, &e), -ERR_NOT_FOUND);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(blob_put(f->store, STR("hello"), key, &e), 0);
		assert_string_equal(key, HELLO_KEY);
	}
	assert_int_equal(blob_get(f->store, key, &f->arena, &got, &e), 0);
	assert_true(str_is(got, "hello"));
	assert_int_equal(count_tmp(f), 0);

	blob_close(f->store);
	open_store(f);
	assert_int_equal(blob_get(f->store, key, &f->arena, &got, &e), 0);
	assert_int_equal(blob_delete(f->store, key, &e), 0);
	assert_int_equal(blob_delete(f->store, key, &e), 0);
	assert_int_equal(blob_get(f->store, key, &f->arena, &got, &e), -ERR_NOT_FOUND);
}

static void test_empty_and_binary(void **state)
{
	struct fixture *f = *state;
	char key[BLOB_KEY_SIZE];
	struct str got;
	assert_int_equal(blob_put(f->store, STR(""), key, NULL), 0);
	assert_int_equal(blob_get(f->store, key, &f->arena, &got, NULL), 0);
	assert_non_null(got.p);
	assert_int_equal(got.n, 0);
	assert_int_equal(blob_put(f->store, STR("a\0b\xff"), key, NULL), 0);
	assert_int_equal(blob_get(f->store, key, &f->arena, &got, NULL), 0);
	assert_true(str_eq(got, STR("a\0b\xff")));
}

static void set_age(struct fixture *f, int64_t seconds)
{
	struct timespec then[2];
	clock_gettime(CLOCK_REALTIME, &then[0]);
	then[0].tv_sec -= seconds;
	then[1] = then[0];
	assert_int_equal(utimensat(AT_FDCWD, hello_path(f), then, 0), 0);
}

static void test_age(void **state)
{
	struct fixture *f = *state;
	char key[BLOB_KEY_SIZE], head[8];
	const char **keys;
	size_t count, n;
	int64_t bytes, hour_ago_us = clock_now_us() - US_PER_HOUR;
	assert_int_equal(blob_put(f->store, STR("hello"), key, NULL), 0);
	assert_int_equal(blob_older(f->store, 0x2c, hour_ago_us, &f->arena, &keys, &count, NULL), 0);
	assert_int_equal(count, 0);
	set_age(f, 7200);
	assert_int_equal(blob_older(f->store, 0x2c, hour_ago_us, &f->arena, &keys, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(keys[0], HELLO_KEY);
	assert_int_equal(blob_older(f->store, 0x2d, hour_ago_us, &f->arena, &keys, &count, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(blob_head(f->store, key, head, 3, &n, NULL), 0);
	assert_int_equal(n, 3);
	assert_memory_equal(head, "hel", 3);
	assert_int_equal(blob_head(f->store, key, head, sizeof(head), &n, NULL), 0);
	assert_int_equal(n, 5);

	/* A backup holds it. */
	blob_hold(f->store);
	assert_int_equal(blob_delete_older(f->store, key, hour_ago_us, &bytes, NULL), 0);
	assert_int_equal(bytes, 0);
	blob_release(f->store);
	/* Written anew, it is young. */
	assert_int_equal(blob_put(f->store, STR("hello"), key, NULL), 0);
	assert_int_equal(blob_delete_older(f->store, key, hour_ago_us, &bytes, NULL), 0);
	assert_int_equal(bytes, 0);
	set_age(f, 7200);
	assert_int_equal(blob_delete_older(f->store, key, hour_ago_us, &bytes, NULL), 0);
	assert_int_equal(bytes, 5);
	assert_int_equal(blob_delete_older(f->store, key, hour_ago_us, &bytes, NULL), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(blob_head(f->store, key, head, 3, &n, NULL), 0);
	assert_int_equal(n, 0);
}

static void test_what_is_no_key(void **state)
{
	static const char *const bad[] = {
		"",
		"..",
		"../../../../etc/passwd",
		"2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824",
		HELLO_KEY "0",
		"../4dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b98240",
	};
	struct fixture *f = *state;
	struct str got;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(blob_get(f->store, bad[i], &f->arena, &got, NULL), -ERR_NOT_FOUND);
		assert_int_equal(blob_delete(f->store, bad[i], NULL), 0);
	}
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void test_damage_is_seen(void **state)
{
	struct fixture *f = *state;
	char key[BLOB_KEY_SIZE];
	struct str got;
	struct err e = { 0 };
	assert_int_equal(blob_put(f->store, STR("hello"), key, NULL), 0);
	write_file(hello_path(f), "jello");
	assert_int_equal(blob_get(f->store, key, &f->arena, &got, &e), -ERR_IO);
	assert_non_null(strstr(e.message, "damaged"));
	/* A cut one is mended by the next writer. */
	write_file(hello_path(f), "hel");
	assert_int_equal(blob_get(f->store, key, &f->arena, &got, &e), -ERR_IO);
	assert_int_equal(blob_put(f->store, STR("hello"), key, NULL), 0);
	assert_int_equal(blob_get(f->store, key, &f->arena, &got, &e), 0);
}

static void test_left_overs_go(void **state)
{
	struct fixture *f = *state;
	const char *old = arena_printf(&f->arena, "%s/blobs/tmp/1-1", f->dir);
	write_file(old, "half");
	write_file(arena_printf(&f->arena, "%s/blobs/tmp/1-2", f->dir), "young");
	struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	assert_int_equal(utimensat(AT_FDCWD, old, times, 0), 0);
	blob_close(f->store);
	open_store(f);
	assert_int_equal(count_tmp(f), 1);
}

static void test_a_failed_write_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	char key[BLOB_KEY_SIZE] = "untouched";
	struct rlimit before, small;
	struct err e = { 0 };
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 4;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int rc = blob_put(f->store, STR("hello"), key, &e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(rc, -ERR_IO);
	assert_string_equal(key, "untouched");
	assert_int_equal(count_tmp(f), 0);
	assert_int_equal(access(hello_path(f), F_OK), -1);
}

static void *put_thread(void *arg)
{
	struct blob_store *s = arg;
	for (int i = 0; i < 20; i++) {
		char text[32], key[BLOB_KEY_SIZE];
		snprintf(text, sizeof(text), "the same for all %d", i);
		if (blob_put(s, str_of(text), key, NULL) < 0)
			return s;
		struct arena a;
		arena_init(&a, 0);
		struct str got;
		bool good = blob_get(s, key, &a, &got, NULL) == 0 && str_is(got, text);
		arena_done(&a);
		if (!good)
			return s;
	}
	return NULL;
}

static void test_many_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[8];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, put_thread, f->store), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(count_tmp(f), 0);
}

/* A file in the store's own folder is linked, one from elsewhere copied; either way it is a blob like others. */
static void test_a_file_becomes_a_blob(void **state)
{
	struct fixture *f = *state;
	const char *spool = arena_printf(&f->arena, "%s/blobs/" BLOB_SPOOL, f->dir);
	char key[BLOB_KEY_SIZE];
	struct str got;
	for (int i = 0; i < 3; i++) {
		struct err e = { 0 };
		struct stat file, blob;
		int fd = i == 0	  ? open(spool, O_TMPFILE | O_RDWR, 0600)
			 : i == 1 ? memfd_create("x", 0)
				  : open(spool, O_TMPFILE | O_RDWR | O_EXCL, 0600); /* may not be linked */
		assert_true(fd >= 0 && write(fd, "hello", 5) == 5);
		assert_int_equal(blob_put_file(f->store, fd, key, &e), 0);
		assert_string_equal(key, HELLO_KEY);
		assert_int_equal(fstat(fd, &file) | stat(hello_path(f), &blob), 0);
		assert_int_equal(file.st_ino == blob.st_ino && file.st_dev == blob.st_dev, i == 0);
		assert_int_equal(blob.st_mode & 0777, 0600);
		close(fd);
		assert_int_equal(blob_get(f->store, key, &f->arena, &got, &e), 0);
		assert_true(str_is(got, "hello"));
		assert_int_equal(count_tmp(f), 0);

		int64_t bytes;
		char text[6] = "";
		assert_int_equal(blob_open_file(f->store, key, &fd, &bytes, &e), 0);
		assert_int_equal(bytes, 5);
		assert_int_equal(pread(fd, text, 5, 0), 5);
		assert_string_equal(text, "hello");
		close(fd);
		assert_int_equal(blob_check(f->store, key, &e), 0);
		assert_int_equal(truncate(hello_path(f), 4), 0);
		assert_int_equal(blob_check(f->store, key, &e), -ERR_IO);
		assert_int_equal(blob_delete(f->store, key, &e), 0);
		assert_int_equal(blob_check(f->store, key, &e), -ERR_NOT_FOUND);
		assert_int_equal(blob_open_file(f->store, "../../etc/passwd", &fd, &bytes, &e), -ERR_NOT_FOUND);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_file_becomes_a_blob, setup, teardown),
		cmocka_unit_test_setup_teardown(test_put_get_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_and_binary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_age, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_left_overs_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_failed_write_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_threads, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
