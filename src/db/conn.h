/*
 * conn.h: one SQLite connection. Inside of the room only.
 *
 * Used by one thread at a time (SQLITE_OPEN_NOMUTEX). The writer has one, each running reader has one.
 */
#ifndef SLIPWAY_DB_CONN_H
#define SLIPWAY_DB_CONN_H

#include <sqlite3.h>

#include "db/db.h"
#include "db/stmt.h"

/* Enough for any commit or checkpoint of ours to pass; only another process can hold a lock longer. */
#define DB_BUSY_TIMEOUT_MS 10000

enum db_conn_kind { DB_CONN_READER, DB_CONN_WRITER };

/* The statements of a transaction, prepared once. */
enum db_control {
	DB_BEGIN_READ,
	DB_BEGIN_WRITE,
	DB_COMMIT,
	DB_ROLLBACK,
	DB_SAVEPOINT,
	DB_ROLLBACK_TO,
	DB_RELEASE,
	DB_CONTROL_COUNT
};

struct db_conn_entry {
	const struct db_query *query;
	sqlite3_stmt *stmt;
};

struct db_conn {
	sqlite3 *sqlite;
	sqlite3_stmt *control[DB_CONTROL_COUNT];
	struct db_conn_entry *cache; /* open addressing, keyed by the query's address */
	size_t cache_size;	     /* a power of two, or 0 */
	size_t cache_used;
	/* The first error of an engine call since the last db_conn_forget_error: a function that returned success in
	 * spite of it is not believed, and a transaction that SQLite gave up has its reason here. */
	struct err failure;
	int log_pages;		   /* in the write-ahead log, as of the writer's last commit, ... */
	int moved_pages;	   /* ... and how many of them are in the database file already */
	struct db_conn *next_free; /* in the pool */
};

int db_conn_open(const char *path, enum db_conn_kind kind, struct db_conn **ret, struct err *e);
void db_conn_close(struct db_conn *c);

int db_conn_control(struct db_conn *c, enum db_control what, struct err *e);
/* Runs SQL text of our own making that returns no rows. */
int db_conn_exec(struct db_conn *c, const char *sql, struct err *e);
/* Is a transaction open? SQLite ends one by itself when the disk is full or broken, or memory is short. */
bool db_conn_in_transaction(const struct db_conn *c);
void db_conn_forget_error(struct db_conn *c);

/* The error of the last engine call on c, with "<what>: " in front; also noted in c->failure. */
int db_conn_error(struct db_conn *c, const char *what, struct err *e);

/* The prepared statement of a query, reset and without bindings. */
int db_conn_statement(struct db_conn *c, const struct db_query *q, sqlite3_stmt **ret, struct err *e);

#endif
