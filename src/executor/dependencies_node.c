#include <fnmatch.h>

#include "base/json.h"
#include "executor/dependencies.h"
#include "os/file.h"

#define PACKAGE_JSON_MAX_BYTES (4 * 1024 * 1024)
/* Enough of a yarn.lock to see which yarn wrote it. */
#define LOCK_HEAD_BYTES 4096

/* In the order of preference when several lock files lie there. */
static const struct node_manager node_managers[] = {
	{ "npm",
	  { "package-lock.json", "npm-shrinkwrap.json" },
	  "npm ci --no-audit --no-fund",
	  "npm install --no-audit --no-fund",
	  "npm ci --dry-run --no-audit --no-fund" },
	{ "yarn", { "yarn.lock" }, "yarn install --frozen-lockfile", "yarn install", NULL },
	{ "pnpm", { "pnpm-lock.yaml" }, "pnpm install --frozen-lockfile", "pnpm install", NULL },
	{ "bun", { "bun.lock", "bun.lockb" }, "bun install --frozen-lockfile", "bun install", NULL },
};

static const struct node_manager *manager_named(struct str name)
{
	for (size_t i = 0; i < ARRAY_SIZE(node_managers); i++) {
		if (str_is(name, node_managers[i].name))
			return &node_managers[i];
	}
	return NULL;
}

static const char *lock_of(const struct node_manager *m, const char *dir, struct arena *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(m->locks) && m->locks[i]; i++) {
		if (dependencies_has(dir, m->locks[i], a))
			return m->locks[i];
	}
	return NULL;
}

static const struct node_manager *manager_locked(const char *dir, struct arena *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(node_managers); i++) {
		if (lock_of(&node_managers[i], dir, a))
			return &node_managers[i];
	}
	return NULL;
}

static struct json package_json(const char *dir, struct arena *a)
{
	struct str text;
	struct json root;
	const char *path = arena_printf(a, "%s/package.json", dir);
	if (!path || file_read_regular(a, path, PACKAGE_JSON_MAX_BYTES, &text, NULL) < 0 ||
	    json_check(text, &root, NULL) < 0)
		return JSON_ABSENT;
	return root;
}

/* The field packageManager: "pnpm@9.1.0". */
static const struct node_manager *manager_of_package(struct json package, struct arena *a)
{
	struct str version;
	const char *field = json_cstr(json_get(package, "packageManager"), a);
	return field ? manager_named(str_cut(str_of(field), '@', &version)) : NULL;
}

/* Whether the patterns of a workspace ("infra", "packages" with a star, "apps" with two) name the folder. */
static bool is_member(struct json patterns, const char *relative, struct arena *a)
{
	bool in = false;
	struct json one;
	if (json_type(patterns) != JSON_ARRAY)
		return false;
	json_foreach(one, patterns) {
		const char *p = json_cstr(one, a);
		if (!p)
			continue;
		bool out = p[0] == '!';
		p += out;
		p += strncmp(p, "./", 2) == 0 ? 2 : 0;
		size_t n = strlen(p);
		const char *plain = arena_strndup(a, p, n > 1 && p[n - 1] == '/' ? n - 1 : n);
		/* Two stars go over any number of folders. */
		if (plain && fnmatch(plain, relative, strstr(plain, "**") ? 0 : FNM_PATHNAME) == 0)
			in = !out;
	}
	return in;
}

/* The folder above whose workspace the project belongs to, or NULL. */
static const char *workspace_root(const struct place *at, struct arena *a)
{
	for (const char *dir = at->work_dir; (dir = dependencies_parent(at, dir, a)) != NULL;) {
		if (dependencies_has(dir, "pnpm-workspace.yaml", a))
			return dir;
		struct json workspaces = json_get(package_json(dir, a), "workspaces");
		if (json_type(workspaces) == JSON_OBJECT) /* yarn: {"packages": […]} */
			workspaces = json_get(workspaces, "packages");
		if (is_member(workspaces, at->work_dir + strlen(dir) + 1, a))
			return dir;
	}
	return NULL;
}

int dependencies_node_choose(const struct place *at, const struct project *p, struct arena *a, struct node_choice *ret,
			     struct err *e)
{
	const char *root = workspace_root(at, a);
	const char *const dirs[] = { at->work_dir, root };
	struct node_choice c = { .dir = at->work_dir };
	if (p->package_manager) {
		c.manager = manager_named(str_of(p->package_manager));
		if (!c.manager)
			return err_set(e, ERR_BAD_REQUEST,
				       "Pulumi.yaml asks for the package manager '%s'; known are npm, yarn, pnpm, bun",
				       p->package_manager);
	}
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && dirs[i] && !c.manager; i++) {
		c.manager = manager_of_package(package_json(dirs[i], a), a);
		if (!c.manager)
			c.manager = manager_locked(dirs[i], a);
	}
	if (!c.manager)
		c.manager = &node_managers[0];
	c.lock = lock_of(c.manager, c.dir, a);
	/* A lock of its own: the project stands alone, whatever lies above it. */
	if (!c.lock && root) {
		c.dir = root;
		c.lock = lock_of(c.manager, root, a);
	}
	*ret = c;
	return arena_failed(a) ? err_nomem(e) : 0;
}

/* Yarn 2 and later name the option otherwise; their lock files say so at the top. */
static bool is_modern_yarn(const struct node_choice *c, struct arena *a)
{
	char head[LOCK_HEAD_BYTES];
	size_t n;
	const char *path = arena_printf(a, "%s/yarn.lock", c->dir);
	if (!streq(c->manager->name, "yarn") || !path || file_read_head(path, head, sizeof(head) - 1, &n) < 0)
		return false;
	head[n] = '\0';
	return strstr(head, "__metadata:") != NULL;
}

int dependencies_node(const struct place *at, const struct project *p, struct arena *a, struct dependency_plan *ret,
		      struct err *e)
{
	struct node_choice c;
	if (!dependencies_has(at->work_dir, "package.json", a)) {
		if (file_exists(arena_printf(a, "%s/package.json", at->work_dir)))
			return err_set(e, ERR_BAD_REQUEST, "package.json is not a file");
		ret->said = "There is no package.json: nothing to install.";
		return 0;
	}
	int r = dependencies_node_choose(at, p, a, &c, e);
	if (r < 0)
		return r;
	bool above = !streq(c.dir, at->work_dir);
	ret->said = arena_printf(a, "Node.js project: installing with %s%s%s.", c.manager->name,
				 c.lock ? " from its lock file" : "", above ? ", in the root of its workspace" : "");
	ret->tool = c.manager->name;
	ret->dir = c.dir;
	ret->check = c.lock ? c.manager->check : NULL;
	ret->commands[0] = !c.lock		   ? c.manager->loose
			   : is_modern_yarn(&c, a) ? "yarn install --immutable"
						   : c.manager->locked;
	return 0;
}
