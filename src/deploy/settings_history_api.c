/* Who changed the deployment settings, when, and what. */
#include "base/clock.h"
#include "base/limits.h"
#include "db/queries_settings.h"
#include "deploy/settings_history.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

#define PAGE_SIZE_DEFAULT 10
#define PAGE_SIZE_MAX 100

const struct field settings_history_query[] = {
	QUERY("page", FIELD_INT, .min = 1, .max = INT32_MAX, .doc = "from 1, which is the default"),
	QUERY("pageSize", FIELD_INT, .min = 1, .max = PAGE_SIZE_MAX, .doc = "10 if absent"), FIELD_END
};

struct history {
	struct arena *arena;
	const char *stack_id;
	int64_t page, page_size;
	int64_t total;
	struct settings_version_list_row *rows; /* one more than shown, if there is one: what the last one changed */
	size_t count;
	const char *newest;
	const struct secrets_key *key;
};

static int newest_fn(struct db_conn *c, struct arena *a, const char *stack_id, const char **ret, struct err *e)
{
	struct settings_version_newest_row newest;
	int rc = q_settings_version_newest(c, a, &(struct settings_version_newest_in){ stack_id }, &newest, e);
	*ret = rc > 0 ? newest.document : NULL;
	return rc < 0 ? rc : 0;
}

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct history *h = arg;
	struct settings_version_count_row count;
	struct settings_version_list_in in = { .stack_id = h->stack_id,
					       .skip = (h->page - 1) * h->page_size,
					       .n = h->page_size + 1 };
	int rc = q_settings_version_count(c, h->arena, &(struct settings_version_count_in){ h->stack_id }, &count, e);
	if (rc >= 0)
		rc = q_settings_version_list(c, h->arena, &in, &h->rows, &h->count, e);
	if (rc >= 0)
		rc = newest_fn(c, h->arena, h->stack_id, &h->newest, e);
	h->total = rc >= 0 ? count.n : 0;
	return rc < 0 ? rc : 0;
}

static int parse(const char *text, struct json *ret, struct err *e)
{
	*ret = JSON_ABSENT;
	return text ? json_check(str_of(text), ret, e) : 0;
}

/* The changes of the first version of all are those to nothing. Of the oldest that is kept nobody knows them. */
static int put_changes(struct json_writer *j, const struct history *h, size_t i, struct err *e)
{
	const struct settings_version_list_row *row = &h->rows[i], *before = i + 1 < h->count ? &h->rows[i + 1] : NULL;
	struct settings_diff d = { .key = h->key, .arena = h->arena, .after_pool = row->pool_id };
	if (!before && row->version > 1)
		return 0;
	int rc = parse(row->document, &d.after, e);
	if (rc == 0)
		rc = parse(before ? before->document : NULL, &d.before, e);
	if (rc == 0)
		rc = parse(h->newest, &d.newest, e);
	if (rc < 0)
		return rc;
	d.before_pool = before ? before->pool_id : NULL;
	jw_key(j, "changes");
	return settings_diff_write(j, &d, e);
}

static int put_version(struct json_writer *j, const struct history *h, size_t i, struct err *e)
{
	const struct settings_version_list_row *row = &h->rows[i];
	jw_object(j);
	jw_kv_int(j, "version", row->version);
	jw_kv_string(j, "created", clock_rfc3339(h->arena, row->created_us));
	jw_kv_string(j, "source", row->source);
	jw_kv_bool(j, "deleted", !row->document);
	jw_key(j, "changedBy");
	jw_object(j);
	if (row->user_name[0])
		jw_kv_string(j, "githubLogin", row->user_name);
	if (row->token_kind[0])
		jw_kv_string(j, "tokenKind", row->token_kind);
	if (row->token_name[0])
		jw_kv_string(j, "tokenName", row->token_name);
	jw_object_end(j);
	int rc = put_changes(j, h, i, e);
	jw_object_end(j);
	return rc;
}

int deploy_settings_history(struct request *r, struct response *w, struct err *e)
{
	_cleanup_secrets_key_ struct secrets_key key = { 0 };
	struct history h = { .arena = r->arena, .stack_id = request_access(r)->stack_id, .key = &key };
	int rc = request_query_int(r, "page", 1, INT32_MAX, 1, &h.page, e);
	if (rc == 0)
		rc = request_query_int(r, "pageSize", 1, PAGE_SIZE_MAX, PAGE_SIZE_DEFAULT, &h.page_size, e);
	if (rc == 0)
		rc = secrets_key_load(app_of(r), r->arena, h.stack_id, &key, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, list_fn, &h, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "history");
	jw_array(j);
	for (size_t i = 0; rc == 0 && i < h.count && (int64_t)i < h.page_size; i++)
		rc = put_version(j, &h, i, e);
	jw_array_end(j);
	jw_kv_int(j, "itemsPerPage", h.page_size);
	jw_kv_int(j, "total", h.total);
	jw_object_end(j);
	return rc;
}

struct one {
	struct arena *arena;
	const char *stack_id;
	int64_t version;
	bool found;
	struct settings_version_get_row row;
	const char *newest;
};

static int one_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct one *o = arg;
	struct settings_version_get_in in = { .stack_id = o->stack_id, .version = o->version };
	int rc = q_settings_version_get(c, o->arena, &in, &o->row, e);
	o->found = rc > 0;
	return rc < 0 ? rc : newest_fn(c, o->arena, o->stack_id, &o->newest, e);
}

int deploy_settings_version(struct request *r, struct response *w, struct err *e)
{
	struct one o = { .arena = r->arena, .stack_id = request_access(r)->stack_id };
	const char *text = request_param(r, "version");
	struct json document, newest;
	if (!str_to_int64(str_of(text), &o.version))
		return err_set(e, ERR_NOT_FOUND, "version '%s' of the deployment settings", text);
	int rc = db_read(app_of(r)->db, one_fn, &o, e);
	if (rc < 0)
		return rc;
	if (!o.found || !o.row.document)
		return err_set(e, ERR_NOT_FOUND,
			       o.found ? "version %s removed the deployment settings"
				       : "version %s of the deployment settings",
			       text);
	rc = parse(o.row.document, &document, e);
	if (rc == 0)
		rc = parse(o.newest, &newest, e);
	if (rc < 0)
		return rc;
	struct settings_shown shown = { .version = o.version,
					.document = document,
					.newest = newest,
					.pool_id = o.row.pool_id,
					.source = o.row.source };
	settings_show(response_json(w), &shown, r->arena);
	return arena_failed(r->arena) ? err_nomem(e) : 0;
}
