/*
 * Files that a repository keeps in Git LFS. The checkout itself runs no filter, so they are pointers at first; git-lfs
 * then puts the files in their place. Where it asks is said by us: the repository's .lfsconfig may name another place on
 * the same host, and nothing else. (Programs it may not name: git-lfs takes those from git's own configuration only.)
 */
#include "agent/fetch.h"
#include "base/limits.h"
#include "os/file.h"

#define INDEX_MAX_BYTES (512 * MIB)

/* Whether the checkout has attributes at all: most have not, and then nobody is asked. The index holds all names. */
static bool has_attributes(struct fetch *f)
{
	static const char name[] = ".gitattributes";
	_cleanup_arena_ struct arena a;
	struct str index;
	const char *path = fetch_path(f, "tree/.git/index");
	arena_init(&a, 2 * INDEX_MAX_BYTES);
	return path && file_read_regular(&a, path, INDEX_MAX_BYTES, &index, NULL) == 0 &&
	       memmem(index.p, index.n, name, sizeof(name) - 1);
}

static int uses_lfs(struct fetch *f, bool *ret, struct err *e)
{
	const char *args[] = { "ls-files", "--", ":(attr:filter=lfs)", NULL };
	*ret = false;
	if (!has_attributes(f))
		return 0;
	int r = git_run(&f->git, GIT_TREE, args, true, e);
	if (r == 0)
		*ret = str_trim(buf_str(&f->git.tail)).n > 0;
	return r;
}

/* What .lfsconfig names; NULL: nothing. */
static const char *configured_url(struct fetch *f)
{
	const char *args[] = { "config", "--file", ".lfsconfig", "--no-includes", "--get", "lfs.url", NULL };
	const char *path = fetch_path(f, "tree/.lfsconfig");
	if (!path || !file_exists(path) || git_run(&f->git, GIT_TREE, args, true, NULL) < 0)
		return NULL;
	const char *url = str_dup(f->a, str_trim(buf_str(&f->git.tail)));
	return url && *url ? url : NULL;
}

/* Where git-lfs would ask for a repository at this URL. NULL: no memory. */
static const char *own_url(struct fetch *f)
{
	const struct source_url *u = &f->git_config.url;
	switch (u->scheme) {
	case SOURCE_HTTPS:
	case SOURCE_HTTP:
		return arena_printf(f->a, "%s%s/info/lfs", u->clean,
				    str_ends_with(str_of(u->clean), ".git") ? "" : ".git");
	case SOURCE_FILE:
		return arena_printf(f->a, "%s%s", u->clean[0] == '/' ? "file://" : "", u->clean);
	case SOURCE_SSH:
		break;
	}
	return u->clean;
}

/* NULL: another place than the repository's host. */
static const char *allowed_url(struct fetch *f, const char *configured)
{
	struct source_url u;
	const struct source_url *own = &f->git_config.url;
	if (source_url_parse(configured, f->git_config.insecure, f->a, &u, NULL) < 0 || u.scheme != own->scheme ||
	    u.scheme == SOURCE_FILE || !streq(u.host, own->host))
		return NULL;
	return u.clean;
}

int source_lfs(struct fetch *f, struct err *e)
{
	const char *pull[] = { "lfs", "pull", "origin", NULL };
	bool used;
	int r = uses_lfs(f, &used, e);
	if (r < 0 || !used)
		return r;
	if (!process_find(f->a, "git-lfs", NULL)) {
		fetch_say(
			f,
			"warning: this repository keeps files in Git LFS, and git-lfs is not installed on this runner: they "
			"stay the pointers that the repository holds");
		return 0;
	}
	const char *configured = configured_url(f);
	const char *url = configured ? allowed_url(f, configured) : own_url(f);
	if (!url) {
		fetch_say(
			f,
			"warning: the repository's .lfsconfig names another host for its Git LFS files. It would be asked "
			"without credentials, from the runner's own network: it is not, and they stay pointers");
		return 0;
	}
	const char *c[] = { arena_printf(f->a, "lfs.url=%s", url),
			    "filter.lfs.clean=git-lfs clean -- %f",
			    "filter.lfs.smudge=git-lfs smudge -- %f",
			    "filter.lfs.process=git-lfs filter-process",
			    "filter.lfs.required=true",
			    "lfs.locksverify=false",
			    NULL };
	if (arena_failed(f->a))
		return err_nomem(e);
	fetch_say(f, "$ git lfs pull");
	f->git.c = c;
	r = source_run_remote(f, GIT_TREE, pull, NULL, e);
	f->git.c = NULL;
	return r;
}
