#include "db/conn.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define CACHE_FIRST_SIZE 64

static const char *const control_sql[DB_CONTROL_COUNT] = {
	[DB_BEGIN_READ] = "BEGIN",    [DB_BEGIN_WRITE] = "BEGIN IMMEDIATE", [DB_COMMIT] = "COMMIT",
	[DB_ROLLBACK] = "ROLLBACK",   [DB_SAVEPOINT] = "SAVEPOINT one",	    [DB_ROLLBACK_TO] = "ROLLBACK TO one",
	[DB_RELEASE] = "RELEASE one",
};

/* No mmap: a reader whose snapshot is a new one maps the file anew, which costs more than the few pages it reads.
 * temp_store: the savepoints' journal stays in memory. The writer checkpoints by itself (db_writer.c). */
static const char settings[] = "PRAGMA journal_mode = WAL;"
			       "PRAGMA synchronous = FULL;"
			       "PRAGMA foreign_keys = ON;"
			       "PRAGMA trusted_schema = OFF;"
			       "PRAGMA temp_store = MEMORY;"
			       "PRAGMA journal_size_limit = 16777216;"
			       "PRAGMA wal_autocheckpoint = 0;";
static const char reader_settings[] = "PRAGMA cache_size = -512; PRAGMA query_only = ON;";
static const char writer_settings[] = "PRAGMA cache_size = -4096;";

static void configure_sqlite(void)
{
	/* Its statistics take a global lock at each allocation. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sqlite3_initialize();
}

static enum err_code code_of(sqlite3 *sqlite)
{
	int extended = sqlite3_extended_errcode(sqlite);
	int os_error = sqlite3_system_errno(sqlite);
	switch (extended & 0xff) {
	case SQLITE_FULL:
		return ERR_NO_SPACE;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		/* fsync, ftruncate and the like tell a full disk as an I/O error. */
		if (os_error == ENOSPC || os_error == EDQUOT)
			return ERR_NO_SPACE;
		return extended == SQLITE_IOERR_NOMEM ? ERR_NO_MEMORY : ERR_IO;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_PERM:
		return ERR_IO;
	case SQLITE_NOMEM:
		return ERR_NO_MEMORY;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_UNAVAILABLE;
	case SQLITE_TOOBIG:
		return ERR_TOO_LARGE;
	case SQLITE_INTERRUPT:
		return ERR_CANCELLED;
	case SQLITE_CONSTRAINT:
		if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY)
			return ERR_CONFLICT;
		return ERR_INTERNAL;
	default:
		return ERR_INTERNAL;
	}
}

int db_conn_error(struct db_conn *c, const char *what, struct err *e)
{
	struct err here;
	err_reset(&here);
	int rc = err_set(&here, code_of(c->sqlite), "%s: %s", what, sqlite3_errmsg(c->sqlite));
	if (c->failure.code == ERR_NONE)
		c->failure = here;
	if (e)
		*e = here;
	return rc;
}

void db_conn_forget_error(struct db_conn *c)
{
	err_reset(&c->failure);
}

bool db_conn_in_transaction(const struct db_conn *c)
{
	return !sqlite3_get_autocommit(c->sqlite);
}

int db_conn_exec(struct db_conn *c, const char *sql, struct err *e)
{
	if (sqlite3_exec(c->sqlite, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_conn_error(c, "database", e);
	return 0;
}

int db_conn_control(struct db_conn *c, enum db_control what, struct err *e)
{
	sqlite3_stmt *stmt = c->control[what];
	int rc = sqlite3_step(stmt);
	int result = rc == SQLITE_DONE ? 0 : db_conn_error(c, control_sql[what], e);
	sqlite3_reset(stmt);
	return result;
}

int db_conn_open(const char *path, enum db_conn_kind kind, struct db_conn **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, configure_sqlite);

	struct db_conn *c = calloc(1, sizeof(*c));
	if (!c)
		return err_nomem(e);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int result = 0;
	if (sqlite3_open_v2(path, &c->sqlite, flags, NULL) != SQLITE_OK) {
		result = c->sqlite ? db_conn_error(c, path, e) : err_nomem(e);
		goto fail;
	}
	sqlite3_busy_timeout(c->sqlite, DB_BUSY_TIMEOUT_MS);
	/* A name in double quotes is a column, never by mistake a string. */
	sqlite3_db_config(c->sqlite, SQLITE_DBCONFIG_DQS_DML, 0, (int *)NULL);
	sqlite3_db_config(c->sqlite, SQLITE_DBCONFIG_DQS_DDL, 0, (int *)NULL);
	if (sqlite3_exec(c->sqlite, settings, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(c->sqlite, kind == DB_CONN_READER ? reader_settings : writer_settings, NULL, NULL, NULL) !=
		    SQLITE_OK) {
		result = db_conn_error(c, path, e);
		goto fail;
	}
	for (size_t i = 0; i < DB_CONTROL_COUNT; i++) {
		if (sqlite3_prepare_v3(c->sqlite, control_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &c->control[i],
				       NULL) != SQLITE_OK) {
			result = db_conn_error(c, path, e);
			goto fail;
		}
	}
	*ret = c;
	return 0;
fail:
	db_conn_close(c);
	return result;
}

void db_conn_close(struct db_conn *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < DB_CONTROL_COUNT; i++)
		sqlite3_finalize(c->control[i]);
	for (size_t i = 0; i < c->cache_size; i++)
		sqlite3_finalize(c->cache[i].stmt);
	free(c->cache);
	sqlite3_close(c->sqlite);
	free(c);
}

static struct db_conn_entry *slot_of(struct db_conn_entry *cache, size_t size, const struct db_query *q)
{
	/* Queries lie side by side in static memory: the low bits are the same for all of them. */
	size_t i = (size_t)(((uint64_t)(uintptr_t)q * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (size - 1);
	while (cache[i].query && cache[i].query != q)
		i = (i + 1) & (size - 1);
	return &cache[i];
}

static bool cache_grow(struct db_conn *c)
{
	size_t size = c->cache_size ? 2 * c->cache_size : CACHE_FIRST_SIZE;
	struct db_conn_entry *cache = calloc(size, sizeof(*cache));
	if (!cache)
		return false;
	for (size_t i = 0; i < c->cache_size; i++) {
		if (c->cache[i].query)
			*slot_of(cache, size, c->cache[i].query) = c->cache[i];
	}
	free(c->cache);
	c->cache = cache;
	c->cache_size = size;
	return true;
}

int db_conn_statement(struct db_conn *c, const struct db_query *q, sqlite3_stmt **ret, struct err *e)
{
	if (c->cache_used * 2 >= c->cache_size && !cache_grow(c))
		return err_nomem(e);
	struct db_conn_entry *entry = slot_of(c->cache, c->cache_size, q);
	if (!entry->stmt) {
		if (sqlite3_prepare_v3(c->sqlite, q->sql, -1, SQLITE_PREPARE_PERSISTENT, &entry->stmt, NULL) !=
		    SQLITE_OK)
			return db_conn_error(c, q->name, e);
		entry->query = q;
		c->cache_used++;
	}
	*ret = entry->stmt;
	return 0;
}
