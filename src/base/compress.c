#include "base/compress.h"

#include <libdeflate.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* Deflate can not do better: a match of 258 bytes costs at least two bits. A claim beyond it is not believed. */
#define DEFLATE_RATIO_MAX 1032
#define FIRST_GUESS_BYTES 4096
#define SINK_PIECE_BYTES 16384

static int too_large(struct err *e, size_t max)
{
	return err_set(e, ERR_TOO_LARGE, "the uncompressed text is larger than %zu bytes", max);
}

/* Room for `size` bytes (never more than `left`, what the caller's and the buffer's maximum leave) behind the content.
 * The buffer's maximum is lowered meanwhile, so that its doubling stays below ours. */
static int make_room(struct buf *out, size_t size, size_t left, struct err *e)
{
	size_t max = out->max;
	out->max = out->len + left;
	bool ok = buf_reserve(out, size);
	out->max = max;
	if (ok)
		return 0;
	out->failed = false;
	out->no_memory = false;
	return err_nomem(e);
}

static size_t limit(const struct buf *out, size_t max)
{
	size_t left = out->max - out->len;
	return max < left ? max : left;
}

static int give_up(struct buf *out, size_t len, int rc)
{
	out->len = len;
	if (out->data)
		out->data[len] = '\0';
	return rc;
}

int gzip_compress(struct str in, int level, struct buf *out, struct err *e)
{
	if (buf_failed(out))
		return buf_check(out, "output", e);
	struct libdeflate_compressor *c = libdeflate_alloc_compressor(level);
	if (!c)
		return err_nomem(e);
	size_t bound = libdeflate_gzip_compress_bound(c, in.n);
	size_t left = limit(out, SIZE_MAX);
	size_t room = bound < left ? bound : left;
	int rc = make_room(out, room, left, e);
	if (rc == 0) {
		size_t n = libdeflate_gzip_compress(c, in.p ? in.p : "", in.n, out->data + out->len, room);
		if (n == 0)
			rc = err_set(e, ERR_TOO_LARGE, "the compressed text is larger than %zu bytes", room);
		rc = give_up(out, out->len + n, rc);
	}
	libdeflate_free_compressor(c);
	return rc;
}

/* The length that the last member's trailer claims (RFC 1952, ISIZE): exact for the one member of an honest sender. */
static size_t claimed_size(struct str in)
{
	const unsigned char *t = (const unsigned char *)in.p + in.n - 4;
	return (size_t)t[0] | (size_t)t[1] << 8 | (size_t)t[2] << 16 | (size_t)t[3] << 24;
}

/* One member at the beginning of `in`. */
static int inflate_member(struct libdeflate_decompressor *d, struct str in, size_t left, struct buf *out,
			  size_t *ret_used, struct err *e)
{
	size_t guess = in.n >= 18 ? claimed_size(in) : 0;
	if (guess / DEFLATE_RATIO_MAX > in.n)
		guess = 0;
	if (guess < FIRST_GUESS_BYTES)
		guess = FIRST_GUESS_BYTES;
	for (;;) {
		if (guess > left)
			guess = left;
		int rc = make_room(out, guess, left, e);
		if (rc < 0)
			return rc;
		/* What the buffer has anyway is used, and saves a second try. */
		size_t room = out->cap - out->len - 1;
		if (room > left)
			room = left;
		size_t n = 0;
		switch (libdeflate_gzip_decompress_ex(d, in.p, in.n, out->data + out->len, room, ret_used, &n)) {
		case LIBDEFLATE_SUCCESS:
			out->len += n;
			return 0;
		case LIBDEFLATE_INSUFFICIENT_SPACE:
			if (room == left)
				return err_set(e, ERR_TOO_LARGE, "too large");
			guess = room * 2;
			continue;
		default:
			return err_set(e, ERR_BAD_REQUEST, "the gzip data is corrupt or incomplete");
		}
	}
}

int gzip_decompress(struct str in, size_t max, struct buf *out, struct err *e)
{
	if (buf_failed(out))
		return buf_check(out, "output", e);
	if (in.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "the gzip data is empty");
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	if (!d)
		return err_nomem(e);
	size_t start = out->len;
	max = limit(out, max);
	int rc = 0;
	while (rc == 0 && in.n > 0) {
		size_t used = 0;
		rc = inflate_member(d, in, max - (out->len - start), out, &used, e);
		in.p += used;
		in.n -= used;
	}
	libdeflate_free_decompressor(d);
	if (rc == -ERR_TOO_LARGE)
		rc = too_large(e, max);
	return give_up(out, rc < 0 ? start : out->len, rc);
}

int gzip_decompress_arena(struct str in, size_t max, struct arena *a, struct str *ret, struct err *e)
{
	size_t size = in.n >= 18 ? claimed_size(in) : 0;
	if (size > 0 && size <= max && size / DEFLATE_RATIO_MAX <= in.n) {
		struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
		char *p = d ? arena_bytes(a, size + 1) : NULL;
		size_t used = 0, n = 0;
		bool whole = p &&
			     libdeflate_gzip_decompress_ex(d, in.p, in.n, p, size, &used, &n) == LIBDEFLATE_SUCCESS &&
			     used == in.n && n == size;
		libdeflate_free_decompressor(d);
		if (!p)
			return err_nomem(e);
		if (whole) {
			p[n] = '\0';
			*ret = (struct str){ p, n };
			return 0;
		}
	}
	_cleanup_buf_ struct buf b;
	buf_init(&b, max);
	int rc = gzip_decompress(in, max, &b, e);
	if (rc < 0)
		return rc;
	char *copy = arena_strndup(a, b.data ? b.data : "", b.len);
	if (!copy)
		return err_nomem(e);
	*ret = (struct str){ copy, b.len };
	return 0;
}

int zstd_compress(struct str in, int level, struct buf *out, struct err *e)
{
	if (buf_failed(out))
		return buf_check(out, "output", e);
	size_t bound = ZSTD_compressBound(in.n);
	size_t left = limit(out, SIZE_MAX);
	size_t room = bound < left ? bound : left;
	int rc = make_room(out, room, left, e);
	if (rc < 0)
		return rc;
	size_t n = ZSTD_compress(out->data + out->len, room, in.p ? in.p : "", in.n, level);
	if (!ZSTD_isError(n))
		return give_up(out, out->len + n, 0);
	if (ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall)
		rc = err_set(e, ERR_TOO_LARGE, "the compressed text is larger than %zu bytes", room);
	else if (ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
		rc = err_nomem(e);
	else
		rc = err_set(e, ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(n));
	return give_up(out, out->len, rc);
}

/* One frame, exactly `in`. */
static int unpack_frame(ZSTD_DCtx *d, struct str in, size_t left, struct buf *out, struct err *e)
{
	unsigned long long claimed = ZSTD_getFrameContentSize(in.p, in.n);
	if (claimed == ZSTD_CONTENTSIZE_ERROR)
		return err_set(e, ERR_BAD_REQUEST, "the zstd data is corrupt or incomplete");
	size_t guess = in.n < SIZE_MAX / 8 ? in.n * 8 : SIZE_MAX;
	if (claimed != ZSTD_CONTENTSIZE_UNKNOWN) {
		if (claimed > left)
			return err_set(e, ERR_TOO_LARGE, "too large");
		guess = (size_t)claimed;
	}
	for (;;) {
		if (guess > left)
			guess = left;
		int rc = make_room(out, guess, left, e);
		if (rc < 0)
			return rc;
		size_t room = out->cap - out->len - 1;
		if (room > left)
			room = left;
		size_t n = ZSTD_decompressDCtx(d, out->data + out->len, room, in.p, in.n);
		if (!ZSTD_isError(n)) {
			out->len += n;
			return 0;
		}
		switch (ZSTD_getErrorCode(n)) {
		case ZSTD_error_dstSize_tooSmall:
			if (room == left)
				return err_set(e, ERR_TOO_LARGE, "too large");
			guess = room * 2;
			continue;
		case ZSTD_error_memory_allocation:
			return err_nomem(e);
		default:
			return err_set(e, ERR_BAD_REQUEST, "the zstd data is corrupt or incomplete");
		}
	}
}

int zstd_decompress(struct str in, size_t max, struct buf *out, struct err *e)
{
	if (buf_failed(out))
		return buf_check(out, "output", e);
	if (in.n == 0)
		return err_set(e, ERR_BAD_REQUEST, "the zstd data is empty");
	ZSTD_DCtx *d = ZSTD_createDCtx();
	if (!d)
		return err_nomem(e);
	size_t start = out->len;
	max = limit(out, max);
	int rc = 0;
	while (rc == 0 && in.n > 0) {
		size_t used = ZSTD_findFrameCompressedSize(in.p, in.n);
		if (ZSTD_isError(used)) {
			rc = err_set(e, ERR_BAD_REQUEST, "the zstd data is corrupt or incomplete");
			break;
		}
		rc = unpack_frame(d, (struct str){ in.p, used }, max - (out->len - start), out, e);
		in.p += used;
		in.n -= used;
	}
	ZSTD_freeDCtx(d);
	if (rc == -ERR_TOO_LARGE)
		rc = too_large(e, max);
	return give_up(out, rc < 0 ? start : out->len, rc);
}

int gzip_inflater_init(struct gzip_inflater *g, size_t max, gzip_sink_fn sink, void *arg, struct err *e)
{
	*g = (struct gzip_inflater){ .max = max, .sink = sink, .arg = arg };
	z_stream *z = calloc(1, sizeof(*z));
	if (!z)
		return err_nomem(e);
	if (inflateInit2(z, 15 + 16) != Z_OK) { /* the largest window, gzip only */
		free(z);
		return err_nomem(e);
	}
	g->z = z;
	return 0;
}

static int push_some(struct gzip_inflater *g, struct err *e)
{
	char piece[SINK_PIECE_BYTES];
	z_stream *z = g->z;
	for (;;) {
		if (g->complete) {
			if (z->avail_in == 0)
				return 0;
			inflateReset(z);
			g->complete = false;
		}
		z->next_out = (Bytef *)piece;
		z->avail_out = sizeof(piece);
		int zrc = inflate(z, Z_NO_FLUSH);
		size_t n = sizeof(piece) - z->avail_out;
		if (n > g->max - g->total)
			return too_large(e, g->max);
		g->total += n;
		if (n > 0) {
			int rc = g->sink(g->arg, (struct str){ piece, n }, e);
			if (rc < 0)
				return rc;
		}
		if (zrc == Z_STREAM_END)
			g->complete = true;
		else if (zrc == Z_MEM_ERROR)
			return err_nomem(e);
		else if (zrc != Z_OK && zrc != Z_BUF_ERROR)
			return err_set(e, ERR_BAD_REQUEST, "the gzip data is corrupt");
		else if (z->avail_in == 0 && z->avail_out > 0)
			return 0; /* all that could come has come */
	}
}

int gzip_inflater_push(struct gzip_inflater *g, struct str piece, struct err *e)
{
	while (piece.n > 0) {
		uInt n = piece.n < UINT_MAX ? (uInt)piece.n : UINT_MAX;
		g->z->next_in = (Bytef *)(uintptr_t)piece.p;
		g->z->avail_in = n;
		int rc = push_some(g, e);
		if (rc < 0)
			return rc;
		piece.p += n;
		piece.n -= n;
	}
	return 0;
}

int gzip_inflater_end(struct gzip_inflater *g, struct err *e)
{
	if (!g->complete)
		return err_set(e, ERR_BAD_REQUEST, "the gzip data is incomplete");
	return 0;
}

void gzip_inflater_done(struct gzip_inflater *g)
{
	if (g->z) {
		inflateEnd(g->z);
		free(g->z);
		g->z = NULL;
	}
}
