/*
 * inject.c: what a disk may do to the server. Preloaded into it by the tests (LD_PRELOAD); it looks only at files below
 * $SLIPWAY_FAULT_UNDER.
 *
 * The control file ($SLIPWAY_FAULT_CONTROL, tests/fault/disk.py) is mapped by the test and by every process under test, so
 * that faults come and go while the server runs:
 *   - a rule per kind of call makes the n-th and later calls fail with an errno, for files whose path has a word in it;
 *   - die_at ends the process by SIGKILL in front of the n-th call that changes a file, so that every point of a start, a
 *     recovery or a migration can be met; a write may be torn in its middle first;
 *   - deaf_sync makes fsync and fdatasync do nothing and say success (for a mutation that the crash test must notice).
 *
 * The undo log ($SLIPWAY_FAULT_UNDO) has every change with what was there before it, and every fsync. SIGKILL alone loses
 * nothing that was written; with the log the test can take back what was not synced, as a power cut does.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same order as in disk.py. */
enum call {
	CALL_WRITE,
	CALL_FSYNC,
	CALL_FDATASYNC,
	CALL_RENAME,
	CALL_OPEN,
	CALL_TRUNCATE,
	CALL_UNLINK,
	CALL_MKDIR,
	CALL_COUNT
};

struct rule {
	int32_t error; /* 0: off */
	int32_t skip;  /* so many calls succeed first */
	int32_t times; /* so many fail; -1: all */
	uint32_t hits; /* failed so far */
	char word[48]; /* in the path; empty: every path */
};

/* Layout known to disk.py. */
struct control {
	_Atomic uint32_t calls; /* that change a file, so far */
	uint32_t die_at;	/* 0: never */
	uint32_t tear;		/* the write to die at is done by half */
	uint32_t deaf_sync;
	char deaf_word[48]; /* in the path */
	struct rule rules[CALL_COUNT];
};

enum record {
	RECORD_WRITE = 1,
	RECORD_TRUNCATE,
	RECORD_SYNC,
	RECORD_CREATE,
	RECORD_RENAME, /* old_size: the inode that had the name before, or 0 */
	RECORD_MKDIR,
	RECORD_UNLINK,
	RECORD_LINK,
	RECORD_SYNC_FAILED
};

/* Layout known to disk.py: then the path, the second path (rename), the old bytes, the new bytes. */
struct record_head {
	uint32_t kind, path_bytes, second_bytes, pad;
	uint64_t inode, offset, old_size, old_bytes, new_bytes;
};

static struct control *control;
static char under[PATH_MAX];
static size_t under_bytes;
static int undo_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&(name)))real(#name))

static void *real(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);
	if (!p)
		abort();
	return p;
}

__attribute__((constructor)) static void begin(void)
{
	const char *dir = getenv("SLIPWAY_FAULT_UNDER"), *file = getenv("SLIPWAY_FAULT_CONTROL"),
		   *undo = getenv("SLIPWAY_FAULT_UNDO");
	if (!dir || !file)
		return;
	snprintf(under, sizeof(under), "%s/", dir);
	under_bytes = strlen(under);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		abort();
	void *p = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	syscall(SYS_close, fd);
	if (undo &&
	    (undo_fd = (int)syscall(SYS_openat, AT_FDCWD, undo, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0)
		abort();
	control = p;
}

/* --- which file --- */

/* The path as it is, without links of its folders resolved: the tests give real paths. */
static bool path_at(int dir, const char *name, char path[PATH_MAX])
{
	char folder[64];
	int n = 0;
	if (!control)
		return false;
	if (name[0] != '/') {
		if (dir == AT_FDCWD)
			snprintf(folder, sizeof(folder), "/proc/self/cwd");
		else
			snprintf(folder, sizeof(folder), "/proc/self/fd/%d", dir);
		n = (int)readlink(folder, path, PATH_MAX - 1);
		if (n < 0)
			return false;
		path[n++] = '/';
	}
	if (n + strlen(name) >= PATH_MAX)
		return false;
	memcpy(path + n, name, strlen(name) + 1);
	return strncmp(path, under, under_bytes) == 0;
}

/* A file with a name below the folder; not a spooled body, and not the shared memory beside the log, which is made anew. */
static bool path_of_fd(int fd, char path[PATH_MAX], struct stat *st)
{
	char link[64];
	if (!control)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	if (strncmp(path, under, under_bytes) != 0 && strncmp(path, under, under_bytes - 1) != 0)
		return false;
	if (n > 4 && strcmp(path + n - 4, "-shm") == 0)
		return false;
	return fstat(fd, st) == 0 && st->st_nlink > 0 && (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
}

/* --- faults --- */

static bool fails(enum call call, const char *path)
{
	struct rule *r = &control->rules[call];
	int error = r->error;
	if (!error || (r->word[0] && !strstr(path, r->word)))
		return false;
	if (r->skip > 0) {
		r->skip--;
		return false;
	}
	if (r->times == 0)
		return false;
	if (r->times > 0)
		r->times--;
	r->hits++;
	errno = error;
	return true;
}

/* In front of a call that changes a file, with the lock held. */
static bool must_die(void)
{
	uint32_t n = atomic_fetch_add(&control->calls, 1) + 1;
	return control->die_at && n >= control->die_at;
}

static void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* --- the undo log --- */

static void put(const void *p, size_t n)
{
	while (n > 0) {
		ssize_t done = syscall(SYS_write, undo_fd, p, n);
		if (done < 0)
			abort();
		p = (const char *)p + done;
		n -= (size_t)done;
	}
}

static void note(enum record kind, uint64_t inode, const char *path, const char *second, uint64_t former)
{
	if (undo_fd < 0)
		return;
	struct record_head h = { .kind = kind,
				 .inode = inode,
				 .path_bytes = (uint32_t)strlen(path),
				 .second_bytes = second ? (uint32_t)strlen(second) : 0,
				 .old_size = former };
	put(&h, sizeof(h));
	put(path, h.path_bytes);
	put(second, h.second_bytes);
}

/* The bytes that a change from `offset` to `end` replaces. */
static void note_change(enum record kind, int fd, const struct stat *st, const char *path, uint64_t offset,
			const void *bytes, uint64_t n)
{
	if (undo_fd < 0)
		return;
	uint64_t size = (uint64_t)st->st_size;
	uint64_t end = kind == RECORD_TRUNCATE ? size : offset + n;
	struct record_head h = { .kind = kind,
				 .inode = st->st_ino,
				 .path_bytes = (uint32_t)strlen(path),
				 .offset = offset,
				 .old_size = size,
				 .new_bytes = n };
	char *old = NULL;
	if (offset < size) {
		h.old_bytes = (end < size ? end : size) - offset;
		char link[64];
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		int in = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
		old = malloc(h.old_bytes);
		if (in < 0 || !old || pread(in, old, h.old_bytes, (off_t)offset) != (ssize_t)h.old_bytes)
			abort();
		syscall(SYS_close, in);
	}
	put(&h, sizeof(h));
	put(path, h.path_bytes);
	put(old, h.old_bytes);
	put(bytes, n);
	free(old);
}

/* An upload into the folder that has no name yet: it can fail, and what a power cut leaves of it is nothing. */
static bool unnamed_fails(int fd, enum call call)
{
	char link[64], path[PATH_MAX];
	struct stat st;
	if (!control)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, PATH_MAX - 1);
	if (n <= 0)
		return false;
	path[n] = '\0';
	if (strncmp(path, under, under_bytes) != 0 || fstat(fd, &st) < 0 || st.st_nlink > 0)
		return false;
	pthread_mutex_lock(&lock);
	bool failed = fails(call, path);
	pthread_mutex_unlock(&lock);
	return failed;
}

/* --- the calls --- */

static ssize_t do_write(int fd, const void *p, size_t n, off_t at, bool positioned)
{
	struct stat st;
	char path[PATH_MAX];
	if (unnamed_fails(fd, CALL_WRITE))
		return -1;
	if (!path_of_fd(fd, path, &st))
		return positioned ? REAL(pwrite64)(fd, p, n, at) : REAL(write)(fd, p, n);
	pthread_mutex_lock(&lock);
	bool dies = must_die();
	if (!dies && fails(CALL_WRITE, path)) {
		pthread_mutex_unlock(&lock);
		return -1;
	}
	if (dies && !control->tear)
		die();
	if (dies)
		n /= 2;
	fstat(fd, &st);
	note_change(RECORD_WRITE, fd, &st, path, (uint64_t)(positioned ? at : lseek(fd, 0, SEEK_CUR)), p, n);
	ssize_t done = positioned ? REAL(pwrite64)(fd, p, n, at) : REAL(write)(fd, p, n);
	if (dies)
		die();
	int error = errno;
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
	return do_write(fd, p, n, 0, false);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	return do_write(fd, p, n, at, true);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	return do_write(fd, p, n, at, true);
}

static int do_sync(int fd, enum call call)
{
	struct stat st;
	char path[PATH_MAX];
	int (*sync)(int) = call == CALL_FSYNC ? REAL(fsync) : REAL(fdatasync);
	if (unnamed_fails(fd, call))
		return -1;
	if (!path_of_fd(fd, path, &st))
		return sync(fd);
	pthread_mutex_lock(&lock);
	if (must_die())
		die();
	if (fails(call, path)) {
		int wanted = errno;
		note(RECORD_SYNC_FAILED, st.st_ino, path, NULL, 0);
		pthread_mutex_unlock(&lock);
		errno = wanted;
		return -1;
	}
	if (control->deaf_sync && strstr(path, control->deaf_word)) {
		pthread_mutex_unlock(&lock);
		return 0;
	}
	/* With the lock: what others write meanwhile would count as synced. */
	int rc = sync(fd);
	int error = errno;
	if (rc == 0)
		note(RECORD_SYNC, st.st_ino, path, NULL, 0);
	pthread_mutex_unlock(&lock);
	errno = error;
	return rc;
}

int fsync(int fd)
{
	return do_sync(fd, CALL_FSYNC);
}

int fdatasync(int fd)
{
	return do_sync(fd, CALL_FDATASYNC);
}

static int do_truncate(int fd, off_t size)
{
	struct stat st;
	char path[PATH_MAX];
	if (!path_of_fd(fd, path, &st))
		return REAL(ftruncate64)(fd, size);
	pthread_mutex_lock(&lock);
	if (must_die())
		die();
	int rc = -1, error;
	if (!fails(CALL_TRUNCATE, path)) {
		fstat(fd, &st);
		note_change(RECORD_TRUNCATE, fd, &st, path, (uint64_t)size, NULL, 0);
		rc = REAL(ftruncate64)(fd, size);
	}
	error = errno;
	pthread_mutex_unlock(&lock);
	errno = error;
	return rc;
}

int ftruncate(int fd, off_t size)
{
	return do_truncate(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
	return do_truncate(fd, size);
}

static int do_open(int dir, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	struct stat st;
	if (!path_at(dir, name, path))
		return REAL(openat64)(dir, name, flags, mode);
	pthread_mutex_lock(&lock);
	int fd = -1, error;
	bool is_new = (flags & O_CREAT) && stat(path, &st) < 0;
	if (is_new && must_die())
		die();
	if (!fails(CALL_OPEN, path)) {
		/* Cut to nothing by the opening: as a truncation of its own. */
		if ((flags & O_TRUNC) && !is_new) {
			int whole = REAL(openat64)(dir, name, O_RDWR | O_CLOEXEC);
			if (whole >= 0 && fstat(whole, &st) == 0)
				note_change(RECORD_TRUNCATE, whole, &st, path, 0, NULL, 0);
			if (whole >= 0)
				close(whole);
		}
		fd = REAL(openat64)(dir, name, flags, mode);
		if (fd >= 0 && is_new && fstat(fd, &st) == 0 && st.st_nlink > 0)
			note(RECORD_CREATE, st.st_ino, path, NULL, 0);
	}
	error = errno;
	pthread_mutex_unlock(&lock);
	errno = error;
	return fd;
}

#define MODE_OF(flags)                                                  \
	({                                                              \
		mode_t mode_ = 0;                                       \
		if ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) { \
			va_list ap_;                                    \
			va_start(ap_, flags);                           \
			mode_ = va_arg(ap_, mode_t);                    \
			va_end(ap_);                                    \
		}                                                       \
		mode_;                                                  \
	})

int open(const char *name, int flags, ...)
{
	return do_open(AT_FDCWD, name, flags, MODE_OF(flags));
}

int open64(const char *name, int flags, ...)
{
	return do_open(AT_FDCWD, name, flags, MODE_OF(flags));
}

int openat(int dir, const char *name, int flags, ...)
{
	return do_open(dir, name, flags, MODE_OF(flags));
}

int openat64(int dir, const char *name, int flags, ...)
{
	return do_open(dir, name, flags, MODE_OF(flags));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	char old[PATH_MAX], new[PATH_MAX];
	struct stat st;
	if (!path_at(from_dir, from, old) || !path_at(to_dir, to, new) || stat(old, &st) < 0)
		return REAL(renameat)(from_dir, from, to_dir, to);
	pthread_mutex_lock(&lock);
	if (must_die())
		die();
	int rc = -1, error;
	if (!fails(CALL_RENAME, new)) {
		/* What the name meant before is kept beside the log, for a rename that gets lost. */
		struct stat former = { 0 };
		if (undo_fd >= 0 && stat(new, &former) == 0) {
			char keep[PATH_MAX + 32];
			snprintf(keep, sizeof(keep), "%s.%lu", getenv("SLIPWAY_FAULT_UNDO"),
				 (unsigned long)former.st_ino);
			linkat(AT_FDCWD, new, AT_FDCWD, keep, 0);
		}
		rc = REAL(renameat)(from_dir, from, to_dir, to);
		if (rc == 0)
			note(RECORD_RENAME, st.st_ino, old, new, former.st_ino);
	}
	error = errno;
	pthread_mutex_unlock(&lock);
	errno = error;
	return rc;
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int link(const char *from, const char *to)
{
	char path[PATH_MAX];
	struct stat st;
	if (!path_at(AT_FDCWD, to, path) || stat(from, &st) < 0)
		return REAL(link)(from, to);
	pthread_mutex_lock(&lock);
	if (must_die())
		die();
	int rc = fails(CALL_RENAME, path) ? -1 : REAL(link)(from, to);
	int error = errno;
	if (rc == 0)
		note(RECORD_LINK, st.st_ino, path, NULL, 0);
	pthread_mutex_unlock(&lock);
	errno = error;
	return rc;
}

/* A name that is taken away is gone at once: of what may happen in a power cut that is the worst. */
int unlinkat(int dir, const char *name, int flags)
{
	char path[PATH_MAX];
	struct stat st;
	if (!path_at(dir, name, path) || lstat(path, &st) < 0)
		return REAL(unlinkat)(dir, name, flags);
	pthread_mutex_lock(&lock);
	if (must_die())
		die();
	int rc = fails(CALL_UNLINK, path) ? -1 : REAL(unlinkat)(dir, name, flags);
	int error = errno;
	if (rc == 0)
		note(RECORD_UNLINK, st.st_ino, path, NULL, 0);
	pthread_mutex_unlock(&lock);
	errno = error;
	return rc;
}

int unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int mkdirat(int dir, const char *name, mode_t mode)
{
	char path[PATH_MAX];
	struct stat st;
	if (!path_at(dir, name, path))
		return REAL(mkdirat)(dir, name, mode);
	pthread_mutex_lock(&lock);
	if (must_die())
		die();
	int rc = fails(CALL_MKDIR, path) ? -1 : REAL(mkdirat)(dir, name, mode);
	int error = errno;
	if (rc == 0 && stat(path, &st) == 0)
		note(RECORD_MKDIR, st.st_ino, path, NULL, 0);
	pthread_mutex_unlock(&lock);
	errno = error;
	return rc;
}

int mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}

int posix_fallocate64(int fd, off64_t at, off64_t n)
{
	struct stat st;
	char path[PATH_MAX];
	if (path_of_fd(fd, path, &st) && fails(CALL_WRITE, path))
		return errno;
	return REAL(posix_fallocate64)(fd, at, n);
}
