/*
 * identity.h: who is asking, and what they may do. Organizations, users, tokens, grants.
 *
 * Permission rule everywhere: no read → 404, read but not enough → 403 (features §8.3). What may be done to a stack follows
 * from a level: an administrator of the organization has the highest one, everybody else that of a grant on the stack, or,
 * without one, the organization's default.
 */
#ifndef SLIPWAY_IDENTITY_IDENTITY_H
#define SLIPWAY_IDENTITY_IDENTITY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "crypto/crypto.h"
#include "db/db.h"

/* How a route authenticates (struct route.auth). */
enum route_auth {
	AUTH_NONE,    /* anybody */
	AUTH_USER,    /* "token <token of a user, an organization or a run>", or the session cookie (SESSION_COOKIE) */
	AUTH_LEASE,   /* "update-token <lease token>" of the update in the path */
	AUTH_POOL,    /* "token <pool token>" */
	AUTH_RUNNER,  /* "token <runner token>" of the deployment in the path */
	AUTH_AGENT,   /* the pool token, or the runner token (of the deployment in the path, if there is one) */
	AUTH_HANDLER, /* the handler checks the token itself: nothing is known of the asker before */
	AUTH_SITE,    /* the control socket, or a site administrator's token */
	AUTH_URL,     /* nobody: the path itself is sealed (deploy/cache.h) */
};

/* What a route needs (struct route.permission). Routes with {orgName} are resolved to an organization, those with
 * {projectName} and {stackName} to a stack, before the handler runs. */
enum permission {
	PERM_NONE,	   /* nothing beyond authentication */
	PERM_USER_WRITE,   /* change one's own account, see and mint one's tokens: never with a run token */
	PERM_ORG_READ,	   /* member of {orgName} */
	PERM_ORG_ADMIN,	   /* administrator of {orgName} */
	PERM_STACK_CREATE, /* may make stacks in {orgName} */
	PERM_STACK_READ,
	PERM_STACK_DEPLOY,   /* start and cancel deployments with the saved settings */
	PERM_STACK_WRITE,    /* run updates, change config, start deployments with settings of one's own */
	PERM_STACK_ADMIN,    /* delete, rename */
	PERM_STACK_ACCESS,   /* say who may do what to the stack: never with a run token */
	PERM_SETTINGS_READ,  /* deployment settings */
	PERM_SETTINGS_WRITE, /* never with a run token */
	PERM_LEASE,	     /* the update in the path belongs to the lease token */
	PERM_POOL,	     /* the pool of the token */
	PERM_RUNNER,	     /* the job of the token */
	PERM_AGENT,	     /* either of the two */
	PERM_SITE,
};

/* A browser's: holds a token of the kind "session". */
#define SESSION_COOKIE "slipway_session"

enum principal_kind {
	PRINCIPAL_NONE,
	PRINCIPAL_USER, /* personal token, or session (a browser's cookie) */
	PRINCIPAL_ORG, /* token of an organization: a machine, with a member's or an administrator's rights in it alone */
	PRINCIPAL_RUN, /* the pulumi CLI inside a deployment: its requester's rights, less minting and administering */
	PRINCIPAL_LEASE,
	PRINCIPAL_POOL,
	PRINCIPAL_RUNNER,
	PRINCIPAL_SOCKET, /* the control socket: the site administrator */
};

struct principal {
	enum principal_kind kind;
	const char *token_id;
	const char *token_description;
	const char *user_id;   /* USER, RUN (NULL: an automatic trigger, or asked for by a token of the organization) */
	const char *user_name; /* for ORG the token's name */
	const char *org_token; /* id: ORG, and RUN that such a token asked for, as long as that one lives */
	bool org_admin;	       /* with org_token */
	bool automatic;	       /* RUN that nobody asked for: has its own stack and nothing else */
	bool site_admin;
	bool session;		   /* USER by a session: only good as a cookie */
	const char *org_id;	   /* POOL, ORG, RUN */
	const char *pool_id;	   /* POOL */
	const char *deployment_id; /* RUN, RUNNER */
	int64_t attempt;	   /* RUN, RUNNER */
	const char *stack_id;	   /* RUN */
	const char *update_id;	   /* LEASE */
	int64_t expires_us;	   /* DB_NULL_INT: never */
	int64_t last_used_us;	   /* DB_NULL_INT: never */
};

/* What one may do to a stack. No order beyond the names': deploy may start what read may only look at, and does not see
 * the settings, which read does. The table in access.c has what each level holds. */
enum stack_level { STACK_NONE, STACK_READ, STACK_DEPLOY, STACK_WRITE, STACK_ADMIN };

struct org {
	const char *id;
	const char *name;
	bool personal;
	struct str data_key; /* sealed */
	/* Only filled in by identity_org_access: */
	enum stack_level stack_level; /* of members, on stacks without a grant for them */
	bool members_create_stacks;
	int64_t created_us;
};

/* What the authorize hook leaves in request->context: every handler finds it by request_access(r). */
struct access {
	struct principal who;
	struct org org;	  /* of {orgName}; id NULL when the route has none */
	const char *role; /* "admin", "member" of who in org; NULL: none */
	const char *
		stack_id; /* of {projectName}/{stackName} when the route has them, resolved; NULL if the route makes it */
	const char *stack_project; /* current names (a former name resolves to the stack too) */
	const char *stack_name;
	enum stack_level level; /* of who (of a run: of its requester) on stack_id */
};

struct request;
struct access *request_access(const struct request *r);

/* Whether it is allowed. The table is in access.c. ERR_NOT_FOUND when not even reading is allowed: the caller puts its own
 * words in place of the message; ERR_FORBIDDEN otherwise. */
int access_check(const struct access *access, enum permission permission, struct err *e);
/* For a handler whose route needs less than a part of what it does. */
bool access_may(const struct access *access, enum permission permission);
const char *permission_name(enum permission p); /* "stack-read" */
const char *route_auth_name(enum route_auth a); /* "user" */

struct identity {
	struct db *db;
	const char *key_path; /* master.key */
	/* Newest first. Keys are only ever added while the server runs, under the lock: what was read before a rotation
	 * is still opened after it. */
	struct crypto_keyring master;
	bool rotating; /* some data keys may still be sealed by the second key, and the file holds both */
	pthread_rwlock_t keys_lock;
};
/* Loads the master key (crypto_master_load) and, when a rotation was interrupted, ends it: after the database is open. */
int identity_keys_load(struct identity *id, const char *path, bool create, struct err *e);
int identity_keys_settle(struct identity *id, struct err *e);
/* ERR_IO when it is the master key of another database. */
int identity_keys_check(struct identity *id, struct err *e);
void identity_keys_done(struct identity *id);
/* Something that this server gives out and takes back by itself, sealed with the master key for one purpose. It opens as
 * long as that key is known: until a restart behind the next rotation. ERR_BAD_REQUEST if it was made by nobody of us. */
int identity_seal(struct identity *id, const char *purpose, struct str plain, struct arena *a, struct str *ret,
		  struct err *e);
int identity_open(struct identity *id, const char *purpose, struct str sealed, struct arena *a, struct str *ret,
		  struct err *e);
/* Between the two no rotation begins or ends. Nothing of this header that takes the keys may be called meanwhile. */
void identity_keys_hold(struct identity *id);
void identity_keys_release(struct identity *id);
/* A new master key: the data keys of all organizations are sealed anew with it, and the old one goes out of the file.
 * Whenever the server dies in between, the file opens everything. *ret_orgs: how many there are. */
int identity_keys_rotate(struct identity *id, uint32_t *ret_key_id, int64_t *ret_orgs, struct err *e);

/* --- authentication: all by token hash; ERR_UNAUTHORIZED when unknown or expired --- */
int identity_authenticate(struct db_conn *c, struct arena *a, struct str token, struct principal *ret, struct err *e);
/* Notes that a token of a user or an organization was used, at most once in ten minutes; its own transaction. */
void identity_token_used(struct db *db, const struct principal *who);
/* Clears tokens away that expired long ago. *ret_next_us: when to come again. */
int identity_tick(struct db *db, int64_t now_us, int64_t *ret_next_us, struct err *e);

/* --- organizations and users --- */
/* Fills org and role of access->who. ERR_NOT_FOUND without the name being known to the caller. */
int identity_org_access(struct db_conn *c, struct arena *a, struct access *access, const char *org_name, struct err *e);
/* Fills level, for stack_id, behind identity_org_access. */
int identity_stack_access(struct db_conn *c, struct arena *a, struct access *access, struct err *e);
/* The organization's data key, opened. */
int identity_org_key(struct identity *id, const struct org *org, struct crypto_key *ret, struct err *e);

struct user {
	const char *id;
	const char *name;
	const char *display_name;
	const char *email;
	bool site_admin;
};
/* 1 found, 0 not. */
int identity_user_by_id(struct db_conn *c, struct arena *a, const char *user_id, struct user *ret, struct err *e);
int identity_user_by_name(struct db_conn *c, struct arena *a, const char *name, struct user *ret, struct err *e);
int identity_org_by_id(struct db_conn *c, struct arena *a, const char *org_id, struct org *ret, struct err *e);

/* --- grants --- */
const char *stack_level_name(enum stack_level level); /* "deploy" */
enum stack_level stack_level_parse(const char *name); /* BUG for a name that is none: the database has a CHECK */
/* Who made a stack may do everything to it. Inside of the transaction that makes it; nothing when it was no user. */
int identity_grant_creator(struct db_conn *c, const struct access *access, const char *stack_id, struct err *e);
/* Whose stacks a list shows: the reader_id for the view stack_readers; NULL: everybody's. */
const char *identity_reader(const struct principal *who);
/* Likewise within access->org: NULL when nothing in it is hidden from who asks, which spares a list the look at each stack. */
int identity_org_reader(struct db_conn *c, struct arena *a, const struct access *access, const char **ret_reader,
			struct err *e);

/* --- making things; each is one transaction of its own. `who` does it, for the event; NULL: the server --- */
int identity_org_add(struct identity *id, struct arena *a, const char *name, const char **ret_id, struct err *e);
/* Makes the user with the personal organization; joins `org` when given (role "admin" or "member", NULL: member). A user
 * that exists joins `org`, or gets the new role there (NULL: keeps the old one); without `org` that is ERR_CONFLICT. The
 * first user of all becomes site administrator. *ret_role: the role in `org`, NULL without one; may be NULL. */
int identity_user_add(struct identity *id, struct arena *a, const char *name, bool site_admin, const char *org,
		      const char *role, const struct principal *who, const char **ret_id, const char **ret_role,
		      struct err *e);
int identity_token_add(struct identity *id, struct arena *a, const char *user, const char *description,
		       int64_t expires_us, const struct principal *who, const char **ret_token, const char **ret_id,
		       struct err *e);
/* Whether there is no user yet (first start). */
int identity_is_empty(struct identity *id, bool *ret, struct err *e);

/* --- for other rooms, inside their own transactions ---
 * Stores the hash of `token` (made before by token_new). Fields of `t` that do not apply stay NULL / DB_NULL_INT. */
struct token_row {
	const char *id;
	struct str hash;
	const char *kind;	 /* "pool", "runner", "run", "lease", "session", "personal", "organization" */
	const char *name;	 /* NULL: "" */
	const char *description; /* NULL: "" */
	bool admin;
	const char *user_id;
	const char *org_id;
	const char *pool_id;
	const char *deployment_id;
	int64_t attempt; /* DB_NULL_INT when none */
	const char *stack_id;
	const char *update_id;
	const char *parent_id;	/* run: the organization's token that asked for it */
	const char *created_by; /* login; NULL: "" */
	int64_t expires_us;	/* DB_NULL_INT: never */
};
int identity_token_insert(struct db_conn *c, const struct token_row *t, struct err *e);
int identity_tokens_revoke_deployment(struct db_conn *c, const char *deployment_id, struct err *e);
int identity_tokens_revoke_update(struct db_conn *c, const char *update_id, struct err *e);
int identity_tokens_revoke_pool(struct db_conn *c, const char *pool_id, struct err *e);
/* Lease tokens of the update that expire later than `us` expire then (grace for requests in flight). */
int identity_lease_tokens_expire(struct db_conn *c, const char *update_id, int64_t us, struct err *e);

/* Names of organizations and users: ^[a-zA-Z0-9][a-zA-Z0-9-_]{1,38}[a-zA-Z0-9]$ (cli-protocol §2.3). */
bool identity_name_valid(const char *name);

/* --- outbox (identity is the lowest room above db; every room may write events, by event.h) ---
 * Inserts one row per consumer that wants `kind` (table in outbox.c), and one to be read for a while. payload is JSON. */
int outbox_put(struct db_conn *c, const char *kind, const char *org_id, const char *stack_id, struct str payload,
	       struct err *e);

struct outbox_event {
	const char *id;
	const char *kind;
	const char *org_id;
	const char *stack_id; /* NULL: none */
	struct str payload;   /* JSON */
	int64_t created_us;
};
/* Called by outbox_tick on its thread, outside of any transaction. Negative: later again. An event may come twice. */
typedef int (*outbox_deliver_fn)(const struct outbox_event *event, void *arg, struct err *e);
/* Who handles a consumer of the table, and who wants to know that something was put; before requests run. */
void outbox_set_consumer(const char *name, outbox_deliver_fn deliver, void *arg);
void outbox_set_notify(void (*notify)(void *arg), void *arg);
/* Delivers what is due: at least once, and in order per stack. *ret_next_us: when to come again (INT64_MAX: nothing
 * waits). */
int outbox_tick(struct db *db, int64_t now_us, int64_t *ret_next_us, struct err *e);

#endif
