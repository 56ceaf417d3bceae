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
	assert_int_equal(dependencies_plan(folder, folder, &p, &a, &d, &e), 0);
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
	put("pyproject.toml", "");
	expect(p, "uv", "uv sync", NULL, ".venv");
	p.toolchain = "uv"; /* then the language host knows where to look */
	expect(p, "uv", "uv sync", NULL, NULL);
	p.toolchain = "pip";
	expect(p, "python3", "python3 -m venv venv",
	       "venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt", "venv");
}

static void others(void **state)
{
	struct project go = { .runtime = "go" }, net = { .runtime = "dotnet" }, java = { .runtime = "java" };
	expect((struct project){ .runtime = "yaml" }, NULL, NULL, NULL, NULL);
	expect((struct project){ .runtime = NULL }, NULL, NULL, NULL, NULL);
	expect((struct project){ .runtime = "" }, NULL, NULL, NULL, NULL);
	expect((struct project){ .runtime = "cobol" }, NULL, NULL, NULL, NULL);
	expect(go, NULL, NULL, NULL, NULL);
	put("go.mod", "module x\n");
	expect(go, "go", "go mod download", NULL, NULL);
	go.binary = "bin/program";
	expect(go, NULL, NULL, NULL, NULL);
	expect(net, NULL, NULL, NULL, NULL);
	put("Infra.fsproj", "<Project/>");
	expect(net, "dotnet", "dotnet restore", NULL, NULL);
	expect(java, NULL, NULL, NULL, NULL);
	put("build.gradle.kts", "");
	expect(java, "gradle", "gradle --console=plain classes", NULL, NULL);
	put("gradlew", "");
	expect(java, "java", "sh ./gradlew --console=plain classes", NULL, NULL);
	put("pom.xml", "");
	expect(java, "mvn", "mvn --batch-mode --no-transfer-progress compile", NULL, NULL);
	put("mvnw", "");
	expect(java, "java", "sh ./mvnw --batch-mode --no-transfer-progress compile", NULL, NULL);
}

static void modern_yarn(void **state)
{
	put("package.json", "{}");
	put("yarn.lock", "# comment\n\n__metadata:\n  version: 6\n");
	expect((struct project){ .runtime = "nodejs" }, "yarn", "yarn install --immutable", NULL, NULL);
}

static void uv_without_a_project(void **state)
{
	struct project p = { .runtime = "python", .toolchain = "uv" };
	expect(p, NULL, NULL, NULL, NULL);
	put("requirements.txt", "");
	expect(p, "uv", "uv venv --allow-existing .venv", "uv pip install --python .venv -r requirements.txt", NULL);
	p.virtualenv = "env";
	expect(p, "uv", "uv venv --allow-existing env", "uv pip install --python env -r requirements.txt", NULL);
	put("pyproject.toml", "");
	expect(p, "uv", "UV_PROJECT_ENVIRONMENT=env uv sync", NULL, NULL);
}

/* The project in a folder of the tree; where its packages come from. */
static void expect_below(const char *name, const char *command, const char *dir)
{
	_cleanup_arena_ struct arena a;
	struct dependency_plan d;
	struct project p = { .found = true, .runtime = "nodejs" };
	struct err e = { 0 };
	arena_init(&a, 0);
	const char *work_dir = arena_printf(&a, "%s/%s", folder, name);
	assert_int_equal(dependencies_plan(folder, work_dir, &p, &a, &d, &e), 0);
	assert_string_equal(d.commands[0], command);
	assert_string_equal(d.dir, dir ? arena_printf(&a, "%s%s", folder, dir) : work_dir);
}

static void workspaces(void **state)
{
	const char *const folders[] = { "infra/eu", "packages/one", "web" };
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		_cleanup_arena_ struct arena a;
		arena_init(&a, 0);
		assert_int_equal(file_mkdir_p(arena_printf(&a, "%s/%s", folder, folders[i]), 0700, NULL), 0);
		put(arena_printf(&a, "%s/package.json", folders[i]), "{}");
	}
	/* A lock file above that is not this project's. */
	put("package-lock.json", "{}");
	expect_below("infra/eu", "npm install --no-audit --no-fund", NULL);
	put("package.json", "{\"workspaces\":[\"packages/*\",\"./infra/eu/\"]}");
	expect_below("infra/eu", "npm ci --no-audit --no-fund", "");
	expect_below("packages/one", "npm ci --no-audit --no-fund", "");
	expect_below("web", "npm install --no-audit --no-fund", NULL);
	put("package.json", "{\"packageManager\":\"yarn@1.22.0\",\"workspaces\":{\"packages\":[\"**\",\"!web\"]}}");
	expect_below("infra/eu", "yarn install", "");
	expect_below("web", "npm install --no-audit --no-fund", NULL);
	/* A lock file of its own. */
	put("infra/eu/pnpm-lock.yaml", "");
	expect_below("infra/eu", "pnpm install --frozen-lockfile", NULL);
	put("package.json", "[]");
	put("pnpm-workspace.yaml", "packages: ['packages/*']");
	put("pnpm-lock.yaml", "");
	expect_below("packages/one", "npm ci --no-audit --no-fund", "");
	put("package.json", "{\"packageManager\":\"pnpm@9\"}");
	expect_below("packages/one", "pnpm install --frozen-lockfile", "");
}

static void odd_files(void **state)
{
	_cleanup_arena_ struct arena a;
	struct dependency_plan d;
	struct err e = { 0 };
	struct project p = { .found = true, .runtime = "nodejs" };
	arena_init(&a, 0);
	assert_int_equal(file_mkdir_p(arena_printf(&a, "%s/package.json", folder), 0700, NULL), 0);
	assert_int_equal(dependencies_plan(folder, folder, &p, &a, &d, &e), -ERR_BAD_REQUEST);
	assert_int_equal(file_mkdir_p(arena_printf(&a, "%s/requirements.txt", folder), 0700, NULL), 0);
	expect((struct project){ .runtime = "python" }, NULL, NULL, NULL, NULL);
	p = (struct project){ .found = true, .runtime = "python", .toolchain = "conda" };
	assert_int_equal(dependencies_plan(folder, folder, &p, &a, &d, &e), -ERR_BAD_REQUEST);
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
		assert_int_equal(dependencies_plan(folder, folder, &p, &a, &d, &e), -ERR_BAD_REQUEST);
	}
	put("package.json", "{}");
	struct project p = { .found = true, .runtime = "nodejs", .package_manager = "rm -rf" };
	assert_int_equal(dependencies_plan(folder, folder, &p, &a, &d, &e), -ERR_BAD_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runtimes),
		cmocka_unit_test_setup(node, clear_folder),
		cmocka_unit_test_setup(python, clear_folder),
		cmocka_unit_test_setup(others, clear_folder),
		cmocka_unit_test_setup(modern_yarn, clear_folder),
		cmocka_unit_test_setup(uv_without_a_project, clear_folder),
		cmocka_unit_test_setup(workspaces, clear_folder),
		cmocka_unit_test_setup(odd_files, clear_folder),
		cmocka_unit_test_setup(names_are_checked, clear_folder),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
