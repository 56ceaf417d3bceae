#include "agent/source.h"

#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "os/file.h"

#define RETRIES 4

struct fetch {
	const struct source_config *config;
	const struct order_git *source;
	struct git_config git_config;
	struct git git;
	struct arena *a;
	bool fetched; /* the tree holds something that later commands need */
};

static void say(struct fetch *f, const char *line)
{
	if (line)
		f->config->say(f->git_config.arg, line);
}

int source_parse(const struct order_git *source, bool insecure, struct arena *a, struct source_url *ret, struct err *e)
{
	return source_url_parse(source->repo_url, insecure, a, ret, e);
}

int source_dir_clean(const char *repo_dir, struct arena *a, const char **ret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct str rest = str_trim(str_of(repo_dir));
	buf_init(&b, PATH_MAX);
	if (rest.n && rest.p[0] == '/')
		return err_set(e, ERR_BAD_REQUEST, "repoDir: must be relative to the repository, '%s' is not",
			       repo_dir);
	while (rest.p) {
		struct str part = str_cut(rest, '/', &rest);
		if (part.n == 0 || str_is(part, "."))
			continue;
		if (str_is(part, ".."))
			return err_set(e, ERR_BAD_REQUEST, "repoDir: must not lead out of the repository, '%s' does",
				       repo_dir);
		if (b.len)
			buf_addc(&b, '/');
		buf_add_str(&b, part);
	}
	int r = buf_check(&b, "repoDir", e);
	*ret = str_dup(a, buf_str(&b));
	return r < 0 ? r : *ret ? 0 : err_nomem(e);
}

/* Links may lead anywhere inside of the tree, and not out of it. */
static int check_dir(struct fetch *f, const char *dir, struct err *e)
{
	char tree[PATH_MAX], real[PATH_MAX];
	const char *path = arena_printf(f->a, "%s/tree/%s", f->git_config.dir, dir);
	if (!path || !realpath(arena_printf(f->a, "%s/tree", f->git_config.dir), tree))
		return err_errno(e, "cannot find the checkout");
	if (!realpath(path, real) || !file_is_dir(real))
		return err_set(e, ERR_NOT_FOUND, "repoDir: there is no folder '%s' in the repository", dir);
	size_t n = strlen(tree);
	if (strncmp(real, tree, n) != 0 || (real[n] != '/' && real[n] != '\0'))
		return err_set(e, ERR_BAD_REQUEST, "repoDir: '%s' leads out of the repository", dir);
	return 0;
}

static int check_names(const struct order_git *s, struct err *e)
{
	if (s->branch[0] && (!source_ref_valid(s->branch) || str_starts_with(str_of(s->branch), "refs/heads/-")))
		return err_set(e, ERR_BAD_REQUEST, "branch: '%s' is not a name that a branch can have", s->branch);
	if (s->tag[0] && !source_ref_valid(s->tag))
		return err_set(e, ERR_BAD_REQUEST, "tag: '%s' is not a name that a tag can have", s->tag);
	if (s->commit[0] && !source_commit_valid(s->commit))
		return err_set(e, ERR_BAD_REQUEST, "commit: '%s' is not a commit's hash", s->commit);
	return 0;
}

/* Sleeps, shortened by a stop. */
static bool pause_s(struct fetch *f, int seconds)
{
	int64_t until = clock_mono_us() + seconds * US_PER_S;
	while (clock_mono_us() < until && !f->git_config.stopped(f->git_config.arg))
		poll(NULL, 0, 100);
	return !f->git_config.stopped(f->git_config.arg) && clock_mono_us() < f->git_config.deadline_us;
}

static int prepare(struct fetch *f, struct err *e)
{
	const char *init[] = { "init", "--quiet", "--template=", NULL };
	const char *remote[] = { "remote", "add", "--", "origin", f->git_config.url.clean, NULL };
	const char *tree = arena_printf(f->a, "%s/tree", f->git_config.dir);
	int r = tree ? file_mkdir_p(tree, 0700, e) : err_nomem(e);
	if (r == 0 && f->git_config.drop)
		r = file_chown_tree(tree, f->git_config.uid, f->git_config.gid, e);
	if (r == 0)
		r = git_run(&f->git, init, false, e);
	return r == 0 ? git_run(&f->git, remote, false, e) : r;
}

/* From nothing: a git that was killed leaves its locks, which no later one would get past. */
static int prepare_again(struct fetch *f, struct err *e)
{
	const char *tree = arena_printf(f->a, "%s/tree", f->git_config.dir);
	int r = tree ? file_remove_tree(tree, e) : err_nomem(e);
	return r == 0 ? prepare(f, e) : r;
}

/* A command that talks to the other side. The log's words are those of the hosted service (features §2.1). */
static int run_remote(struct fetch *f, const char *const *args, struct err *e)
{
	for (int tries = 0;; tries++) {
		int r = git_run(&f->git, args, false, e);
		if (r != -ERR_BAD_REQUEST || !git_failure_is_transient(buf_str(&f->git.tail)))
			return r;
		if (tries == RETRIES) {
			say(f, "Giving up");
			return err_wrap(e, "could not create workspace: retry limit reached");
		}
		say(f, "Clone failed; retrying");
		if (!pause_s(f, 1 << tries))
			return err_set(e, ERR_CANCELLED, "cancelled");
		r = f->fetched ? 0 : prepare_again(f, e);
		if (r < 0)
			return r;
	}
}

static int fetch_refspec(struct fetch *f, bool shallow, const char *const *refspecs, struct err *e)
{
	const char *args[12] = { "fetch", "--no-tags", "--no-recurse-submodules", "--quiet" };
	size_t n = 4;
	if (shallow)
		args[n++] = "--depth=1";
	args[n++] = "--";
	args[n++] = "origin";
	for (size_t i = 0; refspecs[i]; i++)
		args[n++] = refspecs[i];
	return run_remote(f, args, e);
}

static const char *const everything[] = { "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", NULL };

/* A server that hands out branches and tags only says so in one of these ways. */
static bool is_refusal_of_commit(struct str output)
{
	static const char *const words[] = { "not our ref", "unadvertised object", "find remote ref",
					     "no such remote ref" };
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (output.n && memmem(output.p, output.n, words[i], strlen(words[i])))
			return true;
	}
	return false;
}

static int fetch_commit(struct fetch *f, const char *commit, struct err *e)
{
	const char *one[] = { "fetch", "--no-tags", "--no-recurse-submodules", "--quiet", "--depth=1", "--", "origin",
			      commit,  NULL };
	size_t n = strlen(commit);
	if (n == 40 || n == 64) {
		int r = git_run(&f->git, one, true, e);
		if (r != -ERR_BAD_REQUEST)
			return r;
		if (!is_refusal_of_commit(buf_str(&f->git.tail)))
			return run_remote(f, one, e);
		say(f, "The server does not hand out this commit alone: fetching all branches and tags.");
	}
	return fetch_refspec(f, false, everything, e);
}

/* Fetches, and says what to check out: *ret_branch is NULL for a detached head. */
static int fetch(struct fetch *f, const char **ret_branch, const char **ret_start, struct err *e)
{
	const struct order_git *s = f->source;
	struct str ref = str_of(s->tag[0] ? s->tag : s->branch);
	*ret_branch = NULL;
	*ret_start = "FETCH_HEAD";
	if (s->commit[0]) {
		*ret_start = s->commit;
		return fetch_commit(f, s->commit, e);
	}
	const char *full = NULL, *local = NULL;
	if (ref.n == 0) {
		full = "HEAD";
	} else if (s->tag[0]) {
		full = str_starts_with(ref, "refs/tags/") ? ref.p : arena_printf(f->a, "refs/tags/%s", ref.p);
	} else if (str_starts_with(ref, "refs/heads/")) {
		full = ref.p;
		*ret_branch = ref.p + strlen("refs/heads/");
	} else if (str_starts_with(ref, "refs/")) {
		full = ref.p;
	} else {
		full = arena_printf(f->a, "refs/heads/%s", ref.p);
		*ret_branch = ref.p;
	}
	if (s->tag[0])
		local = *ret_start = full;
	else if (*ret_branch)
		local = *ret_start = arena_printf(f->a, "refs/remotes/origin/%s", *ret_branch);
	const char *refspec = local ? arena_printf(f->a, "+%s:%s", full, local) : full;
	const char *refspecs[] = { refspec, NULL };
	return arena_failed(f->a) ? err_nomem(e) : fetch_refspec(f, true, refspecs, e);
}

static int check_out(struct fetch *f, const char *branch, const char *start, struct err *e)
{
	const char *on_branch[] = { "checkout", "--quiet", "--force", "-B", branch, "--no-track", start, "--", NULL };
	const char *detached[] = { "checkout", "--quiet", "--force", "--detach", start, "--", NULL };
	/* After a full fetch this is where a commit turns out to be unknown; git would speak of trees. */
	if (f->source->commit[0]) {
		const char *look[] = { "cat-file", "-e", arena_printf(f->a, "%s^{commit}", start), NULL };
		int r = git_run(&f->git, look, true, e);
		if (r == -ERR_BAD_REQUEST)
			return err_set(e, ERR_NOT_FOUND, "commit %s is not in any branch or tag of the repository",
				       start);
		if (r < 0)
			return r;
	}
	return git_run(&f->git, branch ? on_branch : detached, false, e);
}

static int submodules(struct fetch *f, struct err *e)
{
	const char *shallow[] = { "submodule", "update", "--init", "--recursive", "--quiet", "--depth=1", NULL };
	const char *whole[] = { "submodule", "update", "--init", "--recursive", "--quiet", NULL };
	const char *list = arena_printf(f->a, "%s/tree/.gitmodules", f->git_config.dir);
	if (!list || !file_exists(list))
		return 0;
	say(f, "$ git submodule update --init --recursive");
	/* A server may refuse the one commit that a shallow fetch asks for. */
	int r = git_run(&f->git, shallow, true, e);
	return r == -ERR_BAD_REQUEST ? run_remote(f, whole, e) : r;
}

static void say_commit(struct fetch *f)
{
	const char *args[] = { "log", "-1", "--no-show-signature", "--format=%H %s", NULL };
	if (git_run(&f->git, args, true, NULL) == 0) {
		struct str line = str_trim(buf_str(&f->git.tail));
		say(f, arena_printf(f->a, "HEAD is now at %.*s", (int)(line.n > 200 ? 200 : line.n), line.p));
	}
}

static void say_intent(struct fetch *f)
{
	const struct order_git *s = f->source;
	const char *what = s->commit[0] ? s->commit : s->tag[0] ? s->tag : s->branch;
	const char *option = s->commit[0] ? " --commit=" : s->tag[0] ? " --tag=" : s->branch[0] ? " --branch=" : "";
	say(f, arena_printf(f->a, "$ git clone --depth=1%s%s %s", option, what, f->git_config.url.clean));
	if (f->git_config.url.scheme == SOURCE_SSH && !f->git_config.auth.ssh_private_key)
		say(f, "note: an ssh URL, but the settings hold no ssh key");
	if (f->git_config.url.scheme == SOURCE_HTTPS && f->git_config.auth.ssh_private_key)
		say(f, "note: the settings hold an ssh key, which an https URL does not use");
}

int source_fetch(const struct source_config *config, struct arena *a, const char **ret_dir, struct err *e)
{
	struct fetch f = { .config = config, .source = config->source, .git_config = config->git, .a = a };
	const char *dir = NULL, *branch = NULL, *start = NULL;
	f.git_config.auth = config->source->auth;
	int r = source_parse(config->source, config->git.insecure, a, &f.git_config.url, e);
	if (r == 0)
		r = check_names(config->source, e);
	if (r == 0)
		r = source_dir_clean(config->source->repo_dir, a, &dir, e);
	if (r < 0)
		return r;
	/* The operator's own files may be closed to everybody but the agent, and the run gets a copy anyway. */
	bool local = f.git_config.url.scheme == SOURCE_FILE;
	if (local)
		f.git_config.drop = false;
	say_intent(&f);
	r = git_init(&f.git, &f.git_config, a, e);
	if (r == 0)
		r = prepare(&f, e);
	if (r == 0)
		r = fetch(&f, &branch, &start, e);
	f.fetched = r == 0;
	if (r == 0)
		r = check_out(&f, branch, start, e);
	if (r == 0)
		r = submodules(&f, e);
	if (r == 0)
		r = check_dir(&f, dir, e);
	if (r == 0)
		say_commit(&f);
	git_done(&f.git);
	if (r == 0 && local && config->git.drop)
		r = file_chown_tree(arena_printf(a, "%s/tree", config->git.dir), config->git.uid, config->git.gid, e);
	if (r < 0)
		return r;
	say(&f, arena_printf(a, "Successfully cloned: %s", f.git_config.url.clean));
	*ret_dir = dir;
	return 0;
}
