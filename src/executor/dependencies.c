#include "base/json.h"
#include "executor/executor.h"
#include "os/file.h"

#define PACKAGE_JSON_MAX_BYTES (4 * 1024 * 1024)

static bool has(const char *folder, const char *name, struct arena *a)
{
	const char *path = arena_printf(a, "%s/%s", folder, name);
	return path && file_exists(path);
}

struct node_manager {
	const char *name;
	const char *locks[3]; /* any of them selects it */
	const char *locked;   /* with a lock file */
	const char *loose;    /* without */
};

/* In the order of preference when several lock files lie there. */
static const struct node_manager node_managers[] = {
	{ "npm",
	  { "package-lock.json", "npm-shrinkwrap.json" },
	  "npm ci --no-audit --no-fund",
	  "npm install --no-audit --no-fund" },
	{ "yarn", { "yarn.lock" }, "yarn install --frozen-lockfile", "yarn install" },
	{ "pnpm", { "pnpm-lock.yaml" }, "pnpm install --frozen-lockfile", "pnpm install" },
	{ "bun", { "bun.lock", "bun.lockb" }, "bun install --frozen-lockfile", "bun install" },
};

static const struct node_manager *manager_named(struct str name)
{
	for (size_t i = 0; i < ARRAY_SIZE(node_managers); i++) {
		if (str_is(name, node_managers[i].name))
			return &node_managers[i];
	}
	return NULL;
}

static bool is_locked(const struct node_manager *m, const char *folder, struct arena *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(m->locks) && m->locks[i]; i++) {
		if (has(folder, m->locks[i], a))
			return true;
	}
	return false;
}

static const struct node_manager *manager_locked(const char *folder, struct arena *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(node_managers); i++) {
		if (is_locked(&node_managers[i], folder, a))
			return &node_managers[i];
	}
	return NULL;
}

/* The field packageManager of package.json: "pnpm@9.1.0". */
static const struct node_manager *manager_of_package(const char *folder, struct arena *a)
{
	struct str text, version;
	struct json root;
	if (file_read_regular(a, arena_printf(a, "%s/package.json", folder), PACKAGE_JSON_MAX_BYTES, &text, NULL) < 0 ||
	    json_check(text, &root, NULL) < 0)
		return NULL;
	const char *field = json_cstr(json_get(root, "packageManager"), a);
	return field ? manager_named(str_cut(str_of(field), '@', &version)) : NULL;
}

static int plan_node(const char *dir, const struct project *p, struct arena *a, struct dependency_plan *ret,
		     struct err *e)
{
	const struct node_manager *m = NULL;
	if (!has(dir, "package.json", a)) {
		ret->said = "There is no package.json: nothing to install.";
		return 0;
	}
	if (p->package_manager) {
		m = manager_named(str_of(p->package_manager));
		if (!m)
			return err_set(e, ERR_BAD_REQUEST,
				       "Pulumi.yaml asks for the package manager '%s'; known are npm, yarn, pnpm, bun",
				       p->package_manager);
	}
	if (!m)
		m = manager_of_package(dir, a);
	if (!m)
		m = manager_locked(dir, a);
	if (!m)
		m = &node_managers[0];
	bool locked = is_locked(m, dir, a);
	ret->said =
		arena_printf(a, "Node.js project: installing with %s%s.", m->name, locked ? " from its lock file" : "");
	ret->tool = m->name;
	ret->commands[0] = locked ? m->locked : m->loose;
	return 0;
}

/* The name stands in a shell command. */
static bool is_plain_path(const char *s)
{
	return *s && *s != '-' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") == strlen(s);
}

static int plan_pip(const char *dir, const struct project *p, struct arena *a, struct dependency_plan *ret,
		    struct err *e)
{
	const char *venv = p->virtualenv && *p->virtualenv ? p->virtualenv : "venv";
	const char *what = has(dir, "requirements.txt", a) ? "-r requirements.txt"
			   : has(dir, "pyproject.toml", a) ? "."
							   : NULL;
	if (!what && !p->virtualenv) {
		ret->said = "There is no requirements.txt and no pyproject.toml: nothing to install.";
		return 0;
	}
	if (!is_plain_path(venv))
		return err_set(e, ERR_BAD_REQUEST, "Pulumi.yaml: the virtualenv '%s' is not a plain folder name", venv);
	ret->said = arena_printf(a, "Python project: installing with pip into %s.", venv);
	ret->tool = "python3";
	ret->commands[0] = arena_printf(a, "python3 -m venv %s", venv);
	if (what)
		ret->commands[1] =
			arena_printf(a, "%s/bin/python -m pip install --disable-pip-version-check %s", venv, what);
	/* Without the option the language host takes the first python3 on PATH: that must be this one. */
	ret->activate = venv;
	return 0;
}

static int plan_python(const char *dir, const struct project *p, struct arena *a, struct dependency_plan *ret,
		       struct err *e)
{
	bool uv = p->toolchain ? streq(p->toolchain, "uv") : has(dir, "uv.lock", a);
	bool poetry = p->toolchain ? streq(p->toolchain, "poetry") : has(dir, "poetry.lock", a);
	if (!uv && !poetry)
		return plan_pip(dir, p, a, ret, e);
	ret->tool = uv ? "uv" : "poetry";
	ret->said = arena_printf(a, "Python project: installing with %s.", ret->tool);
	/* Into the project's folder, so that it is known where the interpreter is. */
	ret->commands[0] =
		uv ? "uv sync" : "POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-interaction --no-root";
	ret->activate = p->toolchain ? NULL : ".venv";
	return 0;
}

int dependencies_plan(const char *work_dir, const struct project *project, struct arena *a, struct dependency_plan *ret,
		      struct err *e)
{
	struct dependency_plan plan = { 0 };
	int r = 0;
	if (!project->found)
		plan.said = "There is no Pulumi.yaml in this folder: nothing to install.";
	else if (!project->runtime)
		plan.said = "Pulumi.yaml names no runtime: nothing to install.";
	else if (streq(project->runtime, "nodejs") || streq(project->runtime, "bun"))
		r = plan_node(work_dir, project, a, &plan, e);
	else if (streq(project->runtime, "python"))
		r = plan_python(work_dir, project, a, &plan, e);
	else if (streq(project->runtime, "yaml"))
		plan.said = "A YAML program has nothing to install.";
	else
		plan.said = arena_printf(
			a, "Runtime %s: nothing is installed ahead, its own tool does so when the program is built.",
			project->runtime);
	if (r < 0)
		return r;
	if (arena_failed(a))
		return err_nomem(e);
	*ret = plan;
	return 0;
}
