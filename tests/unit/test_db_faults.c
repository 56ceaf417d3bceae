/*
 * Every call that the database makes of its disk fails once, in turn: the first one, the second one, ... until none is left
 * to fail (as SQLite and dqlite test themselves); and again with all later calls failing too, until the disk is healed.
 *
 * Whatever happens: a write that was acknowledged is there, at once and after a new start; one that was refused is there
 * whole or not at all; and when the fault is gone the database works again without being opened anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/str.h"
#include "db/db.h"
#include "db/migrate.h"
#include "db/queries_sample.h"
#include "fault_vfs.h"

extern const struct db_migration db_test_migrations[];
extern const size_t db_test_migrations_count;

#define THREADS 3
#define WRITES 5
/* Every call of a small load; ... */
#define SMALL_BYTES 3000
/* ... and some of a load with enough pages for checkpoints between the groups. */
#define LARGE_BYTES 300000
/* More calls of a kind than any run makes. */
#define N_MAX 50000

struct run {
	char dir[64], path[128];
	struct db *db;
	size_t body_bytes;
	bool acknowledged[THREADS][WRITES + 1];
};

struct writing {
	struct run *run;
	int thread;
};

/* Two rows in one function: both or none. */
static int put_pair_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct thing_put_in *one = arg;
	struct thing_put_in twin = *one;
	char id[40];
	snprintf(id, sizeof(id), "%s-twin", one->id);
	twin.id = id;
	twin.body = STR("");
	int rc = q_thing_put(c, &twin, e);
	return rc < 0 ? rc : q_thing_put(c, one, e);
}

static bool put(const struct run *r, int thread, int i)
{
	static char body[LARGE_BYTES];
	char id[32];
	snprintf(id, sizeof(id), "%d-%d", thread, i);
	struct thing_put_in in = {
		.id = id, .n = i, .n_opt = DB_NULL_INT, .ratio = NAN, .body = { body, r->body_bytes }
	};
	struct err e = { 0 };
	int rc = db_write(r->db, put_pair_fn, &in, &e);
	if (rc < 0 && e.code != ERR_IO && e.code != ERR_NO_SPACE && e.code != ERR_UNAVAILABLE)
		fail_msg("%s: %s", err_status_text(e.code), e.message);
	return rc >= 0;
}

static void *writer(void *arg)
{
	struct writing *w = arg;
	for (int i = 0; i < WRITES; i++)
		w->run->acknowledged[w->thread][i] = put(w->run, w->thread, i);
	return NULL;
}

static int open_db(struct run *r, struct err *e)
{
	return db_open_with(r->path, db_test_migrations, db_test_migrations_count, &r->db, e);
}

struct lookup {
	struct arena *a;
	const struct run *run;
};

static int compare_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct lookup *l = arg;
	for (int t = 0; t < THREADS; t++) {
		for (int i = 0; i <= WRITES; i++) {
			char id[32], twin[40];
			struct thing_get_row row;
			snprintf(id, sizeof(id), "%d-%d", t, i);
			snprintf(twin, sizeof(twin), "%s-twin", id);
			int there = q_thing_get(c, l->a, &(struct thing_get_in){ id }, &row, e);
			int also = there < 0 ? there : q_thing_get(c, l->a, &(struct thing_get_in){ twin }, &row, e);
			if (also < 0)
				return also;
			if (l->run->acknowledged[t][i] && !there)
				fail_msg("%s was acknowledged and is lost", id);
			if (there != also)
				fail_msg("%s is there by half", id);
		}
	}
	return 0;
}

static void compare(struct run *r)
{
	struct arena a;
	struct err e = { 0 };
	arena_init(&a, 0);
	struct lookup l = { &a, r };
	if (db_read(r->db, compare_fn, &l, &e) < 0)
		fail_msg("%s", e.message);
	arena_done(&a);
}

static void compare_after_new_start(struct run *r)
{
	sqlite3 *sqlite;
	sqlite3_stmt *stmt;
	struct err e = { 0 };
	db_close(r->db);
	if (open_db(r, &e) < 0)
		fail_msg("%s", e.message);
	compare(r);
	db_close(r->db);
	assert_int_equal(sqlite3_open(r->path, &sqlite), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(sqlite, "PRAGMA integrity_check", -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
	sqlite3_finalize(stmt);
	sqlite3_close(sqlite);
}

static void remove_files(struct run *r)
{
	static const char *const ends[] = { "", "-wal", "-shm" };
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		char path[160];
		snprintf(path, sizeof(path), "%s%s", r->path, ends[i]);
		unlink(path);
	}
	rmdir(r->dir);
}

struct fault {
	enum fault_call call;
	int code;
	bool for_good; /* all later calls fail, too */
	bool at_start; /* counted from the opening of the new database */
	size_t body_bytes;
};

/* The load, with the n-th call failing. False: nothing was left to fail. */
static bool run_once(const struct fault *f, int n)
{
	struct run r = { .body_bytes = f->body_bytes };
	struct err e = { 0 };
	struct writing writings[THREADS];
	pthread_t threads[THREADS];
	int hits = 0;
	/* In memory where that can be: it is about failed syncs, not about real ones, and there are thousands. */
	snprintf(r.dir, sizeof(r.dir), "%s/test_db_faults.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(r.dir));
	snprintf(r.path, sizeof(r.path), "%s/db", r.dir);
	if (f->at_start)
		fault_vfs_plan(f->call, n, f->code, f->for_good);
	int rc = open_db(&r, &e);
	if (rc < 0) {
		/* Refused, for the planned reason; the next start goes through. */
		hits = fault_vfs_hits();
		assert_true(f->at_start && hits > 0);
		fault_vfs_plan(f->call, 0, 0, false);
		if (open_db(&r, &e) < 0)
			fail_msg("after the fault: %s", e.message);
	}
	if (!f->at_start)
		fault_vfs_plan(f->call, n, f->code, f->for_good);
	for (int t = 0; t < THREADS; t++) {
		writings[t] = (struct writing){ &r, t };
		assert_int_equal(pthread_create(&threads[t], NULL, writer, &writings[t]), 0);
	}
	for (int t = 0; t < THREADS; t++)
		pthread_join(threads[t], NULL);
	hits += fault_vfs_hits();
	fault_vfs_plan(f->call, 0, 0, false);
	compare(&r);
	for (int t = 0; t < THREADS; t++) {
		r.acknowledged[t][WRITES] = put(&r, t, WRITES);
		assert_true(r.acknowledged[t][WRITES]);
	}
	compare(&r);
	compare_after_new_start(&r);
	remove_files(&r);
	return hits > 0;
}

static void run_all(enum fault_call call, int code, bool for_good)
{
	for (int i = 0; i < 3; i++) {
		struct fault f = { call, code, for_good, i == 0, i < 2 ? SMALL_BYTES : LARGE_BYTES };
		int n = 1;
		while (run_once(&f, n) && n < N_MAX)
			n += f.body_bytes == SMALL_BYTES || n < 8 ? 1 : n / 2;
		assert_true(n < N_MAX);
		/* It was met. Once a database is open, only writes and syncs are sure to come. */
		if (f.at_start || call == FAULT_WRITE || call == FAULT_SYNC)
			assert_true(n > 1);
	}
}

static void test_sync_fails(void **state)
{
	run_all(FAULT_SYNC, SQLITE_IOERR_FSYNC, false);
}

static void test_sync_fails_for_good(void **state)
{
	run_all(FAULT_SYNC, SQLITE_IOERR_FSYNC, true);
}

static void test_disk_is_full(void **state)
{
	run_all(FAULT_WRITE, SQLITE_FULL, false);
}

static void test_disk_is_full_for_good(void **state)
{
	run_all(FAULT_WRITE, SQLITE_FULL, true);
}

static void test_write_fails(void **state)
{
	run_all(FAULT_WRITE, SQLITE_IOERR_WRITE, false);
}

static void test_read_fails(void **state)
{
	run_all(FAULT_READ, SQLITE_IOERR_READ, false);
}

static void test_open_fails(void **state)
{
	run_all(FAULT_OPEN, SQLITE_CANTOPEN, false);
}

static void test_shared_memory_fails(void **state)
{
	run_all(FAULT_SHM, SQLITE_IOERR_SHMMAP, false);
}

/* The log begins anew by a cut only where a limit says so: at the end, and in a long one. */
static void test_truncate_fails(void **state)
{
	struct fault f = { FAULT_TRUNCATE, SQLITE_IOERR_TRUNCATE, true, true, LARGE_BYTES };
	run_once(&f, 1);
}

int main(void)
{
	fault_vfs_install();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sync_fails),     cmocka_unit_test(test_sync_fails_for_good),
		cmocka_unit_test(test_disk_is_full),   cmocka_unit_test(test_disk_is_full_for_good),
		cmocka_unit_test(test_write_fails),    cmocka_unit_test(test_read_fails),
		cmocka_unit_test(test_open_fails),     cmocka_unit_test(test_shared_memory_fails),
		cmocka_unit_test(test_truncate_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
