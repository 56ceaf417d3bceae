/*
 * settings_history.h: saved deployment settings, version by version (sql: settings_versions): each save, and each removal,
 * is a version, with who did it in words. The newest SETTINGS_VERSIONS_MAX of a stack are kept; they go with the stack, and
 * stay when it is renamed or its settings are removed.
 *
 * The documents are sealed with the stack's key, as the saved one is; what a version changed is found out when somebody
 * asks, so that nothing of it is stored in the clear.
 */
#ifndef SLIPWAY_DEPLOY_SETTINGS_HISTORY_H
#define SLIPWAY_DEPLOY_SETTINGS_HISTORY_H

#include "db/db.h"
#include "deploy/secrets.h"
#include "identity/identity.h"

#define SETTINGS_VERSIONS_MAX 100

struct settings_version {
	int64_t version;
	const char *document; /* canonical JSON text; NULL: removed */
	const char *pool_id;
	const char *source;
};

/* All inside of the caller's transaction. The number of the version that is saved next: */
int settings_version_next(struct db_conn *c, struct arena *a, const char *stack_id, int64_t *ret, struct err *e);
/* Adds it, and lets the oldest one go. */
int settings_version_keep(struct db_conn *c, const char *stack_id, const struct settings_version *v,
			  const struct principal *who, int64_t now_us, struct err *e);
/* The pool goes away: a version of each stack that names it. */
int settings_versions_without_pool(struct db_conn *c, const char *pool_id, const struct principal *who, int64_t now_us,
				   struct err *e);

/* The document as clients see it. */
struct settings_shown {
	int64_t version;
	struct json document;
	struct json newest; /* what is a secret there is hidden; absent for the newest itself */
	const char *pool_id;
	const char *source;
};
void settings_show(struct json_writer *w, const struct settings_shown *s, struct arena *a);

struct settings_diff {
	struct json before, after; /* absent: there were no settings */
	const char *before_pool, *after_pool;
	struct json newest; /* what is a secret there is none to be read in `before` and `after` */
	const struct secrets_key *key;
	struct arena *arena;
};
/* Writes an array of {"path":JSON pointer,"change":"added"|"changed"|"removed","secret":true?,"old"?,"new"?}: one for each
 * value that is no object, by their names. A secret has neither old nor new; one that was sealed
 * anew with the same value has not changed. */
int settings_diff_write(struct json_writer *w, const struct settings_diff *d, struct err *e);

#endif
