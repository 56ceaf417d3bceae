#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/sha256.h"
#include "executor/cache.h"
#include "executor/dependencies.h"

/* To be raised when archives under older keys must not be found any more. */
#define KEY_FORMAT "slipway dependency cache 1\n"
/* .NET's project files are sought below the folder, too. */
#define SEARCH_DEPTH 6
#define SEARCH_ENTRIES 20000
#define PROJECT_FILES_MAX 200

/*
 * What a manager leaves behind that is worth keeping: in the folder of the lock file, and in the home. What holds absolute
 * paths (Python's environments) only where the tree has the same path in every run. pnpm keeps its store on the file system
 * of the project, where the home is another one.
 */
static const struct manager {
	const char *name;
	const char *tree[3];
	const char *home[3];
	const char *fixed; /* in the tree, with absolute paths inside */
	const char *top;   /* in the tree's topmost folder */
} managers[] = {
	{ "npm", { "node_modules" }, { ".npm/_cacache" }, NULL },
	{ "yarn", { "node_modules" }, { ".cache/yarn", ".yarn/berry/cache" }, NULL },
	{ "pnpm", { NULL }, { ".local/share/pnpm/store" }, NULL, ".pnpm-store" },
	{ "bun", { "node_modules" }, { ".bun/install/cache" }, NULL },
	{ "pip", { NULL }, { ".cache/pip" }, "venv" },
	{ "uv", { NULL }, { ".cache/uv" }, NULL },
	{ "poetry", { NULL }, { ".cache/pypoetry" }, ".venv" },
	{ "dotnet", { NULL }, { ".nuget/packages" }, NULL },
	{ "go", { NULL }, { "go/pkg/mod", ".cache/go-build" }, NULL },
};
static const char *const always[] = { ".pulumi/plugins", ".pulumi/policies" };

struct search {
	struct place at;
	struct arena *a;
	struct cache_choice *c;
	const struct plan *plan;
	const char *dir; /* of the lock file */
	struct sha256 hash;
};

/* --- the hash --- */

static int hash_file(struct search *s, const char *dir, const char *name, struct err *e)
{
	char bytes[16384];
	struct stat st;
	_cleanup_close_ int fd = -1;
	const char *path = arena_printf(s->a, "%s/%s", dir, name);
	fd = path ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
	if (fd < 0 || fstat(fd, &st) != 0)
		return err_errno(e, "cannot read %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_REQUEST, "%s is not a file", name);
	for (;;) {
		ssize_t n = read(fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot read %s", name);
		if (n == 0)
			return 0;
		sha256_add(&s->hash, (struct str){ bytes, (size_t)n });
	}
}

static void begin_hash(struct search *s)
{
	struct utsname u = { 0 };
	uname(&u);
	sha256_init(&s->hash);
	sha256_add(&s->hash, STR(KEY_FORMAT));
	sha256_add(&s->hash, str_of(u.machine));
	sha256_add(&s->hash, STR("\n"));
	/* Two projects of one repository may have the same lock file. */
	sha256_add(&s->hash, str_of(s->dir + strlen(s->at.tree)));
	sha256_add(&s->hash, STR("\n"));
}

static const char *relative(struct search *s, const char *dir)
{
	const char *r = dir + strlen(s->at.tree);
	return *r == '/' ? r + 1 : r;
}

static void add_place(struct search *s, const char *root, const char *in, const char *name)
{
	size_t n = 0;
	while (s->c->places[n])
		n++;
	BUG_ON(n >= CACHE_PLACES_MAX);
	s->c->places[n] = arena_printf(s->a, "%s/%s%s%s", root, in, *in ? "/" : "", name);
}

/* The hash is complete: key and places. */
static void choose(struct search *s, const char *name)
{
	unsigned char digest[SHA256_BYTES];
	const struct manager *m = managers;
	while (!streq(m->name, name))
		m++;
	sha256_end(&s->hash, digest);
	s->c->manager = name;
	s->c->key = arena_printf(s->a, "%s-%s", name,
				 hex_encode_arena(s->a, (struct str){ (const char *)digest, sizeof(digest) }));
	for (size_t i = 0; i < ARRAY_SIZE(m->tree) && m->tree[i]; i++)
		add_place(s, "tree", relative(s, s->dir), m->tree[i]);
	if (m->top)
		add_place(s, "tree", "", m->top);
	if (m->fixed && s->plan->fixed_paths)
		add_place(s, "tree", relative(s, s->dir), m->fixed);
	for (size_t i = 0; s->c->home && i < ARRAY_SIZE(m->home) && m->home[i]; i++)
		add_place(s, "home", "", m->home[i]);
	for (size_t i = 0; s->c->home && i < ARRAY_SIZE(always); i++)
		add_place(s, "home", "", always[i]);
}

static int choose_file(struct search *s, const char *manager, const char *dir, const char *lock, struct err *e)
{
	s->dir = dir;
	begin_hash(s);
	int r = hash_file(s, dir, lock, e);
	if (r < 0)
		return r;
	const char *rel = relative(s, dir);
	s->c->lock = arena_printf(s->a, "%s%s%s", rel, *rel ? "/" : "", lock);
	choose(s, manager);
	return 0;
}

/* --- runtimes --- */

static int choose_node(struct search *s, const struct project *p, struct err *e)
{
	struct node_choice node;
	int r = dependencies_node_choose(&s->at, p, s->a, &node, e);
	if (r < 0)
		return r;
	if (node.lock)
		return choose_file(s, node.manager->name, node.dir, node.lock, e);
	s->c->said = arena_printf(s->a, "Nothing is cached: there is no lock file of %s.", node.manager->name);
	return 0;
}

static int choose_python(struct search *s, struct err *e)
{
	static const struct {
		const char *manager, *lock;
	} locks[] = { { "pip", "requirements.txt" }, { "uv", "uv.lock" }, { "poetry", "poetry.lock" } };
	for (const char *dir = s->at.work_dir; dir; dir = dependencies_parent(&s->at, dir, s->a)) {
		int found = -1, count = 0;
		for (size_t i = 0; i < ARRAY_SIZE(locks); i++) {
			if (dependencies_has(dir, locks[i].lock, s->a)) {
				found = (int)i;
				count++;
			}
		}
		if (count == 1)
			return choose_file(s, locks[found].manager, dir, locks[found].lock, e);
		if (count > 1) {
			s->c->said = "Nothing is cached: more than one of requirements.txt, uv.lock and poetry.lock is "
				     "there.";
			return 0;
		}
	}
	s->c->said = "Nothing is cached: there is no requirements.txt, uv.lock or poetry.lock.";
	return 0;
}

static int choose_go(struct search *s, struct err *e)
{
	for (const char *dir = s->at.work_dir; dir; dir = dependencies_parent(&s->at, dir, s->a)) {
		static const char *const names[] = { "go.sum", "go.mod" };
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			if (dependencies_has(dir, names[i], s->a))
				return choose_file(s, "go", dir, names[i], e);
		}
	}
	s->c->said = "Nothing is cached: there is no go.sum and no go.mod.";
	return 0;
}

struct files {
	const char *names[PROJECT_FILES_MAX];
	size_t n, seen;
};

static void find_projects(struct search *s, const char *in, int depth, struct files *f)
{
	const char *path = arena_printf(s->a, "%s/%s", s->dir, in);
	DIR *d = path ? opendir(path) : NULL;
	for (struct dirent *n; d && f->n < PROJECT_FILES_MAX && f->seen < SEARCH_ENTRIES && (n = readdir(d)) != NULL;) {
		struct stat st;
		f->seen++;
		if (n->d_name[0] == '.' || fstatat(dirfd(d), n->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		const char *name = arena_printf(s->a, "%s%s%s", in, *in ? "/" : "", n->d_name);
		if (name && S_ISREG(st.st_mode) &&
		    (streq(n->d_name, "packages.lock.json") || str_ends_with(str_of(n->d_name), "proj")))
			f->names[f->n++] = name;
		else if (name && S_ISDIR(st.st_mode) && depth < SEARCH_DEPTH)
			find_projects(s, name, depth + 1, f);
	}
	if (d)
		closedir(d);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_lock(const char *name)
{
	const char *slash = strrchr(name, '/');
	return streq(slash ? slash + 1 : name, "packages.lock.json");
}

/* Lock files where there are some, else the project files. */
static int choose_dotnet(struct search *s, struct err *e)
{
	struct files f = { .n = 0 };
	bool locked = false;
	int r = 0;
	s->dir = s->at.work_dir;
	find_projects(s, "", 0, &f);
	qsort(f.names, f.n, sizeof(*f.names), by_name);
	for (size_t i = 0; i < f.n; i++)
		locked = locked || is_lock(f.names[i]);
	begin_hash(s);
	for (size_t i = 0; r == 0 && i < f.n; i++) {
		if (is_lock(f.names[i]) != locked)
			continue;
		s->c->lock = f.names[i];
		sha256_add(&s->hash, str_of(f.names[i]));
		sha256_add(&s->hash, STR("\n"));
		r = hash_file(s, s->dir, f.names[i], e);
	}
	if (r < 0)
		return r;
	if (f.n)
		choose(s, "dotnet");
	else
		s->c->said = "Nothing is cached: there is no packages.lock.json and no project file.";
	return 0;
}

int cache_choose(const struct plan *plan, struct arena *a, struct cache_choice *ret, struct err *e)
{
	struct project p;
	struct cache_choice c = { .tree = plan->tree };
	struct search s = { .at = { plan->tree, plan->work_dir }, .a = a, .c = &c, .plan = plan };
	const char *home = env_set_get(plan->env, "HOME");
	/* Somebody who moved the home elsewhere has that folder kept by nobody: it may be a real one. */
	c.home = home && plan->home && streq(home, plan->home) ? home : NULL;
	int r = project_load(plan->work_dir, a, &p, e);
	if (r < 0)
		return r;
	const char *runtime = p.found && p.runtime ? p.runtime : "";
	if (streq(runtime, "nodejs") || streq(runtime, "bun"))
		r = choose_node(&s, &p, e);
	else if (streq(runtime, "python"))
		r = choose_python(&s, e);
	else if (streq(runtime, "go"))
		r = choose_go(&s, e);
	else if (streq(runtime, "dotnet"))
		r = choose_dotnet(&s, e);
	else
		c.said = *runtime ? arena_printf(a, "Nothing is cached: the runtime %.100s has no dependency cache.",
						 runtime)
				  : "Nothing is cached: there is no Pulumi.yaml that names a runtime.";
	if (r < 0)
		return r;
	if (arena_failed(a))
		return err_nomem(e);
	*ret = c;
	return 0;
}
