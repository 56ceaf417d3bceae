/*
 * users.h: users who go. The row of a removed user stays as a name: what they did is still theirs in every history, and
 * nobody else gets the login. Added again, they are the same user, with nothing of what they had but their own stacks.
 */
#ifndef SLIPWAY_IDENTITY_USERS_H
#define SLIPWAY_IDENTITY_USERS_H

#include "identity/identity.h"

struct user_removal {
	const char *user_id;
	const char **organizations; /* names that they were a member of, without their own */
	size_t organization_count;
	int64_t tokens;	   /* that were good for something: of theirs, and of their runs */
	int64_t schedules; /* paused */
	int64_t stacks;	   /* in their personal organization, which stays, with nobody in it */
};
/* One transaction: tokens and sessions, memberships and grants go, schedules of theirs are paused. What they asked for and still
 * runs is left to the caller (deploy_cancel_of_user). ERR_NOT_FOUND; ERR_CONFLICT for the last administrator of the site or
 * of an organization. */
int identity_user_remove(struct identity *id, struct arena *a, const char *login, const struct principal *who,
			 struct user_removal *ret, struct err *e);
/* Inside of the transaction that adds a user of that name: 1 it was a removed one, who is back now; 0 there is none. */
int identity_user_revive(struct db_conn *c, struct arena *a, const char *name, bool site_admin, const char **ret_id,
			 struct err *e);
/* Set by deploy/: pauses the schedules whose runs have the rights of that user, inside of the transaction. */
extern int (*identity_user_removing)(struct db_conn *c, struct arena *a, const char *user_id, int64_t *ret_schedules,
				     struct err *e);

#endif
