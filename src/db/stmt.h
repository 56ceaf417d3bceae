/*
 * stmt.h: what the generated wrappers call. Nobody else does.
 *
 * A query is static data: its SQL, and tables of its parameters and columns with their places in the caller's structs.
 * A connection prepares a query when it first meets it, and keeps the statement until it is closed (key: the address
 * of the query).
 */
#ifndef SLIPWAY_DB_STMT_H
#define SLIPWAY_DB_STMT_H

#include <stddef.h>

#include "db/db.h"

enum db_type { DB_TEXT, DB_INT, DB_BLOB, DB_BOOL, DB_REAL };

struct db_column {
	const char *name;
	size_t offset; /* in the struct of parameters, or of the row */
	enum db_type type;
	bool nullable; /* DB_BOOL: the member is an int64_t then; DB_REAL: NaN is NULL */
};

struct db_query {
	const char *name;
	const char *sql;
	const struct db_column *params; /* in the order of ?1, ?2, ... */
	size_t param_count;
	const struct db_column *columns;
	size_t column_count;
	size_t row_size;
};

/* The results are those of the wrappers: see db.h. */
int db_query_one(struct db_conn *c, struct arena *a, const struct db_query *q, const void *in, void *ret_row,
		 struct err *e);
int db_query_many(struct db_conn *c, struct arena *a, const struct db_query *q, const void *in, void **ret_rows,
		  size_t *ret_count, struct err *e);
int db_query_exec(struct db_conn *c, const struct db_query *q, const void *in, struct err *e);

#endif
