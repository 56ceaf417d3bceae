/*
 * body.c: a body on its way in. Up to its spool's maximum lies in memory (HTTP_SPOOL_MEMORY_BYTES as it came,
 * HTTP_INFLATED_MEMORY_BYTES inflated); a larger one goes piece by piece to an unlinked file, which is mapped in the end.
 * The event thread only copies into memory (spool_take); the file is written by workers.
 */
#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/compress.h"
#include "base/limits.h"
#include "http/internal.h"

/* A buffer larger than this is not kept for the next request. */
#define KEEP_BYTES (16 * KIB)
/* Deflate cannot shrink further than about 1032 to 1; a size field that claims more is a lie. */
#define DEFLATE_RATIO_MAX 1040

void spool_init(struct spool *s, size_t memory_bytes)
{
	*s = (struct spool){ .fd = -1 };
	buf_init(&s->memory, memory_bytes);
}

static void drop_file(struct spool *s)
{
	if (s->map)
		munmap(s->map, s->total_bytes);
	if (s->fd >= 0)
		close(s->fd);
	s->map = NULL;
	s->fd = -1;
}

void spool_done(struct spool *s)
{
	drop_file(s);
	buf_done(&s->memory);
}

void spool_reset(struct spool *s)
{
	drop_file(s);
	s->file_bytes = 0;
	s->total_bytes = 0;
	if (s->memory.cap > KEEP_BYTES)
		buf_done(&s->memory);
	buf_reset(&s->memory);
}

size_t spool_take(struct spool *s, const char *p, size_t n)
{
	size_t room = s->memory.max - s->memory.len;
	if (n > room)
		n = room;
	if (n == 0 || !buf_reserve(&s->memory, n))
		return 0;
	buf_add(&s->memory, p, n);
	s->total_bytes += n;
	return n;
}

static int spool_open(const char *dir, struct err *e)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* Not every file system has O_TMPFILE. */
	char path[4096];
	if (snprintf(path, sizeof(path), "%s/slipway-body-XXXXXX", dir) >= (int)sizeof(path))
		return err_set(e, ERR_INTERNAL, "spool directory %s: name too long", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "spool directory %s", dir);
	unlink(path);
	return fd;
}

int spool_flush(struct spool *s, const char *dir, struct err *e)
{
	if (buf_failed(&s->memory))
		return err_nomem(e);
	if (s->fd < 0) {
		int fd = spool_open(dir, e);
		if (fd < 0)
			return fd;
		s->fd = fd;
	}
	size_t done = 0;
	while (done < s->memory.len) {
		ssize_t n = write(s->fd, s->memory.data + done, s->memory.len - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "spooling the body");
		done += (size_t)n;
	}
	s->file_bytes += done;
	buf_reset(&s->memory);
	return 0;
}

int spool_finish(struct spool *s, const char *dir, struct str *ret, struct err *e)
{
	if (s->fd < 0) {
		if (buf_failed(&s->memory))
			return err_nomem(e);
		*ret = s->total_bytes ? buf_str(&s->memory) : STR_NULL;
		return 0;
	}
	int rc = spool_flush(s, dir, e);
	if (rc < 0)
		return rc;
	/* Every byte was written before, so that reading the map cannot meet a hole on a full disk. */
	void *p = mmap(NULL, s->file_bytes, PROT_READ, MAP_SHARED, s->fd, 0);
	if (p == MAP_FAILED)
		return err_errno(e, "mapping the body");
	s->map = p;
	buf_done(&s->memory);
	*ret = (struct str){ p, s->file_bytes };
	return 0;
}

/* Room for exactly n bytes of content, to be written in place. */
static char *spool_room(struct spool *s, size_t n, const char *dir, struct err *e)
{
	if (n <= s->memory.max) {
		if (!buf_reserve(&s->memory, n)) {
			err_nomem(e);
			return NULL;
		}
		s->memory.len = n;
		s->memory.data[n] = '\0';
		s->total_bytes = n;
		return s->memory.data;
	}
	s->fd = spool_open(dir, e);
	if (s->fd < 0)
		return NULL;
	/* Blocks first: a store into a mapped hole on a full disk would be a SIGBUS. */
	errno = posix_fallocate(s->fd, 0, (off_t)n);
	if (errno != 0) {
		err_errno(e, "spooling the body");
		return NULL;
	}
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (p == MAP_FAILED) {
		err_errno(e, "mapping the body");
		return NULL;
	}
	s->map = p;
	s->file_bytes = s->total_bytes = n;
	return p;
}

struct spool_sink {
	struct spool *out;
	const char *dir;
};

static int sink_piece(void *arg, struct str piece, struct err *e)
{
	struct spool_sink *sink = arg;
	size_t taken = spool_take(sink->out, piece.p, piece.n);
	while (taken < piece.n) {
		int rc = spool_flush(sink->out, sink->dir, e);
		if (rc < 0)
			return rc;
		taken += spool_take(sink->out, piece.p + taken, piece.n - taken);
	}
	return 0;
}

/* Any number of members, piece by piece. */
static int inflate_stream(struct spool *out, struct str gzip, size_t max, const char *dir, struct err *e)
{
	struct spool_sink sink = { .out = out, .dir = dir };
	_cleanup_gzip_inflater_ struct gzip_inflater g = { 0 };
	int rc = gzip_inflater_init(&g, max, sink_piece, &sink, e);
	if (rc >= 0)
		rc = gzip_inflater_push(&g, gzip, e);
	if (rc >= 0)
		rc = gzip_inflater_end(&g, e);
	return rc < 0 ? err_wrap(e, "body") : 0;
}

int spool_inflate(struct spool *out, struct str gzip, size_t max, const char *dir, struct libdeflate_decompressor *d,
		  struct str *ret, struct err *e)
{
	if (gzip.n < 18)
		return err_set(e, ERR_BAD_REQUEST, "body: damaged gzip data");
	/* The last four bytes tell the size of the last member, which nearly always is the only one: then libdeflate
	 * does it at once and in place, two to three times as fast. What it refuses the stream decides. */
	const unsigned char *t = (const unsigned char *)gzip.p + gzip.n - 4;
	size_t size = t[0] | (size_t)t[1] << 8 | (size_t)t[2] << 16 | (size_t)t[3] << 24;
	bool possible = size / DEFLATE_RATIO_MAX <= gzip.n;
	/* Either it is true, or the body is damaged anyway: no need to inflate it up to the limit. */
	if (possible && size > max)
		return err_set(e, ERR_TOO_LARGE, "the body is larger than %zu bytes", max);
	if (d && possible) {
		char *p = spool_room(out, size, dir, e);
		if (!p)
			return e ? -(int)e->code : -ERR_IO;
		size_t in = 0, made = 0;
		if (libdeflate_gzip_decompress_ex(d, gzip.p, gzip.n, p, size, &in, &made) == LIBDEFLATE_SUCCESS &&
		    in == gzip.n && made == size) {
			*ret = (struct str){ p, size };
			return 0;
		}
		spool_reset(out);
	}
	int rc = inflate_stream(out, gzip, max, dir, e);
	return rc < 0 ? rc : spool_finish(out, dir, ret, e);
}
