#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "os/tar.h"
#include "os/tar_format.h"

#define AT_LINK 157
#define LINK_MAX_BYTES (PATH_MAX)
#define MODE_BITS 0777
/* Names grow by one component per level; what git or a file system makes is far below. */
#define NAME_MAX_BYTES (64 * 1024)

struct head {
	const char *name;
	const char *link; /* NULL: none */
	char type;
	mode_t mode;
	int64_t size;
	int64_t mtime_s;
};

struct writing {
	int fd;
	struct tar_owner owner;
	struct buf name; /* of the entry that is being written */
	int depth;
};

static int put_block(int fd, const struct head *head, struct tar_owner owner, struct err *e)
{
	unsigned char h[TAR_BLOCK_BYTES] = { 0 };
	size_t n = strlen(head->name);
	size_t m = head->link ? strlen(head->link) : 0;
	memcpy(h + AT_NAME, head->name, n < TAR_NAME_MAX ? n : TAR_NAME_MAX);
	snprintf((char *)h + AT_MODE, 8, "%07o", head->mode & MODE_BITS);
	snprintf((char *)h + AT_UID, 8, "%07o", (unsigned)owner.uid & 07777777);
	snprintf((char *)h + AT_GID, 8, "%07o", (unsigned)owner.gid & 07777777);
	tar_put_number(h + AT_SIZE, head->size);
	tar_put_number(h + AT_MTIME, head->mtime_s > 0 ? head->mtime_s : 0);
	h[AT_TYPE] = (unsigned char)head->type;
	if (m)
		memcpy(h + AT_LINK, head->link, m < TAR_NAME_MAX ? m : TAR_NAME_MAX);
	memcpy(h + AT_MAGIC, "ustar\00000", 8);
	snprintf((char *)h + AT_SUM, SUM_BYTES, "%06o", tar_sum(h));
	h[AT_SUM + SUM_BYTES - 1] = ' ';
	return file_write_all(fd, (struct str){ (const char *)h, sizeof(h) }, e);
}

/* A record of pax: its length counts itself. */
static void add_record(struct buf *b, const char *key, const char *value)
{
	size_t n = strlen(key) + strlen(value) + 3;
	size_t digits = 1;
	for (size_t bound = 10; n + digits >= bound; bound *= 10)
		digits++;
	buf_addf(b, "%zu %s=%s\n", n + digits, key, value);
}

static int put_head(int fd, const struct head *head, struct tar_owner owner, struct err *e)
{
	_cleanup_buf_ struct buf pax;
	buf_init(&pax, 4 * (size_t)NAME_MAX_BYTES);
	if (strlen(head->name) > TAR_NAME_MAX)
		add_record(&pax, "path", head->name);
	if (head->link && strlen(head->link) > TAR_NAME_MAX)
		add_record(&pax, "linkpath", head->link);
	if (owner.uid > 07777777 || owner.gid > 07777777) {
		char number[24];
		snprintf(number, sizeof(number), "%u", (unsigned)owner.uid);
		add_record(&pax, "uid", number);
		snprintf(number, sizeof(number), "%u", (unsigned)owner.gid);
		add_record(&pax, "gid", number);
	}
	if (pax.len) {
		const struct head extended = { .name = "pax", .type = 'x', .mode = 0600, .size = (int64_t)pax.len };
		int r = buf_check(&pax, "an archive's name", e);
		if (r == 0)
			r = put_block(fd, &extended, owner, e);
		if (r == 0)
			r = file_write_all(fd, buf_str(&pax), e);
		if (r == 0)
			r = tar_pad(fd, (int64_t)pax.len, e);
		if (r < 0)
			return r;
	}
	return put_block(fd, head, owner, e);
}

int tar_put_folder(int fd, const char *name, mode_t mode, struct tar_owner owner, struct err *e)
{
	const struct head head = { .name = name, .type = '5', .mode = mode };
	return put_head(fd, &head, owner, e);
}

int tar_put_text(int fd, const char *name, struct str bytes, mode_t mode, struct tar_owner owner, struct err *e)
{
	const struct head head = { .name = name, .type = '0', .mode = mode, .size = (int64_t)bytes.n };
	int r = put_head(fd, &head, owner, e);
	if (r == 0)
		r = file_write_all(fd, bytes, e);
	return r < 0 ? r : tar_pad(fd, (int64_t)bytes.n, e);
}

static int put_open_file(int fd, const char *name, int from, const struct stat *st, mode_t mode, struct tar_owner owner,
			 struct err *e)
{
	const struct head head = {
		.name = name, .type = '0', .mode = mode, .size = st->st_size, .mtime_s = st->st_mtime
	};
	int r = put_head(fd, &head, owner, e);
	if (r == 0)
		r = tar_copy_bytes(from, fd, st->st_size, name, e);
	return r < 0 ? r : tar_pad(fd, st->st_size, e);
}

int tar_put_program(int fd, const char *name, int from, struct tar_owner owner, struct err *e)
{
	struct stat st;
	if (fstat(from, &st) != 0)
		return err_errno(e, "%s", name);
	return put_open_file(fd, name, from, &st, 0755, owner, e);
}

static int put_file(struct writing *w, int folder, const char *leaf, struct err *e)
{
	struct stat st;
	_cleanup_close_ int from = openat(folder, leaf, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) != 0)
		return err_errno(e, "%s", w->name.data);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_IO, "%s changed while it was read", w->name.data);
	return put_open_file(w->fd, w->name.data, from, &st, st.st_mode, w->owner, e);
}

static int put_link(struct writing *w, int folder, const char *leaf, const struct stat *st, struct err *e)
{
	char target[LINK_MAX_BYTES];
	ssize_t n = readlinkat(folder, leaf, target, sizeof(target) - 1);
	if (n < 0)
		return err_errno(e, "%s", w->name.data);
	target[n] = '\0';
	const struct head head = {
		.name = w->name.data, .link = target, .type = '2', .mode = MODE_BITS, .mtime_s = st->st_mtime
	};
	return put_head(w->fd, &head, w->owner, e);
}

static int put_folder(struct writing *w, int fd, struct err *e);

static int put_entry(struct writing *w, int folder, const char *leaf, struct err *e)
{
	struct stat st;
	if (fstatat(folder, leaf, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_errno(e, "%s", w->name.data);
	if (S_ISREG(st.st_mode))
		return put_file(w, folder, leaf, e);
	if (S_ISLNK(st.st_mode))
		return put_link(w, folder, leaf, &st, e);
	if (!S_ISDIR(st.st_mode))
		return 0;
	int fd = openat(folder, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(e, "%s", w->name.data) : put_folder(w, fd, e);
}

/* Takes over fd. */
static int put_folder(struct writing *w, int fd, struct err *e)
{
	struct stat st;
	if (w->depth >= TAR_DEPTH_MAX || fstat(fd, &st) != 0) {
		close(fd);
		return err_set(e, ERR_TOO_LARGE, "%.60s…: a tree of more than %d levels", w->name.data, TAR_DEPTH_MAX);
	}
	const struct head head = { .name = w->name.data, .type = '5', .mode = st.st_mode, .mtime_s = st.st_mtime };
	int r = put_head(w->fd, &head, w->owner, e);
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_errno(e, "%s", w->name.data);
	}
	size_t length = w->name.len;
	w->depth++;
	for (struct dirent *d; r == 0 && (d = readdir(dir)) != NULL;) {
		if (streq(d->d_name, ".") || streq(d->d_name, ".."))
			continue;
		buf_addf(&w->name, "/%s", d->d_name);
		r = buf_check(&w->name, "an archive's name", e);
		if (r == 0)
			r = put_entry(w, dirfd(dir), d->d_name, e);
		w->name.len = length;
		w->name.data[length] = '\0';
	}
	w->depth--;
	closedir(dir);
	return r;
}

int tar_put_tree(int fd, const char *path, const char *name, struct tar_owner owner, struct err *e)
{
	struct writing w = { .fd = fd, .owner = owner };
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0)
		return err_errno(e, "%s", path);
	buf_init(&w.name, NAME_MAX_BYTES);
	buf_adds(&w.name, name);
	int r = put_folder(&w, folder, e);
	buf_done(&w.name);
	return r;
}
