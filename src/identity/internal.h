/*
 * internal.h: shared by the files of identity/ alone.
 */
#ifndef SLIPWAY_IDENTITY_INTERNAL_H
#define SLIPWAY_IDENTITY_INTERNAL_H

#include "http/http.h"

/* Makes a personal token and answers {"id","tokenValue"}. expires_s: unix seconds, 0: never. */
int identity_answer_new_token(struct request *r, struct response *w, const char *user, const char *description,
			      int64_t expires_s, struct err *e);

#endif
