#include "identity/identity.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "db/migrate.h"
#include "os/file.h"
#include "server/server.h"
#include "unit.h"

#include "http/http.h"

/* What each kind of asker gets for each permission: a allowed, f forbidden (403), n not found (404). */
static void the_permission_table(void **state)
{
	static const struct principal user = { .kind = PRINCIPAL_USER, .user_id = "u" };
	static const struct principal root = { .kind = PRINCIPAL_USER, .user_id = "u", .site_admin = true };
	static const struct principal machine = { .kind = PRINCIPAL_ORG, .org_token = "t" };
	static const struct principal run = { .kind = PRINCIPAL_RUN, .user_id = "u", .stack_id = "own" };
	static const struct principal alone = { .kind = PRINCIPAL_RUN, .automatic = true, .stack_id = "own" };
	static const struct principal pool = { .kind = PRINCIPAL_POOL };
	static const struct principal lease = { .kind = PRINCIPAL_LEASE };
	static const struct principal runner = { .kind = PRINCIPAL_RUNNER };
	static const struct principal site = { .kind = PRINCIPAL_SOCKET, .site_admin = true };
	static const struct {
		const char *what;
		const struct principal *who;
		const char *role;
		enum stack_level level;
		const char *stack;
		/* NONE USER_WRITE ORG_READ ORG_ADMIN STACK_CREATE, STACK_READ STACK_DEPLOY STACK_WRITE STACK_ADMIN
		 * STACK_ACCESS, SETTINGS_READ SETTINGS_WRITE, LEASE POOL RUNNER AGENT SITE */
		const char *expected;
	} rows[] = {
		{ "administrator", &user, "admin", STACK_ADMIN, "s", "aaaaa aaaaa aa fffff" },
		{ "member with admin", &user, "member", STACK_ADMIN, "s", "aaafa aaaaa aa fffff" },
		{ "member with write", &user, "member", STACK_WRITE, "s", "aaafa aaaff aa fffff" },
		{ "member with deploy", &user, "member", STACK_DEPLOY, "s", "aaafa aafff ff fffff" },
		{ "member with read", &user, "member", STACK_READ, "s", "aaafa affff af fffff" },
		{ "member with none", &user, "member", STACK_NONE, "s", "aaafa nnnnn nn fffff" },
		{ "stranger", &user, NULL, STACK_NONE, "s", "aannn nnnnn nn fffff" },
		{ "site administrator, no member", &root, NULL, STACK_NONE, "s", "aannn nnnnn nn ffffa" },
		{ "control socket", &site, "admin", STACK_ADMIN, "s", "afaaa aaaaa aa ffffa" },
		{ "machine", &machine, "member", STACK_WRITE, "s", "afafa aaaff aa fffff" },
		{ "machine, administrator", &machine, "admin", STACK_ADMIN, "s", "afaaa aaaaa aa fffff" },
		{ "machine elsewhere", &machine, NULL, STACK_NONE, "s", "afnnn nnnnn nn fffff" },
		{ "run of an administrator", &run, "admin", STACK_ADMIN, "s", "afafa aaaaf af fffff" },
		{ "run of an administrator, own", &run, "admin", STACK_ADMIN, "own", "afafa aaaaf af fffff" },
		{ "run of one with write", &run, "member", STACK_WRITE, "s", "afafa aaaff af fffff" },
		{ "run of one with deploy", &run, "member", STACK_DEPLOY, "s", "afafa aafff ff fffff" },
		{ "run of one with deploy, own", &run, "member", STACK_DEPLOY, "own", "afafa aaaaf af fffff" },
		{ "run of one with read now, own", &run, "member", STACK_READ, "own", "afafa affff af fffff" },
		{ "run of one who left", &run, NULL, STACK_NONE, "s", "afnnn nnnnn nn fffff" },
		{ "run of one who left, own", &run, NULL, STACK_NONE, "own", "afnnn nnnnn nn fffff" },
		{ "run without requester", &alone, NULL, STACK_NONE, "s", "afnnn nnnnn nn fffff" },
		{ "run without requester, own", &alone, NULL, STACK_NONE, "own", "afnnn aaaaf af fffff" },
		{ "pool", &pool, NULL, STACK_NONE, NULL, "afnnn nnnnn nn fafaf" },
		{ "runner", &runner, NULL, STACK_NONE, NULL, "afnnn nnnnn nn ffaaf" },
		{ "lease", &lease, NULL, STACK_NONE, NULL, "afnnn nnnnn nn affff" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct access access = { .who = *rows[i].who,
					 .org.members_create_stacks = true,
					 .role = rows[i].role,
					 .level = rows[i].level,
					 .stack_id = rows[i].stack };
		const char *expected = rows[i].expected;
		for (int p = PERM_NONE; p <= PERM_SITE; p++, expected++) {
			int rc = access_check(&access, (enum permission)p, NULL);
			char got = rc == 0 ? 'a' : rc == -ERR_FORBIDDEN ? 'f' : rc == -ERR_NOT_FOUND ? 'n' : '?';
			expected += *expected == ' ';
			if (got != *expected)
				fail_msg("%s, %s: %c, not %c", rows[i].what, permission_name((enum permission)p), got,
					 *expected);
			assert_true(access_may(&access, (enum permission)p) == (rc == 0));
		}
		assert_true(*expected == '\0');
	}
}

static void who_makes_stacks(void **state)
{
	struct access access = { .who = { .kind = PRINCIPAL_USER, .user_id = "u" }, .role = "member" };
	assert_int_equal(access_check(&access, PERM_STACK_CREATE, NULL), -ERR_FORBIDDEN);
	access.role = "admin";
	assert_int_equal(access_check(&access, PERM_STACK_CREATE, NULL), 0);
	access.role = "member";
	access.org.members_create_stacks = true;
	assert_int_equal(access_check(&access, PERM_STACK_CREATE, NULL), 0);
}

static bool has(const struct route *row, const char *part)
{
	return strstr(row->pattern, part) != NULL;
}

/* What changes something needs more than reading it. A key is used, not changed, by who encrypts and decrypts; and there is
 * nothing to change in what Slipway has not. */
static bool changes_unasked(const struct route *row)
{
	bool reads = row->permission == PERM_NONE || row->permission == PERM_ORG_READ ||
		     row->permission == PERM_STACK_READ || row->permission == PERM_SETTINGS_READ;
	return row->auth == AUTH_USER && !streq(row->method, "GET") && reads && !has(row, "/encrypt") &&
	       !has(row, "/decrypt") && !has(row, "/batch-encrypt") && !has(row, "/batch-decrypt") &&
	       strncmp(row->name, "absent_", strlen("absent_")) != 0;
}

/* A row that names a stack must ask for a right to that stack, and so on: nobody may forget it. */
static void every_route_asks_for_enough(void **state)
{
	for (size_t i = 0; i < server_route_count; i++) {
		const struct route *row = &server_routes[i];
		bool ok = true;
		switch (row->auth) {
		case AUTH_NONE:
		case AUTH_HANDLER:
			ok = row->permission == PERM_NONE && !has(row, "{stackName}");
			break;
		case AUTH_USER:
			if (has(row, "{stackName}"))
				ok = row->permission >= PERM_STACK_READ && row->permission <= PERM_SETTINGS_WRITE;
			else if (has(row, "{orgName}"))
				ok = row->permission >= PERM_ORG_READ || row->permission == PERM_USER_WRITE;
			break;
		case AUTH_LEASE:
			ok = row->permission == PERM_LEASE && has(row, "{updateI");
			break;
		case AUTH_POOL:
			ok = row->permission == PERM_POOL;
			break;
		case AUTH_RUNNER:
			ok = row->permission == PERM_RUNNER && has(row, "{deploymentI");
			break;
		case AUTH_AGENT:
			ok = row->permission == PERM_AGENT;
			break;
		case AUTH_URL:
			ok = row->permission == PERM_NONE && has(row, "{ticket}");
			break;
		case AUTH_SITE:
			ok = row->permission == PERM_SITE;
			break;
		default:
			ok = false;
		}
		if (!ok || changes_unasked(row))
			fail_msg("%s %s: %s and %s do not fit", row->method, row->pattern,
				 route_auth_name((enum route_auth)row->auth),
				 permission_name((enum permission)row->permission));
		assert_non_null(row->handler);
		assert_true(row->summary && *row->summary);
	}
}

static void names(void **state)
{
	static const char *const good[] = { "abc", "a-b", "A_1", "acme", "0123456789012345678901234567890123456789" };
	static const char *const bad[] = { "",
					   "ab",
					   "-ab",
					   "ab-",
					   "a b",
					   "a/b",
					   "a.b",
					   "\xc3\xa4\xc3\xa4\xc3\xa4",
					   "default",
					   "api",
					   "01234567890123456789012345678901234567890" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(identity_name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(identity_name_valid(bad[i]));
}

struct fixture {
	char dir[32];
	struct arena arena;
	struct identity identity;
	struct err e;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	arena_init(&f->arena, 0);
	snprintf(f->dir, sizeof(f->dir), "/tmp/test_access_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(crypto_init(&f->e), 0);
	f->identity.master.count = 1;
	crypto_key_new(&f->identity.master.keys[0], 1);
	if (db_open(arena_printf(&f->arena, "%s/db", f->dir), &f->identity.db, &f->e) < 0)
		fail_msg("%s", f->e.message);
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

struct ask {
	struct fixture *f;
	const char *token;
	const char *org;
	struct access access;
};

static int ask_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct ask *p = arg;
	int rc = identity_authenticate(c, &p->f->arena, str_of(p->token), &p->access.who, e);
	if (rc == 0 && p->org)
		rc = identity_org_access(c, &p->f->arena, &p->access, p->org, e);
	return rc;
}

static void users_and_tokens(void **state)
{
	struct fixture *f = *state;
	struct identity *id = &f->identity;
	struct arena *a = &f->arena;
	const char *first, *second, *org, *token, *token_id, *again;
	bool empty = false;
	assert_int_equal(identity_is_empty(id, &empty, &f->e), 0);
	assert_true(empty);
	assert_int_equal(identity_org_add(id, a, "acme", &org, &f->e), 0);
	assert_int_equal(identity_org_add(id, a, "acme", &org, &f->e), -ERR_CONFLICT);
	assert_int_equal(identity_user_add(id, a, "acme", false, NULL, NULL, NULL, &first, NULL, &f->e), -ERR_CONFLICT);
	assert_int_equal(identity_user_add(id, a, "operator", false, "nowhere", NULL, NULL, &first, NULL, &f->e),
			 -ERR_NOT_FOUND);
	assert_int_equal(identity_is_empty(id, &empty, &f->e), 0);
	assert_true(empty); /* the refusal left nothing behind */
	assert_int_equal(identity_user_add(id, a, "operator", false, "acme", NULL, NULL, &first, NULL, &f->e), 0);
	assert_int_equal(identity_user_add(id, a, "operator", false, NULL, NULL, NULL, &again, NULL, &f->e),
			 -ERR_CONFLICT);
	assert_int_equal(identity_user_add(id, a, "second", false, "operator", NULL, NULL, &second, NULL, &f->e),
			 -ERR_CONFLICT);
	assert_int_equal(identity_user_add(id, a, "second", false, NULL, NULL, NULL, &second, NULL, &f->e), 0);
	/* Who is there already gets the new role. */
	assert_int_equal(identity_user_add(id, a, "operator", false, "acme", "admin", NULL, &again, NULL, &f->e), 0);
	assert_string_equal(again, first);
	assert_int_equal(identity_token_add(id, a, "nobody", NULL, DB_NULL_INT, NULL, &token, &token_id, &f->e),
			 -ERR_NOT_FOUND);
	assert_int_equal(identity_token_add(id, a, "operator", "laptop", DB_NULL_INT, NULL, &token, &token_id, &f->e),
			 0);

	struct ask ask = { .f = f, .token = token, .org = "acme" };
	assert_int_equal(db_read(id->db, ask_fn, &ask, &f->e), 0);
	assert_string_equal(ask.access.who.user_name, "operator");
	assert_string_equal(ask.access.who.token_description, "laptop");
	assert_true(ask.access.who.site_admin); /* the first user */
	assert_string_equal(ask.access.role, "admin");
	assert_string_equal(ask.access.org.id, org);
	struct crypto_key key, key2;
	assert_int_equal(identity_org_key(id, &ask.access.org, &key, &f->e), 0);
	assert_int_equal(identity_org_key(id, &ask.access.org, &key2, &f->e), 0);
	assert_memory_equal(key.bytes, key2.bytes, CRYPTO_KEY_BYTES);
	ask.access.org.id = second; /* a key moved to another owner does not open */
	assert_int_equal(identity_org_key(id, &ask.access.org, &key, &f->e), -ERR_INTERNAL);

	assert_int_equal(
		identity_token_add(id, a, "second", NULL, clock_now_us() + US_PER_HOUR, NULL, &token, &token_id, &f->e),
		0);
	ask = (struct ask){ .f = f, .token = token, .org = "acme" };
	assert_int_equal(db_read(id->db, ask_fn, &ask, &f->e), 0);
	assert_false(ask.access.who.site_admin);
	assert_null(ask.access.role);
	clock_set_offset_us(2 * US_PER_HOUR);
	assert_int_equal(db_read(id->db, ask_fn, &ask, &f->e), -ERR_UNAUTHORIZED);
	clock_set_offset_us(0);
	ask.token = "pul-no-such-token";
	assert_int_equal(db_read(id->db, ask_fn, &ask, &f->e), -ERR_UNAUTHORIZED);
}

/* What 0010_access.sql makes of a database that has users: their tokens go on, and members keep what they had. */
static void an_upgrade_takes_nothing_away(void **state)
{
	struct fixture *f = *state;
	const char *path = arena_printf(&f->arena, "%s/old", f->dir);
	struct str hash = token_hash(&f->arena, STR("pul-old"));
	size_t before = 0;
	while (db_migrations[before].version < 10)
		before++;
	struct db *db;
	assert_int_equal(db_open_with(path, db_migrations, before, &db, &f->e), 0);
	db_close(db);
	sqlite3 *raw;
	assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
	const char *fill = arena_printf(
		&f->arena,
		"INSERT INTO orgs (id, name, kind, data_key, created_us) VALUES ('o', 'acme', 'organization', x'00', 1);"
		"INSERT INTO users (id, name, display_name, created_us) VALUES ('u', 'operator', 'operator', 1);"
		"INSERT INTO org_members VALUES ('o', 'u', 'member', 1);"
		"INSERT INTO tokens (id, hash, kind, user_id, created_us) VALUES ('t', x'%s', 'personal', 'u', 1)",
		hex_encode_arena(&f->arena, hash));
	assert_int_equal(sqlite3_exec(raw, fill, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(raw);
	if (db_open(path, &db, &f->e) < 0)
		fail_msg("%s", f->e.message);
	struct ask ask = { .f = f, .token = "pul-old", .org = "acme" };
	assert_int_equal(db_read(db, ask_fn, &ask, &f->e), 0);
	assert_string_equal(ask.access.who.user_name, "operator");
	assert_string_equal(ask.access.role, "member");
	assert_int_equal(ask.access.org.stack_level, STACK_ADMIN);
	assert_true(ask.access.org.members_create_stacks);
	db_close(db);
}

struct put {
	const char *kind;
	const char *stack;
};

static int put_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct put *p = arg;
	return outbox_put(c, p->kind, "org", p->stack, STR("{}"), e);
}

static char delivered[256];
static const char *refuse; /* this kind fails */

static int deliver(const struct outbox_event *event, void *arg, struct err *e)
{
	if (refuse && streq(event->kind, refuse))
		return -ERR_UNAVAILABLE;
	size_t n = strlen(delivered);
	snprintf(delivered + n, sizeof(delivered) - n, "%s ", event->kind);
	return 0;
}

static void put(struct fixture *f, const char *kind, const char *stack)
{
	assert_int_equal(db_write(f->identity.db, put_fn, &(struct put){ kind, stack }, &f->e), 0);
}

static int64_t tick(struct fixture *f, int64_t ahead_us)
{
	int64_t next_us;
	delivered[0] = '\0';
	assert_int_equal(outbox_tick(f->identity.db, clock_now_us() + ahead_us, &next_us, &f->e), 0);
	return next_us;
}

static void the_outbox_keeps_the_order_of_a_stack(void **state)
{
	struct fixture *f = *state;
	outbox_set_consumer("activity", deliver, NULL);
	assert_true(tick(f, 0) == INT64_MAX);
	put(f, "a1", "A");
	put(f, "b1", "B");
	put(f, "a2", "A");
	put(f, "none", NULL);
	refuse = "a1";
	int64_t next_us = tick(f, 0);
	/* a2 waits behind a1, the others do not. */
	assert_string_equal(delivered, "b1 none ");
	assert_true(next_us > clock_now_us() && next_us < clock_now_us() + US_PER_MINUTE);
	put(f, "a3", "A");
	tick(f, 0);
	assert_string_equal(delivered, "");
	refuse = NULL;
	next_us = tick(f, US_PER_MINUTE);
	assert_string_equal(delivered, "a1 a2 a3 ");
	assert_true(next_us == INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_permission_table),
		cmocka_unit_test(who_makes_stacks),
		cmocka_unit_test(every_route_asks_for_enough),
		cmocka_unit_test(names),
		cmocka_unit_test_setup_teardown(users_and_tokens, setup, teardown),
		cmocka_unit_test_setup_teardown(an_upgrade_takes_nothing_away, setup, teardown),
		cmocka_unit_test_setup_teardown(the_outbox_keeps_the_order_of_a_stack, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
