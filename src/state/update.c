#include "state/update.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_state.h"
#include "state/busy.h"
#include "state/stack.h"

/* The CLI assumes that a lease lasts so long from the start (cli-protocol §3.6). */
#define LEASE_DEFAULT_US (300 * US_PER_S)
/* The only version of the journal that there is. */
#define JOURNAL_VERSION 1

static int64_t lease_us(const struct app *app)
{
	return app->options.lease_us > 0 ? app->options.lease_us : LEASE_DEFAULT_US;
}

void (*state_deployment_update_started)(struct app *app, struct arena *a, const char *deployment_id);

/* --- reading --- */

int update_find(struct db_conn *c, struct arena *a, const char *id, struct update *ret, struct err *e)
{
	struct update_get_row row;
	struct json environment;
	int rc = q_update_get(c, a, &(struct update_get_in){ id }, &row, e);
	if (rc <= 0)
		return rc;
	if (json_check(str_of(row.environment), &environment, NULL) < 0)
		environment = JSON_ABSENT;
	const char *engine = json_cstr(json_get(environment, "pulumi.version"), a);
	*ret = (struct update){ .id = row.id,
				.stack_id = row.stack_id,
				.kind = row.kind,
				.dry_run = row.dry_run,
				.status = row.status,
				.version = row.version,
				.journal_version = row.journal_version,
				.deployment_id = row.deployment_id,
				.base_checkpoint_id = row.base_checkpoint_id,
				.checkpoint_id = row.checkpoint_id,
				.saved_sequence = row.saved_sequence,
				.lease_expires_us = row.lease_expires_us,
				.started_us = row.started_us,
				.author = row.author,
				.engine_version = engine ? engine : "" };
	return 1;
}

int update_get(struct db_conn *c, struct arena *a, const char *id, const char *stack_id, struct update *ret,
	       struct err *e)
{
	int rc = update_find(c, a, id, ret, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || (stack_id && !streq(ret->stack_id, stack_id)))
		return err_set(e, ERR_NOT_FOUND, "update '%s'", id);
	return 0;
}

bool update_is_open(const struct update *u)
{
	return streq(u->status, "in-progress");
}

bool update_has_ended(const struct update *u)
{
	return !streq(u->status, "in-progress") && !streq(u->status, "not-started");
}

int update_for_write(struct db_conn *c, struct arena *a, const char *id, struct update *ret, struct err *e)
{
	int rc = update_get(c, a, id, NULL, ret, e);
	if (rc < 0)
		return rc;
	if (!update_is_open(ret))
		return err_set(e, ERR_CONFLICT, "The update is not in progress.");
	if (ret->lease_expires_us <= clock_now_us())
		return err_set(e, ERR_CONFLICT, "The update's lease has ended.");
	return 0;
}

/* --- create --- */

struct create {
	struct update_insert_in row;
};

static int create_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct create *p = arg;
	int rc = q_update_insert(c, &p->row, e);
	return rc < 0 ? rc : 0;
}

int update_create(struct app *app, struct arena *a, const struct new_update *n, const char **ret_id, struct err *e)
{
	struct create p = { .row = { .id = id_new_arena(a),
				     .stack_id = n->stack_id,
				     .kind = n->kind,
				     .dry_run = n->dry_run,
				     .status = "not-started",
				     .message = n->message ? n->message : "",
				     .environment = n->environment ? n->environment : "{}",
				     .config = n->config,
				     .requested_by = n->requested_by,
				     .deployment_id = n->deployment_id,
				     .resource_count = DB_NULL_INT,
				     .resource_import = n->resource_import,
				     .now_us = clock_now_us(),
				     .started_us = DB_NULL_INT,
				     .ended_us = DB_NULL_INT } };
	if (!p.row.id)
		return err_nomem(e);
	int rc = db_write(app->db, create_fn, &p, e);
	if (rc == 0)
		*ret_id = p.row.id;
	return rc;
}

/* --- start and renew --- */

struct lease {
	struct app *app;
	struct arena *a;
	const char *stack_id;
	const char *id;
	struct json tags;
	int64_t journal_version;
	int64_t duration_us;
	struct str token_hash;
	const char *token_id;
	const char *deployment_id; /* of the update; NULL */
	struct started *ret;
};

static int put_token(struct db_conn *c, const struct lease *p, struct err *e)
{
	return identity_token_insert(c,
				     &(struct token_row){ .id = p->token_id,
							  .hash = p->token_hash,
							  .kind = "lease",
							  .update_id = p->id,
							  .attempt = DB_NULL_INT,
							  .expires_us = p->ret->token_expires_us + LEASE_END_GRACE_US },
				     e);
}

static int make_token(struct lease *p, struct err *e)
{
	p->ret->token = token_new(p->a, TOKEN_PREFIX_LEASE);
	p->token_id = id_new_arena(p->a);
	if (!p->ret->token || !p->token_id)
		return err_nomem(e);
	p->token_hash = token_hash(p->a, str_of(p->ret->token));
	return p->token_hash.p ? 0 : err_nomem(e);
}

/* Takes the stack, which must be free. */
static int take_stack(struct db_conn *c, struct lease *p, const struct stack *s, struct err *e)
{
	struct started *ret = p->ret;
	int rc = busy_check(c, p->a, s, &ret->holder, e);
	if (rc < 0)
		return rc;
	/* The former update's journal was only kept in case its replay proves wrong before anything is built on it. */
	if (s->latest_update_id) {
		rc = q_journal_clear(c, &(struct journal_clear_in){ s->latest_update_id }, e);
		if (rc < 0)
			return rc;
	}
	rc = q_stack_start_update(c, &(struct stack_start_update_in){ s->id, p->id, ret->version, clock_now_us() }, e);
	if (rc < 0)
		return rc;
	return rc == 0 ? stack_is_busy(e) : 0;
}

static int start_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct lease *p = arg;
	struct update u;
	struct stack s;
	p->ret->holder = (struct update){ 0 };
	int rc = update_get(c, p->a, p->id, p->stack_id, &u, e);
	if (rc < 0)
		return rc;
	p->deployment_id = u.deployment_id;
	if (!streq(u.status, "not-started"))
		return err_set(e, ERR_CONFLICT, "The update has already been started.");
	rc = state_stack_by_id(c, p->a, u.stack_id, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || s.deleted)
		return stack_gone(e);
	p->ret->version = u.dry_run ? s.version : s.version + 1;
	p->ret->journal_version = u.dry_run || p->journal_version < JOURNAL_VERSION ? 0 : JOURNAL_VERSION;
	p->ret->token_expires_us = clock_now_us() + p->duration_us;
	if (!u.dry_run)
		rc = take_stack(c, p, &s, e);
	if (rc >= 0)
		rc = q_update_start(c,
				    &(struct update_start_in){ .id = p->id,
							       .version = p->ret->version,
							       .journal_version = p->ret->journal_version,
							       .base_checkpoint_id = s.checkpoint_id,
							       .lease_expires_us = p->ret->token_expires_us,
							       .now_us = clock_now_us() },
				    e);
	if (rc >= 0 && p->tags.p && !str_eq(json_text(p->tags), str_of(s.tags)))
		rc = stack_put_tags(c, p->a, s.id, p->tags, e);
	return rc < 0 ? rc : put_token(c, p, e);
}

int update_start(struct app *app, struct arena *a, const char *stack_id, const char *id, struct json tags,
		 int64_t journal_version, struct started *ret, struct err *e)
{
	*ret = (struct started){ 0 };
	struct lease p = { .app = app,
			   .a = a,
			   .stack_id = stack_id,
			   .id = id,
			   .tags = tags,
			   .journal_version = journal_version,
			   .duration_us = lease_us(app),
			   .ret = ret };
	int rc = make_token(&p, e);
	if (rc == 0)
		rc = db_write(app->db, start_fn, &p, e);
	/* Whoever holds the stack may have died; the ticker need not have come by yet. */
	if (rc == -ERR_CONFLICT && ret->holder.id && ret->holder.lease_expires_us <= clock_now_us() &&
	    update_end(app, ret->holder.id, NULL, "failed", END_LEASE, e) == 0) {
		err_reset(e);
		rc = db_write(app->db, start_fn, &p, e);
	}
	if (rc == 0 && app->poke)
		app->poke(app);
	if (rc == 0 && p.deployment_id && state_deployment_update_started)
		state_deployment_update_started(app, a, p.deployment_id);
	return rc;
}

static int renew_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct lease *p = arg;
	struct update u;
	int64_t now = clock_now_us();
	int rc = update_for_write(c, p->a, p->id, &u, e);
	/* 403 tells the CLI that its lease is gone for good; everything else it would try again. */
	if (rc == -ERR_CONFLICT)
		return err_set(e, ERR_FORBIDDEN, "The update's lease has ended.");
	if (rc < 0)
		return rc;
	p->ret->version = u.version;
	p->ret->token_expires_us = now + p->duration_us;
	rc = q_update_renew(c, &(struct update_renew_in){ p->id, p->ret->token_expires_us }, e);
	if (rc >= 0)
		rc = identity_lease_tokens_expire(c, p->id, now + LEASE_RENEW_GRACE_US, e);
	return rc < 0 ? rc : put_token(c, p, e);
}

int update_renew(struct app *app, struct arena *a, const char *id, int64_t duration_us, struct started *ret,
		 struct err *e)
{
	*ret = (struct started){ 0 };
	struct lease p = { .app = app, .a = a, .id = id, .duration_us = lease_us(app), .ret = ret };
	if (duration_us > 0 && duration_us < p.duration_us)
		p.duration_us = duration_us;
	int rc = make_token(&p, e);
	if (rc == 0)
		rc = db_write(app->db, renew_fn, &p, e);
	/* A shorter lease may end before the one that the ticker knows of. */
	if (rc == 0 && app->poke)
		app->poke(app);
	return rc;
}
