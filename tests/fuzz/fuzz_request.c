/*
 * What the HTTP room reads by itself: "METHOD target\nheader value\n" and behind it a body. The route is found, path and
 * query are decoded, the header value goes through its checks, the body is inflated and decoded, as a worker does it.
 */
#include "fuzz.h"

#include <libdeflate.h>

#include "base/limits.h"
#include "http/internal.h"

struct body {
	const char *name;
	int64_t count;
	struct json rest;
};
static const struct field body_fields[] = {
	FIELD(struct body, name, "name", FIELD_STRING, .max = 16),
	FIELD(struct body, count, "count", FIELD_INT),
	FIELD(struct body, rest, "rest", FIELD_JSON),
	FIELD_END,
};

static const struct route routes[] = {
	{ .method = "GET", .pattern = "/" },
	{ .method = "GET", .pattern = "/api/stacks/{org}/{project}/{stack}" },
	{ .method = "POST", .pattern = "/api/stacks/{org}/{project}/{stack}/{kind}" },
	{ .method = "POST", .pattern = "/api/stacks/{org}/{project}/{stack}/update" },
	{ .method = "GET", .pattern = "/api/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}" },
	{ .method = "DELETE", .pattern = "/api/{a}" },
};

static void check_route(struct router *router, const char *method, struct str path, struct exchange *x)
{
	router_match(router, method, path, &x->match);
	x->rq.route = x->match.route;
	struct err e = { 0 };
	if (!x->match.route || params_decode(&x->arena, &x->match, x->params, &e) < 0)
		return;
	size_t params = 0;
	for (const char *p = x->match.route->pattern; *p; p++)
		params += *p == '{';
	MUST(params == x->match.param_count);
	for (size_t i = 0; i < params; i++)
		MUST(x->params[i] && strlen(x->params[i]) <= x->match.params[i].n && x->match.params[i].n > 0);
	if (request_has_param(&x->rq, "org"))
		MUST(request_param(&x->rq, "org") == x->params[0]);
}

static void check_query(struct str query, struct exchange *x)
{
	struct err e = { 0 };
	if (query_parse(&x->arena, query, &x->args, &x->arg_count, &e) < 0) {
		x->arg_count = 0;
		return;
	}
	for (size_t i = 0; i < x->arg_count; i++) {
		MUST(x->args[i].name && x->args[i].value);
		MUST(str_is_utf8(str_of(x->args[i].value)));
	}
	int64_t n;
	bool b;
	if (request_query_int(&x->rq, "n", -5, 5, 0, &n, &e) == 0)
		MUST(n >= -5 && n <= 5);
	request_query_bool(&x->rq, "b", false, &b, &e);
}

/* Both ways to inflate agree, on the text and on what is damaged or too large. */
static void check_body(struct str body, struct exchange *x, struct libdeflate_decompressor *d)
{
	struct err e = { 0 };
	struct str fast = STR_NULL, slow = STR_NULL;
	size_t max = 64 * KIB;
	int rc = spool_inflate(&x->spool, body, max, "/tmp", d, &fast, &e);
	int rc2 = spool_inflate(&x->inflated, body, max, "/tmp", NULL, &slow, &e);
	MUST(rc == rc2 && (rc < 0 || str_eq(fast, slow)));
	MUST(rc == 0 || rc == -ERR_BAD_REQUEST || rc == -ERR_TOO_LARGE);
	x->rq.body = rc == 0 ? fast : body;
	struct body out = { 0 };
	if (request_decode(&x->rq, &x->response, body_fields, &out, &e) < 0)
		return;
	MUST(!out.name || strlen(out.name) <= 16);
	for (struct header *h = x->response.headers; h; h = h->next) {
		for (const char *p = h->value; *p; p++)
			MUST((unsigned char)*p >= 0x20 && (unsigned char)*p <= 0x7e);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct router *router;
	static struct libdeflate_decompressor *inflater;
	if (!router)
		MUST(router_new(routes, ARRAY_SIZE(routes), &router, NULL) == 0);
	if (!inflater)
		inflater = libdeflate_alloc_decompressor();

	struct exchange x = { .fd = -1 };
	arena_init(&x.arena, 16 * MIB);
	x.rq.arena = &x.arena;
	spool_init(&x.spool, HTTP_SPOOL_MEMORY_BYTES);
	spool_init(&x.inflated, HTTP_INFLATED_MEMORY_BYTES);
	response_init(&x.response, &x);

	struct str rest = { (const char *)data, size }, query;
	struct str line = str_cut(rest, '\n', &rest);
	struct str target, method = str_cut(line, ' ', &target);
	struct str value = rest.p ? str_cut(rest, '\n', &rest) : STR_NULL;
	struct str path = target.p ? str_cut(target, '?', &query) : STR_NULL;
	/* The library hands us strings that end at a NUL. */
	if (path.p && !str_has_nul(line)) {
		check_route(router, str_dup(&x.arena, method), path, &x);
		if (query.p)
			check_query(query, &x);
	}
	if (value.p && !str_has_nul(value)) {
		const char *z = str_dup(&x.arena, value);
		accepts_gzip(z);
		if (request_id_sane(z))
			MUST(value.n > 0 && value.n <= 64);
		if (host_sane(z))
			MUST(value.n > 0 && value.n <= 255 && !strpbrk(z, "<>\"/\\ "));
	}
	if (rest.p)
		check_body(rest, &x, inflater);

	response_done(&x.response);
	spool_done(&x.spool);
	spool_done(&x.inflated);
	arena_done(&x.arena);
	return 0;
}
