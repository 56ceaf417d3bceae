#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "os/cgroup_files.h"
#include "os/file.h"

#define TABLE_MAX_BYTES ((size_t)4 * 1024 * 1024)
/* Where our own processes go, when a group of version 2 is to have children. */
#define OWN_LEAF "slipway-agent"
/* Where groups are made when our own one cannot have children. */
#define TOP_FOLDER "slipway"

static const char *const controllers[CGROUP_KINDS] = {
	[CGROUP_PIDS] = "pids", [CGROUP_MEMORY] = "memory", [CGROUP_CPU] = "cpu"
};

/* What the two files of /proc/self say. */
struct tables {
	struct arena *a;
	struct str mounts;
	struct str self;
};

static bool has_word(struct str list, char separator, const char *word)
{
	while (list.p) {
		if (str_is(str_cut(list, separator, &list), word))
			return true;
	}
	return false;
}

/* Our group in the hierarchy of that controller; NULL: version 2 ("0::/path" in the table). */
static const char *own_path(const struct tables *t, const char *controller)
{
	struct str rest = t->self;
	while (rest.p) {
		struct str path, line = str_cut(rest, '\n', &rest);
		struct str id = str_cut(line, ':', &path);
		struct str names = str_cut(path, ':', &path);
		bool is_it = controller ? has_word(names, ',', controller) : str_is(id, "0") && names.n == 0;
		if (is_it && path.p)
			return str_dup(t->a, path);
	}
	return NULL;
}

/* The folder of `own` below the mount of a line of mountinfo; NULL: not shown there. */
static const char *below(const struct tables *t, struct str root, struct str point, const char *own)
{
	struct str path = str_of(own);
	if (strstr(own, ".."))
		return NULL;
	if (!str_is(root, "/")) {
		if (path.n < root.n || memcmp(path.p, root.p, root.n) != 0 ||
		    (path.n > root.n && path.p[root.n] != '/'))
			return NULL;
		path = (struct str){ path.p + root.n, path.n - root.n };
	}
	return arena_printf(t->a, "%.*s%.*s", STR_ARG(point), path.n == 1 ? 0 : (int)path.n, path.p);
}

/* Looks for the mount of a hierarchy: "36 25 0:32 ROOT POINT options… - TYPE source SUPEROPTIONS". *ret_top is the mount
 * itself. NULL: there is none that shows us. */
static const char *find_mount(const struct tables *t, const char *controller, const char **ret_top)
{
	const char *own = own_path(t, controller);
	struct str rest = t->mounts;
	while (own && rest.p) {
		struct str line = str_cut(rest, '\n', &rest);
		struct str fields[5], tail = line;
		for (size_t i = 0; i < ARRAY_SIZE(fields) && tail.p; i++)
			fields[i] = str_cut(tail, ' ', &tail);
		while (tail.p && !str_is(str_cut(tail, ' ', &tail), "-"))
			;
		if (!tail.p)
			continue;
		struct str type = str_cut(tail, ' ', &tail);
		(void)str_cut(tail, ' ', &tail);
		if (!str_is(type, controller ? "cgroup" : "cgroup2") ||
		    (controller && !has_word(tail, ',', controller)))
			continue;
		const char *dir = below(t, fields[3], fields[4], own);
		if (dir) {
			*ret_top = str_dup(t->a, fields[4]);
			return dir;
		}
	}
	return NULL;
}

/* Gives the children of the group those of the wanted controllers that it has itself. Returns which they have; *ret_all:
 * that is as many as can be. */
static unsigned hand_down(const char *dir, unsigned wanted, bool *ret_all)
{
	char has[512], given[512], text[128] = "";
	unsigned there = 0, missing = 0;
	*ret_all = false;
	if (!cgroup_read(dir, "cgroup.controllers", has, sizeof(has)) ||
	    !cgroup_read(dir, "cgroup.subtree_control", given, sizeof(given)))
		return 0;
	for (int kind = 0; kind < CGROUP_KINDS; kind++) {
		if (!(wanted & 1u << kind) || !has_word(str_of(has), ' ', controllers[kind]))
			continue;
		if (has_word(str_of(given), ' ', controllers[kind])) {
			there |= 1u << kind;
			continue;
		}
		missing |= 1u << kind;
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s+%s", text[0] ? " " : "",
			 controllers[kind]);
	}
	if (missing && cgroup_write(dir, "cgroup.subtree_control", text))
		there |= missing;
	*ret_all = there && (there & missing) == missing;
	return there;
}

/* Our own group, once nobody is in it any more. */
static unsigned use_own(const struct tables *t, const char *own, unsigned wanted)
{
	bool all;
	unsigned got = hand_down(own, wanted, &all);
	if (all)
		return got;
	const char *leaf = arena_printf(t->a, "%s/%s", own, OWN_LEAF);
	if (!leaf || (mkdir(leaf, 0755) != 0 && errno != EEXIST))
		return got;
	if (!cgroup_write(leaf, "cgroup.procs", "0"))
		return got;
	got = hand_down(own, wanted, &all);
	/* Somebody else is in there: all as it was. */
	if (!all && cgroup_write(own, "cgroup.procs", "0"))
		rmdir(leaf);
	return got;
}

static unsigned use_top(const struct tables *t, const char *top, unsigned wanted, const char **ret_dir)
{
	const char *dir = arena_printf(t->a, "%s/%s", top, TOP_FOLDER);
	bool all;
	if (!dir || geteuid() != 0 || !hand_down(top, wanted, &all) || (mkdir(dir, 0755) != 0 && errno != EEXIST))
		return 0;
	*ret_dir = dir;
	return hand_down(dir, wanted, &all);
}

static void find_version_2(const struct tables *t, struct cgroup_base *base)
{
	const char *top = NULL;
	const char *dir = find_mount(t, NULL, &top);
	unsigned wanted = 0, got;
	for (int kind = 0; kind < CGROUP_KINDS; kind++)
		wanted |= base->parents[kind].dir ? 0 : 1u << kind;
	if (!dir || !wanted)
		return;
	got = use_own(t, dir, wanted);
	if (!got)
		got = use_top(t, top, wanted, &dir);
	for (int kind = 0; kind < CGROUP_KINDS; kind++) {
		if (!(got & 1u << kind))
			continue;
		base->parents[kind].dir = dir;
		base->parents[kind].version = 2;
	}
}

void cgroup_probe(struct cgroup_base *base)
{
	for (int kind = 0; kind < CGROUP_KINDS; kind++) {
		struct cgroup_base one = { .prefix = base->prefix };
		struct cgroup_limits limits = { .memory_bytes = 1 << 30, .pids = 1000, .cpu_percent = 100 };
		struct cgroup g;
		one.parents[kind] = base->parents[kind];
		if (!one.parents[kind].dir)
			continue;
		if (cgroup_make(&one, "probe", &limits, &g, NULL) == 0)
			cgroup_remove(&g);
		else
			base->parents[kind].dir = NULL;
	}
}

int cgroup_find(struct arena *a, const char *mountinfo, const char *self, const char *prefix, struct cgroup_base *ret,
		struct err *e)
{
	struct cgroup_base base = { .prefix = prefix };
	struct tables t = { .a = a };
	/* A machine without control groups has no such file. */
	if (file_read(a, mountinfo, TABLE_MAX_BYTES, &t.mounts, NULL) < 0 ||
	    file_read(a, self, TABLE_MAX_BYTES, &t.self, NULL) < 0) {
		*ret = base;
		return 0;
	}
	for (int kind = 0; kind < CGROUP_KINDS; kind++) {
		const char *top;
		base.parents[kind].dir = find_mount(&t, controllers[kind], &top);
		base.parents[kind].version = 1;
	}
	find_version_2(&t, &base);
	if (arena_failed(a))
		return err_nomem(e);
	*ret = base;
	return 0;
}
