/*
 * event.h: domain events: what happened, written in the transaction that made it happen, for whoever reacts to it.
 *
 * Every payload begins alike (features §5.3): the user who caused it, the organization, and the names of project and stack,
 * as they are at that moment; behind that come the members of its kind:
 *
 *	stack.created, stack.deleted    action
 *	stack.renamed                   formerProjectName, formerStackName
 *	stack.update, stack.preview     updateId, kind, result, version, isPreview, resourceChanges, updateUrl, deploymentId
 *	stack.ttl_warning               scheduleId, destroyAt, deleteAfterDestroy
 *	stack.paused, stack.resumed
 *	organization.paused, .resumed
 *	deployment.queued, .started, .succeeded, .failed, .skipped
 *	                                deploymentId, version, operation, status, deploymentUrl, requestedBy, initiator, message
 *	drift.detection                 driftRunId, driftDetected, status, resourceChanges, referenceUrl, deploymentId
 *	drift.remediation               driftRunId, status, resourceChanges, referenceUrl, deploymentId
 *	settings.changed, .removed      version, source
 *	member.added, .changed, .removed
 *	                                member, role, formerRole
 *	user.removed                    member: all tokens of the user are revoked with it; told in the personal organization
 *	grant.changed, .removed         member, permission, formerPermission
 *	organization.changed            defaultStackPermission, membersCanCreateStacks, concurrency, deploymentTimeoutSeconds
 *	token.created, .revoked         tokenId, tokenKind, and of a new one name, description; owner of a user's own, which is
 *	                                told in the user's personal organization
 *
 * Where no user is behind it, `user` is absent, and one of these tells who is: organizationToken (its name), siteAdministrator
 * (true), or neither: the server itself.
 */
#ifndef SLIPWAY_IDENTITY_EVENT_H
#define SLIPWAY_IDENTITY_EVENT_H

#include "base/json.h"
#include "identity/identity.h"

struct event_subject {
	const char *org_id;
	const char *stack_id;	     /* NULL: none */
	const struct principal *who; /* NULL: the server, or */
	const char *user_id;	     /* without `who`; NULL: nobody */
};

/* An event that is being written: between the two calls its members are added by event.w. Its memory is its own. */
struct event {
	struct buf text;
	struct json_writer w;
	const char *org_id, *stack_id;
	const char *org_name, *project, *stack_name; /* for event_url */
};

/* Inside of the caller's transaction. Always followed by event_put, unless it failed. */
int event_begin(struct db_conn *c, struct arena *a, const struct event_subject *s, struct event *ret, struct err *e);
/* A page of the console: "<public url>/<org>/<project>/<stack>/<tail>". */
void event_url(struct event *v, const char *name, struct arena *a, const char *tail);
/* A JSON object that was stored; {} where there is none. */
void event_object(struct event *v, const char *name, const char *text);
int event_put(struct db_conn *c, struct event *v, const char *kind, struct err *e);

/* An event that has nothing beyond its beginning and up to three texts: name, value pairs, NULL at the end; a NULL value is
 * left out. */
int event_put_simple(struct db_conn *c, struct arena *a, const struct event_subject *s, const char *kind, struct err *e,
		     ...) __attribute__((sentinel));

/* The server's address as others see it; before requests run. */
void event_set_public_url(const char *url);

/* Removes events that are no longer kept. *ret_next_us: when to come again. */
int event_tick(struct db *db, int64_t now_us, int64_t *ret_next_us, struct err *e);

#endif
