/*
 * Two ways to inflate, by two libraries: what both accept they must read alike, and neither may pass its maximum. The
 * first byte chooses the size of the pieces, the second the maximum.
 */
#include "fuzz.h"

#include "base/compress.h"
#include "base/limits.h"

static int collect(void *arg, struct str piece, struct err *e)
{
	buf_add_str(arg, piece);
	return buf_check(arg, "text", e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	size_t step = (size_t)data[0] + 1;
	size_t max = (size_t)data[1] * 1024;
	struct str in = { (const char *)data + 2, size - 2 };
	struct err e = { 0 };
	_cleanup_buf_ struct buf whole;
	_cleanup_buf_ struct buf pieces;
	buf_init(&whole, MIB);
	buf_init(&pieces, MIB);
	int rc = gzip_decompress(in, max, &whole, &e);
	MUST(rc == 0 || rc == -ERR_BAD_REQUEST || rc == -ERR_TOO_LARGE);
	MUST(rc == 0 ? whole.len <= max : whole.len == 0);
	MUST(whole.cap <= max + 1);

	_cleanup_gzip_inflater_ struct gzip_inflater g;
	MUST(gzip_inflater_init(&g, max, collect, &pieces, &e) == 0);
	int rc2 = 0;
	for (size_t at = 0; rc2 == 0 && at < in.n; at += step)
		rc2 = gzip_inflater_push(&g, (struct str){ in.p + at, in.n - at < step ? in.n - at : step }, &e);
	if (rc2 == 0)
		rc2 = gzip_inflater_end(&g, &e);
	MUST(rc2 == 0 || rc2 == -ERR_BAD_REQUEST || rc2 == -ERR_TOO_LARGE);
	MUST(pieces.len <= max);
	if (rc == 0 && rc2 == 0)
		MUST(str_eq(buf_str(&whole), buf_str(&pieces)));

	buf_reset(&whole);
	rc = zstd_decompress(in, max, &whole, &e);
	MUST(rc == 0 || rc == -ERR_BAD_REQUEST || rc == -ERR_TOO_LARGE);
	MUST(rc == 0 ? whole.len <= max : whole.len == 0);
	return 0;
}
