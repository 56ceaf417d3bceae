/*
 * Parameters in, rows out, by the tables of a query.
 */
#include <math.h>
#include <string.h>

#include "db/conn.h"

/* A mistake of the program (the query's file does not fit the data), also noted as the connection's failure. */
__attribute__((format(printf, 4, 5))) static int mismatch(struct db_conn *c, const struct db_query *q, struct err *e,
							  const char *fmt, ...)
{
	char what[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	struct err here;
	err_reset(&here);
	int rc = err_set(&here, ERR_INTERNAL, "query %s: %s", q->name, what);
	if (c->failure.code == ERR_NONE)
		c->failure = here;
	if (e)
		*e = here;
	return rc;
}

static int bind_params(struct db_conn *c, const struct db_query *q, sqlite3_stmt *stmt, const void *in, struct err *e)
{
	for (size_t i = 0; i < q->param_count; i++) {
		const struct db_column *p = &q->params[i];
		const void *at = (const char *)in + p->offset;
		int n = (int)i + 1;
		bool is_null = false;
		int rc = SQLITE_OK;
		/* The caller's memory outlives the statement's run: SQLite need not copy (SQLITE_STATIC). */
		switch (p->type) {
		case DB_TEXT: {
			const char *text = *(const char *const *)at;
			is_null = text == NULL;
			if (text)
				rc = sqlite3_bind_text64(stmt, n, text, strlen(text), SQLITE_STATIC, SQLITE_UTF8);
			break;
		}
		case DB_BLOB: {
			const struct str *blob = at;
			is_null = blob->p == NULL;
			if (blob->p)
				rc = sqlite3_bind_blob64(stmt, n, blob->p, blob->n, SQLITE_STATIC);
			break;
		}
		case DB_REAL: {
			double value = *(const double *)at;
			is_null = isnan(value);
			if (!is_null)
				rc = sqlite3_bind_double(stmt, n, value);
			break;
		}
		case DB_INT:
		case DB_BOOL: {
			int64_t value;
			if (p->type == DB_BOOL && !p->nullable)
				value = *(const bool *)at;
			else
				value = *(const int64_t *)at;
			is_null = p->nullable && value == DB_NULL_INT;
			if (!is_null)
				rc = sqlite3_bind_int64(stmt, n, value);
			break;
		}
		}
		if (is_null && !p->nullable)
			return mismatch(c, q, e, "parameter %s is NULL", p->name);
		if (is_null)
			rc = sqlite3_bind_null(stmt, n);
		if (rc != SQLITE_OK)
			return db_conn_error(c, q->name, e);
	}
	return 0;
}

static int read_column(struct db_conn *c, struct arena *a, const struct db_query *q, sqlite3_stmt *stmt, size_t i,
		       void *row, struct err *e)
{
	static const char *const type_names[] = {
		[SQLITE_INTEGER] = "an integer", [SQLITE_FLOAT] = "a real", [SQLITE_TEXT] = "text",
		[SQLITE_BLOB] = "a blob",	 [SQLITE_NULL] = "NULL",
	};
	const struct db_column *col = &q->columns[i];
	void *at = (char *)row + col->offset;
	int n = (int)i;
	int type = sqlite3_column_type(stmt, n);

	if (type == SQLITE_NULL) {
		if (!col->nullable)
			return mismatch(c, q, e, "column %s is NULL", col->name);
		switch (col->type) {
		case DB_TEXT:
			*(const char **)at = NULL;
			break;
		case DB_BLOB:
			*(struct str *)at = STR_NULL;
			break;
		case DB_REAL:
			*(double *)at = NAN;
			break;
		case DB_INT:
		case DB_BOOL:
			*(int64_t *)at = DB_NULL_INT;
			break;
		}
		return 0;
	}
	switch (col->type) {
	case DB_TEXT: {
		if (type != SQLITE_TEXT)
			break;
		const char *text = (const char *)sqlite3_column_text(stmt, n);
		size_t length = (size_t)sqlite3_column_bytes(stmt, n);
		if (!text)
			return db_conn_error(c, q->name, e);
		if (memchr(text, '\0', length))
			return mismatch(c, q, e, "column %s holds a NUL", col->name);
		char *copy = arena_strndup(a, text, length);
		if (!copy)
			return err_nomem(e);
		*(const char **)at = copy;
		return 0;
	}
	case DB_BLOB: {
		if (type != SQLITE_BLOB)
			break;
		const char *bytes = sqlite3_column_blob(stmt, n); /* NULL when empty */
		size_t length = (size_t)sqlite3_column_bytes(stmt, n);
		if (!bytes && sqlite3_errcode(c->sqlite) == SQLITE_NOMEM)
			return db_conn_error(c, q->name, e);
		char *copy = arena_strndup(a, bytes ? bytes : "", length);
		if (!copy)
			return err_nomem(e);
		*(struct str *)at = (struct str){ copy, length };
		return 0;
	}
	case DB_REAL:
		if (type != SQLITE_FLOAT && type != SQLITE_INTEGER)
			break;
		*(double *)at = sqlite3_column_double(stmt, n);
		return 0;
	case DB_INT:
	case DB_BOOL: {
		if (type != SQLITE_INTEGER)
			break;
		int64_t value = sqlite3_column_int64(stmt, n);
		if (col->type == DB_BOOL && value != 0 && value != 1)
			return mismatch(c, q, e, "column %s is neither 0 nor 1", col->name);
		if (col->type == DB_BOOL && !col->nullable)
			*(bool *)at = value != 0;
		else
			*(int64_t *)at = value;
		return 0;
	}
	}
	return mismatch(c, q, e, "column %s is %s", col->name, type_names[type]);
}

static int read_row(struct db_conn *c, struct arena *a, const struct db_query *q, sqlite3_stmt *stmt, void *row,
		    struct err *e)
{
	for (size_t i = 0; i < q->column_count; i++) {
		int rc = read_column(c, a, q, stmt, i, row, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Ready for the next user, and without pointers into the caller's memory. */
static void finish(sqlite3_stmt *stmt)
{
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
}

static int start(struct db_conn *c, const struct db_query *q, const void *in, sqlite3_stmt **ret, struct err *e)
{
	int rc = db_conn_statement(c, q, ret, e);
	if (rc < 0)
		return rc;
	rc = bind_params(c, q, *ret, in, e);
	if (rc < 0)
		finish(*ret);
	return rc;
}

int db_query_one(struct db_conn *c, struct arena *a, const struct db_query *q, const void *in, void *ret_row,
		 struct err *e)
{
	sqlite3_stmt *stmt;
	int rc = start(c, q, in, &stmt, e);
	if (rc < 0)
		return rc;
	/* With RETURNING, SQLite makes all changes before it gives the first row. */
	int step = sqlite3_step(stmt);
	if (step == SQLITE_ROW) {
		void *row = arena_alloc(a, q->row_size);
		rc = row ? read_row(c, a, q, stmt, row, e) : err_nomem(e);
		if (rc == 0) {
			memcpy(ret_row, row, q->row_size);
			rc = 1;
		}
	} else if (step != SQLITE_DONE) {
		rc = db_conn_error(c, q->name, e);
	}
	finish(stmt);
	return rc;
}

int db_query_many(struct db_conn *c, struct arena *a, const struct db_query *q, const void *in, void **ret_rows,
		  size_t *ret_count, struct err *e)
{
	sqlite3_stmt *stmt;
	int rc = start(c, q, in, &stmt, e);
	if (rc < 0)
		return rc;
	char *rows = NULL;
	size_t count = 0, room = 0;
	int step;
	while (rc == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
		if (step != SQLITE_ROW) {
			rc = db_conn_error(c, q->name, e);
			break;
		}
		if (count == room) {
			/* Doubling leaves the old halves in the arena: at most as much again. */
			size_t more = room ? 2 * room : 8;
			char *grown = arena_array(a, more, q->row_size);
			if (!grown) {
				rc = err_nomem(e);
				break;
			}
			if (count)
				memcpy(grown, rows, count * q->row_size);
			rows = grown;
			room = more;
		}
		rc = read_row(c, a, q, stmt, rows + count * q->row_size, e);
		count++;
	}
	finish(stmt);
	if (rc == 0) {
		*ret_rows = rows;
		*ret_count = count;
	}
	return rc;
}

int db_query_exec(struct db_conn *c, const struct db_query *q, const void *in, struct err *e)
{
	sqlite3_stmt *stmt;
	int rc = start(c, q, in, &stmt, e);
	if (rc < 0)
		return rc;
	if (sqlite3_step(stmt) == SQLITE_DONE)
		rc = sqlite3_changes(c->sqlite);
	else
		rc = db_conn_error(c, q->name, e);
	finish(stmt);
	return rc;
}
