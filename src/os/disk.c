#include "os/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/str.h"

int disk_space(const char *path, struct disk_space *ret, struct err *e)
{
	struct statvfs s;
	if (statvfs(path, &s) != 0)
		return err_errno(e, "cannot look at the disk of %s", path);
	int64_t unit = (int64_t)s.f_frsize;
	*ret = (struct disk_space){
		.total_bytes = (int64_t)s.f_blocks * unit,
		.free_bytes = (int64_t)s.f_bavail * unit,
		.taken = (int64_t)(s.f_blocks - s.f_bfree) * unit +
			 (int64_t)(s.f_files - s.f_ffree) * DISK_FILE_MIN_BYTES,
	};
	return 0;
}

struct walk {
	const atomic_bool *stop;
	int64_t bytes;
};

static int walk(struct walk *w, int parent, const char *name, int depth, struct err *e)
{
	if (depth > DISK_DEPTH_MAX)
		return err_set(e, ERR_TOO_LARGE, "folders nested deeper than %d", DISK_DEPTH_MAX);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP
			       ? 0
			       : err_errno(e, "cannot look into %s", name);
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_nomem(e);
	}
	int r = 0;
	for (struct dirent *d; r == 0 && (d = readdir(dir));) {
		struct stat st;
		if (streq(d->d_name, ".") || streq(d->d_name, ".."))
			continue;
		if (w->stop && *w->stop)
			r = err_set(e, ERR_CANCELLED, "no longer wanted");
		else if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			int64_t bytes = (int64_t)st.st_blocks * 512;
			if (bytes < DISK_FILE_MIN_BYTES)
				bytes = DISK_FILE_MIN_BYTES;
			w->bytes += S_ISDIR(st.st_mode) || st.st_nlink < 2 ? bytes : bytes / (int64_t)st.st_nlink;
			if (S_ISDIR(st.st_mode))
				r = walk(w, fd, d->d_name, depth + 1, e);
		}
	}
	closedir(dir);
	return r;
}

int disk_use(const char *path, const atomic_bool *stop, int64_t *ret_bytes, struct err *e)
{
	struct walk w = { .stop = stop };
	int r = walk(&w, AT_FDCWD, path, 0, e);
	if (r == 0)
		*ret_bytes = w.bytes;
	return r;
}
