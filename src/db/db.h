/*
 * db.h: one transaction model over the database engines (architecture §5).
 *
 * Domain code never sees SQL text. It calls db_read() or db_write() with a function, and inside of it the typed
 * wrappers that tools/sqlgen.py makes from sql/queries/<room>.sql (header "db/queries_<room>.h", see "Queries" below).
 *
 * db_read: the function runs on the calling thread, on one of the readers' connections, in one snapshot.
 *
 * db_write: the function runs on the calling thread or on that of another writer, as a savepoint of a transaction that it
 * shares with all other writes that wait at that moment; db_write returns after the commit (group commit, synchronous=FULL): what it
 * acknowledged is on disk. The contract of a write function:
 *   - it touches nothing but the database and *arg, and may be run again from the start: it sets its results anew each
 *     time, and they are used only after db_write returned 0;
 *   - it does not nest (no db_read, no db_write inside) and does not block: compress, hash, replay and write blobs
 *     before or after;
 *   - a negative return rolls back this function's work alone; it is db_write's result;
 *   - it uses ON CONFLICT rather than catching a failed statement.
 *   - a function that returns success although one of its statements failed is rolled back with that statement's error.
 * A full disk, or a failed commit, answers all functions of the group with that error.
 * db_read and db_write return what the function returned (0 or more: success).
 *
 * Threads: struct db is shared by all; struct db_conn belongs to the function that got it.
 *
 * Queries. A block in sql/queries/<room>.sql:
 *
 *	-- name: stack_get :one
 *	-- The live stack of that name.
 *	-- in: org_id text, project text, name text
 *	-- out: id text, version int, tags text?, data_key blob
 *	SELECT id, version, tags, data_key FROM stacks WHERE org_id = :org_id AND project = :project AND name = :name;
 *
 * becomes
 *
 *	struct stack_get_in { const char *org_id; const char *project; const char *name; };
 *	struct stack_get_row { const char *id; int64_t version; const char *tags; struct str data_key; };
 *	int q_stack_get(struct db_conn *c, struct arena *a, const struct stack_get_in *in, struct stack_get_row *ret,
 *			struct err *e);              // 1: found, 0: no row, negative: error
 *
 * :many → `int q_x(c, a, in, struct x_row **ret_rows, size_t *ret_count, e)` returns 0 or negative (rows in the arena).
 * :exec → `int q_x(c, in, e)` returns the number of changed rows, or negative. A statement with RETURNING is :one or
 *         :many. Without `in:` the parameter is left out.
 * Types: text (const char *, copied to the arena, no NUL inside), int (int64_t), blob (struct str), bool (bool, 0/1 in
 * the database), real (double); a `?` behind it: may be NULL (text: NULL; blob: p == NULL; int and bool: DB_NULL_INT as
 * int64_t; real: NaN). Parameters use the same types; NULL text, absent blob and DB_NULL_INT bind NULL where the
 * parameter is marked `?`. A NULL in a column or parameter not marked `?` is an ERR_INTERNAL that names query and column.
 * A UNIQUE or primary key that is there already is an ERR_CONFLICT, any other constraint an ERR_INTERNAL.
 * `:name` parameters may appear repeatedly.
 * The SQL is the common subset of SQLite ≥ 3.40 and PostgreSQL ≥ 14. In migrations: types TEXT, INTEGER (64 bit), BLOB,
 * REAL; the generator adds STRICT for SQLite and maps INTEGER → BIGINT, BLOB → BYTEA for PostgreSQL.
 */
#ifndef SLIPWAY_DB_DB_H
#define SLIPWAY_DB_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define DB_NULL_INT INT64_MIN

struct db;
struct db_conn;

typedef int (*db_fn)(struct db_conn *c, void *arg, struct err *e);

/* Opens (creates) `path`, applies missing migrations each in its own transaction, refuses a schema newer than this
 * binary or a migration whose recorded hash differs, starts the thread for checkpoints. */
int db_open(const char *path, struct db **ret, struct err *e);
/* Waits for running functions; NULL is fine. */
void db_close(struct db *db);

int db_read(struct db *db, db_fn fn, void *arg, struct err *e);
int db_write(struct db *db, db_fn fn, void *arg, struct err *e);

/* Asks the engine for a trivial answer: for /readyz. */
int db_ping(struct db *db, struct err *e);
/* Writes something that means nothing, durably: whether the database can be written. */
int db_probe(struct db *db, struct err *e);
/* Writes a consistent copy of the live database to `path` (must not exist). */
int db_backup(struct db *db, const char *path, struct err *e);

/* Fault injection for tests: the n-th next commit fails with ERR_NO_SPACE (0: off). */
void db_fail_commit_after(struct db *db, int n);

#endif
