/*
 * internal.h: shared by the files of identity/ alone.
 */
#ifndef SLIPWAY_IDENTITY_INTERNAL_H
#define SLIPWAY_IDENTITY_INTERNAL_H

#include "http/http.h"
#include "identity/identity.h"

/* "admin", "member"; NULL at the end. */
extern const char *const identity_roles[];

/* Makes a personal token and answers {"id","tokenValue"}. expires_s: unix seconds, 0: never. */
int identity_answer_new_token(struct request *r, struct response *w, const char *user, const char *description,
			      int64_t expires_s, struct err *e);

/* The event of a token that was made or revoked. owner: the login, of a user's own. Inside of the transaction. */
int token_event(struct db_conn *c, struct arena *a, const char *kind, const struct token_row *t, const char *owner,
		const struct principal *who, struct err *e);

/* A new data key of an organization, sealed by the master key. From sealing it until it is committed, the caller holds the
 * keys: a rotation that came in between would not see it, and throw away what opens it. */
int identity_new_org_key(struct identity *id, struct arena *a, const char *org_id, struct str *ret, struct err *e);

#endif
