#include "http/router.h"

#include "http/http.h"
#include "unit.h"

static int handler(struct request *r, struct response *w, struct err *e)
{
	return 0;
}

#define R(m, p)                                               \
	{                                                     \
		.method = m, .pattern = p, .handler = handler \
	}
static const struct route routes[] = {
	R("GET", "/"),
	R("GET", "/api/user"),
	R("GET", "/api/stacks/{org}/{project}"),
	R("HEAD", "/api/stacks/{org}/{project}"),
	R("POST", "/api/stacks/{org}/{project}"),
	R("GET", "/api/stacks/{org}/{project}/{stack}"),
	R("DELETE", "/api/stacks/{org}/{project}/{stack}"),
	R("POST", "/api/stacks/{org}/{project}/{stack}/{kind}"),
	R("POST", "/api/stacks/{org}/{project}/{stack}/update"),
	R("GET", "/api/stacks/{org}/{project}/{stack}/updates/{version}"),
	R("GET", "/api/stacks/{org}/{project}/{stack}/updates/latest"),
	R("GET", "/api/{any}/special/x"),
	R("GET", "/api/stacks/{org}/{project}/{stack}/{kind}/{id}/events"),
};

static struct router *router;

static struct route_match find(const char *method, const char *path)
{
	struct route_match m;
	router_match(router, method, str_of(path), &m);
	return m;
}

static void expect(const char *method, const char *path, const char *pattern)
{
	struct route_match m = find(method, path);
	if (pattern)
		assert_non_null(m.route);
	else
		assert_null(m.route);
	if (pattern)
		assert_string_equal(m.route->pattern, pattern);
}

static void test_finds(void **state)
{
	expect("GET", "/", "/");
	expect("GET", "/api/user", "/api/user");
	expect("GET", "/api/user/", NULL);
	expect("GET", "/api//user", NULL);
	expect("GET", "/api", NULL);
	expect("GET", "", NULL);
	expect("GET", "api/user", NULL);
	expect("GET", "/api/stacks/acme/web", "/api/stacks/{org}/{project}");
	expect("GET", "/api/stacks/acme/", NULL);
	expect("GET", "/api/stacks/acme/web/dev", "/api/stacks/{org}/{project}/{stack}");
	expect("GET", "/api/stacks/acme/web/dev/a/b/c/d/e/f", NULL);
}

static void test_static_wins(void **state)
{
	expect("POST", "/api/stacks/a/b/c/update", "/api/stacks/{org}/{project}/{stack}/update");
	expect("POST", "/api/stacks/a/b/c/updater", "/api/stacks/{org}/{project}/{stack}/{kind}");
	expect("POST", "/api/stacks/a/b/c/updat", "/api/stacks/{org}/{project}/{stack}/{kind}");
	expect("GET", "/api/stacks/a/b/c/updates/latest", "/api/stacks/{org}/{project}/{stack}/updates/latest");
	expect("GET", "/api/stacks/a/b/c/updates/12", "/api/stacks/{org}/{project}/{stack}/updates/{version}");
	/* the static way leads nowhere: back to the parameter */
	expect("GET", "/api/stacks/a/b/c/updates/12/events", "/api/stacks/{org}/{project}/{stack}/{kind}/{id}/events");
	expect("GET", "/api/other/special/x", "/api/{any}/special/x");
}

static void test_methods(void **state)
{
	struct route_match m = find("HEAD", "/api/user");
	assert_string_equal(m.route->method, "GET");
	m = find("HEAD", "/api/stacks/a/b");
	assert_string_equal(m.route->method, "HEAD");
	m = find("PUT", "/api/stacks/a/b/c");
	assert_null(m.route);
	assert_true(m.path_known);
	assert_string_equal(m.allow, "GET, HEAD, DELETE");
	m = find("PUT", "/nowhere");
	assert_false(m.path_known);
}

static void test_params(void **state)
{
	struct route_match m = find("GET", "/api/stacks/acme/w%2Fb/dev/updates/7");
	assert_int_equal(m.param_count, 4);
	assert_true(str_is(m.params[0], "acme"));
	assert_true(str_is(m.params[1], "w%2Fb"));
	assert_true(str_is(m.params[3], "7"));
	assert_int_equal(route_param_index(m.route, "org"), 0);
	assert_int_equal(route_param_index(m.route, "version"), 3);
	assert_int_equal(route_param_index(m.route, "vers"), -1);
	/* parameters that a way back gave up leave no trace */
	m = find("GET", "/api/stacks/a/b/c/updates/12/events");
	assert_int_equal(m.param_count, 5);
	assert_true(str_is(m.params[3], "updates"));
	assert_true(str_is(m.params[4], "12"));
}

static void test_bad_tables(void **state)
{
	struct router *r;
	struct err e = { 0 };
	const struct route twice[] = { R("GET", "/a/{x}"), R("GET", "/a/{y}") };
	assert_int_equal(router_new(twice, 2, &r, &e), -ERR_INTERNAL);
	const struct route relative[] = { R("GET", "a") };
	assert_int_equal(router_new(relative, 1, &r, &e), -ERR_INTERNAL);
}

static int setup(void **state)
{
	return router_new(routes, ARRAY_SIZE(routes), &router, NULL);
}

static int teardown(void **state)
{
	router_free(router);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds),  cmocka_unit_test(test_static_wins), cmocka_unit_test(test_methods),
		cmocka_unit_test(test_params), cmocka_unit_test(test_bad_tables),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
