/*
 * compress.h: gzip (what the CLI sends and accepts) and zstd (logs and documents at rest).
 *
 * Everything from outside has a maximum for what it may become: beyond it is ERR_TOO_LARGE, and no more than the
 * maximum is ever allocated. Corrupt or cut input is ERR_BAD_REQUEST. Results are appended to `out`, whose own
 * maximum counts as well; on error `out` holds what it held before. Stateless, any thread.
 */
#ifndef SLIPWAY_BASE_COMPRESS_H
#define SLIPWAY_BASE_COMPRESS_H

#include "base/str.h"

/* level: 1 (fast) to 12 (small); 6 is gzip's own default. */
int gzip_compress(struct str in, int level, struct buf *out, struct err *e);
/* Whole documents. Several members one behind the other are one text, as RFC 1952 says; empty input is an error, and
 * so is anything behind the last member. */
int gzip_decompress(struct str in, size_t max, struct buf *out, struct err *e);
/* The same into the arena, without a copy where the trailer tells the truth about the size. A NUL follows the text. */
int gzip_decompress_arena(struct str in, size_t max, struct arena *a, struct str *ret, struct err *e);

/* level: 1 to 19. */
int zstd_compress(struct str in, int level, struct buf *out, struct err *e);
/* Several frames one behind the other are one text; empty input is an error. */
int zstd_decompress(struct str in, size_t max, struct buf *out, struct err *e);

/*
 * gzip in pieces of any size: init, push as it comes, end (which refuses a text that was cut), done. One thread at a
 * time. After the first error only done may be called.
 */
typedef int (*gzip_sink_fn)(void *arg, struct str piece, struct err *e); /* negative stops, and is handed on */

struct gzip_inflater {
	struct z_stream_s *z; /* NULL before init and after done */
	size_t max;
	size_t total; /* bytes given to the sink */
	gzip_sink_fn sink;
	void *arg;
	bool complete; /* a member has ended, and no further one was begun */
};

int gzip_inflater_init(struct gzip_inflater *g, size_t max, gzip_sink_fn sink, void *arg, struct err *e);
int gzip_inflater_push(struct gzip_inflater *g, struct str piece, struct err *e);
int gzip_inflater_end(struct gzip_inflater *g, struct err *e);
void gzip_inflater_done(struct gzip_inflater *g);
#define _cleanup_gzip_inflater_ __attribute__((cleanup(gzip_inflater_done)))

#endif
