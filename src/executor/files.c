/* Files that the run gets: tokens that its SDKs read, and read again. */
#include <sys/stat.h>
#include <unistd.h>

#include "executor/executor.h"
#include "os/file.h"

static int write_one(struct arena *a, const char *path, struct str content, struct err *e)
{
	const char *slash = strrchr(path, '/');
	if (path[0] != '/' || slash == path)
		return err_set(e, ERR_BAD_REQUEST, "'%s' is no path of a file", path);
	char *folder = arena_strndup(a, path, (size_t)(slash - path));
	int r = folder ? file_mkdir_p(folder, 0700, e) : err_nomem(e);
	return r < 0 ? r : file_write_atomic(path, content, 0600, e);
}

void files_prepare(const struct plan *plan, struct arena *a)
{
	for (size_t i = 0; i < plan->file_count; i++) {
		const char *path = plan->files[i].path, *slash = strrchr(path, '/');
		const char *folder = slash && slash != path ? arena_strndup(a, path, (size_t)(slash - path)) : NULL;
		/* One that is there already is somebody's. Without CAP_CHOWN it is open to all users, of whom there is one. */
		if (folder && !file_exists(folder) && file_mkdir_p(folder, 0755, NULL) == 0 &&
		    lchown(folder, (uid_t)plan->uid, (gid_t)plan->gid) != 0)
			(void)chmod(folder, 01777);
	}
}

int files_write(const struct plan *plan, struct arena *a, struct err *e)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < plan->file_count; i++)
		r = write_one(a, plan->files[i].path, plan->files[i].content, e);
	if (r < 0 && !plan->files_required)
		err_reset(e);
	return r < 0 && plan->files_required ? err_wrap(e, "the credentials of this run") : 0;
}

void files_replace(struct str path_and_content)
{
	_cleanup_arena_ struct arena a;
	struct err ignored = { 0 };
	struct str content, path = str_cut(path_and_content, '\0', &content);
	arena_init(&a, 0);
	char *copy = content.p ? arena_strndup(&a, path.p, path.n) : NULL;
	/* The old one stays good for as long again: nobody waits for this. */
	if (copy)
		(void)write_one(&a, copy, content, &ignored);
}
