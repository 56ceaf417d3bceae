/* The queue against a small model, and the life of a job: claim, steps, log, ends, timers. */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_limits.h"
#include "db/queries_state.h"
#include "deploy/job.h"
#include "deploy/log_follow.h"
#include "deploy/pool.h"
#include "deploy/queue.h"
#include "os/file.h"
#include "unit.h"

#define ORGS 2
/* The even ones belong to the first organization: more than may run there at once. */
#define STACKS 26
#define LIMIT 10 /* of the schema */

struct fixture {
	char dir[40];
	struct arena arena;
	struct identity identity;
	struct app app;
	const char *org[ORGS];
	const char *stack[STACKS];
	const char *pool[ORGS + 1]; /* one of each organization, and a shared one */
	struct err e;
};

static int stack_fn(struct db_conn *c, void *arg, struct err *e)
{
	return q_stack_insert(c, arg, e);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	static const char *const names[] = { "acme", "umbrella" };
	arena_init(&f->arena, 0);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_deploy_queue_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(crypto_init(&f->e), 0);
	f->identity.master.count = 1;
	crypto_key_new(&f->identity.master.keys[0], 1);
	if (db_open(arena_printf(&f->arena, "%s/db", f->dir), &f->identity.db, &f->e) < 0)
		fail_msg("%s", f->e.message);
	f->app = (struct app){ .db = f->identity.db,
			       .identity = &f->identity,
			       .public_url = "http://test",
			       .options = { .runner_timeout_us = 10 * US_PER_MINUTE,
					    .claim_timeout_us = 15 * US_PER_S,
					    .queue_expiry_us = 7 * US_PER_DAY,
					    .deployment_timeout_us = 2 * US_PER_HOUR,
					    .log_retention_us = 90 * US_PER_DAY } };
	for (int i = 0; i < ORGS; i++)
		assert_int_equal(identity_org_add(&f->identity, &f->arena, names[i], &f->org[i], &f->e), 0);
	for (int i = 0; i < STACKS; i++) {
		f->stack[i] = id_new_arena(&f->arena);
		struct stack_insert_in in = { .id = f->stack[i],
					      .org_id = f->org[i % ORGS],
					      .project = "shop",
					      .name = arena_printf(&f->arena, "s%d", i),
					      .tags = "{}",
					      .data_key = STR("unused"),
					      .now_us = clock_now_us() };
		assert_int_equal(db_write(f->app.db, stack_fn, &in, &f->e), 1);
	}
	for (int i = 0; i <= ORGS; i++) {
		const char *token;
		assert_int_equal(deploy_pool_add(&f->app, &f->arena, i < ORGS ? f->org[i] : NULL, "pool", "", NULL,
						 &f->pool[i], &token, &f->e),
				 0);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	clock_set_offset_us(0);
	db_close(f->identity.db);
	assert_int_equal(file_remove_tree(f->dir, &f->e), 0);
	arena_done(&f->arena);
	free(f);
	return 0;
}

struct adding {
	struct fixture *f;
	const struct deployment_new *n;
	const char *id;
	int64_t version;
};

static int add_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct adding *k = arg;
	return deployment_add(c, &k->f->arena, k->n, k->id, clock_now_us(), &k->version, e);
}

static const char *create(struct fixture *f, int stack, const char *operation, const char *pool, bool skip)
{
	struct deployment_new n = { .org_id = f->org[stack % ORGS],
				    .stack_id = f->stack[stack],
				    .operation = operation,
				    .pool_id = pool,
				    .settings = "{}",
				    .skip_intermediate = skip };
	struct adding k = { .f = f, .n = &n, .id = id_new_arena(&f->arena) };
	if (db_write(f->app.db, add_fn, &k, &f->e) < 0)
		fail_msg("create: %s", f->e.message);
	deployment_queued(&f->app, &f->arena, n.org_id, n.stack_id);
	return k.id;
}

/* NULL: nothing there. */
static const char *claim(struct fixture *f, int pool, int64_t *ret_attempt)
{
	static const struct agent_info agent = {
		.name = "a", .hostname = "", .ip = "", .platform = "", .version = "", .isolation = ""
	};
	struct claim k;
	int rc = queue_claim(&f->app, &f->arena, f->pool[pool], pool < ORGS ? f->org[pool] : NULL, &agent, &k, &f->e);
	if (rc < 0)
		fail_msg("claim: %s", f->e.message);
	if (rc > 0 && ret_attempt)
		*ret_attempt = k.attempt;
	return rc > 0 ? k.deployment_id : NULL;
}

struct got {
	struct fixture *f;
	const char *id;
	struct deployment_get_row d;
};

static int get_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct got *g = arg;
	struct deployment_get_in in = { .id = g->id };
	return q_deployment_get(c, &g->f->arena, &in, &g->d, e);
}

static struct deployment_get_row get(struct fixture *f, const char *id)
{
	struct got g = { .f = f, .id = id };
	assert_int_equal(db_read(f->app.db, get_fn, &g, &f->e), 1);
	return g.d;
}

static void assert_status(struct fixture *f, const char *id, const char *status)
{
	assert_string_equal(get(f, id).status, status);
}

static void tick(struct fixture *f)
{
	int64_t next;
	if (deploy_tick(&f->app, clock_now_us(), &next, &f->e) < 0)
		fail_msg("tick: %s", f->e.message);
	assert_true(next > clock_now_us());
}

static void step(struct fixture *f, const char *id, int64_t n, const char *status)
{
	if (job_step(&f->app, &f->arena, id, 1, n, "Setup", status, &f->e) < 0)
		fail_msg("step: %s", f->e.message);
}

/* --- the table --- */

static void only_these_moves(void **state)
{
	static const char *const table[DEPLOYMENT_STATUS_COUNT] = {
		/*  n a r s f k */
		"010001", "101010", "000110", "000000", "000000", "000000",
	};
	for (unsigned from = 0; from < DEPLOYMENT_STATUS_COUNT; from++) {
		for (unsigned to = 0; to < DEPLOYMENT_STATUS_COUNT; to++)
			assert_int_equal(deployment_may_move(from, to), table[from][to] == '1');
		assert_int_equal(deployment_status_parse(deployment_status_name(from)), from);
	}
	assert_int_equal(deployment_status_parse("cancelled"), DEPLOYMENT_STATUS_COUNT);
}

/* --- the model --- */

#define MODEL_MAX 4000

struct model {
	struct entry {
		const char *id;
		int stack;
		int pool;   /* -1: any */
		char state; /* q queued, a active, e ended */
		int64_t attempt;
	} all[MODEL_MAX];
	size_t count;
	bool paused[ORGS];
	int limit_bound; /* how often it was what kept something waiting */
};

static int active_in(const struct model *m, int org)
{
	int n = 0;
	for (size_t i = 0; i < m->count; i++)
		n += m->all[i].state == 'a' && m->all[i].stack % ORGS == org;
	return n;
}

static struct entry *expected(struct model *m, int pool)
{
	bool blocked[STACKS] = { false };
	for (size_t i = 0; i < m->count; i++)
		if (m->all[i].state == 'a')
			blocked[m->all[i].stack] = true;
	for (size_t i = 0; i < m->count; i++) {
		struct entry *d = &m->all[i];
		int org = d->stack % ORGS;
		if (d->state != 'q' || blocked[d->stack])
			continue;
		blocked[d->stack] = true; /* whatever comes later on this stack waits for it */
		bool fits = d->pool >= 0 ? d->pool == pool : pool == ORGS || pool == org;
		if (fits && !m->paused[org] && active_in(m, org) < LIMIT)
			return d;
		m->limit_bound += active_in(m, org) == LIMIT;
	}
	return NULL;
}

static int pause_fn(struct db_conn *c, void *arg, struct err *e)
{
	return q_org_deployments_pause(c, arg, e);
}

static struct entry *pick(struct model *m, char state, unsigned *seed)
{
	size_t start = m->count ? (size_t)rand_r(seed) % m->count : 0;
	for (size_t i = 0; i < m->count; i++)
		if (m->all[(start + i) % m->count].state == state)
			return &m->all[(start + i) % m->count];
	return NULL;
}

static void one_random_move(struct fixture *f, struct model *m, unsigned *seed)
{
	struct entry *d;
	int pool = (int)((unsigned)rand_r(seed) % (ORGS + 1));
	switch (rand_r(seed) % 9) {
	case 0:
	case 1:
	case 2:
		d = &m->all[m->count++];
		*d = (struct entry){ .stack = (int)((unsigned)rand_r(seed) % STACKS), .pool = -1, .state = 'q' };
		if (rand_r(seed) % 4 == 0)
			d->pool = rand_r(seed) % 2 ? d->stack % ORGS : ORGS;
		d->id = create(f, d->stack, "preview", d->pool >= 0 ? f->pool[d->pool] : NULL, false);
		return;
	case 3:
	case 4:
	case 7: {
		struct entry *want = expected(m, pool);
		int64_t attempt = 0;
		const char *id = claim(f, pool, &attempt);
		if (!id != !want || (id && !streq(id, want->id)))
			fail_msg("pool %d claimed %s, not %s", pool, id ? id : "nothing", want ? want->id : "nothing");
		if (want) {
			want->state = 'a';
			want->attempt = attempt;
		}
		return;
	}
	case 5:
		if ((d = pick(m, 'a', seed)) != NULL) {
			d->state = rand_r(seed) % 3 ? 'e' : 'q';
			int rc = d->state == 'e' ? deployment_end(&f->app, &f->arena, d->id, d->attempt,
								  DEPLOYMENT_FAILED, "it failed", &f->e)
						 : deployment_give_back(&f->app, &f->arena, d->id, d->attempt, &f->e);
			assert_int_equal(rc, 0);
		}
		return;
	case 6:
		if ((d = pick(m, 'q', seed)) != NULL) {
			assert_int_equal(deployment_cancel(&f->app, &f->arena, d->id, "operator", &f->e), 0);
			d->state = 'e';
		}
		return;
	default: {
		int org = rand_r(seed) % ORGS;
		m->paused[org] = rand_r(seed) % 3 == 0;
		struct org_deployments_pause_in in = { .org_id = f->org[org], .paused = m->paused[org] };
		assert_int_equal(db_write(f->app.db, pause_fn, &in, &f->e), 1);
	}
	}
}

static void the_queue_does_what_the_model_says(void **state)
{
	struct fixture *f = *state;
	struct model *m = calloc(1, sizeof(*m));
	unsigned seed = 20261121;
	for (int i = 0; i < 1500; i++)
		one_random_move(f, m, &seed);
	assert_true(m->count > 300 && m->limit_bound > 10);
	free(m);
}

/* --- single stories --- */

static void a_limit_binds(void **state)
{
	struct fixture *f = *state;
	const char *first = NULL;
	for (int s = 0; s < STACKS; s += ORGS)
		create(f, s, "preview", NULL, false);
	const char *other = create(f, 1, "preview", NULL, false);
	for (int i = 0; i < LIMIT; i++) {
		const char *id = claim(f, 0, NULL);
		assert_non_null(id);
		first = first ? first : id;
	}
	assert_null(claim(f, 0, NULL));
	assert_string_equal(claim(f, ORGS, NULL), other); /* the other organization is not held up */
	assert_int_equal(deployment_end(&f->app, &f->arena, first, 1, DEPLOYMENT_FAILED, "", &f->e), 0);
	assert_non_null(claim(f, 0, NULL));
	assert_null(claim(f, 0, NULL));
}

static void intermediate_ones_are_skipped(void **state)
{
	struct fixture *f = *state;
	const char *ids[5];
	static const char *const operations[] = { "update", "update", "destroy", "update", "update" };
	for (int i = 0; i < 5; i++)
		ids[i] = create(f, 0, operations[i], NULL, true);
	int64_t attempt;
	assert_string_equal(claim(f, 0, &attempt), ids[0]);
	step(f, ids[0], 0, "running");
	assert_int_equal(deployment_end(&f->app, &f->arena, ids[0], attempt, DEPLOYMENT_SUCCEEDED, "", &f->e), 0);
	static const char *const wanted[] = { "succeeded", "skipped", "not-started", "skipped", "not-started" };
	for (int i = 0; i < 5; i++)
		assert_status(f, ids[i], wanted[i]);
}

static void an_old_attempt_is_fenced(void **state)
{
	struct fixture *f = *state;
	const char *id = create(f, 0, "update", NULL, false);
	int64_t first, second, next;
	bool cancel;
	const char *status;
	claim(f, 0, &first);
	clock_set_offset_us(20 * US_PER_S);
	tick(f);
	assert_status(f, id, "not-started");
	claim(f, 0, &second);
	assert_int_equal(second, first + 1);
	assert_int_equal(job_heartbeat(&f->app, &f->arena, id, first, &cancel, &status, &f->e), -ERR_CONFLICT);
	assert_string_equal(f->e.message, "lease lost");
	assert_int_equal(job_step(&f->app, &f->arena, id, first, 0, "Setup", "running", &f->e), -ERR_CONFLICT);
	assert_int_equal(deployment_end(&f->app, &f->arena, id, first, DEPLOYMENT_FAILED, "", &f->e), -ERR_CONFLICT);
	assert_int_equal(job_step(&f->app, &f->arena, id, second, 0, "Setup", "running", &f->e), 0);
	assert_status(f, id, "running");
	struct json lines;
	assert_int_equal(json_check(STR("[{\"t\":1,\"l\":\"a\\n\"}]"), &lines, &f->e), 0);
	assert_int_equal(log_append(&f->app, &f->arena, id, first, 0, 0, lines, &next, &f->e), -ERR_CONFLICT);
	assert_int_equal(log_append(&f->app, &f->arena, id, second, 0, 0, lines, &next, &f->e), 0);
	assert_int_equal(next, 1);
	/* From the first step on it is never given to another runner. */
	clock_set_offset_us(20 * US_PER_S + 11 * US_PER_MINUTE);
	tick(f);
	assert_status(f, id, "failed");
	assert_string_equal(get(f, id).message, "the runner was not heard of for 10 min");
	assert_null(claim(f, 0, NULL));
}

static void heartbeats_keep_it_alive(void **state)
{
	struct fixture *f = *state;
	const char *id = create(f, 0, "update", NULL, false), *status;
	bool cancel = true;
	claim(f, 0, NULL);
	step(f, id, 0, "running");
	for (int i = 1; i < 8; i++) {
		clock_set_offset_us(i * 9 * US_PER_MINUTE);
		tick(f);
		assert_int_equal(job_heartbeat(&f->app, &f->arena, id, 1, &cancel, &status, &f->e), 0);
		assert_false(cancel);
	}
	/* A cancel is told; a runner that does not answer it is given up soon. */
	assert_int_equal(deployment_cancel(&f->app, &f->arena, id, "operator", &f->e), 0);
	assert_int_equal(deployment_cancel(&f->app, &f->arena, id, "operator", &f->e), 0);
	assert_int_equal(job_heartbeat(&f->app, &f->arena, id, 1, &cancel, &status, &f->e), 0);
	assert_true(cancel);
	assert_int_equal(deployment_end(&f->app, &f->arena, id, 1, DEPLOYMENT_FAILED, "signal: interrupt", &f->e), 0);
	assert_string_equal(get(f, id).message, "cancelled by operator");
	assert_int_equal(deployment_cancel(&f->app, &f->arena, id, "operator", &f->e), 0); /* a repeat */
}

static void cancel_by_state(void **state)
{
	struct fixture *f = *state;
	const char *queued = create(f, 0, "update", NULL, false);
	assert_int_equal(deployment_cancel(&f->app, &f->arena, queued, NULL, &f->e), 0);
	assert_status(f, queued, "skipped");
	const char *claimed = create(f, 0, "update", NULL, false);
	claim(f, 0, NULL);
	assert_int_equal(deployment_cancel(&f->app, &f->arena, claimed, "operator", &f->e), 0);
	assert_status(f, claimed, "failed");
	const char *silent = create(f, 0, "update", NULL, false);
	claim(f, 0, NULL);
	step(f, silent, 0, "running");
	assert_int_equal(deployment_cancel(&f->app, &f->arena, silent, "operator", &f->e), 0);
	assert_status(f, silent, "running");
	clock_set_offset_us(2 * US_PER_MINUTE);
	tick(f);
	assert_status(f, silent, "failed");
	const char *done = create(f, 0, "update", NULL, false);
	claim(f, 0, NULL);
	step(f, done, 0, "running");
	assert_int_equal(deployment_end(&f->app, &f->arena, done, 1, DEPLOYMENT_SUCCEEDED, "", &f->e), 0);
	assert_int_equal(deployment_cancel(&f->app, &f->arena, done, "operator", &f->e), -ERR_NOT_FOUND);
}

static void the_time_limit(void **state)
{
	struct fixture *f = *state;
	const char *id = create(f, 0, "update", NULL, false), *status;
	bool cancel;
	claim(f, 0, NULL);
	step(f, id, 0, "running");
	for (int i = 1; i <= 12; i++) {
		clock_set_offset_us(i * 9 * US_PER_MINUTE);
		assert_int_equal(job_heartbeat(&f->app, &f->arena, id, 1, &cancel, &status, &f->e), 0);
	}
	clock_set_offset_us(2 * US_PER_HOUR + US_PER_S);
	assert_int_equal(job_heartbeat(&f->app, &f->arena, id, 1, &cancel, &status, &f->e), 0);
	tick(f);
	assert_int_equal(job_heartbeat(&f->app, &f->arena, id, 1, &cancel, &status, &f->e), 0);
	assert_true(cancel);
	clock_set_offset_us(2 * US_PER_HOUR + 62 * US_PER_S);
	tick(f);
	assert_status(f, id, "failed");
	assert_string_equal(get(f, id).message, "the time limit of 2 h is over");
}

static int set_limits_fn(struct db_conn *c, void *arg, struct err *e)
{
	return q_org_set_limits(c, arg, e);
}

/* An organization's own, as it was when the run began. */
static void the_time_limit_of_an_organization(void **state)
{
	struct fixture *f = *state;
	struct org_set_limits_in limits = { f->org[0], LIMIT, 90 * US_PER_S };
	assert_int_equal(db_write(f->app.db, set_limits_fn, &limits, &f->e), 1);
	const char *id = create(f, 0, "update", NULL, false), *other = create(f, 1, "update", NULL, false);
	claim(f, 0, NULL), claim(f, 1, NULL);
	step(f, id, 0, "running"), step(f, other, 0, "running");
	limits.timeout_us = DB_NULL_INT;
	assert_int_equal(db_write(f->app.db, set_limits_fn, &limits, &f->e), 1);
	clock_set_offset_us(91 * US_PER_S);
	tick(f);
	clock_set_offset_us(152 * US_PER_S);
	tick(f);
	assert_status(f, id, "failed");
	assert_string_equal(get(f, id).message, "the time limit of 90 s is over");
	assert_status(f, other, "running");
}

static void nobody_took_it(void **state)
{
	struct fixture *f = *state;
	const char *id = create(f, 0, "update", NULL, false);
	clock_set_offset_us(7 * US_PER_DAY - US_PER_S);
	tick(f);
	assert_status(f, id, "not-started");
	clock_set_offset_us(7 * US_PER_DAY + US_PER_S);
	tick(f);
	assert_status(f, id, "skipped");
}

static int wish_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct deployment_set_ending_in in = { .id = arg, .ending_status = "succeeded", .message = "" };
	return q_deployment_set_ending(c, &in, e);
}

/* As if the server had died between the two transactions of an ending. */
static void an_interrupted_ending_goes_on(void **state)
{
	struct fixture *f = *state;
	const char *id = create(f, 0, "update", NULL, false), *status;
	bool cancel;
	claim(f, 0, NULL);
	step(f, id, 0, "running");
	assert_int_equal(db_write(f->app.db, wish_fn, (void *)(uintptr_t)id, &f->e), 1);
	assert_int_equal(job_heartbeat(&f->app, &f->arena, id, 1, &cancel, &status, &f->e), -ERR_CONFLICT);
	tick(f);
	assert_status(f, id, "succeeded");
}

/* --- logs --- */

static int64_t append(struct fixture *f, const char *id, int64_t at_step, int64_t offset, const char *text)
{
	struct json lines;
	int64_t next;
	assert_int_equal(json_check(str_of(text), &lines, &f->e), 0);
	int rc = log_append(&f->app, &f->arena, id, 1, at_step, offset, lines, &next, &f->e);
	return rc < 0 ? rc : next;
}

static const char *read_log(struct fixture *f, const char *id, const char *token, const char **ret_next)
{
	struct log_page page;
	struct log_place from = { 0 };
	struct buf b;
	assert_true(!token || log_place_parse(token, &from));
	if (log_read_stream(&f->app, &f->arena, id, from, LOG_PAGE_LINES, LOG_PAGE_BYTES, &page, &f->e) < 0)
		fail_msg("log: %s", f->e.message);
	buf_init(&b, 1 << 20);
	for (size_t i = 0; i < page.count; i++) {
		if (page.items[i].header)
			buf_addf(&b, "[%s]", page.items[i].header);
		else
			buf_adds(&b, json_cstr(page.items[i].text, &f->arena));
	}
	const char *text = arena_strndup(&f->arena, b.data ? b.data : "", b.len);
	buf_done(&b);
	*ret_next = page.complete ? NULL : log_place_token(&f->arena, page.next);
	return text;
}

static void appends_at_offsets(void **state)
{
	struct fixture *f = *state;
	const char *id = create(f, 0, "update", NULL, false), *token, *same;
	claim(f, 0, NULL);
	assert_string_equal(read_log(f, id, NULL, &token), "");
	assert_string_equal(token, "0.0.0");
	step(f, id, 0, "running");
	assert_int_equal(append(f, id, 0, 0, "[{\"t\":1,\"l\":\"a\"},{\"t\":2,\"l\":\"b\"}]"), 2);
	assert_int_equal(append(f, id, 0, 0, "[{\"t\":1,\"l\":\"a\"},{\"t\":2,\"l\":\"b\"}]"), 2);
	assert_int_equal(append(f, id, 0, 1, "[{\"t\":2,\"l\":\"b\"},{\"t\":3,\"l\":\"c\"},{\"t\":4,\"l\":\"d\"}]"), 4);
	assert_int_equal(append(f, id, 0, 1, "[]"), 4);
	assert_int_equal(append(f, id, 0, 5, "[{\"t\":2,\"l\":\"x\"}]"), -ERR_CONFLICT);
	assert_string_equal(f->e.message, "expected offset 4");
	assert_int_equal(append(f, id, 1, 0, "[{\"t\":2,\"l\":\"x\"}]"), -ERR_CONFLICT);
	assert_string_equal(read_log(f, id, token, &token), "[Setup]abcd");
	assert_string_equal(read_log(f, id, token, &same), "");
	assert_string_equal(token, same);
	/* Its last lines may come after its end. */
	step(f, id, 0, "succeeded");
	assert_string_equal(read_log(f, id, token, &same), "");
	assert_string_equal(token, same);
	assert_int_equal(append(f, id, 0, 4, "[{\"t\":2,\"l\":\"e\"}]"), 5);
	/* The header that the CLI leaves the log at is held back while there is no update to follow. */
	assert_int_equal(job_step(&f->app, &f->arena, id, 1, 1, "pulumi update", "running", &f->e), 0);
	assert_int_equal(append(f, id, 1, 0, "[{\"t\":2,\"l\":\"up\"}]"), 1);
	assert_string_equal(read_log(f, id, token, &token), "e");
	assert_string_equal(token, "0.1.0");
	assert_int_equal(job_step(&f->app, &f->arena, id, 1, 1, "pulumi update", "failed", &f->e), 0);
	assert_string_equal(read_log(f, id, token, &token), "[Pulumi operation]up");
	assert_string_equal(token, "0.1.2");
	assert_int_equal(deployment_end(&f->app, &f->arena, id, 1, DEPLOYMENT_FAILED, "exit 255", &f->e), 0);
	assert_string_equal(read_log(f, id, token, &token), "exit 255\n");
	assert_null(token);
	assert_int_equal(append(f, id, 1, 1, "[]"), -ERR_CONFLICT);
	struct log_page page;
	assert_int_equal(log_read_step(&f->app, &f->arena, id, 0, 1, 3, &page, &f->e), 0);
	assert_int_equal(page.count, 3);
	assert_int_equal(page.next_offset, 4);
	assert_int_equal(log_read_step(&f->app, &f->arena, id, 0, 4, 3, &page, &f->e), 0);
	assert_int_equal(page.count, 1);
	assert_true(page.next_offset == DB_NULL_INT);
	assert_int_equal(log_read_step(&f->app, &f->arena, id, 2, 0, 3, &page, &f->e), -ERR_NOT_FOUND);
	struct log_place place;
	assert_false(log_place_parse("0.x.1", &place));
	assert_int_equal(log_read_stream(&f->app, &f->arena, id, (struct log_place){ 1, 3 }, 0, 1, &page, &f->e),
			 -ERR_BAD_REQUEST);
	/* Retention. */
	clock_set_offset_us(91 * US_PER_DAY);
	tick(f);
	assert_non_null(strstr(read_log(f, id, NULL, &token), "removed"));
	assert_null(token);
}

/* Thousands of lines in pages: none lost, none twice, whatever the sizes of chunks and pages. */
static void every_line_once(void **state)
{
	struct fixture *f = *state;
	const char *id = create(f, 0, "preview", NULL, false);
	struct log_page page = { 0 };
	unsigned seed = 7;
	int64_t n = 0, seen = 0;
	claim(f, 0, NULL);
	step(f, id, 0, "running");
	while (n < 5000) {
		struct buf b;
		int64_t from = n;
		buf_init(&b, 1 << 24);
		buf_adds(&b, "[");
		for (int i = rand_r(&seed) % 400; i >= 0; i--, n++)
			buf_addf(&b, "%s{\"t\":%" PRId64 ",\"l\":\"%" PRId64 "\\n\"}", n > from ? "," : "", n, n);
		buf_adds(&b, "]");
		assert_int_equal(append(f, id, 0, from, b.data), n);
		buf_done(&b);
	}
	assert_int_equal(deployment_end(&f->app, &f->arena, id, 1, DEPLOYMENT_SUCCEEDED, "", &f->e), 0);
	do {
		assert_int_equal(log_read_stream(&f->app, &f->arena, id, page.next, 1 + rand_r(&seed) % 700,
						 LOG_PAGE_BYTES, &page, &f->e),
				 0);
		for (size_t i = 0; i < page.count; i++)
			if (!page.items[i].header)
				assert_int_equal(page.items[i].t_us, seen++);
	} while (!page.complete);
	assert_int_equal(seen, n);
	struct deployment_view v;
	assert_int_equal(deploy_view(&f->app, &f->arena, f->stack[0], 1, &v, &f->e), 1);
	assert_int_equal(v.step_count, 1);
	assert_true(str_starts_with(v.steps[0].text, "0\n1\n2\n"));
	assert_true(str_ends_with(v.steps[0].text, arena_printf(&f->arena, "%" PRId64 "\n", n - 1)));
}

/* --- followers --- */

enum { FOLLOWERS = 6, APPENDS = 150, LINES = 7 };

struct follow_thread {
	pthread_t thread;
	struct fixture *f;
	const char *id;
	int lines;
	bool in_order, ended;
};

/* Takes news until the end, as a stream does, and counts the lines in them. */
static void *follow(void *arg)
{
	struct follow_thread *t = arg;
	struct followed *log = followed_join(t->id);
	struct log_follower at = { 0 };
	t->in_order = true;
	while (log && !t->ended) {
		_cleanup_arena_ struct arena a;
		struct log_news news;
		struct err e = { 0 };
		arena_init(&a, 0);
		if (followed_next(&t->f->app, &a, log, &at, false, &news, &e) < 0)
			break;
		t->ended = news.end;
		if (!news.piece) {
			usleep(200);
			continue;
		}
		struct str text = http_piece_str(news.piece);
		for (const char *p = text.p;
		     (p = memmem(p, (size_t)(text.p + text.n - p), "\"line\":\"", 8)) != NULL;) {
			p += 8;
			t->in_order = t->in_order && strtol(p, NULL, 10) == t->lines;
			t->lines++;
		}
		http_piece_unref(news.piece);
	}
	if (log)
		followed_leave(log);
	return NULL;
}

/* One log, many readers, some of whom come and go: each sees every line once and the end, and is told of each change. */
static void followers_of_one_log(void **state)
{
	struct fixture *f = *state;
	const char *id = create(f, 0, "preview", NULL, false);
	struct follow_thread threads[FOLLOWERS];
	int n = 0;
	claim(f, 0, NULL);
	step(f, id, 0, "running");
	for (int i = 0; i < APPENDS; i++) {
		_cleanup_buf_ struct buf b;
		int64_t from = n;
		/* The last of them come when much is there already. */
		for (int k = 0; k < FOLLOWERS; k++) {
			if (i != k * APPENDS / FOLLOWERS)
				continue;
			threads[k] = (struct follow_thread){ .f = f, .id = id };
			pthread_create(&threads[k].thread, NULL, follow, &threads[k]);
		}
		buf_init(&b, 1 << 16);
		buf_addc(&b, '[');
		for (int k = 0; k < LINES; k++, n++)
			buf_addf(&b, "%s{\"t\":1,\"l\":\"%d\\n\"}", k ? "," : "", n);
		buf_addc(&b, ']');
		assert_int_equal(append(f, id, 0, from, b.data), n);
	}
	assert_int_equal(deployment_end(&f->app, &f->arena, id, 1, DEPLOYMENT_SUCCEEDED, "", &f->e), 0);
	for (int k = 0; k < FOLLOWERS; k++) {
		pthread_join(threads[k].thread, NULL);
		assert_true(threads[k].ended);
		assert_true(threads[k].in_order);
		assert_int_equal(threads[k].lines, n);
	}
}

/* --- pools --- */

static void a_pool_in_use(void **state)
{
	struct fixture *f = *state;
	struct access mine = { .org.id = f->org[0] }, other = { .org.id = f->org[1] };
	const char *id = create(f, 0, "update", f->pool[0], false);
	assert_null(claim(f, ORGS, NULL));
	assert_int_equal(pool_remove(&f->app, &f->arena, &other, f->pool[0], true, &f->e), -ERR_NOT_FOUND);
	assert_int_equal(pool_remove(&f->app, &f->arena, &mine, f->pool[ORGS], true, &f->e), -ERR_FORBIDDEN);
	assert_int_equal(pool_remove(&f->app, &f->arena, &mine, f->pool[0], false, &f->e), -ERR_BAD_REQUEST);
	assert_int_equal(pool_remove(&f->app, &f->arena, &mine, f->pool[0], true, &f->e), 0);
	assert_string_equal(claim(f, ORGS, NULL), id); /* fell back to any */
}

static void the_default_pool(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pool_rename(&f->app, &f->arena, f->org[0], f->pool[0], "first", NULL, NULL, true, &f->e), 0);
	const char *id = create(f, 0, "update", NULL, false);
	assert_null(claim(f, ORGS, NULL));
	assert_string_equal(claim(f, 0, NULL), id);
	/* Another one that is the default is left alone. */
	assert_int_equal(pool_rename(&f->app, &f->arena, f->org[0], f->pool[ORGS], NULL, NULL, NULL, false, &f->e), 0);
	id = create(f, 2, "update", NULL, false);
	assert_null(claim(f, ORGS, NULL));
	assert_int_equal(pool_rename(&f->app, &f->arena, f->org[0], f->pool[0], NULL, NULL, NULL, false, &f->e), 0);
	assert_string_equal(claim(f, ORGS, NULL), id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_these_moves),
		cmocka_unit_test_setup_teardown(the_queue_does_what_the_model_says, setup, teardown),
		cmocka_unit_test_setup_teardown(a_limit_binds, setup, teardown),
		cmocka_unit_test_setup_teardown(intermediate_ones_are_skipped, setup, teardown),
		cmocka_unit_test_setup_teardown(an_old_attempt_is_fenced, setup, teardown),
		cmocka_unit_test_setup_teardown(heartbeats_keep_it_alive, setup, teardown),
		cmocka_unit_test_setup_teardown(cancel_by_state, setup, teardown),
		cmocka_unit_test_setup_teardown(the_time_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(the_time_limit_of_an_organization, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_took_it, setup, teardown),
		cmocka_unit_test_setup_teardown(an_interrupted_ending_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(appends_at_offsets, setup, teardown),
		cmocka_unit_test_setup_teardown(every_line_once, setup, teardown),
		cmocka_unit_test_setup_teardown(followers_of_one_log, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pool_in_use, setup, teardown),
		cmocka_unit_test_setup_teardown(the_default_pool, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
