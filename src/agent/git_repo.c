/* An empty repository: what `git init` and `git remote add` would write, without starting them. */
#include "agent/git.h"
#include "base/limits.h"
#include "os/file.h"

/* A value of git's configuration, quoted. */
static void add_value(struct buf *b, const char *value)
{
	buf_addc(b, '"');
	for (const char *p = value; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *p);
	}
	buf_addc(b, '"');
}

static int write_config(const char *git_dir, const char *url, bool bare, struct arena *a, struct err *e)
{
	_cleanup_buf_ struct buf b;
	const char *path = arena_printf(a, "%s/config", git_dir);
	buf_init(&b, 64 * KIB);
	buf_addf(&b, "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = %s\n",
		 bare ? "true" : "false");
	if (!bare)
		buf_adds(&b, "\tlogallrefupdates = true\n");
	buf_adds(&b, "[remote \"origin\"]\n\turl = ");
	add_value(&b, url);
	buf_addc(&b, '\n');
	if (!bare)
		buf_adds(&b, "\tfetch = +refs/heads/*:refs/remotes/origin/*\n");
	int r = buf_check(&b, "the repository's configuration", e);
	if (r < 0 || !path)
		return r < 0 ? r : err_nomem(e);
	return file_write_new(path, buf_str(&b), 0600, e);
}

int git_repo_make(const char *git_dir, const char *head, const char *url, bool bare, struct arena *a, struct err *e)
{
	static const char *const folders[] = { "objects/pack", "objects/info", "refs/heads", "refs/tags", "info" };
	const char *line = arena_printf(a, "%s\n", head);
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(folders); i++) {
		const char *folder = arena_printf(a, "%s/%s", git_dir, folders[i]);
		r = folder ? file_mkdir_p(folder, 0700, e) : err_nomem(e);
	}
	const char *file = arena_printf(a, "%s/HEAD", git_dir);
	if (r == 0)
		r = file && line ? file_write_new(file, str_of(line), 0600, e) : err_nomem(e);
	return r < 0 ? r : write_config(git_dir, url, bare, a, e);
}
