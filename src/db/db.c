#include "db/db.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "db/conn.h"
#include "db/migrate.h"
#include "db/writer.h"

/* More readers than this wait for each other: SQLite reads do not block, so more would only cost memory. */
#define READERS_MAX 16

struct db {
	char *path;
	struct db_writer *writer;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t returned;
	struct db_conn *free_readers; /* last used first: its cache is warm */
	int reader_count;	      /* in use or free */
	int readers_in_use;
};

int db_open(const char *path, struct db **ret, struct err *e)
{
	return db_open_with(path, db_migrations, db_migrations_count, ret, e);
}

int db_open_with(const char *path, const struct db_migration *list, size_t count, struct db **ret, struct err *e)
{
	/* The state of everybody's infrastructure: only the owner may read it. SQLite gives the log the same mode.
	 * Closed before SQLite comes: closing any descriptor of a file drops all of the process's locks on it. */
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "%s", path);
	close(fd);
	struct db_conn *conn;
	int rc = db_conn_open(path, DB_CONN_WRITER, &conn, e);
	if (rc < 0)
		return rc;
	rc = db_migrate(conn, list, count, e);
	struct db *db = rc < 0 ? NULL : calloc(1, sizeof(*db));
	char *copy = db ? strdup(path) : NULL;
	if (!copy) {
		db_conn_close(conn);
		free(db);
		return rc < 0 ? err_wrap(e, "%s", path) : err_nomem(e);
	}
	db->path = copy;
	pthread_mutex_init(&db->lock, NULL);
	pthread_cond_init(&db->returned, NULL);
	rc = db_writer_start(conn, &db->writer, e);
	if (rc < 0) {
		db_close(db);
		return rc;
	}
	*ret = db;
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	pthread_mutex_lock(&db->lock);
	while (db->readers_in_use > 0)
		pthread_cond_wait(&db->returned, &db->lock);
	pthread_mutex_unlock(&db->lock);
	while (db->free_readers) {
		struct db_conn *c = db->free_readers;
		db->free_readers = c->next_free;
		db_conn_close(c);
	}
	/* Last: the last connection to go empties the log into the database file. */
	db_writer_stop(db->writer);
	pthread_cond_destroy(&db->returned);
	pthread_mutex_destroy(&db->lock);
	free(db->path);
	free(db);
}

static void release_reader(struct db *db, struct db_conn *c)
{
	pthread_mutex_lock(&db->lock);
	if (c) {
		c->next_free = db->free_readers;
		db->free_readers = c;
	} else {
		db->reader_count--;
	}
	db->readers_in_use--;
	pthread_cond_broadcast(&db->returned);
	pthread_mutex_unlock(&db->lock);
}

static int acquire_reader(struct db *db, struct db_conn **ret, struct err *e)
{
	pthread_mutex_lock(&db->lock);
	while (!db->free_readers && db->reader_count == READERS_MAX)
		pthread_cond_wait(&db->returned, &db->lock);
	struct db_conn *c = db->free_readers;
	if (c)
		db->free_readers = c->next_free;
	else
		db->reader_count++;
	db->readers_in_use++;
	pthread_mutex_unlock(&db->lock);
	if (!c) {
		int rc = db_conn_open(db->path, DB_CONN_READER, &c, e);
		if (rc < 0) {
			release_reader(db, NULL);
			return rc;
		}
	}
	*ret = c;
	return 0;
}

int db_read(struct db *db, db_fn fn, void *arg, struct err *e)
{
	struct db_conn *c;
	int rc = acquire_reader(db, &c, e);
	if (rc < 0)
		return rc;
	db_conn_forget_error(c);
	rc = db_conn_control(c, DB_BEGIN_READ, e);
	if (rc == 0)
		rc = fn(c, arg, e);
	/* Nothing was written: ending it either way is the same, and must work. */
	if (db_conn_in_transaction(c) && db_conn_control(c, DB_ROLLBACK, NULL) < 0) {
		db_conn_close(c);
		c = NULL;
	}
	release_reader(db, c);
	return rc;
}

int db_write(struct db *db, db_fn fn, void *arg, struct err *e)
{
	return db_writer_run(db->writer, fn, arg, e);
}

static int ask_ping(struct db_conn *c, void *arg, struct err *e)
{
	static const struct db_column columns[] = { { "versions", 0, DB_INT, false } };
	static const struct db_query query = {
		.name = "ping",
		.sql = "SELECT count(*) FROM schema_migrations",
		.columns = columns,
		.column_count = 1,
		.row_size = sizeof(int64_t),
	};
	struct arena a _cleanup_arena_;
	arena_init(&a, 4096);
	int64_t versions;
	int rc = db_query_one(c, &a, &query, NULL, &versions, e);
	return rc < 0 ? rc : 0;
}

int db_ping(struct db *db, struct err *e)
{
	return db_read(db, ask_ping, NULL, e);
}

/* The number in the file's header that SQLite leaves to its users, and nobody uses: it changes a page. */
static int probe_fn(struct db_conn *c, void *arg, struct err *e)
{
	char sql[64];
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", (int)(clock_now_us() & INT32_MAX));
	return db_conn_exec(c, sql, e);
}

int db_probe(struct db *db, struct err *e)
{
	return db_write(db, probe_fn, NULL, e);
}

/* Copies everything in one step: one snapshot, while the writer goes on. The copy needs no journal, for it counts only
 * once it is whole. */
static int copy_into(struct db_conn *from, const char *path, struct err *e)
{
	sqlite3 *to = NULL;
	int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_backup *b = sqlite3_backup_init(to, "main", from->sqlite, "main");
		if (b) {
			sqlite3_backup_step(b, -1);
			rc = sqlite3_backup_finish(b);
		} else {
			rc = sqlite3_errcode(to);
		}
	}
	if (rc != SQLITE_OK)
		rc = err_set(e, (rc & 0xff) == SQLITE_FULL ? ERR_NO_SPACE : ERR_IO, "%s: %s", path,
			     to ? sqlite3_errmsg(to) : sqlite3_errstr(rc));
	sqlite3_close(to);
	return rc;
}

static int sync_parent(const char *path, struct err *e)
{
	_cleanup_free_ char *copy = strdup(path);
	if (!copy)
		return err_nomem(e);
	char *slash = strrchr(copy, '/');
	if (slash)
		slash[slash == copy] = '\0';
	_cleanup_close_ int fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(e, "%s", path);
	return 0;
}

int db_backup(struct db *db, const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		if (errno == EEXIST)
			return err_set(e, ERR_CONFLICT, "%s is there already", path);
		return err_errno(e, "%s", path);
	}
	/* A connection of its own: a long copy does not take a reader away. */
	struct db_conn *from;
	int rc = db_conn_open(db->path, DB_CONN_READER, &from, e);
	if (rc == 0) {
		rc = copy_into(from, path, e);
		db_conn_close(from);
	}
	if (rc == 0 && fsync(fd) < 0)
		rc = err_errno(e, "%s", path);
	if (rc == 0)
		rc = sync_parent(path, e);
	if (rc < 0)
		unlink(path);
	return rc;
}

void db_fail_commit_after(struct db *db, int n)
{
	db_writer_fail_commit_after(db->writer, n);
}
