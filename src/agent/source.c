#include "agent/source.h"

#include <limits.h>
#include <stdlib.h>

#include "agent/fetch.h"
#include "os/file.h"

void fetch_say(struct fetch *f, const char *line)
{
	if (line)
		f->config->say(f->git_config.arg, line);
}

const char *fetch_path(struct fetch *f, const char *name)
{
	return arena_printf(f->a, "%s/%s", f->git_config.dir, name);
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

/* What is asked for: f->ref and f->branch. */
static int choose_ref(struct fetch *f, struct err *e)
{
	const struct order_git *s = f->source;
	struct str ref = str_of(s->tag[0] ? s->tag : s->branch);
	if (s->commit[0])
		return 0;
	if (ref.n == 0) {
		f->ref = "HEAD";
	} else if (s->tag[0]) {
		f->ref = str_starts_with(ref, "refs/tags/") ? ref.p : arena_printf(f->a, "refs/tags/%s", ref.p);
	} else if (str_starts_with(ref, "refs/heads/")) {
		f->ref = ref.p;
		f->branch = ref.p + strlen("refs/heads/");
	} else if (str_starts_with(ref, "refs/")) {
		f->ref = ref.p;
	} else {
		f->ref = arena_printf(f->a, "refs/heads/%s", ref.p);
		f->branch = ref.p;
	}
	return f->ref ? 0 : err_nomem(e);
}

static void say_intent(struct fetch *f)
{
	const struct order_git *s = f->source;
	const char *what = s->commit[0] ? s->commit : s->tag[0] ? s->tag : s->branch;
	const char *option = s->commit[0] ? " --commit=" : s->tag[0] ? " --tag=" : s->branch[0] ? " --branch=" : "";
	fetch_say(f, arena_printf(f->a, "$ git clone --depth=1%s%s %s", option, what, f->git_config.url.clean));
	if (f->git_config.url.scheme == SOURCE_SSH && !f->git_config.auth.ssh_private_key)
		fetch_say(f, "note: an ssh URL, but the settings hold no ssh key");
	if (f->git_config.url.scheme == SOURCE_HTTPS && f->git_config.auth.ssh_private_key)
		fetch_say(f, "note: the settings hold an ssh key, which an https URL does not use");
}

static int fetch_all(struct fetch *f, const char *dir, struct err *e)
{
	int r = source_get(f, e);
	if (r == 0)
		r = source_tree_check_out(f, e);
	if (r == -ERR_BAD_REQUEST && f->copied) {
		/* Perhaps what was copied is damaged; what is wrong with the repository itself will be so again. */
		mirror_forget(&f->mirror);
		fetch_say(f, "The runner's copy of the repository cannot be used: fetching without it.");
		r = source_get_directly(f, e);
		if (r == 0)
			r = source_tree_check_out(f, e);
	}
	if (r == 0)
		r = source_tree_submodules(f, e);
	if (r == 0)
		r = source_lfs(f, e);
	return r < 0 ? r : check_dir(f, dir, e);
}

int source_fetch(const struct source_config *config, struct arena *a, const char **ret_dir, struct err *e)
{
	struct fetch f = { .config = config, .source = config->source, .git_config = config->git, .a = a };
	const char *dir = NULL;
	f.git_config.auth = config->source->auth;
	int r = source_parse(config->source, config->git.insecure, a, &f.git_config.url, e);
	if (r == 0)
		r = check_names(config->source, e);
	if (r == 0)
		r = source_dir_clean(config->source->repo_dir, a, &dir, e);
	if (r == 0)
		r = choose_ref(&f, e);
	if (r < 0)
		return r;
	/* The operator's own files may be closed to everybody but the agent, and the run gets a copy anyway. */
	bool local = f.git_config.url.scheme == SOURCE_FILE;
	if (local)
		f.git_config.drop = false;
	say_intent(&f);
	r = git_init(&f.git, &f.git_config, a, e);
	if (r == 0)
		r = fetch_all(&f, dir, e);
	git_done(&f.git);
	if (r == 0 && local && config->git.drop)
		r = file_chown_tree(fetch_path(&f, "tree"), config->git.uid, config->git.gid, e);
	if (r < 0)
		return r;
	fetch_say(&f, arena_printf(a, "Successfully cloned: %s", f.git_config.url.clean));
	*ret_dir = dir;
	return 0;
}
