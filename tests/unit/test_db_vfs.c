/*
 * A disk that fails: a VFS between SQLite and the system whose n-th write, sync, truncation or open fails, for every n until
 * nothing is left to fail. Whatever fails, db_write says so or has done it; what it acknowledged is there when the
 * database is opened again; and when the disk is well again, so is the open database.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "db/conn.h"
#include "db/db.h"
#include "db/migrate.h"
#include "db/queries_sample.h"

extern const struct db_migration db_test_migrations[];
extern const size_t db_test_migrations_count;

enum kind { KIND_WRITE, KIND_SYNC, KIND_TRUNCATE, KIND_OPEN, KIND_COUNT };

/* Counts down; at 0 the operation fails, and (sticky) all after it. */
static atomic_int left[KIND_COUNT];
static atomic_bool sticky;
static atomic_int hits;

static bool fails(enum kind k)
{
	int n = atomic_load(&left[k]);
	if (n < 0)
		return false;
	if (n > 0) {
		atomic_store(&left[k], n - 1);
		return false;
	}
	if (!atomic_load(&sticky))
		atomic_store(&left[k], -1);
	atomic_fetch_add(&hits, 1);
	return true;
}

static void all_well(void)
{
	for (int k = 0; k < KIND_COUNT; k++)
		atomic_store(&left[k], -1);
	atomic_store(&hits, 0);
}

/* --- the VFS --- */

static sqlite3_vfs *real_vfs, shim_vfs;

struct shim_file {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
};

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct shim_file *)f)->real;
}

static int x_close(sqlite3_file *f)
{
	return real_of(f)->pMethods ? real_of(f)->pMethods->xClose(real_of(f)) : SQLITE_OK;
}
static int x_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}
static int x_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	if (fails(KIND_WRITE))
		return SQLITE_FULL;
	return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}
static int x_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	return fails(KIND_TRUNCATE) ? SQLITE_IOERR_TRUNCATE : real_of(f)->pMethods->xTruncate(real_of(f), n);
}
static int x_sync(sqlite3_file *f, int flags)
{
	return fails(KIND_SYNC) ? SQLITE_IOERR_FSYNC : real_of(f)->pMethods->xSync(real_of(f), flags);
}
static int x_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), ret);
}
static int x_lock(sqlite3_file *f, int l)
{
	return real_of(f)->pMethods->xLock(real_of(f), l);
}
static int x_unlock(sqlite3_file *f, int l)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), l);
}
static int x_check(sqlite3_file *f, int *ret)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}
static int x_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static int x_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static int x_device(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
static int x_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **ret)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), region, size, extend, ret);
}
static int x_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}
static void x_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}
static int x_shm_unmap(sqlite3_file *f, int del)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), del);
}

static const sqlite3_io_methods methods = { 2,	      x_close,	 x_read,     x_write,	    x_truncate, x_sync,
					    x_size,   x_lock,	 x_unlock,   x_check,	    x_control,	x_sector,
					    x_device, x_shm_map, x_shm_lock, x_shm_barrier, x_shm_unmap };

static int x_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct shim_file *f = (struct shim_file *)file;
	f->base.pMethods = NULL;
	f->real = (sqlite3_file *)(f + 1);
	if (fails(KIND_OPEN))
		return SQLITE_CANTOPEN;
	int rc = real_vfs->xOpen(real_vfs, name, f->real, flags, ret_flags);
	if (rc == SQLITE_OK)
		f->base.pMethods = &methods;
	return rc;
}

static int make_default(void **state)
{
	real_vfs = sqlite3_vfs_find(NULL);
	shim_vfs = *real_vfs;
	shim_vfs.zName = "failing";
	shim_vfs.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
	shim_vfs.xOpen = x_open;
	all_well();
	return sqlite3_vfs_register(&shim_vfs, 1) == SQLITE_OK ? 0 : -1;
}

/* --- the database above it --- */

#define WRITES 5

struct work {
	char dir[64], path[160];
	struct db *db;
	bool acknowledged[WRITES];
};

static void work_init(struct work *w)
{
	*w = (struct work){ 0 };
	snprintf(w->dir, sizeof(w->dir), "/tmp/test_db_vfs.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/db", w->dir);
}

static void work_done(struct work *w)
{
	static const char *const names[] = { "", "-wal", "-shm", "-journal" };
	char path[192];
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s%s", w->path, names[i]);
		unlink(path);
	}
	rmdir(w->dir);
}

static int put_fn(struct db_conn *c, void *arg, struct err *e)
{
	return q_thing_put(c, arg, e);
}

static int put(struct db *db, int number, struct err *e)
{
	char id[24], note[6000];
	snprintf(id, sizeof(id), "thing%d", number);
	memset(note, 'a' + number % 26, sizeof(note) - 1); /* several pages */
	note[sizeof(note) - 1] = '\0';
	struct thing_put_in in = { .id = id, .n = number, .n_opt = DB_NULL_INT, .ratio = NAN, .note = note };
	return db_write(db, put_fn, &in, e);
}

struct lookup {
	struct arena *arena;
	const char *id;
	struct thing_get_row row;
};

static int get_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct lookup *l = arg;
	return q_thing_get(c, l->arena, &(struct thing_get_in){ .id = l->id }, &l->row, e);
}

static bool is_there(struct db *db, int number)
{
	_cleanup_arena_ struct arena a;
	char id[24];
	struct err e = { 0 };
	arena_init(&a, 0);
	snprintf(id, sizeof(id), "thing%d", number);
	struct lookup l = { .arena = &a, .id = id };
	int rc = db_read(db, get_fn, &l, &e);
	if (rc < 0)
		fail_msg("reading thing%d: %s", number, e.message);
	if (rc > 0)
		assert_int_equal(strlen(l.row.note), 5999);
	return rc > 0;
}

static void see_all(const struct work *w, struct db *db, const char *when, int n)
{
	for (int i = 0; i < WRITES; i++)
		if (w->acknowledged[i] && !is_there(db, i))
			fail_msg("thing%d was acknowledged and is not there %s (failure %d)", i, when, n);
}

/* Opens, writes, closes, with the n-th operation of a kind failing. Returns whether anything failed. */
static bool round_of(enum kind kind, int n, bool stays)
{
	struct work w;
	struct err e = { 0 };
	work_init(&w);
	all_well();
	atomic_store(&sticky, stays);
	atomic_store(&left[kind], n);
	int rc = db_open_with(w.path, db_test_migrations, db_test_migrations_count, &w.db, &e);
	for (int i = 0; rc == 0 && i < WRITES; i++) {
		err_reset(&e);
		w.acknowledged[i] = put(w.db, i, &e) >= 0;
		if (!w.acknowledged[i])
			assert_true(e.message[0]);
	}
	bool hit = atomic_load(&hits) > 0;
	all_well();
	if (rc == 0) {
		/* The disk is well again, and so is the database. */
		see_all(&w, w.db, "while it is open", n);
		if (put(w.db, WRITES, &e) < 0)
			fail_msg("the database did not recover from failure %d: %s", n, e.message);
		db_close(w.db);
	}
	if (db_open_with(w.path, db_test_migrations, db_test_migrations_count, &w.db, &e) < 0)
		fail_msg("opened again after failure %d: %s", n, e.message);
	see_all(&w, w.db, "when it is opened again", n);
	assert_true(rc < 0 || is_there(w.db, WRITES));
	db_close(w.db);
	work_done(&w);
	return hit;
}

static void until_nothing_fails(enum kind kind, bool stays, int at_least)
{
	int n = 0;
	while (round_of(kind, n, stays))
		n++;
	/* Else the shim is not where the writes are. */
	if (n < at_least)
		fail_msg("only %d operations could fail", n);
}

static void every_write(void **state)
{
	until_nothing_fails(KIND_WRITE, false, WRITES);
}
static void every_write_from_then_on(void **state)
{
	until_nothing_fails(KIND_WRITE, true, WRITES);
}
static void every_sync(void **state)
{
	until_nothing_fails(KIND_SYNC, false, WRITES);
}
static void every_sync_from_then_on(void **state)
{
	until_nothing_fails(KIND_SYNC, true, WRITES);
}
static void every_open(void **state)
{
	until_nothing_fails(KIND_OPEN, false, 2);
}
static void every_truncation(void **state)
{
	until_nothing_fails(KIND_TRUNCATE, false, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_write), cmocka_unit_test(every_write_from_then_on),
		cmocka_unit_test(every_sync),  cmocka_unit_test(every_sync_from_then_on),
		cmocka_unit_test(every_open),  cmocka_unit_test(every_truncation),
	};
	return cmocka_run_group_tests(tests, make_default, NULL);
}
