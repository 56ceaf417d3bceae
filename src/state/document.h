/*
 * document.h: the states of a stack as documents: the newest, and that of a version.
 */
#ifndef SLIPWAY_STATE_DOCUMENT_H
#define SLIPWAY_STATE_DOCUMENT_H

#include "base/json.h"
#include "identity/app.h"

/* An UntypedDeployment; one of the two is there, in the arena or static. */
struct document {
	struct str gzip;
	struct str text;
};

/* The state that a version of the stack left (DB_NULL_INT: the newest); while an update runs, what it has saved so far.
 * ERR_NOT_FOUND when there is no such version, or its state is not kept any more. */
int document_read(struct app *app, struct arena *a, const char *stack_id, int64_t version, struct document *ret,
		  struct err *e);
/* Inflates it, if need be; the text was checked when it came. */
int document_open(struct document *d, struct arena *a, struct json *ret, struct err *e);

/* The CLI asks for the secrets of a state at the address that stands in it, and only knows a token for the one that it is
 * signed in to: `url` takes its place. Nothing happens to states without service secrets, nor, where `only_http`, to those
 * that name an https:// address. */
int document_set_address(struct document *d, const char *url, bool only_http, struct arena *a, struct err *e);

#endif
