/* Resources of the newest states: of a stack, of one alone with its values, and over an organization. */
#include "state/document.h"
#include "state/resource_index.h"
#include "state/resource_view.h"
#include "state/search_query.h"

#include "base/encode.h"
#include "base/limits.h"
#include "db/queries_resources.h"
#include "http/http.h"
#include "identity/identity.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

#define PAGE_MAX 1000
#define PAGE 100

struct search {
	struct request *r;
	struct resource_filter filter;
	const char *stack_id; /* NULL: all of the organization */
	bool count_all;
	int64_t size;
	struct resources_find_in in;
	struct resources_find_row *rows;
	size_t count;
	int64_t total;
};

static int search_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct search *p = arg;
	struct arena *a = p->r->arena;
	struct resources_find_in *in = &p->in;
	struct resources_count_row total = { 0 };
	int rc = 0;
	/* The stack of the path was authorised. */
	if (!p->stack_id)
		rc = identity_org_reader(c, a, request_access(p->r), &in->reader_id, e);
	if (rc == 0)
		rc = q_resources_find(c, a, in, &p->rows, &p->count, e);
	if (rc == 0 && p->count_all)
		rc = q_resources_count(c, a,
				       &(struct resources_count_in){ in->org_id, in->reader_id, in->stack_id,
								     in->project, in->stack, in->type, in->urn,
								     in->name, in->text_1, in->text_2, in->text_3 },
				       &total, e);
	p->total = total.total;
	return rc < 0 ? rc : 0;
}

/* "<project>\n<stack>\n<ordinal>\n<urn>" of the last one on the page before. */
static int read_token(struct search *p, const char *name, struct err *e)
{
	struct arena *a = p->r->arena;
	struct resources_find_in *in = &p->in;
	const char *token = request_query(p->r, name);
	struct str text, rest = STR_NULL, number, urn = STR_NULL;
	in->after_project = in->after_stack = in->after_urn = "";
	in->after_ordinal = -1;
	if (!token || !token[0])
		return 0;
	if (base64url_decode(a, str_of(token), &text) && str_is_utf8(text) && !str_has_nul(text)) {
		in->after_project = str_dup(a, str_cut(text, '\n', &rest));
		if (rest.p)
			in->after_stack = str_dup(a, str_cut(rest, '\n', &rest));
		number = rest.p ? str_cut(rest, '\n', &urn) : STR_NULL;
		in->after_urn = str_dup(a, urn.p ? urn : STR(""));
		if (urn.p && str_to_int64(number, &in->after_ordinal) && !arena_failed(a))
			return 0;
	}
	return err_set(e, ERR_BAD_REQUEST, "%s: is not one of ours", name);
}

static const char *make_token(struct request *r, const struct resources_find_row *v)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, MIB);
	const char *text =
		arena_printf(r->arena, "%s\n%s\n%lld\n%s", v->project, v->stack, (long long)v->ordinal, v->urn);
	base64url_encode(&b, str_of(text));
	return str_dup(r->arena, buf_str(&b));
}

/* Looks; p->count is at most p->size afterwards. *ret_more: there is a next page. */
static int look(struct search *p, bool *ret_more, struct err *e)
{
	const struct resource_filter *f = &p->filter;
	struct resources_find_in *in = &p->in;
	in->org_id = request_access(p->r)->org.id;
	in->stack_id = p->stack_id;
	in->project = f->project;
	in->stack = f->stack;
	in->type = f->type;
	in->urn = f->urn;
	in->name = f->name;
	in->text_1 = f->text[0];
	in->text_2 = f->text[1];
	in->text_3 = f->text[2];
	in->count = p->size + 1;
	int rc = db_read(app_of(p->r)->db, search_fn, p, e);
	if (rc < 0)
		return rc;
	*ret_more = p->count > (size_t)p->size;
	if (*ret_more)
		p->count = (size_t)p->size;
	return 0;
}

/* Members as the hosted search (v2) names them; `dotted`: as its first version did, where none may be missing. */
static void write_row(struct json_writer *j, const struct resources_find_row *v, bool dotted)
{
	struct str type = str_of(v->type);
	jw_object(j);
	jw_kv_string(j, "urn", v->urn);
	jw_kv_string(j, "type", v->type);
	jw_kv_str(j, "name", urn_name(str_of(v->urn)));
	jw_kv_str(j, "package", type_package(type));
	jw_kv_str(j, "module", type_module(type));
	jw_kv_string(j, "project", v->project);
	jw_kv_string(j, "stack", v->stack);
	if (v->external_id)
		jw_kv_string(j, "id", v->external_id);
	if (v->parent)
		jw_kv_string(j, dotted ? "parent.urn" : "parent_urn", v->parent);
	if (v->provider)
		jw_kv_string(j, dotted ? "provider.urn" : "provider_urn", v->provider);
	jw_kv_bool(j, "custom", v->custom);
	jw_kv_bool(j, "external", v->external);
	jw_kv_bool(j, "protected", v->protect);
	jw_kv_bool(j, "delete", v->pending_delete);
	if (v->created)
		jw_kv_string(j, "created", v->created);
	if (v->modified || dotted)
		jw_kv_string(j, "modified", v->modified ? v->modified : "");
	jw_object_end(j);
}

static void write_rows(struct json_writer *j, const struct search *p, bool dotted)
{
	jw_key(j, "resources");
	jw_array(j);
	for (size_t i = 0; i < p->count; i++)
		write_row(j, &p->rows[i], dotted);
	jw_array_end(j);
}

/* --- ours --- */

#define RESOURCE_FILTERS                                                                             \
	QUERY("type", FIELD_STRING, .max = SEARCH_BYTES_MAX, .doc = "* stands for anything"),        \
		QUERY("urn", FIELD_STRING, .max = SEARCH_BYTES_MAX, .doc = "* stands for anything"), \
		QUERY("text", FIELD_STRING, .max = SEARCH_BYTES_MAX, .doc = "in URN or id"),         \
		QUERY("pageSize", FIELD_INT, .min = 1, .max = PAGE_MAX), QUERY("continuationToken", FIELD_STRING)
const struct field resource_list_query[] = { RESOURCE_FILTERS, FIELD_END };
const struct field resource_search_query[] = { RESOURCE_FILTERS, QUERY("project", FIELD_STRING),
					       QUERY("stack", FIELD_STRING), FIELD_END };
const struct field resource_get_query[] = {
	QUERY("urn", FIELD_STRING, .required = true, .min = 1),
	QUERY("version", FIELD_INT, .min = 1, .max = INT64_MAX, .doc = "absent: the newest state"),
	QUERY("ordinal", FIELD_INT, .min = 0, .max = INT32_MAX, .doc = "which, where a URN repeats; 0 if absent"),
	FIELD_END
};
const struct field hosted_search_query[] = {
	QUERY("query", FIELD_STRING, .doc = "words, and name:, package:, project:, stack:, type:, urn:"),
	QUERY("sort", FIELD_STRING, .doc = "refused: results come by project, stack and URN"),
	QUERY("properties", FIELD_STRING, .doc = "true is refused: values are shown for one resource at a time"),
	QUERY("size", FIELD_INT, .min = 1, .max = PAGE_MAX),
	QUERY("page", FIELD_INT, .min = 1, .max = INT32_MAX),
	QUERY("cursor", FIELD_STRING),
	FIELD_END
};

/* A filter of the query's: NULL if it is absent or empty. */
static int read_value(struct request *r, const char *name, bool text, const char **ret, struct err *e)
{
	struct str v = str_of(request_query(r, name));
	*ret = NULL;
	if (v.n == 0)
		return 0;
	if (v.n > SEARCH_BYTES_MAX)
		return err_set(e, ERR_BAD_REQUEST, "query argument %s: at most %d bytes", name, SEARCH_BYTES_MAX);
	*ret = text ? search_text_pattern(r->arena, v) : search_pattern(r->arena, "", v);
	return *ret ? 0 : err_nomem(e);
}

static int answer(struct search *p, struct response *w, struct err *e)
{
	struct request *r = p->r;
	bool more;
	int rc = read_value(r, "type", false, &p->filter.type, e);
	if (rc == 0)
		rc = read_value(r, "urn", false, &p->filter.urn, e);
	if (rc == 0)
		rc = read_value(r, "text", true, &p->filter.text[0], e);
	if (rc == 0)
		rc = request_query_int(r, "pageSize", 1, PAGE_MAX, PAGE, &p->size, e);
	if (rc == 0)
		rc = read_token(p, "continuationToken", e);
	if (rc == 0)
		rc = look(p, &more, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	write_rows(j, p, false);
	jw_kv_string(j, "continuationToken", more ? make_token(r, &p->rows[p->count - 1]) : NULL);
	jw_object_end(j);
	return 0;
}

int resource_api_list(struct request *r, struct response *w, struct err *e)
{
	struct search p = { .r = r, .stack_id = request_access(r)->stack_id };
	/* Who asks for one stack sees what it is now. */
	int rc = resource_index_refresh(app_of(r), p.stack_id, e);
	return rc < 0 ? rc : answer(&p, w, e);
}

int resource_api_search(struct request *r, struct response *w, struct err *e)
{
	struct search p = { .r = r };
	const char *project = request_query(r, "project"), *stack = request_query(r, "stack");
	p.filter.project = project && project[0] ? project : NULL;
	p.filter.stack = stack && stack[0] ? stack : NULL;
	return answer(&p, w, e);
}

int resource_api_get(struct request *r, struct response *w, struct err *e)
{
	struct document d;
	struct json root;
	struct resource_view *list;
	size_t count;
	int64_t ordinal, version = DB_NULL_INT;
	const char *urn = request_query(r, "urn");
	if (!urn || !urn[0])
		return err_set(e, ERR_BAD_REQUEST, "query argument urn: is required");
	int rc = request_query_int(r, "ordinal", 0, INT32_MAX, 0, &ordinal, e);
	if (rc == 0 && request_query(r, "version"))
		rc = request_query_int(r, "version", 1, INT64_MAX, 1, &version, e);
	if (rc == 0)
		rc = document_read(app_of(r), r->arena, request_access(r)->stack_id, version, &d, e);
	if (rc == 0)
		rc = document_open(&d, r->arena, &root, e);
	if (rc == 0)
		rc = resource_views_read(root, r->arena, &list, &count, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++) {
		if (!streq(list[i].urn, urn) || list[i].ordinal != ordinal)
			continue;
		_cleanup_buf_ struct buf b;
		buf_init(&b, HTTP_DOCUMENT_BODY_BYTES * 2);
		json_redact(list[i].text, &b);
		rc = buf_check(&b, "the resource", e);
		if (rc < 0)
			return rc;
		struct json_writer *j = response_json(w);
		jw_object(j);
		jw_key(j, "resource");
		jw_raw_str(j, buf_str(&b));
		jw_object_end(j);
		return 0;
	}
	return err_set(e, ERR_NOT_FOUND, "resource '%s'", urn);
}

/* --- the hosted names, for the stock CLI --- */

static int read_query(struct search *p, struct err *e)
{
	struct request *r = p->r;
	int64_t page;
	const char *query = request_query(r, "query"), *sort = request_query(r, "sort");
	int rc = search_query_parse(str_of(query ? query : ""), r->arena, &p->filter, e);
	if (rc == 0 && sort && sort[0])
		rc = err_set(e, ERR_BAD_REQUEST, "sort: results come by project, stack and URN");
	if (rc == 0 && streq(request_query(r, "properties"), "true"))
		rc = err_set(e, ERR_BAD_REQUEST, "properties: values are shown for one resource at a time");
	if (rc == 0)
		rc = request_query_int(r, "size", 1, PAGE_MAX, PAGE, &p->size, e);
	if (rc == 0)
		rc = request_query_int(r, "page", 1, INT32_MAX, 1, &page, e);
	if (rc == 0)
		rc = read_token(p, "cursor", e);
	if (rc == 0)
		p->in.skip = (page - 1) * p->size;
	p->count_all = true;
	return rc;
}

int resource_api_search_v1(struct request *r, struct response *w, struct err *e)
{
	struct search p = { .r = r };
	bool more;
	int rc = read_query(&p, e);
	if (rc == 0)
		rc = look(&p, &more, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_int(j, "total", p.total);
	write_rows(j, &p, true);
	/* The CLI repeats it below its table. */
	const char *query = request_query(r, "query");
	jw_kv_string(j, "query", query ? query : "");
	jw_object_end(j);
	return 0;
}

int resource_api_search_v2(struct request *r, struct response *w, struct err *e)
{
	struct search p = { .r = r };
	bool more;
	int rc = read_query(&p, e);
	if (rc == 0)
		rc = look(&p, &more, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_int(j, "total", p.total);
	write_rows(j, &p, false);
	jw_key(j, "pagination");
	jw_object(j);
	if (more) {
		const char *query = request_query(r, "query");
		_cleanup_buf_ struct buf link;
		buf_init(&link, MIB);
		buf_addf(&link,
			 "/api/orgs/%s/search/resourcesv2?size=%lld&cursor=%s&query=", request_access(r)->org.name,
			 (long long)p.size, make_token(r, &p.rows[p.count - 1]));
		url_escape(&link, str_of(query ? query : ""));
		jw_kv_str(j, "next", buf_str(&link));
	}
	jw_object_end(j);
	jw_object_end(j);
	return 0;
}
