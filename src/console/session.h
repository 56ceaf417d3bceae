/*
 * session.h: who looks at a page: the cookie slipway_session, a token of kind "session" of which only the hash is kept.
 */
#ifndef SLIPWAY_CONSOLE_SESSION_H
#define SLIPWAY_CONSOLE_SESSION_H

#include "deploy/deploy.h"

struct viewer {
	struct principal who;
	bool signed_in;
	/* of the path, when it names a stack that the viewer may read */
	bool found;
	struct org org;
	struct stack stack;
};

/* Reads the cookie and resolves {org}/{project}/{stack} if the route has them. */
int viewer_load(struct request *r, struct viewer *ret, struct err *e);
/* What a page does first. 0: go on; 1: the answer is written (sign in, not found). */
int viewer_enter(struct request *r, struct response *w, struct viewer *ret, struct err *e);

struct session {
	const char *token;
	struct principal who;
	int64_t expires_us;
};

/* A new session of the user whose access token this is, with its cookie. ERR_UNAUTHORIZED: it is none of a user's;
 * ERR_FORBIDDEN: the request comes from a page of another site. */
int session_begin(struct request *r, struct response *w, struct str access_token, struct session *ret, struct err *e);
/* Ends the session of the cookie, if there is one, and takes the cookie away. ERR_FORBIDDEN as above. */
int session_end(struct request *r, struct response *w, struct err *e);
int session_set_cookie(struct request *r, struct response *w, const char *value, int64_t max_age_s, struct err *e);

#endif
