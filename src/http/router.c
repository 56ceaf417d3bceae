#include "http/router.h"

#include <stdlib.h>

#include "base/mem.h"
#include "http/http.h"

struct node {
	struct str segment;	/* static text; of the root and of parameters: absent */
	struct node **children; /* static ones, sorted by segment */
	size_t child_count;
	struct node *param;
	const struct route **rows; /* one per method */
	size_t row_count;
};

struct router {
	struct node root;
};

static int segment_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int d = n ? memcmp(a.p, b.p, n) : 0;
	return d ? d : (a.n > b.n) - (a.n < b.n);
}

/* Index of the child, or ~(where it would go). */
static ssize_t child_find(const struct node *n, struct str segment)
{
	size_t low = 0, high = n->child_count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int d = segment_cmp(segment, n->children[mid]->segment);
		if (d == 0)
			return (ssize_t)mid;
		if (d < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return ~(ssize_t)low;
}

static bool is_param(struct str segment)
{
	return segment.n > 2 && segment.p[0] == '{' && segment.p[segment.n - 1] == '}';
}

static struct node *child_add(struct node *n, struct str segment)
{
	if (is_param(segment)) {
		if (!n->param)
			n->param = calloc(1, sizeof(*n->param));
		return n->param;
	}
	ssize_t i = child_find(n, segment);
	if (i >= 0)
		return n->children[i];
	size_t at = (size_t)~i;
	struct node **grown = realloc(n->children, (n->child_count + 1) * sizeof(struct node *));
	if (!grown)
		return NULL;
	n->children = grown;
	struct node *child = calloc(1, sizeof(*child));
	if (!child)
		return NULL;
	child->segment = segment;
	memmove(grown + at + 1, grown + at, (n->child_count - at) * sizeof(struct node *));
	grown[at] = child;
	n->child_count++;
	return child;
}

static int row_add(struct router *r, const struct route *row, struct err *e)
{
	if (row->pattern[0] != '/')
		return err_set(e, ERR_INTERNAL, "route %s: must start with /", row->pattern);
	struct node *n = &r->root;
	struct str rest = str_of(row->pattern + 1);
	size_t params = 0, segments = 0;
	while (rest.p) {
		struct str segment = str_cut(rest, '/', &rest);
		params += is_param(segment);
		if (++segments > ROUTE_SEGMENTS_MAX || params > ROUTE_PARAMS_MAX)
			return err_set(e, ERR_INTERNAL, "route %s: too many segments", row->pattern);
		n = child_add(n, segment);
		if (!n)
			return err_nomem(e);
	}
	for (size_t i = 0; i < n->row_count; i++) {
		if (streq(n->rows[i]->method, row->method))
			return err_set(e, ERR_INTERNAL, "routes %s and %s: both match the same %s requests",
				       n->rows[i]->pattern, row->pattern, row->method);
	}
	const struct route **rows = realloc(n->rows, (n->row_count + 1) * sizeof(*rows));
	if (!rows)
		return err_nomem(e);
	n->rows = rows;
	n->rows[n->row_count++] = row;
	return 0;
}

static void node_done(struct node *n)
{
	for (size_t i = 0; i < n->child_count; i++) {
		node_done(n->children[i]);
		free(n->children[i]);
	}
	if (n->param) {
		node_done(n->param);
		free(n->param);
	}
	free(n->children);
	free(n->rows);
}

int router_new(const struct route *routes, size_t count, struct router **ret, struct err *e)
{
	struct router *r = calloc(1, sizeof(*r));
	if (!r)
		return err_nomem(e);
	for (size_t i = 0; i < count; i++) {
		int rc = row_add(r, &routes[i], e);
		if (rc < 0) {
			router_free(r);
			return rc;
		}
	}
	*ret = r;
	return 0;
}

void router_free(struct router *r)
{
	if (!r)
		return;
	node_done(&r->root);
	free(r);
}

static void allow_add(struct route_match *m, const char *method)
{
	if (strstr(m->allow, method)) /* no method's name lies within another's */
		return;
	size_t len = strlen(m->allow);
	snprintf(m->allow + len, sizeof(m->allow) - len, "%s%s", len ? ", " : "", method);
}

static const struct route *row_of(const struct node *n, const char *method, struct route_match *m)
{
	const struct route *get = NULL;
	for (size_t i = 0; i < n->row_count; i++) {
		const char *have = n->rows[i]->method;
		if (streq(have, method))
			return n->rows[i];
		if (streq(have, "GET"))
			get = n->rows[i];
	}
	if (get && streq(method, "HEAD"))
		return get;
	for (size_t i = 0; i < n->row_count; i++) {
		m->path_known = true;
		allow_add(m, n->rows[i]->method);
		if (n->rows[i] == get)
			allow_add(m, "HEAD");
	}
	return NULL;
}

/* Depth is bounded by ROUTE_SEGMENTS_MAX, since the tree is no deeper. */
static bool walk(const struct node *n, const char *method, struct str rest, size_t params, struct route_match *m)
{
	if (!rest.p) {
		m->route = row_of(n, method, m);
		if (m->route)
			m->param_count = params;
		return m->route != NULL;
	}
	struct str segment = str_cut(rest, '/', &rest);
	ssize_t i = child_find(n, segment);
	if (i >= 0 && walk(n->children[i], method, rest, params, m))
		return true;
	if (!n->param || segment.n == 0)
		return false;
	/* What stands first in the path of another row ("api") is not a value for a parameter that stands first: an unknown
	 * path below it stays unknown. */
	if (i >= 0 && !n->segment.p && params == 0)
		return false;
	if (!walk(n->param, method, rest, params + 1, m))
		return false;
	m->params[params] = segment;
	return true;
}

void router_match(const struct router *r, const char *method, struct str path, struct route_match *ret)
{
	*ret = (struct route_match){ 0 };
	if (path.n == 0 || path.p[0] != '/')
		return;
	walk(&r->root, method, (struct str){ path.p + 1, path.n - 1 }, 0, ret);
}

int route_param_index(const struct route *route, const char *name)
{
	int index = 0;
	size_t len = strlen(name);
	for (const char *p = route->pattern; (p = strchr(p, '{')) != NULL; p++, index++) {
		if (strncmp(p + 1, name, len) == 0 && p[1 + len] == '}')
			return index;
	}
	return -1;
}
