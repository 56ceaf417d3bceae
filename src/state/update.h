/*
 * update.h: the life of an update.
 *
 *	not-started → in-progress → succeeded | failed | cancelled
 *	not-started → failed | cancelled        (its deployment ended, or it was cancelled before it began)
 *
 * While a non-preview update is in progress it holds its stack (stacks.running_update_id); every write of its lease is
 * refused as soon as it is not in progress any more: that check stands inside of each write transaction and is the
 * fencing. Whoever ends it (complete, cancel, the lease's end, the deployment's end) replays the journal first, and
 * stores the state in the same transaction.
 */
#ifndef SLIPWAY_STATE_UPDATE_H
#define SLIPWAY_STATE_UPDATE_H

#include "state/checkpoint.h"
#include "state/state.h"

/* How long lease tokens stay known after a renewal, for the batches that are on their way with the old one. */
#define LEASE_RENEW_GRACE_US (60 * US_PER_S)
/* And after the end of the lease or of the update: so that a late or repeated call gets an answer about the update
 * rather than about its token. */
#define LEASE_END_GRACE_US (10 * US_PER_MINUTE)

struct update {
	const char *id;
	const char *stack_id;
	const char *kind;
	bool dry_run;
	const char *status;
	int64_t version;
	int64_t journal_version;
	const char *deployment_id;
	const char *base_checkpoint_id;
	const char *checkpoint_id;
	int64_t saved_sequence; /* of the last verbatim or delta checkpoint; 0: none */
	int64_t lease_expires_us;
	int64_t started_us;
	const char *author;
	const char *engine_version; /* of the CLI; "" if it did not say */
};

/* 1 found, 0 not. */
int update_find(struct db_conn *c, struct arena *a, const char *id, struct update *ret, struct err *e);
/* ERR_NOT_FOUND unless it is there and belongs to that stack (NULL: any). */
int update_get(struct db_conn *c, struct arena *a, const char *id, const char *stack_id, struct update *ret,
	       struct err *e);
bool update_is_open(const struct update *u); /* in progress */
bool update_has_ended(const struct update *u);
/* update_get for a write under the lease: ERR_CONFLICT unless it is in progress and its lease has not ended. */
int update_for_write(struct db_conn *c, struct arena *a, const char *id, struct update *ret, struct err *e);

struct new_update {
	const char *stack_id;
	const char *kind; /* "update", "preview", "refresh", "destroy" */
	bool dry_run;
	bool resource_import; /* `pulumi import`, of the kind "update" */
	const char *message;
	const char *environment;   /* JSON object */
	struct str config;	   /* gzip; absent: none */
	const char *requested_by;  /* user id, NULL */
	const char *deployment_id; /* NULL */
};
int update_create(struct app *app, struct arena *a, const struct new_update *n, const char **ret_id, struct err *e);

struct started {
	int64_t version;
	const char *token;
	int64_t token_expires_us;
	int64_t journal_version;
	struct update holder; /* ERR_CONFLICT: who has the stack (id NULL: unknown) */
};
/* `tags` absent: they stay. */
int update_start(struct app *app, struct arena *a, const char *stack_id, const char *id, struct json tags,
		 int64_t journal_version, struct started *ret, struct err *e);

/* A new lease token; the former ones are good for a minute more. ERR_FORBIDDEN when the lease has ended. */
int update_renew(struct app *app, struct arena *a, const char *id, int64_t duration_us, struct started *ret,
		 struct err *e);

/* Why an update ends: decides what is asked of it inside of the transaction. */
enum ending {
	END_COMPLETE,	/* its own client: must be in progress */
	END_CANCEL,	/* a user */
	END_LEASE,	/* only if the lease has really ended by now */
	END_DEPLOYMENT, /* its deployment has ended */
};
/* Ends it with `status` and stores the state that it leaves. Repeated with the same status: 0 and nothing happens;
 * ERR_CONFLICT when it has ended otherwise (END_COMPLETE, END_CANCEL) or has not begun. */
int update_end(struct app *app, const char *id, const char *stack_id, const char *status, enum ending why,
	       struct err *e);

/* Appends the state that the update's journal, or its delta checkpoints, have made so far to `out`. *ret_batches 0: there
 * are none (yet), the state is still that of the stack's checkpoint, and nothing was appended. */
int update_replay(struct app *app, struct arena *a, const struct update *u, struct buf *out,
		  int64_t *ret_resource_count, int64_t *ret_batches, struct err *e);

#endif
