#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 1000
#define REMOVE_DEPTH_MAX 100

static int open_to_read(const char *path, int flags, int *ret_fd, struct err *e)
{
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	if (*ret_fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "%s: no such file", path);
	return *ret_fd < 0 ? err_errno(e, "cannot open %s", path) : 0;
}

static int read_all(struct arena *a, int fd, const char *path, size_t max_bytes, struct str *ret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, max_bytes + 1);
	for (;;) {
		size_t room = max_bytes + 1 - b.len;
		if (room == 0)
			return err_set(e, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max_bytes);
		if (!buf_reserve(&b, room < 16384 ? room : 16384))
			return err_nomem(e);
		ssize_t n = read(fd, b.data + b.len, room < 16384 ? room : 16384);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot read %s", path);
		if (n == 0)
			break;
		b.len += (size_t)n;
	}
	char *copy = arena_strndup(a, b.data ? b.data : "", b.len);
	if (!copy)
		return err_nomem(e);
	*ret = (struct str){ copy, b.len };
	return 0;
}

int file_read(struct arena *a, const char *path, size_t max_bytes, struct str *ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r = open_to_read(path, 0, &fd, e);
	return r < 0 ? r : read_all(a, fd, path, max_bytes, ret, e);
}

int file_read_regular(struct arena *a, const char *path, size_t max_bytes, struct str *ret, struct err *e)
{
	struct stat st;
	_cleanup_close_ int fd = -1;
	int r = open_to_read(path, O_NONBLOCK | O_NOCTTY, &fd, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_BAD_REQUEST, "%s is not a regular file", path);
	return read_all(a, fd, path, max_bytes, ret, e);
}

int file_read_head(const char *path, char *to, size_t size, size_t *ret_n)
{
	struct stat st;
	_cleanup_close_ int fd = -1;
	int r = open_to_read(path, O_NONBLOCK | O_NOCTTY, &fd, NULL);
	if (r < 0)
		return r;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return -ERR_BAD_REQUEST;
	for (size_t n = 0;;) {
		ssize_t got = n < size ? read(fd, to + n, size - n) : 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -ERR_IO;
		n += (size_t)got;
		if (got == 0) {
			*ret_n = n;
			return 0;
		}
	}
}

int file_write_all(int fd, struct str bytes, struct err *e)
{
	while (bytes.n) {
		ssize_t n = write(fd, bytes.p, bytes.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot write");
		bytes.p += n;
		bytes.n -= (size_t)n;
	}
	return 0;
}

int file_write_new(const char *path, struct str bytes, mode_t mode, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, ERR_CONFLICT, "%s exists already", path);
	if (fd < 0)
		return err_errno(e, "cannot create %s", path);
	if (fchmod(fd, mode) != 0)
		return err_errno(e, "cannot create %s", path);
	if (file_write_all(fd, bytes, e) < 0)
		return err_wrap(e, "%s", path);
	return 0;
}

int file_write_atomic(const char *path, struct str bytes, mode_t mode, struct err *e)
{
	char temporary[PATH_MAX], folder[PATH_MAX];
	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new%d", path, (int)gettid()) >= sizeof(temporary))
		return err_set(e, ERR_BAD_REQUEST, "%s: name too long", path);
	unlink(temporary);
	_cleanup_close_ int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_errno(e, "cannot create %s", temporary);
	if (fchmod(fd, mode) != 0 || file_write_all(fd, bytes, e) < 0 || fsync(fd) != 0 ||
	    rename(temporary, path) != 0) {
		int r = err_errno(e, "cannot write %s", path);
		unlink(temporary);
		return r;
	}
	snprintf(folder, sizeof(folder), "%s", path);
	_cleanup_close_ int dir = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) != 0)
		return err_errno(e, "cannot write %s", path);
	return 0;
}

int file_mkdir_p(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof(part))
		return err_set(e, ERR_BAD_REQUEST, "%s: not a usable folder name", path);
	for (size_t i = 0; i < n;) {
		while (i < n && path[i] == '/')
			i++;
		while (i < n && path[i] != '/')
			i++;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, mode) != 0 && errno != EEXIST)
			return err_errno(e, "cannot make the folder %s", part);
	}
	struct stat st;
	if (stat(path, &st) != 0)
		return err_errno(e, "cannot make the folder %s", path);
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return err_errno(e, "cannot make the folder %s", path);
	}
	return 0;
}

/* A tree that is being removed. What lies too deep is brought up to its top, so that descriptors and stack suffice for any
 * depth: whoever made it may not have wanted it to go away. */
struct removal {
	int top; /* -1 until the first folder is open */
	int moved;
};

static int bring_up(struct removal *v, int parent, const char *name, struct err *e)
{
	char to[32];
	do {
		snprintf(to, sizeof(to), ".deep-%d", v->moved++);
	} while (faccessat(v->top, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	if (renameat(parent, name, v->top, to) == 0)
		return 0;
	/* Its entry `..` changes, which takes the right to write to it. */
	if (errno == EACCES && fchmodat(parent, name, 0700, 0) == 0 && renameat(parent, name, v->top, to) == 0)
		return 0;
	return err_errno(e, "cannot remove %s", name);
}

static int remove_at(struct removal *v, int parent, const char *name, int depth, struct err *e)
{
	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM && errno != EACCES)
		return err_errno(e, "cannot remove %s", name);
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0)
		return 0;
	if (depth > REMOVE_DEPTH_MAX)
		return bring_up(v, parent, name, e);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES) {
		/* Closed by its owner; opened for the removal. AT_SYMLINK_NOFOLLOW is not needed: a link gave ENOTDIR. */
		if (fchmodat(parent, name, 0700, 0) == 0)
			fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0)
		return err_errno(e, "cannot remove %s", name);
	struct stat st;
	if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700)
		fchmod(fd, 0700);
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_nomem(e);
	}
	int r = 0, moved;
	if (depth == 0)
		v->top = fd;
	do {
		moved = v->moved;
		rewinddir(dir);
		for (struct dirent *d; r == 0 && (d = readdir(dir));) {
			if (!streq(d->d_name, ".") && !streq(d->d_name, ".."))
				r = remove_at(v, fd, d->d_name, depth + 1, e);
		}
	} while (r == 0 && depth == 0 && moved != v->moved);
	closedir(dir);
	if (r == 0 && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
		return err_errno(e, "cannot remove %s", name);
	return r;
}

int file_remove_tree(const char *path, struct err *e)
{
	struct removal v = { .top = -1 };
	return remove_at(&v, AT_FDCWD, path, 0, e);
}

static int chown_at(int parent, const char *name, uid_t uid, gid_t gid, int depth, struct err *e)
{
	struct stat st;
	if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : err_errno(e, "cannot look at %s", name);
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1 && st.st_uid != geteuid() && st.st_uid != uid)
		return 0;
	if ((st.st_uid != uid || st.st_gid != gid) && fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
		return err_errno(e, "cannot give %s away", name);
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (depth > DEPTH_MAX)
		return err_set(e, ERR_IO, "%s: too many folders below each other", name);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "cannot open %s", name);
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_nomem(e);
	}
	int r = 0;
	for (struct dirent *d; r == 0 && (d = readdir(dir));) {
		if (!streq(d->d_name, ".") && !streq(d->d_name, ".."))
			r = chown_at(fd, d->d_name, uid, gid, depth + 1, e);
	}
	closedir(dir);
	return r;
}

int file_chown_tree(const char *path, uid_t uid, gid_t gid, struct err *e)
{
	return chown_at(AT_FDCWD, path, uid, gid, 0, e);
}

int file_lock(const char *path, int *ret_fd, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int r = errno == EWOULDBLOCK ? err_set(e, ERR_CONFLICT, "%s is locked by another process", path)
					     : err_errno(e, "cannot lock %s", path);
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

bool file_exists(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0;
}

bool file_is_dir(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int file_memory(const char *name, struct str bytes, int *ret_fd, struct err *e)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "cannot make a file in memory");
	if (file_write_all(fd, bytes, e) < 0 || lseek(fd, 0, SEEK_SET) != 0) {
		close(fd);
		return err_errno(e, "cannot make a file in memory");
	}
	*ret_fd = fd;
	return 0;
}
