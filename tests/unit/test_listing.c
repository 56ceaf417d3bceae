/* Pages of deployments against the list that they are pages of: several buckets, gaps, every status. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_identity.h"
#include "db/queries_listing.h"
#include "db/queries_state.h"
#include "deploy/listing.h"
#include "os/file.h"
#include "unit.h"

#define STACKS 7
#define READERS 2	 /* from the first one two stacks are hidden, from the second one all but two */
#define DEPLOYMENTS 3300 /* a bucket has a thousand */

struct entry {
	const char *id;
	int stack;
	enum deployment_status status;
	bool gone;
};

struct fixture {
	char dir[40];
	struct arena arena;
	struct identity identity;
	struct app app;
	const char *org;
	const char *stack[STACKS];
	bool removed[STACKS];
	const char *reader[READERS];
	struct entry all[DEPLOYMENTS];
	size_t count;
	unsigned seed;
	struct err e;
};

static bool is_hidden(int reader, int stack)
{
	return (reader == 0) == (stack == 2 || stack == 4);
}

static int readers_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct fixture *f = arg;
	int rc = 0;
	for (int r = 0; r < READERS && rc >= 0; r++) {
		f->reader[r] = id_new_arena(&f->arena);
		struct user_insert_in user = { .id = f->reader[r],
					       .name = arena_printf(&f->arena, "reader%d", r),
					       .display_name = "",
					       .email = "" };
		rc = q_user_insert(c, &user, e);
		if (rc >= 0)
			rc = q_org_member_put(c, &(struct org_member_put_in){ f->org, user.id, "member", 1 }, e);
		for (int i = 0; i < STACKS && rc >= 0; i++) {
			struct grant_put_in grant = { f->stack[i], user.id, f->org, is_hidden(r, i) ? "none" : "read",
						      false,	   1 };
			rc = q_grant_put(c, &grant, e);
		}
	}
	return rc;
}

static int setup_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct fixture *f = arg;
	int rc = 0;
	for (int i = 0; i < STACKS && rc >= 0; i++) {
		f->stack[i] = id_new_arena(&f->arena);
		struct stack_insert_in in = { .id = f->stack[i],
					      .org_id = f->org,
					      .project = "shop",
					      .name = arena_printf(&f->arena, "s%d", i),
					      .tags = "{}",
					      .data_key = STR("unused"),
					      .now_us = clock_now_us() };
		rc = q_stack_insert(c, &in, e);
	}
	return rc < 0 ? rc : readers_fn(c, f, e);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	arena_init(&f->arena, 0);
	f->seed = 20261126;
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_listing_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(crypto_init(&f->e), 0);
	f->identity.master.count = 1;
	crypto_key_new(&f->identity.master.keys[0], 1);
	if (db_open(arena_printf(&f->arena, "%s/db", f->dir), &f->identity.db, &f->e) < 0)
		fail_msg("%s", f->e.message);
	f->app = (struct app){ .db = f->identity.db, .identity = &f->identity };
	assert_int_equal(identity_org_add(&f->identity, &f->arena, "acme", &f->org, &f->e), 0);
	assert_true(db_write(f->app.db, setup_fn, f, &f->e) >= 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	db_close(f->identity.db);
	assert_int_equal(file_remove_tree(f->dir, &f->e), 0);
	arena_done(&f->arena);
	free(f);
	return 0;
}

/* --- changes --- */

static int add(struct db_conn *c, struct fixture *f, struct err *e)
{
	struct entry *d = &f->all[f->count];
	int64_t version;
	do
		d->stack = (int)((unsigned)rand_r(&f->seed) % STACKS);
	while (f->removed[d->stack]);
	d->id = id_new_arena(&f->arena);
	d->status = DEPLOYMENT_NOT_STARTED;
	struct deployment_new n = {
		.org_id = f->org, .stack_id = f->stack[d->stack], .operation = "preview", .settings = "{}"
	};
	int rc = deployment_add(c, &f->arena, &n, d->id, clock_now_us(), &version, e);
	f->count += rc == 0;
	return rc;
}

/* Any move that the table allows and that leaves one active at most on a stack. */
static int move(struct db_conn *c, struct fixture *f, struct err *e)
{
	struct entry *d = &f->all[(unsigned)rand_r(&f->seed) % f->count];
	enum deployment_status to = (enum deployment_status)(rand_r(&f->seed) % DEPLOYMENT_STATUS_COUNT);
	if (d->gone || !deployment_may_move(d->status, to))
		return 0;
	for (size_t i = 0; i < f->count && to == DEPLOYMENT_ACCEPTED; i++)
		if (f->all[i].stack == d->stack && !f->all[i].gone &&
		    (f->all[i].status == DEPLOYMENT_ACCEPTED || f->all[i].status == DEPLOYMENT_RUNNING))
			return 0;
	struct deployment_get_row row;
	int rc = q_deployment_get(c, &f->arena, &(struct deployment_get_in){ d->id }, &row, e);
	if (rc > 0)
		rc = deployment_move(c, &f->arena, &row, to, "", clock_now_us(), e);
	assert_int_equal(rc, 1);
	d->status = to;
	return 0;
}

/* Many in one transaction: it is not the disk that is looked at here. */
static int change_fn(struct db_conn *c, void *arg, struct err *e)
{
	int rc = 0;
	for (int i = 0; i < 50 && rc == 0; i++) {
		rc = add(c, arg, e);
		for (int m = 0; m < 2 && rc == 0; m++)
			rc = move(c, arg, e);
	}
	return rc;
}

static int remove_stack_fn(struct db_conn *c, void *arg, struct err *e)
{
	const char *id = arg;
	int rc = counts_stack_removed(c, id, e);
	return rc < 0 ? rc : q_stack_remove(c, &(struct stack_remove_in){ id }, e);
}

static void remove_stack(struct fixture *f, int stack)
{
	assert_int_equal(db_write(f->app.db, remove_stack_fn, (void *)(uintptr_t)f->stack[stack], &f->e), 1);
	f->removed[stack] = true;
	for (size_t i = 0; i < f->count; i++)
		f->all[i].gone |= f->all[i].stack == stack;
}

/* --- looks --- */

struct look {
	struct fixture *f;
	struct listing l;
	int reader; /* -1: sees everything */
	const char *ids[LISTING_PAGE_MAX];
	size_t count;
	int64_t total;
	size_t wrong;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *k = arg;
	struct counts_wrong_row *wrong;
	int rc = q_counts_wrong(c, &k->f->arena, &wrong, &k->wrong, e);
	return rc < 0 ? rc : listing_page(c, &k->f->arena, &k->l, k->ids, &k->count, &k->total, e);
}

static bool is_listed(const struct entry *d, const struct look *k)
{
	return !d->gone && (k->reader < 0 || !is_hidden(k->reader, d->stack)) &&
	       (!k->l.status || streq(deployment_status_name(d->status), k->l.status)) &&
	       (!k->l.stack_id || streq(k->f->stack[d->stack], k->l.stack_id));
}

/* The page, from the model; returns how many there are in all. */
static int64_t expected(const struct look *k, const char **ids, size_t *ret_count)
{
	int64_t total = 0, at = 0, first = (k->l.page - 1) * k->l.page_size;
	size_t n = k->f->count;
	*ret_count = 0;
	for (size_t i = 0; i < n; i++)
		total += is_listed(&k->f->all[i], k);
	for (size_t i = 0; i < n; i++) {
		const struct entry *d = &k->f->all[k->l.ascending ? i : n - 1 - i];
		if (!is_listed(d, k))
			continue;
		if (at >= first && at < first + k->l.page_size)
			ids[(*ret_count)++] = d->id;
		at++;
	}
	return total;
}

static void check_page(struct fixture *f, int64_t page, int64_t page_size, const char *status, const char *stack_id,
		       bool ascending)
{
	int reader = stack_id ? -1 : rand_r(&f->seed) % (READERS + 1) - 1;
	struct look k = { .f = f,
			  .l = { f->org, reader < 0 ? NULL : f->reader[reader], stack_id, status, page, page_size,
				 ascending },
			  .reader = reader };
	const char *ids[LISTING_PAGE_MAX];
	size_t count;
	if (db_read(f->app.db, look_fn, &k, &f->e) < 0)
		fail_msg("list: %s", f->e.message);
	assert_int_equal(k.total, expected(&k, ids, &count));
	assert_int_equal(k.count, count);
	assert_int_equal(k.wrong, 0);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(k.ids[i], ids[i]);
}

static void check_pages(struct fixture *f)
{
	static const int64_t sizes[] = { 1, 7, 10, 99, 100 };
	for (int i = 0; i < 60; i++) {
		int64_t size = sizes[(unsigned)rand_r(&f->seed) % ARRAY_SIZE(sizes)];
		int64_t page = 1 + (int64_t)((unsigned)rand_r(&f->seed) % (f->count / (size_t)size + 2));
		unsigned s = (unsigned)rand_r(&f->seed) % (DEPLOYMENT_STATUS_COUNT + 2);
		const char *status =
			s < DEPLOYMENT_STATUS_COUNT ? deployment_status_name((enum deployment_status)s) : NULL;
		const char *stack = rand_r(&f->seed) % 4 ? NULL : f->stack[(unsigned)rand_r(&f->seed) % STACKS];
		check_page(f, page, size, status, stack, rand_r(&f->seed) % 2);
	}
	/* The last pages from both ends, and one that is far behind them. */
	for (int asc = 0; asc < 2; asc++) {
		check_page(f, (int64_t)(f->count + 9) / 10, 10, NULL, NULL, asc);
		check_page(f, INT32_MAX, 100, NULL, NULL, asc);
	}
}

static void every_page_is_a_page_of_the_list(void **state)
{
	struct fixture *f = *state;
	check_page(f, 1, 10, NULL, NULL, false);
	while (f->count < DEPLOYMENTS) {
		if (db_write(f->app.db, change_fn, f, &f->e) < 0)
			fail_msg("change: %s", f->e.message);
		if (f->count % 500 == 0)
			check_pages(f);
		if (f->count == 1200 || f->count == 2700)
			remove_stack(f, f->count == 1200 ? 3 : 0);
	}
	check_pages(f);
	for (int i = 1; i < STACKS; i++)
		if (!f->removed[i])
			remove_stack(f, i);
	check_page(f, 1, 10, NULL, NULL, false);
	check_page(f, 1, 10, "succeeded", NULL, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_page_is_a_page_of_the_list, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
