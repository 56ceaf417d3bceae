/*
 * limits.h: how many deployments of an organization may run at once, and how long one may run. They are kept with the
 * organization and obeyed by deploy/: the first by the claim, at once; the second from the start of a run on.
 */
#ifndef SLIPWAY_IDENTITY_LIMITS_H
#define SLIPWAY_IDENTITY_LIMITS_H

#include "identity/app.h"
#include "identity/identity.h"

/* Beyond these nobody may go, whoever they are. */
#define LIMITS_CONCURRENCY_MAX 100000
#define LIMITS_TIMEOUT_MAX_S (3650 * INT64_C(86400))

struct limits {
	int64_t concurrency;
	int64_t timeout_us; /* that counts: the organization's own, or the server's */
};

/* Inside of a transaction. */
int identity_limits(struct db_conn *c, struct arena *a, const struct app *app, const char *org_id, struct limits *ret,
		    struct err *e);

/* What a request asks for; -1: stays. timeout_s 0: the server's. */
struct limits_change {
	int64_t concurrency;
	int64_t timeout_s;
};
/* An administrator of the organization goes as far as the server's options, one of the site further. */
int limits_check(const struct app *app, const struct principal *who, const struct limits_change *change, struct err *e);
/* Inside of a write. *ret: what counts from now on. */
int limits_set(struct db_conn *c, struct arena *a, const struct app *app, const char *org_id,
	       const struct limits_change *change, struct limits *ret, struct err *e);

/* After the commit: more may run now. Set by deploy/; NULL: nobody waits. */
extern void (*identity_limits_raised)(struct app *app, struct arena *a, const char *org_id);

#endif
