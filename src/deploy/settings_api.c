/* The deployment settings of a stack (features §3). */
#include "base/clock.h"
#include "base/limits.h"
#include "deploy/deployment.h"
#include "deploy/settings.h"
#include "deploy/settings_history.h"
#include "identity/event.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

struct saved {
	struct arena *arena;
	const char *stack_id;
	bool found;
	struct settings_get_row row;
};

static int saved_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct saved *s = arg;
	struct settings_get_in in = { .stack_id = s->stack_id };
	int rc = q_settings_get(c, s->arena, &in, &s->row, e);
	s->found = rc > 0;
	return rc < 0 ? rc : 0;
}

static int answer(struct request *r, struct response *w, const struct settings_get_row *row, struct err *e)
{
	struct settings_shown shown = { .version = row->version, .pool_id = row->pool_id, .source = row->source };
	int rc = json_check(str_of(row->document), &shown.document, e);
	if (rc < 0)
		return rc;
	settings_show(response_json(w), &shown, r->arena);
	return arena_failed(r->arena) ? err_nomem(e) : 0;
}

int deploy_settings_get(struct request *r, struct response *w, struct err *e)
{
	struct saved s = { .arena = r->arena, .stack_id = request_access(r)->stack_id };
	int rc = db_read(app_of(r)->db, saved_fn, &s, e);
	if (rc < 0)
		return rc;
	if (!s.found)
		return err_set(e, ERR_NOT_FOUND, "the stack has no deployment settings");
	return answer(r, w, &s.row, e);
}

struct save {
	struct arena *arena;
	const char *stack_id;
	struct json in;
	const struct secrets_key *key;
	bool replace;
	const struct access *access;
	const char *source;
	struct settings_input input;
	int64_t base_version; /* of what the input was read against; 0: there was nothing */
	int64_t now_us;
	bool moved;  /* somebody else saved in between */
	bool insist; /* then it is read anew inside of the transaction, which holds up others who write */
	struct settings_get_row row;
};

/* Reads the body against what is saved (NULL: nothing). */
static int read_against(struct save *s, const struct settings_get_row *saved, struct ignored_fields *ig, struct err *e)
{
	struct json stored = JSON_ABSENT;
	int rc = saved ? json_check(str_of(saved->document), &stored, e) : 0;
	s->base_version = saved ? saved->version : 0;
	return rc < 0 ? rc : settings_read(s->in, stored, s->key, SETTINGS_SAVE, s->arena, ig, &s->input, e);
}

static int check_pool(struct db_conn *c, struct save *s, struct err *e)
{
	struct pool_get_in in = { .id = s->input.pool_id, .org_id = s->access->org.id };
	struct pool_get_row pool;
	int rc = s->input.pool == POOL_NAMED ? q_pool_get(c, s->arena, &in, &pool, e) : 1;
	return rc == 0 ? err_set(e, ERR_BAD_REQUEST, "/agentPoolID: there is no such agent pool") : rc;
}

static int put_event(struct db_conn *c, struct arena *a, const struct access *access, const char *kind,
		     const struct settings_version *version, struct err *e)
{
	struct event_subject subject = { .org_id = access->org.id, .stack_id = access->stack_id, .who = &access->who };
	struct event v;
	int rc = event_begin(c, a, &subject, &v, e);
	if (rc < 0)
		return rc;
	jw_kv_int(&v.w, "version", version->version);
	jw_kv_string(&v.w, "source", version->source);
	return event_put(c, &v, kind, e);
}

static int save_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct save *s = arg;
	struct settings_get_in in = { .stack_id = s->stack_id };
	struct settings_get_row old;
	int rc = q_settings_get(c, s->arena, &in, &old, e);
	if (rc < 0)
		return rc;
	bool found = rc > 0;
	s->moved = (found ? old.version : 0) != s->base_version;
	if (s->moved && !s->insist)
		return 0;
	if (s->moved)
		rc = read_against(s, found ? &old : NULL, NULL, e);
	if (rc >= 0)
		rc = check_pool(c, s, e);
	struct json base = JSON_ABSENT, merged;
	if (rc >= 0 && found && !s->replace)
		rc = json_check(str_of(old.document), &base, e);
	if (rc >= 0)
		rc = settings_merge(base, s->input.patch, s->arena, &merged, e);
	if (rc >= 0)
		rc = settings_check(merged, SETTINGS_SAVE, e);
	if (rc < 0)
		return rc;
	const char *kept_pool = s->base_version && !s->replace ? old.pool_id : NULL;
	int64_t version;
	rc = settings_version_next(c, s->arena, s->stack_id, &version, e);
	if (rc < 0)
		return rc;
	struct settings_put_in put = { .stack_id = s->stack_id,
				       .version = version,
				       .document = merged.p, /* NUL-terminated by settings_merge */
				       .pool_id = s->input.pool == POOL_NAMED	  ? s->input.pool_id
						  : s->input.pool == POOL_DEFAULT ? NULL
										  : kept_pool,
				       .source = s->source,
				       .now_us = s->now_us,
				       .user_id = s->access->who.user_id };
	struct settings_version kept = {
		.version = version, .document = put.document, .pool_id = put.pool_id, .source = put.source
	};
	rc = q_settings_put(c, &put, e);
	if (rc >= 0)
		rc = settings_version_keep(c, s->stack_id, &kept, &s->access->who, s->now_us, e);
	if (rc >= 0)
		rc = put_event(c, s->arena, s->access, "settings.changed", &kept, e);
	if (rc >= 0)
		rc = q_settings_get(c, s->arena, &in, &s->row, e);
	return rc < 0 ? rc : 0;
}

/* Sealing takes time, so the body is read before the transaction; when somebody else saved in between, once more in it. */
static int read_and_save(struct request *r, struct response *w, struct save *s, struct err *e)
{
	struct db *db = app_of(r)->db;
	struct saved old = { .arena = r->arena, .stack_id = s->stack_id };
	struct ignored_fields ig;
	int rc = db_read(db, saved_fn, &old, e);
	if (rc < 0)
		return rc;
	ignored_fields_init(&ig);
	rc = read_against(s, old.found ? &old.row : NULL, &ig, e);
	if (rc == 0)
		rc = request_note_ignored(r, w, &ig, e);
	ignored_fields_done(&ig);
	if (rc == 0)
		rc = db_write(db, save_fn, s, e);
	if (rc == 0 && s->moved) {
		s->insist = true;
		rc = db_write(db, save_fn, s, e);
	}
	return rc;
}

static const char *source_of(const struct request *r)
{
	const char *client = request_header(r, "X-Pulumi-Source");
	return client && streq(client, "provider") ? "provider" : "api";
}

static int save(struct request *r, struct response *w, bool replace, struct err *e)
{
	const struct access *access = request_access(r);
	struct save s = { .arena = r->arena,
			  .stack_id = access->stack_id,
			  .replace = replace,
			  .access = access,
			  .source = source_of(r),
			  .now_us = clock_now_us() };
	_cleanup_secrets_key_ struct secrets_key key;
	int rc = request_json(r, false, &s.in, e);
	if (rc == 0)
		rc = secrets_key_load(app_of(r), r->arena, access->stack_id, &key, e);
	s.key = &key;
	if (rc == 0)
		rc = read_and_save(r, w, &s, e);
	return rc < 0 ? rc : answer(r, w, &s.row, e);
}

int deploy_settings_merge(struct request *r, struct response *w, struct err *e)
{
	return save(r, w, false, e);
}

int deploy_settings_replace(struct request *r, struct response *w, struct err *e)
{
	return save(r, w, true, e);
}

struct removal {
	struct arena *arena;
	const struct access *access;
	const char *source;
	int64_t now_us;
};

static int delete_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct removal *d = arg;
	const char *stack_id = d->access->stack_id;
	struct settings_version gone = { .source = d->source };
	int rc = settings_version_next(c, d->arena, stack_id, &gone.version, e);
	if (rc == 0)
		rc = q_settings_delete(c, &(struct settings_delete_in){ stack_id }, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "the stack has no deployment settings");
	if (rc >= 0)
		rc = settings_version_keep(c, stack_id, &gone, &d->access->who, d->now_us, e);
	return rc < 0 ? rc : put_event(c, d->arena, d->access, "settings.removed", &gone, e);
}

int deploy_settings_delete(struct request *r, struct response *w, struct err *e)
{
	struct removal d = {
		.arena = r->arena, .access = request_access(r), .source = source_of(r), .now_us = clock_now_us()
	};
	int rc = db_write(app_of(r)->db, delete_fn, &d, e);
	if (rc < 0)
		return rc;
	jw_bool(response_json(w), true);
	return 0;
}

int deploy_settings_encrypt(struct request *r, struct response *w, struct err *e)
{
	struct json body;
	struct str plain, sealed;
	_cleanup_secrets_key_ struct secrets_key key;
	int rc = request_json(r, false, &body, e);
	if (rc < 0)
		return rc;
	/* Older CLIs send the bare string (cli-protocol §4.4). */
	struct json value = json_type(body) == JSON_OBJECT ? json_get(body, "secret") : body;
	if (json_type(body) == JSON_OBJECT && json_is_null(value))
		value = json_get(body, "plaintext");
	if (json_is_null(value) || json_string_is(value, ""))
		return err_set(e, ERR_BAD_REQUEST, "Invalid empty value");
	if (json_type(value) != JSON_STRING)
		return err_set(e, ERR_BAD_REQUEST, "/secret: must be a string");
	if (!json_string(value, r->arena, &plain))
		return err_nomem(e);
	rc = secrets_key_load(app_of(r), r->arena, request_access(r)->stack_id, &key, e);
	if (rc == 0)
		rc = secret_seal(&key, plain, r->arena, &sealed, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "secret", SECRET_MARKER);
	jw_kv_str(j, "ciphertext", sealed);
	jw_object_end(j);
	return 0;
}
