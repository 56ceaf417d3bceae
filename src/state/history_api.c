/* Update history (cli-protocol §3.3): newest first, times in unix seconds, previews apart. */
#include "state/stack.h"
#include "state/update.h"

#include "base/clock.h"
#include "db/queries_state.h"
#include "http/http.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

#define HISTORY_PAGE_MAX 1000

/* What the queries of the history have in common. */
struct history_row {
	const char *id, *kind, *status, *message, *environment;
	struct str config;	      /* gzip; absent: none */
	const char *resource_changes; /* NULL: none known */
	int64_t version, resource_count, started_us, ended_us;
	const char *deployment_id, *author, *author_name, *author_email; /* or NULL */
};
#define ROW_OF(row)                                                                                                   \
	(struct history_row)                                                                                          \
	{                                                                                                             \
		.id = (row).id, .kind = (row).kind, .status = (row).status, .message = (row).message,                 \
		.environment = (row).environment, .config = (row).config, .resource_changes = (row).resource_changes, \
		.version = (row).version, .resource_count = (row).resource_count, .started_us = (row).started_us,     \
		.ended_us = (row).ended_us, .deployment_id = (row).deployment_id, .author = (row).author,             \
		.author_name = (row).author_name, .author_email = (row).author_email,                                 \
	}

struct history {
	struct request *r;
	bool previews;
	bool ascending;
	int64_t version; /* one version; DB_NULL_INT: a page */
	int64_t count, skip;
	/* results */
	struct stack stack;
	struct history_row *rows;
	size_t row_count;
	int64_t total;
};

/* Copies a result; the rows are of the query's own type. */
#define TAKE_ROWS(p, list, count)                                                    \
	({                                                                           \
		(p)->rows = arena_array((p)->r->arena, (count), sizeof(*(p)->rows)); \
		for (size_t i_ = 0; (p)->rows && i_ < (count); i_++)                 \
			(p)->rows[i_] = ROW_OF((list)[i_]);                          \
		(p)->row_count = (count);                                            \
		(p)->rows ? 0 : err_nomem(e);                                        \
	})

static int read_version(struct db_conn *c, struct history *p, struct err *e)
{
	struct update_history_one_row row;
	int rc = q_update_history_one(c, p->r->arena, &(struct update_history_one_in){ p->stack.id, p->version }, &row,
				      e);
	return rc <= 0 ? rc : TAKE_ROWS(p, &row, 1);
}

static int read_previews(struct db_conn *c, struct history *p, struct err *e)
{
	struct arena *a = p->r->arena;
	struct update_previews_row *rows;
	struct update_previews_count_row total = { 0 };
	size_t n;
	int rc = q_update_previews(
		c, a, &(struct update_previews_in){ p->stack.id, p->stack.version, p->ascending, p->count, p->skip },
		&rows, &n, e);
	if (rc == 0)
		rc = q_update_previews_count(c, a, &(struct update_previews_count_in){ p->stack.id, p->stack.version },
					     &total, e);
	p->total = total.total;
	return rc < 0 ? rc : TAKE_ROWS(p, rows, n);
}

static int read_page(struct db_conn *c, struct history *p, struct err *e)
{
	struct arena *a = p->r->arena;
	struct update_history_row *rows;
	struct update_history_count_row total = { 0 };
	size_t n;
	int rc = q_update_history(c, a, &(struct update_history_in){ p->stack.id, p->count, p->skip }, &rows, &n, e);
	if (rc == 0)
		rc = q_update_history_count(c, a, &(struct update_history_count_in){ p->stack.id }, &total, e);
	p->total = total.total;
	return rc < 0 ? rc : TAKE_ROWS(p, rows, n);
}

static int history_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct history *p = arg;
	p->row_count = 0;
	int rc = state_stack_by_id(c, p->r->arena, request_access(p->r)->stack_id, &p->stack, e);
	if (rc <= 0)
		return rc < 0 ? rc : stack_gone(e);
	if (p->version != DB_NULL_INT)
		return read_version(c, p, e);
	return p->previews ? read_previews(c, p, e) : read_page(c, p, e);
}

static int64_t seconds(int64_t us)
{
	return us == DB_NULL_INT ? 0 : us / US_PER_S;
}

/* apitype.UpdateInfo, without braces. */
static int write_info(struct request *r, struct json_writer *j, const struct history_row *u, struct err *e)
{
	struct str config = STR("{}");
	int rc = u->config.p ? document_inflate(r->arena, u->config, &config, e) : 0;
	if (rc < 0)
		return rc;
	jw_kv_string(j, "kind", u->kind);
	jw_kv_int(j, "startTime", seconds(u->started_us));
	jw_kv_string(j, "message", u->message);
	jw_key(j, "environment");
	jw_raw_str(j, str_of(u->environment));
	jw_key(j, "config");
	jw_raw_str(j, config);
	jw_kv_string(j, "result", state_update_result(u->status));
	jw_kv_int(j, "endTime", seconds(u->ended_us));
	jw_kv_int(j, "version", u->version);
	if (u->resource_changes) {
		jw_key(j, "resourceChanges");
		jw_raw_str(j, str_of(u->resource_changes));
	}
	if (u->resource_count != DB_NULL_INT)
		jw_kv_int(j, "resourceCount", u->resource_count);
	return 0;
}

/* The service's own wrapping of it. */
static int write_update(struct request *r, struct json_writer *j, const struct history *p, const struct history_row *u,
			struct err *e)
{
	jw_object(j);
	jw_key(j, "info");
	jw_object(j);
	int rc = write_info(r, j, u, e);
	jw_object_end(j);
	jw_kv_string(j, "updateID", u->id);
	jw_kv_int(j, "version", u->version);
	jw_kv_int(j, "latestVersion", p->stack.version);
	if (u->deployment_id)
		jw_kv_string(j, "deploymentID", u->deployment_id);
	jw_key(j, "requestedBy");
	jw_object(j);
	jw_kv_string(j, "githubLogin", u->author ? u->author : "");
	jw_kv_string(j, "name", u->author_name ? u->author_name : "");
	jw_kv_string(j, "email", u->author_email ? u->author_email : "");
	jw_kv_string(j, "avatarUrl", "");
	jw_object_end(j);
	jw_object_end(j);
	return rc;
}

/* page counts from 1; without a page size, or with page 0, everything up to a bound. */
static int page_of(struct request *r, struct history *p, struct err *e)
{
	int64_t page, size;
	int rc = request_query_int(r, "page", 0, INT32_MAX, 1, &page, e);
	if (rc == 0)
		rc = request_query_int(r, "pageSize", 0, HISTORY_PAGE_MAX, 0, &size, e);
	if (rc < 0)
		return rc;
	p->count = page == 0 || size == 0 ? HISTORY_PAGE_MAX : size;
	p->skip = page == 0 || size == 0 ? 0 : (page - 1) * size;
	return 0;
}

#define HISTORY_PAGE                                                                                       \
	QUERY("page", FIELD_INT, .min = 0, .max = INT32_MAX, .doc = "from 1; 0 or without pageSize: all"), \
		QUERY("pageSize", FIELD_INT, .min = 0, .max = HISTORY_PAGE_MAX, .doc = "0 or absent: all of it")
const struct field update_list_query[] = {
	HISTORY_PAGE, QUERY("output-type", FIELD_STRING, .doc = "service: with who asked for each"), FIELD_END
};
const struct field preview_list_query[] = { HISTORY_PAGE, QUERY("asc", FIELD_BOOL, .doc = "oldest first"), FIELD_END };

int history_api_list(struct request *r, struct response *w, struct err *e)
{
	struct history p = { .r = r, .version = DB_NULL_INT };
	const char *type = request_query(r, "output-type");
	bool full = streq(type, "service");
	int rc = page_of(r, &p, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, history_fn, &p, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "updates");
	jw_array(j);
	for (size_t i = 0; rc == 0 && i < p.row_count; i++) {
		if (full) {
			rc = write_update(r, j, &p, &p.rows[i], e);
			continue;
		}
		jw_object(j);
		rc = write_info(r, j, &p.rows[i], e);
		/* Ours: leads from the history to the update's events. */
		jw_kv_string(j, "updateID", p.rows[i].id);
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_kv_int(j, "itemsPerPage", p.count);
	jw_kv_int(j, "total", p.total);
	jw_object_end(j);
	return rc;
}

static int write_one(struct request *r, struct response *w, const struct history *p, struct err *e)
{
	if (p->row_count == 0)
		return err_set(e, ERR_NOT_FOUND, "the stack has no such update");
	return write_update(r, response_json(w), p, &p->rows[0], e);
}

int history_api_latest(struct request *r, struct response *w, struct err *e)
{
	struct history p = { .r = r, .version = DB_NULL_INT, .count = 1 };
	int rc = db_read(app_of(r)->db, history_fn, &p, e);
	return rc < 0 ? rc : write_one(r, w, &p, e);
}

int history_api_version(struct request *r, struct response *w, struct err *e)
{
	struct history p = { .r = r };
	if (!str_to_int64(str_of(request_param(r, "version")), &p.version) || p.version < 1)
		return err_set(e, ERR_BAD_REQUEST, "version: must be an integer of at least 1");
	int rc = db_read(app_of(r)->db, history_fn, &p, e);
	return rc < 0 ? rc : write_one(r, w, &p, e);
}

int history_api_previews(struct request *r, struct response *w, struct err *e)
{
	struct history p = { .r = r, .previews = true, .version = DB_NULL_INT };
	int rc = page_of(r, &p, e);
	if (rc == 0)
		rc = request_query_bool(r, "asc", false, &p.ascending, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, history_fn, &p, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "updates");
	jw_array(j);
	for (size_t i = 0; rc == 0 && i < p.row_count; i++)
		rc = write_update(r, j, &p, &p.rows[i], e);
	jw_array_end(j);
	jw_kv_int(j, "itemsPerPage", p.count);
	jw_kv_int(j, "total", p.total);
	jw_object_end(j);
	return rc;
}
