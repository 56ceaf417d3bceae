#include "unit.h"

#include <stdlib.h>

#include "base/compress.h"
#include "base/limits.h"

static struct err err;

/* Compressible, but not trivially. */
static char *sample(size_t n)
{
	char *p = malloc(n + 1);
	unsigned x = 12345;
	for (size_t i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		p[i] = "{\"urn\":abcdefgh,}"[(x >> 24) % 17];
	}
	p[n] = '\0';
	return p;
}

typedef int compress_fn(struct str in, int level, struct buf *out, struct err *e);
typedef int decompress_fn(struct str in, size_t max, struct buf *out, struct err *e);
/* The form for arenas, in the other's clothes. */
static int into_arena(struct str in, size_t max, struct buf *out, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct str text;
	arena_init(&a, 64 * MIB);
	size_t left = out->max - out->len;
	int rc = gzip_decompress_arena(in, max < left ? max : left, &a, &text, e);
	if (rc < 0)
		return rc;
	assert_int_equal(text.p[text.n], '\0');
	buf_add(out, text.p, text.n);
	return buf_check(out, "output", e);
}

static const struct {
	compress_fn *compress;
	decompress_fn *decompress;
} kinds[] = { { gzip_compress, gzip_decompress }, { gzip_compress, into_arena }, { zstd_compress, zstd_decompress } };

static void round_trips(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 4095, 4096, 4097, 100000, 3000000 };
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
			_cleanup_free_ char *text = sample(sizes[s]);
			struct str in = { text, sizes[s] };
			_cleanup_buf_ struct buf packed;
			_cleanup_buf_ struct buf out;
			buf_init(&packed, 10 * MIB);
			buf_init(&out, 10 * MIB);
			assert_int_equal(kinds[k].compress(in, 3, &packed, &err), 0);
			buf_adds(&out, "front");
			/* The exact size is enough, one less is not, and then nothing is left behind. */
			assert_int_equal(kinds[k].decompress(buf_str(&packed), sizes[s], &out, &err), 0);
			assert_int_equal(out.len, sizes[s] + 5);
			assert_memory_equal(out.data, "front", 5);
			assert_memory_equal(out.data + 5, text, sizes[s]);
			assert_int_equal(out.data[out.len], '\0');
			if (sizes[s] == 0)
				continue;
			buf_done(&out);
			assert_int_equal(kinds[k].decompress(buf_str(&packed), sizes[s] - 1, &out, &err),
					 -ERR_TOO_LARGE);
			assert_int_equal(out.len, 0);
			assert_false(buf_failed(&out));
			assert_true(out.cap <= sizes[s]);
			/* The buffer's own maximum counts as well. */
			struct buf narrow;
			buf_init(&narrow, sizes[s] - 1);
			assert_int_equal(kinds[k].decompress(buf_str(&packed), MIB * 10, &narrow, &err),
					 -ERR_TOO_LARGE);
			buf_done(&narrow);
		}
	}
}

static void several_members(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		_cleanup_free_ char *text = sample(50000);
		_cleanup_buf_ struct buf packed;
		_cleanup_buf_ struct buf out;
		buf_init(&packed, MIB);
		buf_init(&out, MIB);
		assert_int_equal(kinds[k].compress(STR("one "), 1, &packed, &err), 0);
		assert_int_equal(kinds[k].compress((struct str){ text, 50000 }, 6, &packed, &err), 0);
		assert_int_equal(kinds[k].compress(STR(""), 1, &packed, &err), 0);
		assert_int_equal(kinds[k].compress(STR(" two"), 9, &packed, &err), 0);
		assert_int_equal(kinds[k].decompress(buf_str(&packed), MIB, &out, &err), 0);
		assert_int_equal(out.len, 50008);
		assert_memory_equal(out.data, "one ", 4);
		assert_memory_equal(out.data + 4, text, 50000);
		assert_memory_equal(out.data + 50004, " two", 4);
		buf_reset(&out);
		assert_int_equal(kinds[k].decompress(buf_str(&packed), 50007, &out, &err), -ERR_TOO_LARGE);
		buf_adds(&packed, "junk");
		assert_int_equal(kinds[k].decompress(buf_str(&packed), MIB, &out, &err), -ERR_BAD_REQUEST);
		assert_int_equal(out.len, 0);
	}
}

static void damage(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		_cleanup_free_ char *text = sample(3000);
		_cleanup_buf_ struct buf packed;
		_cleanup_buf_ struct buf out;
		buf_init(&packed, MIB);
		buf_init(&out, MIB);
		assert_int_equal(kinds[k].decompress(STR(""), MIB, &out, &err), -ERR_BAD_REQUEST);
		assert_int_equal(kinds[k].decompress(STR("not compressed at all"), MIB, &out, &err), -ERR_BAD_REQUEST);
		assert_int_equal(kinds[k].compress((struct str){ text, 3000 }, 6, &packed, &err), 0);
		for (size_t n = 0; n < packed.len; n++) {
			/* Cut anywhere. The copy ends where the input ends. */
			_cleanup_free_ char *cut = malloc(n ? n : 1);
			memcpy(cut, packed.data, n);
			assert_int_equal(kinds[k].decompress((struct str){ cut, n }, MIB, &out, &err),
					 -ERR_BAD_REQUEST);
		}
		for (size_t i = 0; i < packed.len; i++) {
			/* A flipped bit is an error, or does not matter: zstd keeps no checksum by itself. */
			packed.data[i] ^= 0x10;
			int rc = kinds[k].decompress(buf_str(&packed), MIB, &out, &err);
			assert_true(rc == 0 || rc == -ERR_BAD_REQUEST || rc == -ERR_TOO_LARGE);
			packed.data[i] ^= 0x10;
			buf_reset(&out);
		}
	}
}

static void a_bomb_stays_small(void **state)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		_cleanup_free_ char *zeros = calloc(1, 64 * MIB);
		_cleanup_buf_ struct buf packed;
		_cleanup_buf_ struct buf out;
		buf_init(&packed, MIB);
		buf_init(&out, 1024 * MIB);
		assert_int_equal(kinds[k].compress((struct str){ zeros, 64 * MIB }, 1, &packed, &err), 0);
		assert_int_equal(kinds[k].decompress(buf_str(&packed), 100000, &out, &err), -ERR_TOO_LARGE);
		assert_string_equal(err.message, "the uncompressed text is larger than 100000 bytes");
		assert_true(out.cap <= 100001);
	}
}

static int collect(void *arg, struct str piece, struct err *e)
{
	buf_add_str(arg, piece);
	return buf_check(arg, "text", e);
}

static int inflate_in_pieces(struct str packed, size_t piece, size_t max, struct buf *out)
{
	_cleanup_gzip_inflater_ struct gzip_inflater g;
	int rc = gzip_inflater_init(&g, max, collect, out, &err);
	while (rc == 0 && packed.n > 0) {
		size_t n = packed.n < piece ? packed.n : piece;
		rc = gzip_inflater_push(&g, (struct str){ packed.p, n }, &err);
		packed.p += n;
		packed.n -= n;
	}
	return rc < 0 ? rc : gzip_inflater_end(&g, &err);
}

static void streaming(void **state)
{
	static const size_t pieces[] = { 1, 7, 1000, SIZE_MAX };
	_cleanup_free_ char *text = sample(200000);
	_cleanup_buf_ struct buf packed;
	buf_init(&packed, MIB);
	assert_int_equal(gzip_compress((struct str){ text, 200000 }, 6, &packed, &err), 0);
	assert_int_equal(gzip_compress(STR("tail"), 6, &packed, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		_cleanup_buf_ struct buf out;
		buf_init(&out, MIB);
		assert_int_equal(inflate_in_pieces(buf_str(&packed), pieces[i], 200004, &out), 0);
		assert_int_equal(out.len, 200004);
		assert_memory_equal(out.data, text, 200000);
		assert_memory_equal(out.data + 200000, "tail", 4);
		buf_reset(&out);
		assert_int_equal(inflate_in_pieces(buf_str(&packed), pieces[i], 200003, &out), -ERR_TOO_LARGE);
		buf_reset(&out);
		assert_int_equal(inflate_in_pieces((struct str){ packed.data, packed.len - 1 }, pieces[i], MIB, &out),
				 -ERR_BAD_REQUEST);
		assert_string_equal(err.message, "the gzip data is incomplete");
		buf_reset(&out);
		assert_int_equal(inflate_in_pieces(STR("plain text, not gzip"), pieces[i], MIB, &out),
				 -ERR_BAD_REQUEST);
		assert_int_equal(inflate_in_pieces(STR(""), pieces[i], MIB, &out), -ERR_BAD_REQUEST);
		/* The sink's refusal is handed on. */
		struct buf narrow;
		buf_init(&narrow, 10);
		assert_int_equal(inflate_in_pieces(buf_str(&packed), pieces[i], MIB, &narrow), -ERR_TOO_LARGE);
		buf_done(&narrow);
	}
	buf_adds(&packed, "junk");
	_cleanup_buf_ struct buf out;
	buf_init(&out, MIB);
	assert_int_equal(inflate_in_pieces(buf_str(&packed), 100, MIB, &out), -ERR_BAD_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),	      cmocka_unit_test(several_members), cmocka_unit_test(damage),
		cmocka_unit_test(a_bomb_stays_small), cmocka_unit_test(streaming),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
