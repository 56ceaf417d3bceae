/*
 * The objects of a source: from the server into a mirror, and copied from there; or from the server into the tree.
 */
#include <poll.h>
#include <stdio.h>

#include "agent/fetch.h"
#include "base/clock.h"
#include "os/file.h"

#define RETRIES 4

/* Sleeps, shortened by a stop, and by the clock of tests. */
static bool pause_ms(struct fetch *f, int ms)
{
	const struct git_config *c = &f->git_config;
	int64_t until = clock_mono_us() + clock_offset_us() + ms * US_PER_MS;
	while (clock_mono_us() + clock_offset_us() < until && !c->stopped(c->arg))
		poll(NULL, 0, 100);
	return !c->stopped(c->arg) && clock_mono_us() < c->deadline_us;
}

/* Whether a mirror's fault says something about the other side, rather than about the mirror. */
static bool is_of_remote(struct fetch *f)
{
	enum git_fault fault = git_fault_of(buf_str(&f->git.tail));
	return fault == GIT_FAULT_REFUSED || fault == GIT_FAULT_NETWORK;
}

int source_run_remote(struct fetch *f, enum git_place place, const char *const *args,
		      int (*again)(struct fetch *f, struct err *e), struct err *e)
{
	for (int tries = 0;; tries++) {
		/* In a mirror a fault is shown only if it is the other side's: else the tree is fetched directly. */
		bool quiet = place == GIT_MIRROR;
		int r = git_run(&f->git, place, args, quiet, e);
		if (r != -ERR_BAD_REQUEST || !git_failure_is_transient(buf_str(&f->git.tail)) ||
		    (quiet && !is_of_remote(f)))
			return r;
		if (tries == RETRIES) {
			fetch_say(f, "Giving up");
			return err_wrap(e, "could not create workspace: retry limit reached");
		}
		if (quiet)
			fetch_say(f, e->message);
		fetch_say(f, "Clone failed; retrying");
		if (!pause_ms(f, f->config->retry_pause_ms << tries))
			return err_set(e, ERR_CANCELLED, "cancelled");
		r = again ? again(f, e) : 0;
		if (r < 0)
			return r;
	}
}

/* From nothing: a git that was killed leaves its locks, which no later one would get past. */
static int tree_again(struct fetch *f, struct err *e)
{
	const char *tree = fetch_path(f, "tree");
	int r = tree ? file_remove_tree(tree, e) : err_nomem(e);
	if (r == 0)
		r = source_tree_make(f, e);
	return r < 0 ? r : source_tree_give(f, e);
}

static int fetch(struct fetch *f, enum git_place place, const char *depth, const char *const *refspecs, struct err *e)
{
	const char *args[16] = { "fetch", "--no-tags", "--no-recurse-submodules", "--quiet" };
	size_t n = 4;
	if (depth)
		args[n++] = depth;
	args[n++] = "--";
	args[n++] = "origin";
	for (size_t i = 0; refspecs[i]; i++)
		args[n++] = refspecs[i];
	return source_run_remote(f, place, args, place == GIT_TREE ? tree_again : NULL, e);
}

/* The whole hash of a commit that is there; NULL: it is not. */
static const char *resolve(struct fetch *f, enum git_place place, const char *commit)
{
	const char *args[] = { "rev-parse", "--verify", "--quiet", arena_printf(f->a, "%s^{commit}", commit), NULL };
	if (!args[3] || git_run(&f->git, place, args, true, NULL) < 0)
		return NULL;
	const char *hash = str_dup(f->a, str_trim(buf_str(&f->git.tail)));
	return hash && source_commit_valid(hash) ? hash : NULL;
}

/* The server hands out branches and tags only: more and more of their history, until the commit is in it. */
static int deepen_to_commit(struct fetch *f, enum git_place place, bool whole_name, struct err *e)
{
	static const char *const into_mirror[] = { "+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*",
						   NULL };
	static const char *const into_tree[] = { "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*",
						 NULL };
	/* The last one is git's word for all of it. A short name is looked for in all: it must be the only one. */
	static const char *const depths[] = { "--depth=50", "--depth=1000", "--depth=2147483647" };
	fetch_say(f, "The server does not hand out this commit alone: fetching branches and tags until it is there.");
	for (size_t i = whole_name ? 0 : ARRAY_SIZE(depths) - 1; i < ARRAY_SIZE(depths); i++) {
		int r = fetch(f, place, depths[i], place == GIT_MIRROR ? into_mirror : into_tree, e);
		if (r < 0)
			return r;
		f->start = resolve(f, place, f->source->commit);
		if (f->start)
			return 0;
	}
	return err_set(e, ERR_NOT_FOUND, "commit %s is not in any branch or tag of the repository", f->source->commit);
}

static int fetch_commit(struct fetch *f, enum git_place place, struct err *e)
{
	const char *commit = f->source->commit;
	const char *one[] = { "fetch", "--no-tags", "--no-recurse-submodules", "--quiet", "--depth=1", "--", "origin",
			      commit,  NULL };
	size_t n = strlen(commit);
	bool whole_name = n == 40 || n == 64;
	if (whole_name) {
		int r = git_run(&f->git, place, one, true, e);
		f->start = commit;
		if (r == -ERR_BAD_REQUEST && !git_is_refusal_of_commit(buf_str(&f->git.tail)))
			r = source_run_remote(f, place, one, place == GIT_TREE ? tree_again : NULL, e);
		if (r != -ERR_BAD_REQUEST || !git_is_refusal_of_commit(buf_str(&f->git.tail)))
			return r;
		f->start = NULL;
	}
	return deepen_to_commit(f, place, whole_name, e);
}

/* --- directly --- */
int source_get_directly(struct fetch *f, struct err *e)
{
	const char *refspecs[] = { f->ref, NULL };
	int r = tree_again(f, e);
	if (r == 0 && !f->ref)
		return fetch_commit(f, GIT_TREE, e);
	f->start = "FETCH_HEAD";
	if (f->branch)
		f->start = arena_printf(f->a, "refs/remotes/origin/%s", f->branch);
	else if (f->ref && str_starts_with(str_of(f->ref), "refs/tags/"))
		f->start = f->ref;
	if (r == 0 && f->start && f->start[0] == 'r')
		refspecs[0] = arena_printf(f->a, "+%s:%s", f->ref, f->start);
	if (arena_failed(f->a))
		return err_nomem(e);
	return r < 0 ? r : fetch(f, GIT_TREE, "--depth=1", refspecs, e);
}

/* --- by a mirror --- */

/* What the server says now, asked with this run's credentials: the hash of f->ref, or for a commit that it lets us read at
 * all. */
static int ask_server(struct fetch *f, const char **ret_hash, struct err *e)
{
	const char *ref = f->ref ? f->ref : "HEAD";
	const char *args[] = { "ls-remote", "--quiet", "--", "origin", ref, NULL };
	int r = source_run_remote(f, GIT_MIRROR, args, NULL, e);
	if (r < 0)
		return r;
	for (struct str rest = buf_str(&f->git.tail); rest.p;) {
		struct str name, line = str_cut(rest, '\n', &rest);
		struct str hash = str_cut(line, '\t', &name);
		if (name.p && str_is(name, ref)) {
			*ret_hash = str_dup(f->a, hash);
			return *ret_hash && source_commit_valid(*ret_hash) ? 0 : err_nomem(e);
		}
	}
	return f->ref ? err_set(e, ERR_NOT_FOUND,
				"the repository has no such branch or tag: couldn't find remote ref %s", ref)
		      : 0;
}

static int fill_mirror(struct fetch *f, struct err *e)
{
	const char *ref = mirror_ref_name(f->ref ? f->ref : f->source->commit, f->a), *now = NULL;
	const char *refspecs[] = { arena_printf(f->a, "+%s:%s", f->ref, ref), NULL };
	int r = 0;
	if (arena_failed(f->a))
		return err_nomem(e);
	if (f->mirror.warm) {
		r = ask_server(f, &now, e);
		f->start = r == 0 ? mirror_hash(&f->mirror, ref, f->a) : NULL;
		if (r < 0 || (f->start && (!f->ref || streq(f->start, now))))
			return r;
	}
	f->mirror.changed = true;
	if (!f->ref) {
		r = fetch_commit(f, GIT_MIRROR, e);
		return r < 0 ? r : mirror_put(&f->mirror, ref, f->start, &f->git_config, f->a, e);
	}
	r = fetch(f, GIT_MIRROR, "--depth=1", refspecs, e);
	f->start = r == 0 ? mirror_hash(&f->mirror, ref, f->a) : NULL;
	return r == 0 && !f->start ? err_set(e, ERR_BAD_REQUEST, "git fetch left no reference") : r;
}

/* The branch or tag, as a fetch into the tree would have left it. */
static int write_ref(struct fetch *f, const char *git_dir, struct err *e)
{
	const char *line = NULL;
	if (f->branch)
		line = arena_printf(f->a, "%s refs/remotes/origin/%s\n", f->start, f->branch);
	else if (f->ref && str_starts_with(str_of(f->ref), "refs/tags/"))
		line = arena_printf(f->a, "%s %s\n", f->start, f->ref);
	else
		return 0;
	const char *path = arena_printf(f->a, "%s/packed-refs", git_dir);
	return line && path ? file_write_new(path, str_of(line), 0600, e) : err_nomem(e);
}

static int get_by_mirror(struct fetch *f, struct err *e)
{
	const char *git_dir = fetch_path(f, "tree/.git");
	f->git.mirror = f->mirror.path;
	int r = fill_mirror(f, e);
	if (r == 0)
		r = git_dir ? source_tree_make(f, e) : err_nomem(e);
	if (r == 0)
		r = mirror_copy(&f->mirror, &f->git_config, git_dir, f->a, e);
	if (r == 0)
		r = write_ref(f, git_dir, e);
	return r < 0 ? r : source_tree_give(f, e);
}

/* Errors that a direct fetch would have, too. */
static bool is_final(struct fetch *f, int r)
{
	return r == -ERR_CANCELLED || r == -ERR_TIMEOUT || r == -ERR_TOO_LARGE || r == -ERR_NOT_FOUND ||
	       (r == -ERR_BAD_REQUEST && is_of_remote(f));
}

int source_get(struct fetch *f, struct err *e)
{
	int r = mirror_open(f->config->mirrors, &f->git_config, f->a, &f->mirror, e);
	if (r > 0) {
		r = get_by_mirror(f, e);
		/* A fault of the network leaves a mirror as it was. */
		mirror_close(&f->mirror, r == 0 || (f->mirror.warm && r == -ERR_BAD_REQUEST && is_of_remote(f)));
		f->git.mirror = NULL;
		f->copied = r == 0;
		if (r == 0 || is_final(f, r))
			return r;
		fetch_say(f,
			  arena_printf(f->a,
				       "The runner's copy of the repository cannot be used (%s): fetching without it.",
				       e->message));
		err_reset(e);
	} else if (r < 0) {
		if (r == -ERR_CANCELLED)
			return r;
		err_reset(e);
	}
	return source_get_directly(f, e);
}
