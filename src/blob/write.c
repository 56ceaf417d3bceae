/* Blobs on their way to disk: under a temporary name, synced, renamed, the folder synced. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blob/internal.h"
#include "crypto/crypto.h"

#define TMP_PATH_SIZE 64
#define COPY_BYTES 65536
/* More than a file system keeps inside of a folder's entry or finds in the last block of a full disk. */
#define PROBE_BYTES 65536

/* Makes "ab" and "ab/cd", on disk. That another thread made one does not mean that it is on disk already. */
static int need_folder(struct blob_store *s, const char *key, struct err *e)
{
	unsigned n = (unsigned)(blob_hex_value(key[0]) << 12 | blob_hex_value(key[1]) << 8 |
				blob_hex_value(key[2]) << 4 | blob_hex_value(key[3]));
	unsigned char bit = (unsigned char)(1U << (n & 7));
	if (atomic_load(&s->durable[n / 8]) & bit)
		return 0;
	char upper[3], lower[FOLDER_PATH_SIZE];
	snprintf(upper, sizeof(upper), "%.2s", key);
	snprintf(lower, sizeof(lower), "%.2s/%.2s", key, key + 2);
	int rc = blob_make_folder(s, upper, e);
	if (rc == 0)
		rc = blob_make_folder(s, lower, e);
	if (rc == 0)
		rc = blob_sync_folder(s, ".", e);
	if (rc == 0)
		rc = blob_sync_folder(s, upper, e);
	if (rc == 0)
		atomic_fetch_or(&s->durable[n / 8], bit);
	return rc;
}

static int write_all(int fd, struct str content)
{
	while (content.n > 0) {
		ssize_t n = write(fd, content.p, content.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		content.p += n;
		content.n -= (size_t)n;
	}
	return 0;
}

static int write_new(struct blob_store *s, struct str content, const char *path, struct err *e)
{
	char tmp[TMP_PATH_SIZE];
	snprintf(tmp, sizeof(tmp), "tmp/%ld-%lu", (long)getpid(), atomic_fetch_add(&s->next_tmp, 1));
	/* Without O_EXCL: a left-over of an earlier process of that number is overwritten. */
	_cleanup_close_ int fd = openat(s->fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "blob %s", tmp);
	if (write_all(fd, content) < 0 || fsync(fd) < 0 || renameat(s->fd, tmp, s->fd, path) < 0) {
		int rc = err_errno(e, "blob %s", path);
		unlinkat(s->fd, tmp, 0);
		return rc;
	}
	return 0;
}

/* An unlinked file gets a name; 0 if that is not possible here, and it has to be copied. */
static int link_new(struct blob_store *s, int fd, const char *path, struct err *e)
{
	char own[64], tmp[TMP_PATH_SIZE];
	snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
	snprintf(tmp, sizeof(tmp), "tmp/%ld-%lu", (long)getpid(), atomic_fetch_add(&s->next_tmp, 1));
	if (fsync(fd) < 0)
		return err_errno(e, "blob %s", path);
	unlinkat(s->fd, tmp, 0); /* of an earlier process of that number */
	if (linkat(AT_FDCWD, own, s->fd, tmp, AT_SYMLINK_FOLLOW) < 0)
		return 0;
	if (renameat(s->fd, tmp, s->fd, path) < 0) {
		int rc = err_errno(e, "blob %s", path);
		unlinkat(s->fd, tmp, 0);
		return rc;
	}
	return 1;
}

static int copy_new(struct blob_store *s, int from, off_t size, const char *path, struct err *e)
{
	char tmp[TMP_PATH_SIZE];
	snprintf(tmp, sizeof(tmp), "tmp/%ld-%lu", (long)getpid(), atomic_fetch_add(&s->next_tmp, 1));
	_cleanup_close_ int fd = openat(s->fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "blob %s", tmp);
	off_t at = 0;
	ssize_t n = 1;
	while (at < size && (n = copy_file_range(from, &at, fd, NULL, (size_t)(size - at), 0)) > 0)
		;
	/* From another file system, which not every kernel copies by itself. */
	while (at < size && n != 0) {
		char piece[COPY_BYTES];
		n = pread(from, piece, sizeof(piece), at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || write_all(fd, (struct str){ piece, (size_t)n }) < 0)
			break;
		at += n;
	}
	if (at < size || fsync(fd) < 0 || renameat(s->fd, tmp, s->fd, path) < 0) {
		int rc = n == 0 ? err_set(e, ERR_IO, "blob %s: its source became shorter", path)
				: err_errno(e, "blob %s", path);
		unlinkat(s->fd, tmp, 0);
		return rc;
	}
	return 0;
}

/* Whether it is there already: then it is as young as one that is written now. A file of another length is a damaged one:
 * it is replaced. */
static bool renew(struct blob_store *s, const char *path, off_t size)
{
	struct stat st;
	pthread_mutex_lock(&s->age_lock);
	bool there = fstatat(s->fd, path, &st, 0) == 0 && st.st_size == size && utimensat(s->fd, path, NULL, 0) == 0;
	pthread_mutex_unlock(&s->age_lock);
	return there;
}

/* What is to be stored: a text, or a whole file. */
struct source {
	struct str content;
	int fd; /* -1: the text */
	off_t size;
};

static int put(struct blob_store *s, const struct source *from, const unsigned char *hash, char ret_key[BLOB_KEY_SIZE],
	       struct err *e)
{
	static const char digits[] = "0123456789abcdef";
	char key[BLOB_KEY_SIZE], path[PATH_SIZE];
	for (size_t i = 0; i < CRYPTO_SHA256_BYTES; i++) {
		key[2 * i] = digits[hash[i] >> 4];
		key[2 * i + 1] = digits[hash[i] & 15];
	}
	key[BLOB_KEY_SIZE - 1] = '\0';
	BUG_ON(!blob_path_of(key, path));

	int rc = need_folder(s, key, e);
	if (rc < 0)
		return rc;
	bool there = renew(s, path, from->size);
	if (!there && from->fd < 0) {
		rc = write_new(s, from->content, path, e);
	} else if (!there) {
		rc = link_new(s, from->fd, path, e);
		if (rc == 0)
			rc = copy_new(s, from->fd, from->size, path, e);
	}
	/* Also when it was there: whoever renamed it may not have come to this yet. */
	char folder[FOLDER_PATH_SIZE];
	snprintf(folder, sizeof(folder), "%.5s", path);
	if (rc >= 0)
		rc = blob_sync_folder(s, folder, e);
	if (rc == 0)
		memcpy(ret_key, key, BLOB_KEY_SIZE);
	return rc;
}

int blob_put(struct blob_store *s, struct str content, char ret_key[BLOB_KEY_SIZE], struct err *e)
{
	unsigned char hash[CRYPTO_SHA256_BYTES];
	struct source from = { .content = content, .fd = -1, .size = (off_t)content.n };
	crypto_sha256(content, hash);
	return put(s, &from, hash, ret_key, e);
}

int blob_put_file(struct blob_store *s, int fd, char ret_key[BLOB_KEY_SIZE], struct err *e)
{
	unsigned char hash[CRYPTO_SHA256_BYTES];
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(e, "a file for the blob store");
	struct source from = { .fd = fd, .size = st.st_size };
	int rc = crypto_sha256_file(fd, hash, e);
	return rc < 0 ? rc : put(s, &from, hash, ret_key, e);
}

int blob_probe(struct blob_store *s, struct err *e)
{
	static const char path[] = "tmp/probe", zeros[PROBE_BYTES];
	int rc = write_new(s, (struct str){ zeros, sizeof(zeros) }, path, e);
	if (rc == 0)
		rc = blob_sync_folder(s, "tmp", e);
	unlinkat(s->fd, path, 0);
	return rc;
}
