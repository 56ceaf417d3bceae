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

#endif
