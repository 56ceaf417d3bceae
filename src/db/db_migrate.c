#include "db/migrate.h"

#include <string.h>

#include "base/clock.h"
#include "db/conn.h"

/* Kept by the engine itself, so it is in no migration. A change of this table needs code here. */
static const char own_table[] = "CREATE TABLE IF NOT EXISTS schema_migrations ("
				"version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,"
				" applied_us INTEGER NOT NULL) STRICT";

/* One integer out of one row. */
static int ask_int(struct db_conn *c, const char *sql, int64_t *ret, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc = -1;
	if (sqlite3_prepare_v2(c->sqlite, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
		*ret = sqlite3_column_int64(stmt, 0);
		rc = 0;
	} else {
		rc = db_conn_error(c, "schema", e);
	}
	sqlite3_finalize(stmt);
	return rc;
}

/* Compares what is recorded with the list; *ret_applied is the number of the last one. */
static int check_recorded(struct db_conn *c, const struct db_migration *list, size_t count, size_t *ret_applied,
			  struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	size_t applied = 0;
	int rc = 0, step = SQLITE_ERROR;
	if (sqlite3_prepare_v2(c->sqlite, "SELECT version, name, sha256 FROM schema_migrations ORDER BY version", -1,
			       &stmt, NULL) != SQLITE_OK)
		return db_conn_error(c, "schema", e);
	while (rc == 0 && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
		int64_t version = sqlite3_column_int64(stmt, 0);
		const char *name = (const char *)sqlite3_column_text(stmt, 1);
		const char *sha256 = (const char *)sqlite3_column_text(stmt, 2);
		if (!name || !sha256)
			rc = err_nomem(e);
		else if (applied >= count)
			rc = err_set(e, ERR_PRECONDITION,
				     "the database has schema %lld (%s), this program knows the schema up to %d: "
				     "start it with a newer release",
				     (long long)version, name, count > 0 ? list[count - 1].version : 0);
		else if (version != list[applied].version)
			rc = err_set(e, ERR_PRECONDITION,
				     "the database has schema %lld (%s) where this program has %d (%s): it belongs to "
				     "another build",
				     (long long)version, name, list[applied].version, list[applied].name);
		else if (strcmp(sha256, list[applied].sha256) != 0)
			rc = err_set(e, ERR_PRECONDITION,
				     "the database's schema %lld (%s) was made by other statements than this program's "
				     "(%s): it belongs to another build",
				     (long long)version, name, list[applied].name);
		applied++;
	}
	if (rc == 0 && step != SQLITE_DONE)
		rc = db_conn_error(c, "schema", e);
	sqlite3_finalize(stmt);
	if (rc == 0)
		*ret_applied = applied;
	return rc;
}

static int record(struct db_conn *c, const struct db_migration *m, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc = 0;
	if (sqlite3_prepare_v2(c->sqlite, "INSERT INTO schema_migrations VALUES (?1, ?2, ?3, ?4)", -1, &stmt, NULL) !=
		    SQLITE_OK ||
	    sqlite3_bind_int(stmt, 1, m->version) != SQLITE_OK ||
	    sqlite3_bind_text(stmt, 2, m->name, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_text(stmt, 3, m->sha256, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_int64(stmt, 4, clock_now_us()) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_DONE)
		rc = db_conn_error(c, "schema", e);
	sqlite3_finalize(stmt);
	return rc;
}

/* Inside of a transaction: the state is looked at anew, for another process may have been here. */
static int apply_next(struct db_conn *c, const struct db_migration *list, size_t count, bool *ret_more, struct err *e)
{
	int64_t ours = 0, tables = 0;
	int rc = ask_int(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migrations'", &ours, e);
	if (rc == 0)
		rc = ask_int(c, "SELECT count(*) FROM sqlite_schema", &tables, e);
	if (rc < 0)
		return rc;
	if (!ours && tables > 0)
		return err_set(e, ERR_PRECONDITION, "the file is a database, but not one of Slipway's");
	if (!ours && (rc = db_conn_exec(c, own_table, e)) < 0)
		return rc;

	size_t applied = 0;
	rc = check_recorded(c, list, count, &applied, e);
	if (rc < 0)
		return rc;
	*ret_more = applied < count;
	if (!*ret_more)
		return 0;
	const struct db_migration *m = &list[applied];
	if (db_conn_exec(c, m->sqlite, e) < 0)
		return err_wrap(e, "migration %d (%s)", m->version, m->name);
	/* Foreign keys are not enforced meanwhile (a table may be rebuilt): they must hold again at the end. */
	int64_t broken = 0;
	rc = ask_int(c, "SELECT count(*) FROM pragma_foreign_key_check", &broken, e);
	if (rc == 0 && broken > 0)
		rc = err_set(e, ERR_INTERNAL, "migration %d (%s) leaves %lld rows that refer to nothing", m->version,
			     m->name, (long long)broken);
	return rc < 0 ? rc : record(c, m, e);
}

int db_migrate(struct db_conn *c, const struct db_migration *list, size_t count, struct err *e)
{
	int rc = db_conn_exec(c, "PRAGMA foreign_keys = OFF", e);
	bool more = true;
	while (rc == 0 && more) {
		rc = db_conn_control(c, DB_BEGIN_WRITE, e);
		if (rc < 0)
			break;
		rc = apply_next(c, list, count, &more, e);
		if (rc == 0)
			rc = db_conn_control(c, DB_COMMIT, e);
		if (rc < 0 && db_conn_in_transaction(c))
			db_conn_control(c, DB_ROLLBACK, NULL);
	}
	if (rc == 0)
		rc = db_conn_exec(c, "PRAGMA foreign_keys = ON", e);
	db_conn_forget_error(c);
	return rc;
}
