#include "deploy/queue.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "deploy/log_follow.h"

const char *queue_key(struct arena *a, const char *pool_id)
{
	return arena_printf(a, "pool:%s", pool_id);
}

struct wake {
	struct arena *arena;
	const char *org_id;
	const char *stack_id; /* NULL: the whole organization */
	struct queue_claimable_row one;
	struct queue_claimable_row *rows;
	size_t row_count;
	struct queue_pools_row *pools;
	size_t pool_count;
};

static int wake_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct wake *w = arg;
	struct queue_claimable_in in = { .org_id = w->org_id };
	struct queue_pools_in pools = { .org_id = w->org_id };
	int rc;
	if (w->stack_id) {
		struct queue_claimable_stack_in stack = { .stack_id = w->stack_id };
		struct queue_claimable_stack_row row;
		rc = q_queue_claimable_stack(c, w->arena, &stack, &row, e);
		w->row_count = rc > 0;
		w->one = (struct queue_claimable_row){ .pool_id = rc > 0 ? row.pool_id : NULL, .n = 1 };
		w->rows = &w->one;
	} else {
		rc = q_queue_claimable(c, w->arena, &in, &w->rows, &w->row_count, e);
	}
	return rc < 0 || w->row_count == 0 ? rc : q_queue_pools(c, w->arena, &pools, &w->pools, &w->pool_count, e);
}

static void wake_pool(struct app *app, struct arena *a, const char *pool_id, int64_t n)
{
	const char *key = queue_key(a, pool_id);
	if (key && n > 0)
		http_wake(app->http, key, n > 1000 ? 1000 : (int)n);
}

static void wake(struct app *app, struct arena *a, const char *org_id, const char *stack_id)
{
	if (!app->http || !org_id)
		return;
	struct wake w = { .arena = a, .org_id = org_id, .stack_id = stack_id };
	struct err e = { 0 };
	if (db_read(app->db, wake_fn, &w, &e) < 0) {
		log_warn("deploy", "agents were not woken: %s", e.message);
		return;
	}
	for (size_t i = 0; i < w.row_count; i++) {
		if (w.rows[i].pool_id) {
			wake_pool(app, a, w.rows[i].pool_id, w.rows[i].n);
			continue;
		}
		/* Any pool will do, and who has a waiting agent is not known here: each is asked, the first one wins. */
		for (size_t p = 0; p < w.pool_count; p++)
			wake_pool(app, a, w.pools[p].id, w.rows[i].n);
	}
}

void queue_wake_stack(struct app *app, struct arena *a, const char *org_id, const char *stack_id)
{
	wake(app, a, org_id, stack_id);
}

void queue_wake(struct app *app, struct arena *a, const char *org_id)
{
	wake(app, a, org_id, NULL);
}

struct seen {
	const char *pool_id;
	const struct agent_info *agent;
	int64_t now_us;
};

static int seen_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct seen *s = arg;
	const struct agent_info *g = s->agent;
	struct agent_seen_in in = { .pool_id = s->pool_id,
				    .name = g->name,
				    .hostname = g->hostname,
				    .pid = g->pid,
				    .ip = g->ip,
				    .platform = g->platform,
				    .version = g->version,
				    .isolation = g->isolation,
				    .networks = g->networks,
				    .now_us = s->now_us };
	return q_agent_seen(c, &in, e);
}

int queue_agent_seen(struct app *app, const char *pool_id, const struct agent_info *agent, struct err *e)
{
	struct seen s = { .pool_id = pool_id, .agent = agent, .now_us = clock_now_us() };
	int rc = db_write(app->db, seen_fn, &s, e);
	return rc < 0 ? rc : 0;
}

struct former_life {
	struct arena *arena;
	struct deployment_of_former_life_in in;
	struct deployment_of_former_life_row *rows;
	size_t count;
};

static int former_life_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct former_life *f = arg;
	return q_deployment_of_former_life(c, f->arena, &f->in, &f->rows, &f->count, e);
}

int queue_end_former_life(struct app *app, struct arena *a, const char *pool_id, const struct agent_info *agent,
			  struct err *e)
{
	if (!agent->instance || !agent->life)
		return 0;
	struct former_life f = { .arena = a,
				 .in = { .pool_id = pool_id, .instance = agent->instance, .life = agent->life } };
	int rc = db_read(app->db, former_life_fn, &f, e);
	for (size_t i = 0; rc >= 0 && i < f.count; i++) {
		const struct deployment_of_former_life_row *d = &f.rows[i];
		rc = streq(d->status, "accepted")
			     ? deployment_give_back(app, a, d->id, d->attempt, e)
			     : deployment_end(app, a, d->id, d->attempt, DEPLOYMENT_FAILED,
					      "the runner stopped in the middle and was started again", e);
	}
	return rc < 0 ? rc : 0;
}

struct leaving {
	struct arena *arena;
	struct deployment_of_life_unbegun_in in;
	struct deployment_of_life_unbegun_row *rows;
	size_t count;
};

static int leaving_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct leaving *l = arg;
	return q_deployment_of_life_unbegun(c, l->arena, &l->in, &l->rows, &l->count, e);
}

int queue_leave(struct app *app, struct arena *a, const char *pool_id, const struct agent_info *agent, struct err *e)
{
	if (!agent->instance || !agent->life)
		return 0;
	struct leaving l = { .arena = a,
			     .in = { .pool_id = pool_id, .instance = agent->instance, .life = agent->life } };
	int rc = db_read(app->db, leaving_fn, &l, e);
	for (size_t i = 0; rc >= 0 && i < l.count; i++)
		rc = deployment_give_back(app, a, l.rows[i].id, l.rows[i].attempt, e);
	return rc < 0 ? rc : 0;
}

struct claiming {
	struct app *app;
	struct arena *arena;
	const char *pool_id;
	const char *pool_org_id;
	const struct agent_info *agent;
	struct str token_hash;
	const char *token_id;
	int64_t now_us;
	bool found;
	struct deployment_get_row d;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct claiming *k = arg;
	struct queue_next_in in = { .pool_id = k->pool_id, .pool_org_id = k->pool_org_id };
	struct queue_next_row row;
	int rc = q_queue_next(c, k->arena, &in, &row, e);
	k->found = rc > 0;
	return rc < 0 ? rc : 0;
}

static int claim_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct claiming *k = arg;
	struct queue_next_in in = { .pool_id = k->pool_id, .pool_org_id = k->pool_org_id };
	struct queue_next_row row;
	k->found = false;
	int rc = q_queue_next(c, k->arena, &in, &row, e);
	if (rc <= 0)
		return rc;
	struct deployment_get_in get = { .id = row.id };
	rc = q_deployment_get(c, k->arena, &get, &k->d, e);
	if (rc > 0)
		rc = deployment_move(c, k->arena, &k->d, DEPLOYMENT_ACCEPTED, "", k->now_us, e);
	if (rc <= 0)
		return rc;
	struct deployment_set_claim_in claim = { .id = row.id,
						 .agent_pool_id = k->pool_id,
						 .agent_name = k->agent->name,
						 .agent_instance = k->agent->instance,
						 .agent_life = k->agent->life,
						 .runner_hash = k->token_hash,
						 .now_us = k->now_us,
						 .lease_us = k->now_us + k->app->options.claim_timeout_us };
	struct queue_took_turn_in turn = { .org_id = k->d.org_id, .project = k->d.project, .now_us = k->now_us };
	rc = q_deployment_set_claim(c, &claim, e);
	if (rc >= 0)
		rc = q_queue_took_turn(c, &turn, e);
	if (rc < 0)
		return rc;
	k->d.attempt++;
	struct token_row token = { .id = k->token_id,
				   .hash = k->token_hash,
				   .kind = "runner",
				   .deployment_id = row.id,
				   .attempt = k->d.attempt,
				   .stack_id = k->d.stack_id,
				   .expires_us = DB_NULL_INT };
	rc = identity_token_insert(c, &token, e);
	k->found = rc >= 0;
	return rc < 0 ? rc : 0;
}

int queue_claim(struct app *app, struct arena *a, const char *pool_id, const char *pool_org_id,
		const struct agent_info *agent, struct claim *ret, struct err *e)
{
	struct claiming k = { .app = app, .arena = a, .pool_id = pool_id, .pool_org_id = pool_org_id, .agent = agent };
	/* Most polls find nothing: they need not wait for the writer. */
	int rc = db_read(app->db, look_fn, &k, e);
	if (rc < 0 || !k.found)
		return rc;
	char *token = token_new(a, TOKEN_PREFIX_RUNNER);
	k.token_id = id_new_arena(a);
	if (!token || !k.token_id)
		return err_nomem(e);
	k.token_hash = token_hash(a, str_of(token));
	k.now_us = clock_now_us();
	rc = db_write(app->db, claim_fn, &k, e);
	if (rc < 0 || !k.found)
		return rc < 0 ? rc : 0;
	if (app->poke)
		app->poke(app);
	log_changed(app, a, k.d.id);
	*ret = (struct claim){
		.deployment_id = k.d.id, .org_id = k.d.org_id, .attempt = k.d.attempt, .runner_token = token
	};
	return 1;
}
