/*
 * user_gone.h: the hook of identity/users.h. Inside of deploy/.
 */
#ifndef SLIPWAY_DEPLOY_USER_GONE_H
#define SLIPWAY_DEPLOY_USER_GONE_H

#include "identity/identity.h"

int user_gone_pause_schedules(struct db_conn *c, struct arena *a, const char *user_id, int64_t *ret_count,
			      struct err *e);

#endif
