/* The checkout: an empty one, its files, its submodules. */
#include <stdio.h>

#include "agent/fetch.h"
#include "os/file.h"

int source_tree_make(struct fetch *f, struct err *e)
{
	const char *git_dir = fetch_path(f, "tree/.git");
	/* A branch is born by the checkout; a detached head first stands on a branch that never is. */
	const char *head = arena_printf(f->a, "ref: refs/heads/%s", f->branch ? f->branch : "main");
	if (!git_dir || !head)
		return err_nomem(e);
	int r = file_mkdir_p(git_dir, 0700, e);
	return r < 0 ? r : git_repo_make(git_dir, head, f->git_config.url.clean, false, f->a, e);
}

int source_tree_give(struct fetch *f, struct err *e)
{
	const struct git_config *c = &f->git_config;
	const char *tree = fetch_path(f, "tree");
	if (!tree)
		return err_nomem(e);
	return c->drop ? file_chown_tree(tree, c->uid, c->gid, e) : 0;
}

/* Both say "HEAD is now at", the hash and the first line of its message. */
int source_tree_check_out(struct fetch *f, struct err *e)
{
	const char *on_branch[] = { "reset", "--hard", f->start, "--", NULL };
	const char *detached[] = { "checkout", "--force", "--detach", f->start, "--", NULL };
	return git_run(&f->git, GIT_TREE, f->branch ? on_branch : detached, false, e);
}

/* What a failed shallow try left would be in the way of a whole one: its history ends where it began. */
static int forget_submodules(struct fetch *f, struct err *e)
{
	const char *deinit[] = { "submodule", "deinit", "--all", "--force", "--quiet", NULL };
	const char *modules = fetch_path(f, "tree/.git/modules");
	int r = git_run(&f->git, GIT_TREE, deinit, true, e);
	if (r < 0 && r != -ERR_BAD_REQUEST)
		return r;
	return modules ? file_remove_tree(modules, e) : err_nomem(e);
}

int source_tree_submodules(struct fetch *f, struct err *e)
{
	const char *shallow[] = { "submodule", "update", "--init", "--recursive", "--quiet", "--depth=1", NULL };
	const char *whole[] = { "submodule", "update", "--init", "--recursive", "--quiet", NULL };
	const char *list = fetch_path(f, "tree/.gitmodules");
	if (!list || !file_exists(list))
		return 0;
	fetch_say(f, "$ git submodule update --init --recursive");
	/* A server may refuse the one commit that a shallow fetch asks for. */
	int r = git_run(&f->git, GIT_TREE, shallow, true, e);
	if (r != -ERR_BAD_REQUEST)
		return r;
	struct str said = buf_str(&f->git.tail);
	if (!git_is_refusal_of_commit(said) && git_fault_of(said) != GIT_FAULT_NETWORK)
		return r;
	r = forget_submodules(f, e);
	return r < 0 ? r : source_run_remote(f, GIT_TREE, whole, NULL, e);
}
