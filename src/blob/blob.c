/*
 * The store's directory:
 *
 *	ab/cd/abcd...   a blob under its key; two levels, so that a million blobs are sixteen to a folder
 *	tmp/            blobs that are being written; what is left over from a crash goes at the next start
 *
 * A name is in its folder only after the content behind it is on disk, so a blob that can be opened is whole, unless the
 * disk itself is at fault: blob_get compares the hash.
 */
#include "blob/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypto/crypto.h"

#define DAMAGED "blob %s is damaged: its content has another hash"
/* Nobody writes one blob for so long: it is left over. */
#define TMP_AGE_S 3600

int blob_hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool blob_path_of(const char *key, char ret[PATH_SIZE])
{
	if (strlen(key) != BLOB_KEY_SIZE - 1)
		return false;
	for (const char *p = key; *p; p++) {
		if (blob_hex_value(*p) < 0)
			return false;
	}
	snprintf(ret, PATH_SIZE, "%.2s/%.2s/%s", key, key + 2, key);
	return true;
}

int blob_sync_folder(struct blob_store *s, const char *path, struct err *e)
{
	_cleanup_close_ int fd = openat(s->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(e, "blob folder %s", path);
	return 0;
}

int blob_make_folder(struct blob_store *s, const char *path, struct err *e)
{
	if (mkdirat(s->fd, path, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "blob folder %s", path);
	return 0;
}

static int remove_left_overs(struct blob_store *s, struct err *e)
{
	int fd = openat(s->fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "blob folder tmp");
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_nomem(e);
	}
	const struct dirent *entry;
	while ((entry = readdir(d))) {
		struct stat st;
		/* Another process (a verify) may be at work in the same store: what is young stays. */
		if (entry->d_name[0] != '.' && fstatat(fd, entry->d_name, &st, 0) == 0 &&
		    st.st_mtime < time(NULL) - TMP_AGE_S)
			unlinkat(fd, entry->d_name, 0);
	}
	closedir(d);
	return 0;
}

int blob_open(const char *dir, struct blob_store **ret, struct err *e)
{
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "%s", dir);
	struct blob_store *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e);
	pthread_mutex_init(&s->age_lock, NULL);
	pthread_mutex_init(&s->hold_lock, NULL);
	s->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = s->fd < 0 ? err_errno(e, "%s", dir) : 0;
	if (rc == 0)
		rc = blob_make_folder(s, "tmp", e);
	/* The store itself may be new. */
	if (rc == 0)
		rc = blob_sync_folder(s, "..", e);
	if (rc == 0)
		rc = remove_left_overs(s, e);
	if (rc < 0) {
		blob_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void blob_close(struct blob_store *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s->waiting);
	free(s);
}

int blob_open_file(struct blob_store *s, const char *key, int *ret_fd, int64_t *ret_bytes, struct err *e)
{
	char path[PATH_SIZE];
	struct stat st;
	int fd = blob_path_of(key, path) ? openat(s->fd, path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0 && (errno == ENOENT || !blob_path_of(key, path)))
		return err_set(e, ERR_NOT_FOUND, "there is no blob '%s'", key);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int rc = err_errno(e, "blob %s", key);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	*ret_fd = fd;
	*ret_bytes = st.st_size;
	return 0;
}

static bool is_hash(const char *key, const unsigned char *hash)
{
	for (size_t i = 0; i < CRYPTO_SHA256_BYTES; i++) {
		if (hash[i] != (blob_hex_value(key[2 * i]) << 4 | blob_hex_value(key[2 * i + 1])))
			return false;
	}
	return true;
}

int blob_check(struct blob_store *s, const char *key, struct err *e)
{
	unsigned char hash[CRYPTO_SHA256_BYTES];
	int64_t bytes;
	_cleanup_close_ int fd = -1;
	int rc = blob_open_file(s, key, &fd, &bytes, e);
	if (rc == 0)
		rc = crypto_sha256_file(fd, hash, e);
	if (rc == 0 && !is_hash(key, hash))
		rc = err_set(e, ERR_IO, DAMAGED, key);
	return rc;
}

int blob_get(struct blob_store *s, const char *key, struct arena *a, struct str *ret, struct err *e)
{
	char path[PATH_SIZE];
	if (!blob_path_of(key, path))
		return err_set(e, ERR_NOT_FOUND, "there is no blob '%s'", key);
	_cleanup_close_ int fd = openat(s->fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ERR_NOT_FOUND, "there is no blob '%s'", key);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, "blob %s", key);
	size_t size = (size_t)st.st_size, done = 0;
	char *bytes = arena_bytes(a, size + 1);
	if (!bytes)
		return err_nomem(e);
	while (done < size) {
		ssize_t n = read(fd, bytes + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "blob %s", key);
		if (n == 0)
			break; /* it became shorter: the hash tells */
		done += (size_t)n;
	}
	struct str content = { bytes, done };
	unsigned char hash[CRYPTO_SHA256_BYTES];
	crypto_sha256(content, hash);
	if (!is_hash(key, hash))
		return err_set(e, ERR_IO, DAMAGED, key);
	*ret = content;
	return 0;
}

static int delete_now(struct blob_store *s, const char *key, struct err *e)
{
	char path[PATH_SIZE];
	if (!blob_path_of(key, path))
		return 0;
	if (unlinkat(s->fd, path, 0) < 0 && errno != ENOENT)
		return err_errno(e, "blob %s", key);
	return 0;
}

/* False if nobody holds, or there is no memory to wait in: then it is done at once. */
static bool put_off(struct blob_store *s, const char *key)
{
	if (s->holders == 0 || strlen(key) != BLOB_KEY_SIZE - 1)
		return false;
	if (s->waiting_count == s->waiting_cap) {
		size_t cap = s->waiting_cap ? 2 * s->waiting_cap : 64;
		void *more = realloc(s->waiting, cap * sizeof(*s->waiting));
		if (!more)
			return false;
		s->waiting = more;
		s->waiting_cap = cap;
	}
	memcpy(s->waiting[s->waiting_count++], key, BLOB_KEY_SIZE);
	return true;
}

int blob_delete(struct blob_store *s, const char *key, struct err *e)
{
	pthread_mutex_lock(&s->hold_lock);
	bool later = put_off(s, key);
	pthread_mutex_unlock(&s->hold_lock);
	return later ? 0 : delete_now(s, key, e);
}

void blob_hold(struct blob_store *s)
{
	pthread_mutex_lock(&s->hold_lock);
	s->holders++;
	pthread_mutex_unlock(&s->hold_lock);
}

void blob_release(struct blob_store *s)
{
	pthread_mutex_lock(&s->hold_lock);
	s->holders--;
	for (size_t i = 0; s->holders == 0 && i < s->waiting_count; i++)
		delete_now(s, s->waiting[i], NULL);
	if (s->holders == 0)
		s->waiting_count = 0;
	pthread_mutex_unlock(&s->hold_lock);
}

/* Entries of one folder: blobs, or folders of the next level. */
static int each_in(struct blob_store *s, const char *folder, int level, blob_each_fn fn, void *arg, struct err *e)
{
	int fd = openat(s->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			close(fd);
		return err_errno(e, "blob folder %s", folder);
	}
	const struct dirent *entry;
	int rc = 0;
	while (rc >= 0 && (entry = readdir(d))) {
		char next[FOLDER_PATH_SIZE];
		size_t n = strlen(entry->d_name);
		if (level == 2 && n == BLOB_KEY_SIZE - 1)
			rc = fn(arg, entry->d_name, e);
		if (level == 2 || n != 2 || blob_hex_value(entry->d_name[0]) < 0 ||
		    blob_hex_value(entry->d_name[1]) < 0)
			continue;
		snprintf(next, sizeof(next), level == 0 ? "%.2s" : "%.2s/%.2s", level == 0 ? entry->d_name : folder,
			 entry->d_name);
		rc = each_in(s, next, level + 1, fn, arg, e);
	}
	closedir(d);
	return rc < 0 ? rc : 0;
}

int blob_each(struct blob_store *s, blob_each_fn fn, void *arg, struct err *e)
{
	return each_in(s, ".", 0, fn, arg, e);
}

/* --- by age --- */

static int64_t written_us(const struct stat *st)
{
	return st->st_mtim.tv_sec * US_PER_S + st->st_mtim.tv_nsec / 1000;
}

struct older {
	struct blob_store *s;
	struct arena *a;
	int64_t before_us;
	const char **keys;
	size_t count, cap;
};

static int note_older(void *arg, const char *key, struct err *e)
{
	struct older *p = arg;
	char path[PATH_SIZE];
	struct stat st;
	/* It may be gone meanwhile. */
	if (!blob_path_of(key, path) || fstatat(p->s->fd, path, &st, 0) < 0 || written_us(&st) >= p->before_us)
		return 0;
	if (p->count == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		const char **more = arena_array(p->a, cap, sizeof(*more));
		if (!more)
			return err_nomem(e);
		if (p->count)
			memcpy(more, p->keys, p->count * sizeof(*more));
		p->keys = more;
		p->cap = cap;
	}
	p->keys[p->count] = arena_strdup(p->a, key);
	return p->keys[p->count++] ? 0 : err_nomem(e);
}

int blob_older(struct blob_store *s, unsigned first_byte, int64_t before_us, struct arena *a, const char ***ret_keys,
	       size_t *ret_count, struct err *e)
{
	struct older p = { .s = s, .a = a, .before_us = before_us };
	char folder[3];
	struct stat st;
	snprintf(folder, sizeof(folder), "%02x", first_byte & 255);
	int rc = fstatat(s->fd, folder, &st, 0) < 0 && errno == ENOENT ? 0 : each_in(s, folder, 1, note_older, &p, e);
	if (rc < 0)
		return rc;
	*ret_keys = p.keys;
	*ret_count = p.count;
	return 0;
}

int blob_head(struct blob_store *s, const char *key, char *buf, size_t n, size_t *ret_n, struct err *e)
{
	char path[PATH_SIZE];
	*ret_n = 0;
	_cleanup_close_ int fd = blob_path_of(key, path) ? openat(s->fd, path, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t got = fd < 0 ? 0 : pread(fd, buf, n, 0);
	if (got < 0)
		return err_errno(e, "blob %s", key);
	*ret_n = (size_t)got;
	return 0;
}

int blob_delete_older(struct blob_store *s, const char *key, int64_t before_us, int64_t *ret_bytes, struct err *e)
{
	char path[PATH_SIZE];
	struct stat st;
	int rc = 0;
	*ret_bytes = 0;
	if (!blob_path_of(key, path))
		return 0;
	pthread_mutex_lock(&s->hold_lock);
	pthread_mutex_lock(&s->age_lock);
	if (s->holders == 0 && fstatat(s->fd, path, &st, 0) == 0 && written_us(&st) < before_us) {
		rc = delete_now(s, key, e);
		*ret_bytes = rc < 0 ? 0 : st.st_size;
	}
	pthread_mutex_unlock(&s->age_lock);
	pthread_mutex_unlock(&s->hold_lock);
	return rc;
}
