#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "executor/cache.h"
#include "os/file.h"
#include "os/tar_stream.h"

#define OUT_BYTES ((size_t)128 * 1024)

/* The tree, or the home. */
struct root {
	const char *path;
	int fd;
	int stage_fd; /* -1: nothing was unpacked here yet */
	char stage[PATH_MAX];
};

struct cache_unpacker {
	const struct cache_choice *c;
	struct root roots[2];
	ZSTD_DStream *z;
	struct tar_sink sink;
	struct tar_stream tar;
	char *out;
	bool between; /* the last frame of zstd is complete */
	int64_t came, became, entries, files, bytes;
	int file; /* the present one, -1: none */
	struct timespec times[2];
	int parent; /* folder of the last entry, kept open: most entries have the same one as the one before */
	char parent_name[TAR_STREAM_NAME_MAX + 1];
};

static struct root *root_of(struct cache_unpacker *u, const char *name)
{
	return &u->roots[strncmp(name, "home/", 5) == 0];
}

static int open_stage(struct root *r, struct err *e)
{
	if (r->stage_fd >= 0)
		return 0;
	if (!r->path)
		return err_set(e, ERR_BAD_REQUEST, "the archive holds files of a home that is not there");
	r->fd = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(r->stage, sizeof(r->stage), "%s/.slipway-cache-XXXXXX", r->path);
	if (r->fd < 0 || !mkdtemp(r->stage)) {
		r->stage[0] = '\0';
		return err_errno(e, "cannot make a folder in %s", r->path);
	}
	r->stage_fd = open(r->stage, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return r->stage_fd < 0 ? err_errno(e, "cannot open %s", r->stage) : 0;
}

/* Opens the folder that the entry goes into; *ret_last is its own name in it. */
static int open_parent(struct cache_unpacker *u, const char *name, const char **ret_last, struct err *e)
{
	const char *slash = strrchr(name, '/');
	size_t n = (size_t)(slash - name);
	struct root *r = root_of(u, name);
	*ret_last = slash + 1;
	if (u->parent >= 0 && strlen(u->parent_name) == n && memcmp(u->parent_name, name, n) == 0)
		return 0;
	int rc = open_stage(r, e);
	if (rc < 0)
		return rc;
	if (u->parent >= 0)
		close(u->parent);
	memcpy(u->parent_name, name, n);
	u->parent_name[n] = '\0';
	u->parent = cache_open_folder(r->stage_fd, n > 5 ? u->parent_name + 5 : "", true);
	return u->parent < 0 ? err_errno(e, "%s", u->parent_name) : 0;
}

static int on_begin(void *arg, const struct tar_item *item, struct err *e)
{
	struct cache_unpacker *u = arg;
	const char *last;
	if (!cache_name_ok(u->c->places, item->name))
		return err_set(e, ERR_BAD_REQUEST, "the archive holds '%.200s', which does not belong to this key",
			       item->name);
	if (item->kind == TAR_SYMLINK && !cache_target_ok(item->name, item->target))
		return err_set(e, ERR_BAD_REQUEST, "the archive holds a link '%.200s' that leads to '%.200s'",
			       item->name, item->target);
	if (++u->entries > CACHE_ENTRIES_MAX || item->size > CACHE_UNPACKED_MAX_BYTES - u->bytes)
		return err_set(e, ERR_TOO_LARGE, "the archive holds more than %d files, or %lld bytes",
			       CACHE_ENTRIES_MAX, (long long)CACHE_UNPACKED_MAX_BYTES);
	int r = open_parent(u, item->name, &last, e);
	if (r < 0)
		return r;
	if (item->kind == TAR_FOLDER) {
		struct stat st;
		/* A folder may come twice; something else of that name is an attempt. */
		bool ok = mkdirat(u->parent, last, 0755) == 0 ||
			  (errno == EEXIST && fstatat(u->parent, last, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			   S_ISDIR(st.st_mode));
		return ok ? 0 : err_errno(e, "%s", item->name);
	}
	u->files++;
	if (item->kind == TAR_SYMLINK)
		return symlinkat(item->target, u->parent, last) == 0 ? 0 : err_errno(e, "%s", item->name);
	u->bytes += item->size;
	u->times[0] = u->times[1] = (struct timespec){ .tv_sec = item->mtime_s };
	u->file = openat(u->parent, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			 item->executable ? 0755 : 0644);
	return u->file < 0 ? err_errno(e, "%s", item->name) : 0;
}

static int on_data(void *arg, struct str bytes, struct err *e)
{
	struct cache_unpacker *u = arg;
	return file_write_all(u->file, bytes, e);
}

static int on_end(void *arg, struct err *e)
{
	struct cache_unpacker *u = arg;
	if (u->file < 0)
		return 0;
	/* Python looks at them to know whether what it compiled is still good. */
	(void)futimens(u->file, u->times);
	int rc = close(u->file);
	u->file = -1;
	return rc == 0 ? 0 : err_errno(e, "cannot write");
}

int cache_unpacker_new(const struct cache_choice *c, struct cache_unpacker **ret, struct err *e)
{
	struct cache_unpacker *u = calloc(1, sizeof(*u));
	if (!u)
		return err_nomem(e);
	u->c = c;
	u->file = u->parent = -1;
	for (size_t i = 0; i < ARRAY_SIZE(u->roots); i++)
		u->roots[i] = (struct root){ .path = i ? c->home : c->tree, .fd = -1, .stage_fd = -1 };
	u->sink = (struct tar_sink){ on_begin, on_data, on_end, u };
	tar_stream_init(&u->tar, &u->sink);
	u->z = ZSTD_createDStream();
	u->out = malloc(OUT_BYTES);
	if (!u->z || !u->out) {
		cache_unpacker_free(u);
		return err_nomem(e);
	}
	ZSTD_DCtx_setParameter(u->z, ZSTD_d_windowLogMax, CACHE_WINDOW_LOG);
	*ret = u;
	return 0;
}

int cache_unpacker_push(struct cache_unpacker *u, struct str bytes, struct err *e)
{
	ZSTD_inBuffer in = { bytes.p, bytes.n, 0 };
	u->came += (int64_t)bytes.n;
	/* A full output may leave more behind, also when all of the input is taken. */
	for (bool more = in.size > 0; more;) {
		ZSTD_outBuffer out = { u->out, OUT_BYTES, 0 };
		size_t left = ZSTD_decompressStream(u->z, &out, &in);
		if (ZSTD_isError(left))
			return err_set(e, ERR_BAD_REQUEST, "the archive is damaged (zstd: %s)",
				       ZSTD_getErrorName(left));
		u->between = left == 0;
		u->became += (int64_t)out.pos;
		if (u->became > CACHE_RATIO_FROM_BYTES && u->became / CACHE_RATIO_MAX > u->came)
			return err_set(e, ERR_TOO_LARGE,
				       "the archive would become more than %d times as large: it is not unpacked",
				       CACHE_RATIO_MAX);
		int r = tar_stream_push(&u->tar, (struct str){ u->out, out.pos }, e);
		if (r < 0)
			return r;
		more = in.pos < in.size || out.pos == OUT_BYTES;
	}
	return 0;
}

/* 1: moved; 0: something is there already. */
static int move_place(struct cache_unpacker *u, const char *place, struct err *e)
{
	struct root *r = root_of(u, place);
	const char *inner = place + 5, *slash = strrchr(inner, '/');
	char folder[PATH_MAX] = "";
	struct stat st;
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - inner), inner);
	const char *last = slash ? slash + 1 : inner;
	_cleanup_close_ int from = r->stage_fd < 0 ? -1 : cache_open_folder(r->stage_fd, folder, false);
	if (from < 0 || fstatat(from, last, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_BAD_REQUEST, "the archive's %s is not a folder", place);
	_cleanup_close_ int to = cache_open_folder(r->fd, folder, true);
	if (to < 0)
		return err_errno(e, "%s", place);
	if (renameat2(from, last, to, last, RENAME_NOREPLACE) == 0)
		return 1;
	/* Not every file system knows the flag. */
	if (errno == EINVAL && fstatat(to, last, &st, AT_SYMLINK_NOFOLLOW) != 0 && renameat(from, last, to, last) == 0)
		return 1;
	return errno == EEXIST || errno == EINVAL ? 0 : err_errno(e, "%s", place);
}

int cache_unpacker_finish(struct cache_unpacker *u, struct cache_report *ret, struct err *e)
{
	int r = tar_stream_end(&u->tar, e);
	if (r == 0 && !u->between)
		r = err_set(e, ERR_BAD_REQUEST, "the archive ends too early");
	for (size_t i = 0; r >= 0 && u->c->places[i]; i++) {
		r = move_place(u, u->c->places[i], e);
		if (r > 0)
			buf_addf(&ret->places, "%s%s", ret->places.len ? ", " : "", u->c->places[i]);
	}
	ret->bytes = u->bytes;
	ret->files = u->files;
	return r < 0 ? r : 0;
}

void cache_unpacker_free(struct cache_unpacker *u)
{
	if (!u)
		return;
	if (u->file >= 0)
		close(u->file);
	if (u->parent >= 0)
		close(u->parent);
	for (size_t i = 0; i < ARRAY_SIZE(u->roots); i++) {
		struct root *r = &u->roots[i];
		if (r->stage_fd >= 0)
			close(r->stage_fd);
		if (r->fd >= 0)
			close(r->fd);
		if (r->stage[0])
			(void)file_remove_tree(r->stage, NULL);
	}
	ZSTD_freeDStream(u->z);
	free(u->out);
	free(u);
}
