#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "executor/cache.h"
#include "os/tar_stream.h"

/* zstd's own default: three times as fast as gzip, and smaller. */
#define LEVEL 3
#define READ_BYTES ((size_t)64 * 1024)

struct packing {
	ZSTD_CCtx *z;
	struct buf plain; /* tar, not compressed yet */
	struct buf packed;
	cache_sink_fn sink;
	void *arg;
	struct cache_report *report;
	int64_t entries;
	char name[TAR_STREAM_NAME_MAX + 1]; /* of the present entry */
};

/* What lies in p->plain goes on. */
static int drain(struct packing *p, bool last, struct err *e)
{
	ZSTD_inBuffer in = { p->plain.data, p->plain.len, 0 };
	int r = buf_check(&p->plain, "the archive", e);
	size_t left = 1;
	while (r == 0 && (last ? left > 0 : in.pos < in.size)) {
		ZSTD_outBuffer out = { p->packed.data, p->packed.cap, 0 };
		left = ZSTD_compressStream2(p->z, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return err_set(e, ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(left));
		if (out.pos)
			r = p->sink(p->arg, (struct str){ out.dst, out.pos }, e);
	}
	buf_reset(&p->plain);
	return r;
}

static int put(struct packing *p, const struct tar_item *item, struct err *e)
{
	if (++p->entries > CACHE_ENTRIES_MAX)
		return err_set(e, ERR_TOO_LARGE, "more than %d files", CACHE_ENTRIES_MAX);
	tar_stream_put(&p->plain, item);
	return drain(p, false, e);
}

/* Exactly `size` bytes: a file that is cut meanwhile is filled up, and one that grows is cut. */
static int pack_bytes(struct packing *p, int fd, int64_t size, struct err *e)
{
	int r = 0;
	for (int64_t left = size; r == 0 && left > 0;) {
		size_t want = (uint64_t)left < READ_BYTES ? (size_t)left : READ_BYTES;
		if (!buf_reserve(&p->plain, want))
			return err_nomem(e);
		ssize_t n = read(fd, p->plain.data + p->plain.len, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			memset(p->plain.data + p->plain.len, 0, want);
			n = (ssize_t)want;
		}
		p->plain.len += (size_t)n;
		left -= n;
		r = drain(p, false, e);
	}
	tar_stream_pad(&p->plain, size);
	return r;
}

static int pack_file(struct packing *p, int parent, const char *name, struct err *e)
{
	struct stat st;
	_cleanup_close_ int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		p->report->left_out++;
		return 0;
	}
	struct tar_item item = { .kind = TAR_FILE,
				 .name = p->name,
				 .target = "",
				 .executable = st.st_mode & 0111,
				 .size = st.st_size,
				 .mtime_s = st.st_mtim.tv_sec };
	p->report->bytes += st.st_size;
	p->report->files++;
	if (p->report->bytes > CACHE_UNPACKED_MAX_BYTES)
		return err_set(e, ERR_TOO_LARGE, "more than %lld bytes of files", (long long)CACHE_UNPACKED_MAX_BYTES);
	int r = put(p, &item, e);
	return r < 0 ? r : pack_bytes(p, fd, st.st_size, e);
}

static int pack_link(struct packing *p, int parent, const char *name, struct err *e)
{
	char target[TAR_STREAM_NAME_MAX + 1];
	ssize_t n = readlinkat(parent, name, target, sizeof(target) - 1);
	if (n > 0)
		target[n] = '\0';
	if (n <= 0 || n == sizeof(target) - 1 || !cache_target_ok(p->name, target)) {
		p->report->left_out++;
		return 0;
	}
	p->report->files++;
	return put(p, &(struct tar_item){ .kind = TAR_SYMLINK, .name = p->name, .target = target }, e);
}

static int pack_folder(struct packing *p, int fd, int depth, struct err *e);

static int pack_one(struct packing *p, int parent, const char *name, int depth, struct err *e)
{
	struct stat st;
	size_t n = strlen(p->name), m = strlen(name);
	int r = 0;
	if (n + 1 + m > TAR_STREAM_NAME_MAX || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		p->report->left_out++;
		return 0;
	}
	p->name[n] = '/';
	memcpy(p->name + n + 1, name, m + 1);
	if (S_ISREG(st.st_mode)) {
		r = pack_file(p, parent, name, e);
	} else if (S_ISLNK(st.st_mode)) {
		r = pack_link(p, parent, name, e);
	} else if (S_ISDIR(st.st_mode) && depth < CACHE_DEPTH_MAX - 8) {
		_cleanup_close_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			r = pack_folder(p, fd, depth + 1, e);
		else
			p->report->left_out++;
	} else {
		p->report->left_out++;
	}
	p->name[n] = '\0';
	return r;
}

/* The folder itself, then what is in it. */
static int pack_folder(struct packing *p, int fd, int depth, struct err *e)
{
	int r = put(p, &(struct tar_item){ .kind = TAR_FOLDER, .name = p->name, .target = "" }, e);
	int copy = r < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		if (copy >= 0)
			close(copy);
		return r < 0 ? r : err_errno(e, "cannot read %s", p->name);
	}
	for (struct dirent *d; r == 0 && (d = readdir(dir)) != NULL;) {
		if (!streq(d->d_name, ".") && !streq(d->d_name, ".."))
			r = pack_one(p, fd, d->d_name, depth, e);
	}
	closedir(dir);
	return r;
}

static int pack_place(struct packing *p, const struct cache_choice *c, const char *place, struct err *e)
{
	bool in_tree = str_starts_with(str_of(place), "tree/");
	_cleanup_close_ int root = open(in_tree ? c->tree : c->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = root < 0 ? -1 : cache_open_folder(root, place + 5, false);
	if (fd < 0)
		return 0;
	buf_addf(&p->report->places, "%s%s", p->report->places.len ? ", " : "", place);
	size_t n = strlen(place);
	memcpy(p->name, place, n + 1);
	return pack_folder(p, fd, 0, e);
}

int cache_pack(const struct cache_choice *c, cache_sink_fn sink, void *arg, struct cache_report *ret, struct err *e)
{
	struct packing p = { .sink = sink, .arg = arg, .report = ret, .z = ZSTD_createCCtx() };
	buf_init(&p.plain, 4 * READ_BYTES);
	buf_init(&p.packed, READ_BYTES);
	int r = p.z && buf_reserve(&p.packed, READ_BYTES / 2) ? 0 : err_nomem(e);
	if (r == 0) {
		ZSTD_CCtx_setParameter(p.z, ZSTD_c_compressionLevel, LEVEL);
		ZSTD_CCtx_setParameter(p.z, ZSTD_c_checksumFlag, 1);
	}
	for (size_t i = 0; r == 0 && c->places[i]; i++) {
		if (strlen(c->places[i]) < TAR_STREAM_NAME_MAX)
			r = pack_place(&p, c, c->places[i], e);
	}
	if (r == 0) {
		tar_stream_finish(&p.plain);
		r = drain(&p, true, e);
	}
	ZSTD_freeCCtx(p.z);
	buf_done(&p.plain);
	buf_done(&p.packed);
	return r;
}
