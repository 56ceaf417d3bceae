/* Tokens that users make: their own, and those of an organization (features §8.5, clients §1.1). */
#include "identity/identity.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_identity.h"
#include "identity/app.h"
#include "identity/internal.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

#define LIFE_MAX_US (2 * 366 * US_PER_DAY)
#define PAGE_DEFAULT 100
#define PAGE_MAX 1000

struct create_token {
	const char *description;
	int64_t expires_s; /* when, unix seconds; 0: never */
};
const struct field create_token_fields[] = {
	FIELD(struct create_token, description, "description", FIELD_STRING, .required = true, .max = 255),
	FIELD(struct create_token, expires_s, "expires", FIELD_INT, .min = 0, .max = INT64_MAX / US_PER_S,
	      .doc = "Unix seconds, at most two years ahead; 0: never"),
	FIELD_END
};

struct create_org_token {
	const char *name;
	const char *description;
	bool admin;
	int64_t expires_s;
	const char *role_id;
};
const struct field create_org_token_fields[] = {
	FIELD(struct create_org_token, name, "name", FIELD_STRING, .required = true, .min = 1, .max = 40,
	      .doc = "Unique in the organization, also among those that were revoked"),
	FIELD(struct create_org_token, description, "description", FIELD_STRING, .max = 255),
	FIELD(struct create_org_token, admin, "admin", FIELD_BOOL,
	      .doc = "true: the rights of an administrator of the organization, not those of a member"),
	FIELD(struct create_org_token, expires_s, "expires", FIELD_INT, .min = 0, .max = INT64_MAX / US_PER_S,
	      .doc = "Unix seconds, at most two years ahead; 0: never"),
	FIELD(struct create_org_token, role_id, "roleID", FIELD_STRING, .doc = "There are no roles to choose from yet"),
	FIELD_END
};

/* --- list --- */

/* Both statements give the same columns; the generator makes a struct for each. */
#define token_shown struct tokens_of_user_row

struct list_tokens {
	struct arena *a;
	const char *owner_id;
	bool of_org;
	const char *before_id;
	bool live, expired;
	int64_t n; /* one more than are shown */
	token_shown *rows;
	size_t count;
};

static int list_org_tokens(struct db_conn *c, struct list_tokens *p, int64_t now_us, struct err *e)
{
	struct tokens_of_org_in in = { .org_id = p->owner_id,
				       .before_id = p->before_id,
				       .live = p->live,
				       .expired = p->expired,
				       .now_us = now_us,
				       .n = p->n };
	struct tokens_of_org_row *rows;
	int rc = q_tokens_of_org(c, p->a, &in, &rows, &p->count, e);
	if (rc < 0)
		return rc;
	p->rows = arena_array(p->a, p->count, sizeof(*p->rows));
	if (!p->rows)
		return err_nomem(e);
	for (size_t i = 0; i < p->count; i++)
		p->rows[i] = (token_shown){ rows[i].id,		 rows[i].kind,	     rows[i].name,
					    rows[i].description, rows[i].admin,	     rows[i].created_by,
					    rows[i].created_us,	 rows[i].expires_us, rows[i].last_used_us };
	return 0;
}

static int list_tokens_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct list_tokens *p = arg;
	int64_t now_us = clock_now_us();
	if (p->of_org)
		return list_org_tokens(c, p, now_us, e);
	struct tokens_of_user_in in = { .user_id = p->owner_id,
					.before_id = p->before_id,
					.live = p->live,
					.expired = p->expired,
					.now_us = now_us,
					.n = p->n };
	return q_tokens_of_user(c, p->a, &in, &p->rows, &p->count, e);
}

static int64_t unix_seconds(int64_t us)
{
	return us == DB_NULL_INT ? 0 : us / US_PER_S;
}

static void write_token(struct request *r, struct json_writer *j, const token_shown *t)
{
	jw_object(j);
	jw_kv_string(j, "id", t->id);
	jw_kv_string(j, "name", t->name);
	jw_kv_string(j, "description", t->description);
	jw_kv_string(j, "type", t->kind);
	jw_kv_bool(j, "admin", t->admin);
	jw_kv_string(j, "created", clock_rfc3339(r->arena, t->created_us));
	jw_kv_string(j, "createdBy", t->created_by);
	jw_kv_int(j, "lastUsed", unix_seconds(t->last_used_us));
	jw_kv_int(j, "expires", unix_seconds(t->expires_us));
	jw_object_end(j);
}

static const char *const filters[] = { "active", "expired", "all", NULL };
const struct field token_list_query[] = { QUERY("filter", FIELD_STRING, .one_of = filters, .doc = "active if absent"),
					  QUERY("maxResults", FIELD_INT, .min = 1, .max = PAGE_MAX),
					  QUERY("continuationToken", FIELD_STRING), FIELD_END };

static int list_arguments(struct request *r, struct list_tokens *p, int64_t *ret_page, struct err *e)
{
	const char *filter = request_query(r, "filter");
	p->before_id = request_query(r, "continuationToken");
	int rc = request_query_int(r, "maxResults", 1, PAGE_MAX, PAGE_DEFAULT, ret_page, e);
	if (rc < 0)
		return rc;
	if (p->before_id && !p->before_id[0])
		p->before_id = NULL;
	if (p->before_id && !id_valid(str_of(p->before_id)))
		return err_set(e, ERR_BAD_REQUEST, "continuationToken: is not one of ours");
	if (!filter || !filter[0])
		filter = "active";
	p->live = streq(filter, "active") || streq(filter, "all");
	p->expired = streq(filter, "expired") || streq(filter, "all");
	p->n = *ret_page + 1;
	return 0;
}

static int list(struct request *r, struct response *w, bool of_org, struct err *e)
{
	const struct access *access = request_access(r);
	struct list_tokens p = { .a = r->arena, .of_org = of_org };
	p.owner_id = of_org ? access->org.id : access->who.user_id;
	int64_t page;
	int rc = list_arguments(r, &p, &page, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, list_tokens_fn, &p, e);
	if (rc < 0)
		return rc;
	bool more = p.count > (size_t)page;
	if (more)
		p.count = (size_t)page;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "tokens");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++)
		write_token(r, j, &p.rows[i]);
	jw_array_end(j);
	if (more)
		jw_kv_string(j, "continuationToken", p.rows[p.count - 1].id);
	jw_object_end(j);
	return 0;
}

int user_tokens_list(struct request *r, struct response *w, struct err *e)
{
	return list(r, w, false, e);
}

int org_tokens_list(struct request *r, struct response *w, struct err *e)
{
	return list(r, w, true, e);
}

/* --- create --- */

static int expiry(int64_t expires_s, int64_t *ret_us, struct err *e)
{
	int64_t now_us = clock_now_us();
	*ret_us = expires_s > 0 ? expires_s * US_PER_S : DB_NULL_INT;
	if (expires_s <= 0)
		return 0;
	if (*ret_us <= now_us)
		return err_set(e, ERR_BAD_REQUEST, "/expires: lies in the past");
	if (*ret_us > now_us + LIFE_MAX_US)
		return err_set(e, ERR_BAD_REQUEST, "/expires: lies more than two years ahead");
	return 0;
}

static int answer_new(struct response *w, const char *id, const char *token)
{
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", id);
	jw_kv_string(j, "tokenValue", token);
	jw_object_end(j);
	return 0;
}

int identity_answer_new_token(struct request *r, struct response *w, const char *user, const char *description,
			      int64_t expires_s, struct err *e)
{
	int64_t expires_us;
	const char *token, *id;
	int rc = expiry(expires_s, &expires_us, e);
	if (rc == 0)
		rc = identity_token_add(app_of(r)->identity, r->arena, user, description, expires_us,
					&request_access(r)->who, &token, &id, e);
	return rc < 0 ? rc : answer_new(w, id, token);
}

int user_token_create(struct request *r, struct response *w, struct err *e)
{
	struct create_token body = { 0 };
	int rc = request_decode(r, w, create_token_fields, &body, e);
	if (rc < 0)
		return rc;
	return identity_answer_new_token(r, w, request_access(r)->who.user_name, body.description, body.expires_s, e);
}

struct add_org_token {
	struct arena *a;
	const struct principal *who;
	struct token_row row;
};

static int add_org_token_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct add_org_token *p = arg;
	const struct token_row *row = &p->row;
	struct org_token_name_put_in name = { .org_id = row->org_id, .name = row->name };
	int rc = q_org_token_name_put(c, &name, e);
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "the organization has, or had, a token of the name '%s'", row->name);
	if (rc >= 0)
		rc = identity_token_insert(c, row, e);
	return rc < 0 ? rc : token_event(c, p->a, "token.created", row, NULL, p->who, e);
}

int org_token_create(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	struct create_org_token body = { .description = "" };
	int64_t expires_us;
	int rc = request_decode(r, w, create_org_token_fields, &body, e);
	if (rc == 0 && body.role_id && body.role_id[0])
		return err_set(e, ERR_BAD_REQUEST, "/roleID: there is no such role");
	if (rc == 0)
		rc = expiry(body.expires_s, &expires_us, e);
	if (rc < 0)
		return rc;
	const char *token = token_new(r->arena, TOKEN_PREFIX_PERSONAL);
	struct add_org_token p = { .a = r->arena,
				   .who = &access->who,
				   .row = { .id = id_new_arena(r->arena),
					    .kind = "organization",
					    .name = body.name,
					    .description = body.description,
					    .admin = body.admin,
					    .org_id = access->org.id,
					    .attempt = DB_NULL_INT,
					    .created_by = access->who.user_name,
					    .expires_us = expires_us } };
	if (!token || !p.row.id)
		return err_nomem(e);
	p.row.hash = token_hash(r->arena, str_of(token));
	if (!p.row.hash.p)
		return err_nomem(e);
	rc = db_write(app_of(r)->db, add_org_token_fn, &p, e);
	return rc < 0 ? rc : answer_new(w, p.row.id, token);
}

/* --- revoke --- */

struct revoke {
	struct arena *a;
	const struct principal *who;
	const char *id;
	const char *user_id;
	const char *org_id;
};

static int revoke_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct revoke *p = arg;
	struct token_delete_personal_in personal = { .id = p->id, .user_id = p->user_id };
	struct token_delete_org_in of_org = { .id = p->id, .org_id = p->org_id };
	int rc = p->org_id ? q_token_delete_org(c, &of_org, e) : q_token_delete_personal(c, &personal, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "token '%s'", p->id);
	struct token_row gone = { .id = p->id, .kind = p->org_id ? "organization" : "personal", .org_id = p->org_id };
	return rc < 0 ? rc : token_event(c, p->a, "token.revoked", &gone, p->who->user_name, p->who, e);
}

static int revoke(struct request *r, struct response *w, const char *user_id, const char *org_id, struct err *e)
{
	struct revoke p = { .a = r->arena,
			    .who = &request_access(r)->who,
			    .id = request_param(r, "tokenId"),
			    .user_id = user_id,
			    .org_id = org_id };
	int rc = db_write(app_of(r)->db, revoke_fn, &p, e);
	if (rc == 0)
		response_empty(w, 204);
	return rc;
}

int user_token_delete(struct request *r, struct response *w, struct err *e)
{
	return revoke(r, w, request_access(r)->who.user_id, NULL, e);
}

int org_token_delete(struct request *r, struct response *w, struct err *e)
{
	return revoke(r, w, NULL, request_access(r)->org.id, e);
}
