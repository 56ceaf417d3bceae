/* Lists of deployments: of a stack, of an organization (features §3.6). */
#include "deploy/deployments_api.h"
#include "deploy/listing.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

#define PAGE_SIZE_DEFAULT 10

/* Within a stack both are the same order; versions of different stacks have none. */
static const char *const sorts[] = { "created", "version", NULL };
static const char *const org_sorts[] = { "created", NULL };
#define LIST_QUERY(sorts_)                                                                                      \
	QUERY("page", FIELD_INT, .min = 1, .max = INT32_MAX, .doc = "from 1, which is the default"),            \
		QUERY("pageSize", FIELD_INT, .min = 1, .max = LISTING_PAGE_MAX, .doc = "10 if absent"),         \
		QUERY("asc", FIELD_BOOL, .doc = "oldest first"), QUERY("sort", FIELD_STRING, .one_of = sorts_), \
		QUERY("status", FIELD_STRING, .one_of = deployment_statuses, .doc = "only those"), FIELD_END
const struct field deployment_list_query[] = { LIST_QUERY(sorts) };
const struct field org_deployment_list_query[] = { LIST_QUERY(org_sorts) };

struct list {
	struct arena *arena;
	const struct access *access;
	struct listing what;
	struct shown *items;
	size_t count;
	int64_t total;
};

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct list *l = arg;
	const char *ids[LISTING_PAGE_MAX];
	struct waiting_memo memo = { 0 };
	size_t count;
	l->count = 0;
	int rc = l->what.stack_id ? 0 : identity_org_reader(c, l->arena, l->access, &l->what.reader_id, e);
	if (rc == 0)
		rc = listing_page(c, l->arena, &l->what, ids, &count, &l->total, e);
	for (size_t i = 0; rc >= 0 && i < count; i++) {
		rc = shown_load(c, l->arena, ids[i], &memo, &l->items[l->count], e);
		if (rc > 0)
			l->count++;
	}
	return rc < 0 ? rc : 0;
}

static int read_query(struct request *r, struct listing *ret, struct err *e)
{
	ret->status = request_query(r, "status");
	int rc = request_query_int(r, "page", 1, INT32_MAX, 1, &ret->page, e);
	if (rc == 0)
		rc = request_query_int(r, "pageSize", 1, LISTING_PAGE_MAX, PAGE_SIZE_DEFAULT, &ret->page_size, e);
	if (rc == 0)
		rc = request_query_bool(r, "asc", false, &ret->ascending, e);
	if (rc < 0)
		return rc;
	if (ret->status && !ret->status[0])
		ret->status = NULL;
	return 0;
}

static int list(struct request *r, struct response *w, const char *stack_id, struct err *e)
{
	struct list l = { .arena = r->arena, .access = request_access(r), .what = { .stack_id = stack_id } };
	l.what.org_id = l.access->org.id;
	int rc = read_query(r, &l.what, e);
	if (rc < 0)
		return rc;
	l.items = arena_array(r->arena, LISTING_PAGE_MAX, sizeof(*l.items));
	if (!l.items)
		return err_nomem(e);
	rc = db_read(app_of(r)->db, list_fn, &l, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "deployments");
	jw_array(j);
	for (size_t i = 0; i < l.count; i++) {
		jw_object(j);
		shown_write(j, r->arena, &l.items[i], true);
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_kv_int(j, "itemsPerPage", l.what.page_size);
	jw_kv_int(j, "total", l.total);
	jw_object_end(j);
	return 0;
}

int deploy_list_stack(struct request *r, struct response *w, struct err *e)
{
	return list(r, w, request_access(r)->stack_id, e);
}

int deploy_list_org(struct request *r, struct response *w, struct err *e)
{
	return list(r, w, NULL, e);
}
