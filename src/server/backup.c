#include "server/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/limits.h"
#include "blob/blob.h"
#include "crypto/crypto.h"
#include "db/db.h"
#include "identity/identity.h"
#include "os/file.h"
#include "os/tar.h"

#define MANIFEST "slipway-backup.json"
#define MANIFEST_BYTES 4096
#define KEY_FILE_BYTES 4096

/* The hash of a whole file, which is mapped rather than read. */
static int hash_file(int fd, struct arena *a, const char **ret_hex, int64_t *ret_bytes, struct err *e)
{
	unsigned char hash[CRYPTO_SHA256_BYTES];
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(e, "looking at a file of the backup");
	size_t n = (size_t)st.st_size;
	void *p = n ? mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
	if (p == MAP_FAILED)
		return err_errno(e, "mapping a file of the backup");
	crypto_sha256((struct str){ n ? p : "", n }, hash);
	if (p)
		munmap(p, n);
	*ret_bytes = st.st_size;
	*ret_hex = hex_encode_arena(a, (struct str){ (const char *)hash, sizeof(hash) });
	return *ret_hex ? 0 : err_nomem(e);
}

/* --- write --- */

struct writing {
	struct app *app;
	struct arena *a;
	int fd;
	int64_t now_s;
	int64_t blobs;
};

static int put_path(struct writing *w, const char *name, const char *path, struct err *e)
{
	struct stat st;
	_cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return err_errno(e, "%s", path);
	return tar_put_file(w->fd, name, from, st.st_size, w->now_s, e);
}

static int put_blob(void *arg, const char *key, struct err *e)
{
	struct writing *w = arg;
	char name[TAR_NAME_MAX + 1], path[4096];
	snprintf(name, sizeof(name), "blobs/%.2s/%.2s/%s", key, key + 2, key);
	snprintf(path, sizeof(path), "%s/%s", w->app->data_dir, name);
	/* Between two holders something may go. */
	if (!file_exists(path))
		return 0;
	w->blobs++;
	return put_path(w, name, path, e);
}

static int put_manifest(struct writing *w, int db_fd, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	const char *hash;
	int64_t bytes;
	buf_init(&b, MANIFEST_BYTES);
	int rc = hash_file(db_fd, w->a, &hash, &bytes, e);
	if (rc < 0)
		return rc;
	jw_init(&j, &b);
	jw_object(&j);
	jw_kv_int(&j, "format", BACKUP_FORMAT);
	jw_kv_string(&j, "version", SLIPWAY_VERSION);
	jw_kv_string(&j, "created", clock_rfc3339(w->a, clock_now_us()));
	jw_kv_int(&j, "databaseBytes", bytes);
	jw_kv_string(&j, "databaseSha256", hash);
	jw_object_end(&j);
	rc = buf_check(&b, "the backup's manifest", e);
	return rc < 0 ? rc : tar_put(w->fd, MANIFEST, buf_str(&b), w->now_s, e);
}

/* Both of one moment: a rotation in between would leave a database that the key does not open. */
static int copy_database_and_key(struct writing *w, const char *db_copy, struct str *ret_key, struct err *e)
{
	const char *key = arena_printf(w->a, "%s/master.key", w->app->data_dir);
	if (!key)
		return err_nomem(e);
	identity_keys_hold(w->app->identity);
	int rc = db_backup(w->app->db, db_copy, e);
	if (rc == 0)
		rc = file_read(w->a, key, KEY_FILE_BYTES, ret_key, e);
	identity_keys_release(w->app->identity);
	return rc;
}

static int put_all(struct writing *w, const char *db_copy, struct err *e)
{
	struct str key;
	int rc = copy_database_and_key(w, db_copy, &key, e);
	if (rc < 0)
		return rc;
	_cleanup_close_ int db_fd = open(db_copy, O_RDONLY | O_CLOEXEC);
	if (db_fd < 0)
		return err_errno(e, "%s", db_copy);
	rc = put_manifest(w, db_fd, e);
	if (rc == 0)
		rc = put_path(w, "slipway.db", db_copy, e);
	if (rc == 0)
		rc = tar_put(w->fd, "master.key", key, w->now_s, e);
	crypto_wipe((void *)(uintptr_t)key.p, key.n);
	if (rc == 0)
		rc = blob_each(w->app->blobs, put_blob, w, e);
	return rc < 0 ? rc : tar_end(w->fd, e);
}

/* The folder of an absolute path. */
static const char *parent_of(const char *path, struct arena *a)
{
	const char *slash = strrchr(path, '/');
	return slash > path ? arena_strndup(a, path, (size_t)(slash - path)) : "/";
}

static int sync_folder(const char *folder, struct err *e)
{
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? err_errno(e, "folder %s", folder) : 0;
}

/* What whoever asks for a backup can mend, and no disk: trying again would not help (errno of open). */
static int refuse_folder(const char *folder, struct err *e)
{
	int why = errno;
	if (!file_is_dir(folder))
		return err_set(e, ERR_BAD_REQUEST, "/file: there is no folder %s", folder);
	errno = why;
	switch (why) {
	case ENOENT:
	case EACCES:
	case EPERM:
	case EROFS:
		return err_set(e, ERR_BAD_REQUEST, "/file: the server may not write into the folder %s", folder);
	case ENAMETOOLONG:
		return err_set(e, ERR_BAD_REQUEST, "/file: the name is too long for the folder %s", folder);
	default:
		return err_errno(e, "folder %s", folder);
	}
}

int backup_write(struct app *app, const char *file, struct backup *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	const char *temporary = arena_printf(&a, "%s.new.%ld", file, (long)getpid());
	const char *db_copy = arena_printf(&a, "%s.database", temporary);
	if (file[0] != '/')
		return err_set(e, ERR_BAD_REQUEST, "/file: must be an absolute path");
	const char *folder = parent_of(file, &a);
	if (arena_failed(&a))
		return err_nomem(e);
	if (file_exists(file))
		return err_set(e, ERR_CONFLICT, "%s is there already", file);
	unlink(db_copy);
	_cleanup_close_ int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return refuse_folder(folder, e);
	struct writing w = { .app = app, .a = &a, .fd = fd, .now_s = clock_now_us() / US_PER_S };
	blob_hold(app->blobs);
	int rc = put_all(&w, db_copy, e);
	blob_release(app->blobs);
	unlink(db_copy);
	struct stat st = { 0 };
	if (rc == 0 && (fsync(fd) < 0 || fstat(fd, &st) < 0))
		rc = err_errno(e, "%s", temporary);
	/* link, not rename: what somebody else put there meanwhile stays. */
	if (rc == 0 && link(temporary, file) < 0)
		rc = errno == EEXIST ? err_set(e, ERR_CONFLICT, "%s is there already", file) : err_errno(e, "%s", file);
	unlink(temporary);
	if (rc == 0)
		rc = sync_folder(folder, e);
	if (rc == 0)
		*ret = (struct backup){ .bytes = st.st_size, .blobs = w.blobs };
	return rc;
}

/* --- restore --- */

struct restoring {
	struct arena *a;
	int fd;
	const char *data;
	const char *database_hash;
	struct backup result;
};

static int read_manifest(struct restoring *r, struct err *e)
{
	struct tar_entry entry;
	struct json root;
	struct str text;
	int64_t format;
	int memory = -1;
	int rc = tar_next(r->fd, &entry, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || !streq(entry.name, MANIFEST) || entry.size > MANIFEST_BYTES)
		return err_set(e, ERR_BAD_REQUEST, "is no backup of Slipway");
	rc = file_memory("manifest", STR(""), &memory, e);
	if (rc == 0)
		rc = tar_copy(r->fd, &entry, memory, e);
	char *bytes = arena_alloc(r->a, (size_t)entry.size + 1);
	if (rc == 0 && (!bytes || pread(memory, bytes, (size_t)entry.size, 0) != (ssize_t)entry.size))
		rc = err_set(e, ERR_IO, "reading the manifest");
	if (memory >= 0)
		close(memory);
	text = (struct str){ bytes, (size_t)entry.size };
	if (rc == 0)
		rc = json_check(text, &root, e);
	if (rc < 0)
		return rc;
	if (!json_int64(json_get(root, "format"), &format) || format != BACKUP_FORMAT)
		return err_set(e, ERR_BAD_REQUEST, "is of another format: this program reads format %d", BACKUP_FORMAT);
	r->database_hash = json_cstr(json_get(root, "databaseSha256"), r->a);
	return r->database_hash ? 0 : err_set(e, ERR_BAD_REQUEST, "its manifest has no databaseSha256");
}

/* Nothing but what backup_write makes: an archive from elsewhere cannot write anywhere else. */
static bool is_blob(const char *name)
{
	static const char digits[] = "0123456789abcdef";
	if (!str_starts_with(str_of(name), "blobs/") || strlen(name) != strlen("blobs/ab/cd/") + BLOB_KEY_SIZE - 1)
		return false;
	const char *key = name + strlen("blobs/ab/cd/");
	return strspn(key, digits) == BLOB_KEY_SIZE - 1 && strncmp(name + 6, key, 2) == 0 && name[8] == '/' &&
	       strncmp(name + 9, key + 2, 2) == 0 && name[11] == '/';
}

static int restore_one(struct restoring *r, const struct tar_entry *entry, struct err *e)
{
	bool blob = is_blob(entry->name), db = streq(entry->name, "slipway.db");
	if (!blob && !db && !streq(entry->name, "master.key"))
		return err_set(e, ERR_BAD_REQUEST, "has an entry '%.80s' that does not belong there", entry->name);
	const char *path = arena_printf(r->a, "%s/%s", r->data, entry->name);
	const char *folder = blob ? arena_printf(r->a, "%s/%.11s", r->data, entry->name) : r->data;
	int rc = path && folder ? file_mkdir_p(folder, 0700, e) : err_nomem(e);
	if (rc < 0)
		return rc;
	_cleanup_close_ int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return err_errno(e, "%s", path);
	const char *hash = NULL;
	int64_t bytes;
	rc = tar_copy(r->fd, entry, to, e);
	if (rc == 0 && fsync(to) < 0)
		rc = err_errno(e, "%s", path);
	if (rc == 0 && (blob || db))
		rc = hash_file(to, r->a, &hash, &bytes, e);
	if (rc == 0 && hash && !streq(hash, db ? r->database_hash : entry->name + strlen("blobs/ab/cd/")))
		rc = err_set(e, ERR_BAD_REQUEST, "%s in it is damaged: its content has another hash", entry->name);
	r->result.blobs += blob;
	return rc;
}

static int restore_all(struct restoring *r, struct err *e)
{
	struct tar_entry entry;
	bool has_db = false, has_key = false;
	int rc = read_manifest(r, e);
	while (rc >= 0 && (rc = tar_next(r->fd, &entry, e)) > 0) {
		/* Paths of one entry at a time. */
		_cleanup_arena_ struct arena a;
		struct arena *whole = r->a;
		arena_init(&a, 0);
		r->a = &a;
		rc = restore_one(r, &entry, e);
		r->a = whole;
		has_db |= streq(entry.name, "slipway.db");
		has_key |= streq(entry.name, "master.key");
	}
	if (rc == 0 && (!has_db || !has_key))
		rc = err_set(e, ERR_BAD_REQUEST, "has no %s", has_db ? "master.key" : "slipway.db");
	return rc;
}

static bool is_empty_or_missing(const char *dir)
{
	return !file_exists(dir) || rmdir(dir) == 0;
}

int backup_restore(const char *file, const char *data, struct backup *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(e, "%s", file);
	/* An empty folder is removed, and made anew: so it is known to be ours, and may go if this fails. */
	if (!is_empty_or_missing(data))
		return err_set(e, ERR_CONFLICT, "%s is there and not empty; restore into a new folder", data);
	struct restoring r = { .a = &a, .fd = fd, .data = data, .result = { .bytes = st.st_size } };
	int rc = file_mkdir_p(data, 0700, e);
	if (rc == 0)
		rc = restore_all(&r, e);
	if (rc == 0) {
		_cleanup_close_ int dir = open(data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0 || fsync(dir) < 0)
			rc = err_errno(e, "%s", data);
	}
	if (rc < 0) {
		file_remove_tree(data, NULL);
		return err_wrap(e, "%s", file);
	}
	*ret = r.result;
	return 0;
}
