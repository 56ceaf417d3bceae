/*
 * migrate.h: the schema's versions. Inside of the room, and for its tests.
 *
 * Migrations are applied in the order of their numbers and only go forward. A number may be missing (one is given out
 * when a piece of work begins), but none comes in later between two that were released. schema_migrations records what
 * was applied, with the SHA-256 of the statements (comments and white space do not count, and the hash is the same for
 * both engines): a database that was made by other statements, or in another order, is refused.
 */
#ifndef SLIPWAY_DB_MIGRATE_H
#define SLIPWAY_DB_MIGRATE_H

#include <stddef.h>

#include "db/db.h"

struct db_migration {
	int version;
	const char *name;
	const char *sha256; /* hex */
	const char *sqlite;
	const char *postgres;
};

extern const struct db_migration db_migrations[];
extern const size_t db_migrations_count;

/* Applies what is missing, each in its own transaction. ERR_PRECONDITION with a sentence for the operator if the
 * database is newer than the list, was made by other statements, or is not ours. */
int db_migrate(struct db_conn *c, const struct db_migration *list, size_t count, struct err *e);

/* db_open with a schema of the test's own. */
int db_open_with(const char *path, const struct db_migration *list, size_t count, struct db **ret, struct err *e);

#endif
