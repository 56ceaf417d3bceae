/*
 * The writer's group commit, the readers' snapshots, the generated wrappers and the migrations, over the small schema
 * of tests/unit/db.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "db/conn.h"
#include "db/db.h"
#include "db/migrate.h"
#include "db/queries_sample.h"

extern const struct db_migration db_test_migrations[];
extern const size_t db_test_migrations_count;

struct fixture {
	char dir[64];
	char path[160];
	struct db *db;
	struct arena arena;
};

static void open_db(struct fixture *f)
{
	struct err e = { 0 };
	if (db_open_with(f->path, db_test_migrations, db_test_migrations_count, &f->db, &e) < 0)
		fail_msg("%s", e.message);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_db.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/db", f->dir);
	arena_init(&f->arena, 0);
	open_db(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "db", "db-wal", "db-shm", "copy" };
	struct fixture *f = *state;
	db_close(f->db);
	arena_done(&f->arena);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		unlink(path);
	}
	rmdir(f->dir);
	free(f);
	return 0;
}

static struct thing_put_in plain_thing(const char *id, int64_t n)
{
	return (struct thing_put_in){ .id = id, .n = n, .n_opt = DB_NULL_INT, .ratio = NAN };
}

static int put_fn(struct db_conn *c, void *arg, struct err *e)
{
	return q_thing_put(c, arg, e);
}

struct lookup {
	struct arena *arena;
	const char *id;
	struct thing_get_row row;
	int64_t total;
};

static int get_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct lookup *l = arg;
	return q_thing_get(c, l->arena, &(struct thing_get_in){ .id = l->id }, &l->row, e);
}

static int count_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct lookup *l = arg;
	struct thing_count_row row;
	int rc = q_thing_count(c, l->arena, &row, e);
	if (rc > 0)
		l->total = row.total;
	return rc;
}

static int64_t count_things(struct fixture *f)
{
	struct lookup l = { .arena = &f->arena };
	assert_int_equal(db_read(f->db, count_fn, &l, NULL), 1);
	return l.total;
}

static void put(struct fixture *f, const char *id, int64_t n)
{
	struct thing_put_in in = plain_thing(id, n);
	struct err e = { 0 };
	if (db_write(f->db, put_fn, &in, &e) != 1)
		fail_msg("%s", e.message);
}

/* --- the generated wrappers --- */

static void test_every_type_goes_round(void **state)
{
	struct fixture *f = *state;
	struct thing_put_in in = { "a", -5, 7, true, 0.5, { "x\0y", 3 }, "note" };
	assert_int_equal(db_write(f->db, put_fn, &in, NULL), 1);
	struct lookup l = { .arena = &f->arena, .id = "a" };
	assert_int_equal(db_read(f->db, get_fn, &l, NULL), 1);
	assert_string_equal(l.row.id, "a");
	assert_int_equal(l.row.n, -5);
	assert_int_equal(l.row.n_opt, 7);
	assert_true(l.row.flag);
	assert_true(l.row.ratio == 0.5);
	assert_true(str_eq(l.row.body, (struct str){ "x\0y", 3 }));
	assert_string_equal(l.row.note, "note");
}

static void test_null_is_not_empty(void **state)
{
	struct fixture *f = *state;
	put(f, "null", 1);
	struct lookup l = { .arena = &f->arena, .id = "null" };
	assert_int_equal(db_read(f->db, get_fn, &l, NULL), 1);
	assert_true(l.row.n_opt == DB_NULL_INT);
	assert_true(isnan(l.row.ratio));
	assert_null(l.row.body.p);
	assert_null(l.row.note);

	struct thing_put_in in = plain_thing("empty", 2);
	in.body = STR("");
	in.note = "";
	assert_int_equal(db_write(f->db, put_fn, &in, NULL), 1);
	l.id = "empty";
	assert_int_equal(db_read(f->db, get_fn, &l, NULL), 1);
	assert_non_null(l.row.body.p);
	assert_int_equal(l.row.body.n, 0);
	assert_string_equal(l.row.note, "");

	l.id = "nobody";
	assert_int_equal(db_read(f->db, get_fn, &l, NULL), 0);
}

struct listing {
	struct arena *arena;
	int64_t least;
	struct thing_list_row *rows;
	size_t count;
};

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct listing *l = arg;
	return q_thing_list(c, l->arena, &(struct thing_list_in){ l->least }, &l->rows, &l->count, e);
}

static int put_many_fn(struct db_conn *c, void *arg, struct err *e)
{
	for (int i = 0; i < *(int *)arg; i++) {
		char id[16];
		snprintf(id, sizeof(id), "%05d", i);
		struct thing_put_in in = plain_thing(id, i);
		int rc = q_thing_put(c, &in, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void test_many_rows(void **state)
{
	struct fixture *f = *state;
	int many = 1000;
	assert_int_equal(db_write(f->db, put_many_fn, &many, NULL), 0);
	struct listing l = { .arena = &f->arena, .least = 10 };
	assert_int_equal(db_read(f->db, list_fn, &l, NULL), 0);
	assert_int_equal(l.count, 990);
	for (size_t i = 0; i < l.count; i++)
		assert_int_equal(l.rows[i].n, i + 10);
	assert_string_equal(l.rows[989].id, "00999");
	l.least = many;
	assert_int_equal(db_read(f->db, list_fn, &l, NULL), 0);
	assert_int_equal(l.count, 0);
}

static int note_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct lookup *l = arg;
	struct thing_note_row row;
	return q_thing_note(c, l->arena, &(struct thing_note_in){ l->id }, &row, e);
}

static void test_null_where_none_may_be(void **state)
{
	struct fixture *f = *state;
	put(f, "a", 1);
	struct err e = { 0 };
	struct lookup l = { .arena = &f->arena, .id = "a" };
	assert_int_equal(db_read(f->db, note_fn, &l, &e), -ERR_INTERNAL);
	assert_string_equal(e.message, "query thing_note: column note is NULL");

	struct thing_put_in in = plain_thing(NULL, 1);
	assert_int_equal(db_write(f->db, put_fn, &in, &e), -ERR_INTERNAL);
	assert_string_equal(e.message, "query thing_put: parameter id is NULL");
}

static int add_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct lookup *l = arg;
	struct thing_add_row row;
	int rc = q_thing_add(c, l->arena, &(struct thing_add_in){ l->id, 5 }, &row, e);
	if (rc > 0)
		l->total = row.n;
	return rc;
}

static void test_returning(void **state)
{
	struct fixture *f = *state;
	put(f, "a", 37);
	struct lookup l = { .arena = &f->arena, .id = "a" };
	assert_int_equal(db_write(f->db, add_fn, &l, NULL), 1);
	assert_int_equal(l.total, 42);
	l.id = "nobody";
	assert_int_equal(db_write(f->db, add_fn, &l, NULL), 0);
	l.id = "a";
	assert_int_equal(db_read(f->db, get_fn, &l, NULL), 1);
	assert_int_equal(l.row.n, 42);
}

/* --- transactions --- */

#define THREADS 16
#define WRITES 50

struct crowd_member {
	pthread_t thread;
	struct db *db;
	int number;
	int acknowledged;
	int refused;
};

static int put_then_refuse_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct thing_put_in in = plain_thing(arg, 1);
	int rc = q_thing_put(c, &in, e);
	return rc < 0 ? rc : err_set(e, ERR_CONFLICT, "not this one: %s", (char *)arg);
}

/* Every fifth write is refused by its own function, in groups with others. */
static void *crowd_thread(void *arg)
{
	struct crowd_member *m = arg;
	for (int i = 0; i < WRITES; i++) {
		char id[32], expected[64];
		snprintf(id, sizeof(id), "%d-%d", m->number, i);
		struct err e = { 0 };
		if (i % 5 == 0) {
			snprintf(expected, sizeof(expected), "not this one: %s", id);
			int rc = db_write(m->db, put_then_refuse_fn, id, &e);
			m->refused += rc == -ERR_CONFLICT && strcmp(e.message, expected) == 0;
		} else {
			struct thing_put_in in = plain_thing(id, i);
			m->acknowledged += db_write(m->db, put_fn, &in, &e) == 1;
		}
		if (i % 7 == 0) {
			struct arena a;
			arena_init(&a, 0);
			struct lookup l = { .arena = &a, .id = id };
			/* What was acknowledged is seen, what was refused is not. */
			if (db_read(m->db, get_fn, &l, &e) != (i % 5 == 0 ? 0 : 1))
				m->acknowledged = -1000;
			arena_done(&a);
		}
	}
	return NULL;
}

static void test_group_commit(void **state)
{
	struct fixture *f = *state;
	struct crowd_member crowd[THREADS] = { 0 };
	for (int i = 0; i < THREADS; i++) {
		crowd[i].db = f->db;
		crowd[i].number = i;
		assert_int_equal(pthread_create(&crowd[i].thread, NULL, crowd_thread, &crowd[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(crowd[i].thread, NULL);
		assert_int_equal(crowd[i].acknowledged, WRITES * 4 / 5);
		assert_int_equal(crowd[i].refused, WRITES / 5);
	}
	assert_int_equal(count_things(f), THREADS * WRITES * 4 / 5);
	db_close(f->db);
	open_db(f);
	assert_int_equal(count_things(f), THREADS * WRITES * 4 / 5);
}

/* A function that the test holds, so that others gather behind it and share its transaction. */
struct gate {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool entered;
	bool open;
};

static int gate_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct gate *g = arg;
	pthread_mutex_lock(&g->lock);
	g->entered = true;
	pthread_cond_signal(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
	struct thing_put_in in = plain_thing("gate", 0);
	return q_thing_put(c, &in, e);
}

struct queued {
	pthread_t thread;
	struct db *db;
	db_fn fn;
	void *arg;
	struct err e;
	int result;
};

static void *queued_thread(void *arg)
{
	struct queued *q = arg;
	q->result = db_write(q->db, q->fn, q->arg, &q->e);
	return NULL;
}

static void start_queued(struct fixture *f, struct queued *q, db_fn fn, void *arg)
{
	*q = (struct queued){ .db = f->db, .fn = fn, .arg = arg };
	assert_int_equal(pthread_create(&q->thread, NULL, queued_thread, q), 0);
}

/* Runs the functions in one group, behind the gate; q[0] is the gate itself. */
static void run_together(struct fixture *f, struct queued *q, db_fn const *fns, void *const *args, size_t n)
{
	struct gate g = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	start_queued(f, &q[0], gate_fn, &g);
	pthread_mutex_lock(&g.lock);
	while (!g.entered)
		pthread_cond_wait(&g.changed, &g.lock);
	pthread_mutex_unlock(&g.lock);
	for (size_t i = 0; i < n; i++) {
		start_queued(f, &q[i + 1], fns[i], args[i]);
		/* In this order: the queue's length cannot be seen from here. */
		usleep(30000);
	}
	pthread_mutex_lock(&g.lock);
	g.open = true;
	pthread_cond_signal(&g.changed);
	pthread_mutex_unlock(&g.lock);
	for (size_t i = 0; i <= n; i++)
		pthread_join(q[i].thread, NULL);
}

static void test_one_rolls_back_alone(void **state)
{
	struct fixture *f = *state;
	struct thing_put_in before = plain_thing("before", 1), after = plain_thing("after", 2);
	struct queued q[4];
	run_together(f, q, (db_fn[]){ put_fn, put_then_refuse_fn, put_fn }, (void *[]){ &before, "refused", &after },
		     3);
	assert_int_equal(q[0].result, 1);
	assert_int_equal(q[1].result, 1);
	assert_int_equal(q[2].result, -ERR_CONFLICT);
	assert_string_equal(q[2].e.message, "not this one: refused");
	assert_int_equal(q[3].result, 1);
	assert_int_equal(count_things(f), 3);
}

static void test_failed_commit_fails_all(void **state)
{
	struct fixture *f = *state;
	put(f, "first", 1);
	struct thing_put_in a = plain_thing("a", 1), b = plain_thing("b", 2);
	struct queued q[4];
	db_fail_commit_after(f->db, 1);
	run_together(f, q, (db_fn[]){ put_fn, put_then_refuse_fn, put_fn }, (void *[]){ &a, "refused", &b }, 3);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(q[i].result, -ERR_NO_SPACE);
		assert_int_equal(q[i].e.code, ERR_NO_SPACE);
	}
	assert_int_equal(count_things(f), 1);
	put(f, "next", 1);
	assert_int_equal(count_things(f), 2);
}

/* --- a full disk --- */

/* Makes SQLite find the disk full in the middle of a function: no pages beyond those that it has. */
static int fill_disk_fn(struct db_conn *c, void *arg, struct err *e)
{
	int rc = db_conn_exec(c, "PRAGMA max_page_count = 1", e);
	struct thing_put_in in = plain_thing("big", 1);
	in.body = *(struct str *)arg;
	return rc < 0 ? rc : q_thing_put(c, &in, e);
}

static int more_room_fn(struct db_conn *c, void *arg, struct err *e)
{
	return db_conn_exec(c, "PRAGMA max_page_count = 1000000", e);
}

static void test_full_disk_inside_a_function(void **state)
{
	struct fixture *f = *state;
	put(f, "first", 1);
	static char zeros[100000];
	struct str big = { zeros, sizeof(zeros) };
	struct thing_put_in before = plain_thing("before", 1);
	struct queued q[3];
	run_together(f, q, (db_fn[]){ put_fn, fill_disk_fn }, (void *[]){ &before, &big }, 2);
	/* SQLite gave the whole transaction up: nobody may believe that his row is there. */
	for (size_t i = 0; i < ARRAY_SIZE(q); i++) {
		assert_int_equal(q[i].result, -ERR_NO_SPACE);
		assert_int_equal(q[i].e.code, ERR_NO_SPACE);
	}
	assert_int_equal(count_things(f), 1);
	assert_int_equal(db_write(f->db, more_room_fn, NULL, NULL), 0);
	put(f, "next", 1);
	assert_int_equal(count_things(f), 2);
}

static void test_file_limit_fails_the_commit(void **state)
{
	struct fixture *f = *state;
	put(f, "first", 1);
	static char zeros[300000];
	struct thing_put_in in = plain_thing("big", 1);
	in.body = (struct str){ zeros, sizeof(zeros) };
	struct rlimit before, small;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 200000;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	struct err e = { 0 };
	int rc = db_write(f->db, put_fn, &in, &e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(rc, -ERR_IO);
	assert_int_equal(count_things(f), 1);
	assert_int_equal(db_write(f->db, put_fn, &in, &e), 1);
	assert_int_equal(count_things(f), 2);
}

static int unique_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct thing_put_in in = plain_thing(arg, 7);
	in.flag = true;
	return q_thing_put(c, &in, e);
}

static int swallow_fn(struct db_conn *c, void *arg, struct err *e)
{
	unique_fn(c, arg, NULL);
	return 0;
}

static void test_constraints(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	assert_int_equal(db_write(f->db, unique_fn, "a", &e), 1);
	assert_int_equal(db_write(f->db, unique_fn, "b", &e), -ERR_CONFLICT);
	assert_non_null(strstr(e.message, "thing_put: "));
	/* A function that hides a failed statement is not believed. */
	assert_int_equal(db_write(f->db, swallow_fn, "b", &e), -ERR_CONFLICT);
	struct thing_put_in in = plain_thing("c", 5000);
	assert_int_equal(db_write(f->db, put_fn, &in, &e), -ERR_INTERNAL);
	assert_non_null(strstr(e.message, "CHECK"));
}

static int orphan_fn(struct db_conn *c, void *arg, struct err *e)
{
	return q_part_add(c, &(struct part_add_in){ "nobody", 1, STR("x") }, e);
}

static void test_foreign_keys_hold(void **state)
{
	struct fixture *f = *state;
	assert_true(db_write(f->db, orphan_fn, NULL, NULL) < 0);
}

static int write_in_read_fn(struct db_conn *c, void *arg, struct err *e)
{
	return put_fn(c, arg, e);
}

static void test_a_reader_cannot_write(void **state)
{
	struct fixture *f = *state;
	struct thing_put_in in = plain_thing("a", 1);
	assert_true(db_read(f->db, write_in_read_fn, &in, NULL) < 0);
	assert_int_equal(count_things(f), 0);
}

struct snapshot {
	struct fixture *f;
	int64_t before, after;
};

static int snapshot_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct snapshot *s = arg;
	struct thing_count_row row;
	int rc = q_thing_count(c, &s->f->arena, &row, e);
	s->before = row.total;
	/* Only this test may: another thread commits while this snapshot is open. */
	struct thing_put_in in = plain_thing("meanwhile", 1);
	struct queued q;
	start_queued(s->f, &q, put_fn, &in);
	pthread_join(q.thread, NULL);
	assert_int_equal(q.result, 1);
	if (rc > 0)
		rc = q_thing_count(c, &s->f->arena, &row, e);
	s->after = row.total;
	return rc;
}

static void test_reader_sees_one_snapshot(void **state)
{
	struct fixture *f = *state;
	put(f, "a", 1);
	struct snapshot s = { .f = f };
	assert_int_equal(db_read(f->db, snapshot_fn, &s, NULL), 1);
	assert_int_equal(s.before, 1);
	assert_int_equal(s.after, 1);
	assert_int_equal(count_things(f), 2);
}

static int slow_count_fn(struct db_conn *c, void *arg, struct err *e)
{
	int rc = count_fn(c, arg, e);
	usleep(1000);
	return rc;
}

static void *reader_thread(void *arg)
{
	struct db *db = arg;
	struct arena a;
	arena_init(&a, 0);
	bool good = true;
	for (int i = 0; i < 20; i++) {
		struct lookup l = { .arena = &a };
		good = db_read(db, slow_count_fn, &l, NULL) == 1 && l.total == 1 && good;
	}
	arena_done(&a);
	return good ? NULL : db;
}

/* They wait for each other: there are fewer connections than threads. */
static void test_more_readers_than_connections(void **state)
{
	struct fixture *f = *state;
	put(f, "a", 1);
	pthread_t threads[40];
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader_thread, f->db), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

/* --- the log and its checkpoints --- */

#define LARGE_BYTES (64 * KIB)
#define LARGE_WRITES 100

static off_t size_of(const struct fixture *f, const char *suffix)
{
	char path[192];
	struct stat st;
	snprintf(path, sizeof(path), "%s%s", f->path, suffix);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void *large_thread(void *arg)
{
	struct crowd_member *m = arg;
	char *bytes = calloc(1, LARGE_BYTES);
	for (int i = 0; bytes && i < LARGE_WRITES; i++) {
		char id[32];
		snprintf(id, sizeof(id), "%d-%d", m->number, i);
		struct thing_put_in in = plain_thing(id, i);
		in.body = (struct str){ bytes, LARGE_BYTES };
		m->acknowledged += db_write(m->db, put_fn, &in, NULL) == 1;
	}
	free(bytes);
	return NULL;
}

static void write_large(struct fixture *f, int threads)
{
	struct crowd_member crowd[THREADS] = { 0 };
	for (int i = 0; i < threads; i++) {
		crowd[i].db = f->db;
		crowd[i].number = i;
		assert_int_equal(pthread_create(&crowd[i].thread, NULL, large_thread, &crowd[i]), 0);
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(crowd[i].thread, NULL);
		assert_int_equal(crowd[i].acknowledged, LARGE_WRITES);
	}
}

/* 25 MB are written without a pause: the log is emptied in between, for all that somebody always waits. */
static void test_log_stays_short_while_all_write(void **state)
{
	struct fixture *f = *state;
	write_large(f, 4);
	assert_true(size_of(f, "-wal") < (off_t)(12 * MIB));
	assert_true(size_of(f, "") > (off_t)(4 * LARGE_WRITES * LARGE_BYTES / 2));
}

/* What one writer left is moved when nobody writes any more. */
static void test_log_is_emptied_when_idle(void **state)
{
	struct fixture *f = *state;
	char *bytes = calloc(1, MIB);
	struct thing_put_in in = plain_thing("large", 1);
	in.body = (struct str){ bytes, MIB };
	assert_int_equal(db_write(f->db, put_fn, &in, NULL), 1);
	free(bytes);
	for (int i = 0; i < 1000 && size_of(f, "") < (off_t)MIB; i++)
		usleep(10000);
	assert_true(size_of(f, "") >= (off_t)MIB);
}

/* --- files --- */

static void test_only_the_owner_may_read(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	put(f, "a", 1);
	char wal[192];
	snprintf(wal, sizeof(wal), "%s-wal", f->path);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_backup(void **state)
{
	struct fixture *f = *state;
	put(f, "a", 1);
	char copy[160];
	snprintf(copy, sizeof(copy), "%s/copy", f->dir);
	struct err e = { 0 };
	assert_int_equal(db_backup(f->db, copy, &e), 0);
	assert_int_equal(db_backup(f->db, copy, &e), -ERR_CONFLICT);
	put(f, "later", 1);
	struct fixture g = *f;
	arena_init(&g.arena, 0);
	snprintf(g.path, sizeof(g.path), "%s", copy);
	open_db(&g);
	assert_int_equal(count_things(&g), 1);
	db_close(g.db);
	arena_done(&g.arena);
	assert_int_equal(db_ping(f->db, &e), 0);
}

/* --- migrations --- */

static void expect_refusal(struct fixture *f, const struct db_migration *list, size_t n, const char *words)
{
	struct err e = { 0 };
	struct db *db = NULL;
	assert_int_equal(db_open_with(f->path, list, n, &db, &e), -ERR_PRECONDITION);
	assert_null(db);
	if (!strstr(e.message, words))
		fail_msg("%s", e.message);
}

static void test_migrations(void **state)
{
	struct fixture *f = *state;
	put(f, "a", 1);
	db_close(f->db);
	f->db = NULL;

	expect_refusal(f, db_test_migrations, 1, "newer release");

	struct db_migration list[3] = { db_test_migrations[0],
					db_test_migrations[1],
					{ 5, "more", "33", /* a number may be missing */
					  "CREATE TABLE more (id TEXT PRIMARY KEY) STRICT; CREATE oops", "" } };
	list[1].sha256 = "00";
	expect_refusal(f, list, 2, "other statements");

	/* One that fails leaves nothing behind; the database goes on with the schema it had. */
	struct err e = { 0 };
	list[1] = db_test_migrations[1];
	assert_int_equal(db_open_with(f->path, list, 3, &f->db, &e), -ERR_INTERNAL);
	assert_non_null(strstr(e.message, "migration 5 (more): "));
	open_db(f);
	assert_int_equal(count_things(f), 1);
	db_close(f->db);
	f->db = NULL;

	list[2].sqlite = "CREATE TABLE more (id TEXT PRIMARY KEY) STRICT;";
	assert_int_equal(db_open_with(f->path, list, 3, &f->db, &e), 0);
	assert_int_equal(count_things(f), 1);
	db_close(f->db);
	f->db = NULL;
	expect_refusal(f, db_test_migrations, 2, "newer release");
	/* But it is not filled in behind one that was applied. */
	list[2].version = 3;
	expect_refusal(f, list, 3, "another build");
}

static void test_a_foreign_file_is_refused(void **state)
{
	struct fixture *f = *state;
	db_close(f->db);
	f->db = NULL;
	unlink(f->path);
	sqlite3 *other;
	assert_int_equal(sqlite3_open(f->path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "CREATE TABLE diary (day TEXT)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
	expect_refusal(f, db_test_migrations, db_test_migrations_count, "not one of Slipway's");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_type_goes_round, setup, teardown),
		cmocka_unit_test_setup_teardown(test_null_is_not_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_null_where_none_may_be, setup, teardown),
		cmocka_unit_test_setup_teardown(test_returning, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_rolls_back_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_commit_fails_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk_inside_a_function, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_limit_fails_the_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_constraints, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_keys_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_reader_cannot_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reader_sees_one_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_readers_than_connections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_log_stays_short_while_all_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_log_is_emptied_when_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_the_owner_may_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backup, setup, teardown),
		cmocka_unit_test_setup_teardown(test_migrations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_foreign_file_is_refused, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
