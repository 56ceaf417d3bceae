#include "unit.h"

#include "executor/executor.h"
#include "os/file.h"

static void runtime(const char *yaml, const char *expected)
{
	_cleanup_arena_ struct arena a;
	struct project p;
	struct err e = { 0 };
	arena_init(&a, 0);
	assert_int_equal(project_parse(str_of(yaml), &a, &p, &e), 0);
	assert_true(p.found);
	if (expected)
		assert_string_equal(p.runtime, expected);
	else
		assert_null(p.runtime);
}

static void runtimes(void **state)
{
	runtime("name: x\nruntime: yaml\n", "yaml");
	runtime("runtime:\n  name: nodejs\n  options:\n    packagemanager: pnpm\nname: x\n", "nodejs");
	runtime("{name: x, runtime: {options: {a: {name: no}}, name: 'python'}}", "python");
	runtime("config:\n  runtime: no\n  x: [runtime, {runtime: no}]\nname: runtime\nruntime: go\n", "go");
	runtime("name: x\n", NULL);
	runtime("", NULL);
	runtime("- runtime: yaml\n", NULL);
	runtime("? [a, b]\n: c\nruntime: dotnet\n", "dotnet");
	runtime("a: &x {b: c}\nd: *x\nruntime: java\n", "java");
	_cleanup_arena_ struct arena a;
	struct project p;
	struct err e = { 0 };
	arena_init(&a, 0);
	assert_int_equal(project_parse(STR("a: [b\nc: d"), &a, &p, &e), -ERR_BAD_REQUEST);
	assert_int_equal(
		project_parse(STR("runtime:\n  name: python\n  options:\n    virtualenv: .venv\n    toolchain: uv\n"),
			      &a, &p, &e),
		0);
	assert_string_equal(p.virtualenv, ".venv");
	assert_string_equal(p.toolchain, "uv");
}

static char folder[] = "/tmp/slipway-deps-XXXXXX";

static int make_folder(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	return file_remove_tree(folder, NULL);
}

static int clear_folder(void **state)
{
	return file_remove_tree(folder, NULL) < 0 || file_mkdir_p(folder, 0700, NULL) < 0 ? -1 : 0;
}

static void put(const char *name, const char *content)
{
	char path[256];
	struct err e = { 0 };
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	assert_int_equal(file_write_atomic(path, str_of(content), 0600, &e), 0);
}

static void expect(struct project p, const char *tool, const char *first, const char *second, const char *activate)
{
	_cleanup_arena_ struct arena a;
	struct dependency_plan d;
	struct err e = { 0 };
	arena_init(&a, 0);
	p.found = true;
	assert_int_equal(dependencies_plan(folder, &p, &a, &d, &e), 0);
	const char *const pairs[][2] = {
		{ d.tool, tool }, { d.commands[0], first }, { d.commands[1], second }, { d.activate, activate }
	};
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (pairs[i][1])
			assert_string_equal(pairs[i][0], pairs[i][1]);
		else
			assert_null(pairs[i][0]);
	}
	assert_non_null(d.said);
}

static void node(void **state)
{
	struct project p = { .runtime = "nodejs" };
	expect(p, NULL, NULL, NULL, NULL);
	put("package.json", "{\"name\":\"x\"}");
	expect(p, "npm", "npm install --no-audit --no-fund", NULL, NULL);
	put("yarn.lock", "");
	expect(p, "yarn", "yarn install --frozen-lockfile", NULL, NULL);
	put("package-lock.json", "{}");
	expect(p, "npm", "npm ci --no-audit --no-fund", NULL, NULL);
	put("package.json", "{\"packageManager\":\"pnpm@9.1.0\"}");
	expect(p, "pnpm", "pnpm install", NULL, NULL);
	put("pnpm-lock.yaml", "");
	expect(p, "pnpm", "pnpm install --frozen-lockfile", NULL, NULL);
	p.package_manager = "yarn";
	expect(p, "yarn", "yarn install --frozen-lockfile", NULL, NULL);
	put("package.json", "not JSON");
	p.package_manager = NULL;
	expect(p, "npm", "npm ci --no-audit --no-fund", NULL, NULL);
}

static void python(void **state)
{
	struct project p = { .runtime = "python" };
	expect(p, NULL, NULL, NULL, NULL);
	put("requirements.txt", "pulumi\n");
	expect(p, "python3", "python3 -m venv venv",
	       "venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt", "venv");
	p.virtualenv = ".v";
	expect(p, "python3", "python3 -m venv .v",
	       ".v/bin/python -m pip install --disable-pip-version-check -r requirements.txt", ".v");
	p.virtualenv = NULL;
	put("poetry.lock", "");
	expect(p, "poetry", "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction --no-root", NULL,
	       ".venv");
	put("uv.lock", "");
	expect(p, "uv", "uv sync", NULL, ".venv");
	p.toolchain = "uv"; /* then the language host knows where to look */
	expect(p, "uv", "uv sync", NULL, NULL);
	p.toolchain = "pip";
	expect(p, "python3", "python3 -m venv venv",
	       "venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt", "venv");
}

static void others(void **state)
{
	expect((struct project){ .runtime = "yaml" }, NULL, NULL, NULL, NULL);
	expect((struct project){ .runtime = "go" }, NULL, NULL, NULL, NULL);
	expect((struct project){ .runtime = NULL }, NULL, NULL, NULL, NULL);
}

/* What the project's file says stands in a shell command. */
static void names_are_checked(void **state)
{
	_cleanup_arena_ struct arena a;
	struct dependency_plan d;
	struct err e = { 0 };
	arena_init(&a, 0);
	put("requirements.txt", "");
	static const char *const bad[] = { "x; id", "$(id)", "-x", "a b", "`id`" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct project p = { .found = true, .runtime = "python", .virtualenv = bad[i] };
		assert_int_equal(dependencies_plan(folder, &p, &a, &d, &e), -ERR_BAD_REQUEST);
	}
	put("package.json", "{}");
	struct project p = { .found = true, .runtime = "nodejs", .package_manager = "rm -rf" };
	assert_int_equal(dependencies_plan(folder, &p, &a, &d, &e), -ERR_BAD_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runtimes),
		cmocka_unit_test_setup(node, clear_folder),
		cmocka_unit_test_setup(python, clear_folder),
		cmocka_unit_test_setup(others, clear_folder),
		cmocka_unit_test_setup(names_are_checked, clear_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
