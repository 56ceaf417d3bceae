/*
 * oidc.h: the identity of a deployment towards clouds: what its tokens say (features §6.1), and who gets one. docs/oidc.md
 * is for those who set a cloud up.
 *
 * A token is made for the runner that holds the deployment's attempt, and for nobody else. Subject, audience and claims come from the
 * deployment's rows; the runner asks for nothing but "one".
 */
#ifndef SLIPWAY_DEPLOY_OIDC_H
#define SLIPWAY_DEPLOY_OIDC_H

#include "deploy/deployment.h"

struct oidc_identity {
	const char *issuer;
	const char *subject;
	const char *audience;
	const char *organization, *project, *stack, *stack_id, *operation;
	int64_t version; /* of the deployment; 0: of none */
};

/* Subject and audience from the other members. ERR_CONFLICT when a name would make the subject ambiguous. */
int oidc_identity_settle(struct oidc_identity *o, struct app *app, struct arena *a, struct err *e);
/* The members of a token's claims, but for its times and its id. */
void oidc_write_claims(struct json_writer *w, const struct oidc_identity *o, struct arena *a);
/* Whether the settings ask for that cloud: something of it is given. */
bool oidc_cloud_is_set(struct json cloud);
/* How long a token is to be good: as long as the session of the settings; where the token itself has to last (Azure), until
 * the deadline of the run. Never past the deadline. */
int64_t oidc_lifetime_us(struct json settings, int64_t until_deadline_us);

struct oidc_grant {
	struct oidc_identity identity;
	const char *token;
	int64_t expires_us;
	int64_t lifetime_us; /* from now */
};
/* ERR_CONFLICT "lease lost" unless that attempt holds the deployment. */
int job_oidc(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, struct oidc_grant *ret,
	     struct err *e);

#endif
