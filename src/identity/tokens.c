#include "identity/identity.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_identity.h"
#include "identity/event.h"
#include "identity/internal.h"

/* How stale last_used_us may be: a write for each request would cost a commit. */
#define TOUCH_EVERY_US (10 * US_PER_MINUTE)
/* Expired tokens stay for a while, so that "expired" can be told from "never existed" when somebody asks. */
#define KEEP_EXPIRED_US (30 * US_PER_DAY)

static const struct {
	const char *kind;
	enum principal_kind principal;
} token_kinds[] = {
	{ "personal", PRINCIPAL_USER }, { "session", PRINCIPAL_USER },	{ "organization", PRINCIPAL_ORG },
	{ "pool", PRINCIPAL_POOL },	{ "runner", PRINCIPAL_RUNNER }, { "run", PRINCIPAL_RUN },
	{ "lease", PRINCIPAL_LEASE },
};

static bool has_expired(int64_t expires_us)
{
	return expires_us != DB_NULL_INT && expires_us <= clock_now_us();
}

/* Whose rights a run has: they are looked up anew with each request, so that what is taken away is gone at once. */
static void set_requester(struct principal *p, const struct token_by_hash_row *row)
{
	if (p->kind == PRINCIPAL_ORG) {
		p->org_token = row->id;
		p->org_admin = row->admin;
		p->user_name = row->name;
	} else if (p->kind == PRINCIPAL_RUN && row->parent_id) {
		bool lives = row->parent_live_id && !has_expired(row->parent_expires_us);
		p->org_token = lives ? row->parent_live_id : NULL;
		p->org_admin = lives && row->parent_admin == 1;
		p->user_name = lives ? row->parent_name : NULL;
	} else {
		p->automatic = p->kind == PRINCIPAL_RUN && !row->user_id;
	}
}

int identity_authenticate(struct db_conn *c, struct arena *a, struct str token, struct principal *ret, struct err *e)
{
	struct str hash = token_hash(a, token);
	if (!hash.p)
		return err_nomem(e);
	struct token_by_hash_row row;
	int rc = q_token_by_hash(c, a, &(struct token_by_hash_in){ .hash = hash }, &row, e);
	if (rc < 0)
		return rc;
	/* A session is over with the token that it was begun with. */
	bool session = rc > 0 && streq(row.kind, "session");
	if (rc == 0 || has_expired(row.expires_us) || (session && row.parent_id && !row.parent_live_id))
		return err_set(e, ERR_UNAUTHORIZED, "No credentials provided or are invalid.");
	*ret = (struct principal){
		.token_id = row.id,
		.token_description = row.description,
		.user_id = row.user_id,
		.user_name = row.user_name,
		.site_admin = row.site_admin == 1,
		.session = session,
		.org_id = row.org_id,
		.pool_id = row.pool_id,
		.deployment_id = row.deployment_id,
		.attempt = row.attempt,
		.stack_id = row.stack_id,
		.update_id = row.update_id,
		.expires_us = row.expires_us,
		.last_used_us = row.last_used_us,
	};
	for (size_t i = 0; i < ARRAY_SIZE(token_kinds); i++)
		if (streq(row.kind, token_kinds[i].kind))
			ret->kind = token_kinds[i].principal;
	set_requester(ret, &row);
	/* A run token never carries the powers of an administrator of the site. */
	if (ret->kind != PRINCIPAL_USER)
		ret->site_admin = false;
	return 0;
}

int identity_token_insert(struct db_conn *c, const struct token_row *t, struct err *e)
{
	int rc = q_token_insert(c,
				&(struct token_insert_in){
					.id = t->id,
					.hash = t->hash,
					.kind = t->kind,
					.name = t->name ? t->name : "",
					.description = t->description ? t->description : "",
					.admin = t->admin,
					.user_id = t->user_id,
					.org_id = t->org_id,
					.pool_id = t->pool_id,
					.deployment_id = t->deployment_id,
					.attempt = t->attempt,
					.stack_id = t->stack_id,
					.update_id = t->update_id,
					.parent_id = t->parent_id,
					.created_by = t->created_by ? t->created_by : "",
					.created_us = clock_now_us(),
					.expires_us = t->expires_us,
				},
				e);
	return rc < 0 ? rc : 0;
}

int identity_tokens_revoke_deployment(struct db_conn *c, const char *deployment_id, struct err *e)
{
	int rc = q_tokens_delete_deployment(c, &(struct tokens_delete_deployment_in){ .deployment_id = deployment_id },
					    e);
	return rc < 0 ? rc : 0;
}

int identity_tokens_revoke_update(struct db_conn *c, const char *update_id, struct err *e)
{
	int rc = q_tokens_delete_update(c, &(struct tokens_delete_update_in){ .update_id = update_id }, e);
	return rc < 0 ? rc : 0;
}

int identity_tokens_revoke_pool(struct db_conn *c, const char *pool_id, struct err *e)
{
	int rc = q_tokens_delete_pool(c, &(struct tokens_delete_pool_in){ .pool_id = pool_id }, e);
	return rc < 0 ? rc : 0;
}

int identity_lease_tokens_expire(struct db_conn *c, const char *update_id, int64_t us, struct err *e)
{
	int rc = q_tokens_expire_lease(c, &(struct tokens_expire_lease_in){ .update_id = update_id, .expires_us = us },
				       e);
	return rc < 0 ? rc : 0;
}

struct add_token {
	struct arena *a;
	const char *user;
	const struct principal *who;
	struct token_row row;
};

int token_event(struct db_conn *c, struct arena *a, const char *kind, const struct token_row *t, const char *owner,
		const struct principal *who, struct err *e)
{
	struct event_subject subject = { .org_id = t->org_id, .who = who };
	struct org_by_name_row personal;
	struct event v;
	int rc = 0;
	/* A user's own token is told in the user's own organization. */
	if (!t->org_id) {
		rc = q_org_by_name(c, a, &(struct org_by_name_in){ .name = owner }, &personal, e);
		if (rc <= 0)
			return rc;
		subject.org_id = personal.id;
	}
	rc = event_begin(c, a, &subject, &v, e);
	if (rc < 0)
		return rc;
	jw_kv_string(&v.w, "tokenId", t->id);
	jw_kv_string(&v.w, "tokenKind", t->kind);
	if (t->name)
		jw_kv_string(&v.w, "name", t->name);
	if (t->description)
		jw_kv_string(&v.w, "description", t->description);
	if (t->admin)
		jw_kv_bool(&v.w, "admin", true);
	if (!t->org_id)
		jw_kv_string(&v.w, "owner", owner);
	return event_put(c, &v, kind, e);
}

static int add_token_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct add_token *p = arg;
	struct user user;
	int rc = identity_user_by_name(c, p->a, p->user, &user, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "user '%s'", p->user);
	p->row.user_id = user.id;
	p->row.created_by = user.name;
	rc = identity_token_insert(c, &p->row, e);
	return rc < 0 ? rc : token_event(c, p->a, "token.created", &p->row, user.name, p->who, e);
}

int identity_token_add(struct identity *id, struct arena *a, const char *user, const char *description,
		       int64_t expires_us, const struct principal *who, const char **ret_token, const char **ret_id,
		       struct err *e)
{
	const char *token = token_new(a, TOKEN_PREFIX_PERSONAL);
	struct add_token p = {
		.a = a,
		.user = user,
		.who = who,
		.row = { .id = id_new_arena(a),
			 .kind = "personal",
			 .description = description,
			 .attempt = DB_NULL_INT,
			 .expires_us = expires_us },
	};
	if (!token || !p.row.id)
		return err_nomem(e);
	p.row.hash = token_hash(a, str_of(token));
	if (!p.row.hash.p)
		return err_nomem(e);
	int rc = db_write(id->db, add_token_fn, &p, e);
	if (rc == 0) {
		*ret_token = token;
		*ret_id = p.row.id;
	}
	return rc;
}

static int touch_fn(struct db_conn *c, void *arg, struct err *e)
{
	int rc = q_token_touch(c, arg, e);
	return rc < 0 ? rc : 0;
}

void identity_token_used(struct db *db, const struct principal *who)
{
	int64_t now = clock_now_us();
	if ((who->kind != PRINCIPAL_USER && who->kind != PRINCIPAL_ORG) ||
	    (who->last_used_us != DB_NULL_INT && now - who->last_used_us < TOUCH_EVERY_US))
		return;
	/* A failure is no reason to refuse the request; it is tried again with the next one. */
	db_write(db, touch_fn, &(struct token_touch_in){ .id = who->token_id, .last_used_us = now }, NULL);
}

static int clear_fn(struct db_conn *c, void *arg, struct err *e)
{
	int rc = q_tokens_delete_expired(c, arg, e);
	return rc < 0 ? rc : 0;
}

int identity_tick(struct db *db, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	/* Only of the ticker's thread. */
	static int64_t next_us;
	int rc = 0;
	if (now_us >= next_us) {
		rc = db_write(db, clear_fn, &(struct tokens_delete_expired_in){ .before_us = now_us - KEEP_EXPIRED_US },
			      e);
		next_us = now_us + US_PER_DAY;
	}
	*ret_next_us = next_us;
	return rc;
}
