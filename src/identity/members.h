/*
 * members.h: members of organizations. All functions run inside of the caller's transaction. Inside of identity/.
 * `who` causes it, for the event (event.h); NULL: the server.
 */
#ifndef SLIPWAY_IDENTITY_MEMBERS_H
#define SLIPWAY_IDENTITY_MEMBERS_H

#include "db/queries_identity.h"
#include "identity/identity.h"

/* ERR_NOT_FOUND "member 'x'". */
int member_find(struct db_conn *c, struct arena *a, const char *org_id, const char *login, struct org_member_row *ret,
		struct err *e);
/* Joins, or gets the role; NULL: keeps the old one, or "member". ERR_CONFLICT: it would be the last administrator who
 * becomes a member. */
int member_put(struct db_conn *c, struct arena *a, const char *org_id, const char *user_id, const char *role,
	       const struct principal *who, const char **ret_role, struct err *e);
/* Also what was granted to the member. ERR_CONFLICT: the last administrator. */
int member_remove(struct db_conn *c, struct arena *a, const char *org_id, const struct org_member_row *member,
		  const struct principal *who, struct err *e);

#endif
