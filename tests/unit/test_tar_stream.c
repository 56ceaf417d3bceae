#include "unit.h"

#include <stdio.h>

#include "os/tar_stream.h"

/* Everything that the sink saw, as text. */
static struct buf seen;

static int on_begin(void *arg, const struct tar_item *i, struct err *e)
{
	buf_addf(&seen, "%c %s -> %s %s %lld %lld [", i->kind, i->name, i->target, i->executable ? "x" : "-",
		 (long long)i->size, (long long)i->mtime_s);
	return 0;
}

static int on_data(void *arg, struct str bytes, struct err *e)
{
	buf_add_str(&seen, bytes);
	return 0;
}

static int on_end(void *arg, struct err *e)
{
	buf_adds(&seen, "]\n");
	return 0;
}

static const struct tar_sink sink = { on_begin, on_data, on_end, NULL };
static char long_name[1200], long_target[300];

static void put(struct buf *b, struct tar_item item, const char *content)
{
	item.size = (int64_t)strlen(content);
	tar_stream_put(b, &item);
	buf_adds(b, content);
	tar_stream_pad(b, item.size);
}

static void write_archive(struct buf *b)
{
	memset(long_name, 'n', sizeof(long_name) - 1);
	memset(long_target, 't', sizeof(long_target) - 1);
	put(b, (struct tar_item){ .kind = TAR_FOLDER, .name = "d", .target = "" }, "");
	put(b, (struct tar_item){ .kind = TAR_FILE, .name = "d/empty", .target = "", .mtime_s = 1700000000 }, "");
	put(b, (struct tar_item){ .kind = TAR_FILE, .name = "d/f", .target = "", .executable = true }, "content");
	put(b, (struct tar_item){ .kind = TAR_SYMLINK, .name = "d/l", .target = "f" }, "");
	put(b, (struct tar_item){ .kind = TAR_FILE, .name = long_name, .target = "" }, "far");
	put(b, (struct tar_item){ .kind = TAR_SYMLINK, .name = long_name, .target = long_target }, "");
	tar_stream_finish(b);
}

static int read_in_pieces(struct str bytes, size_t piece, struct err *e)
{
	struct tar_stream t;
	int r = 0;
	buf_reset(&seen);
	tar_stream_init(&t, &sink);
	for (size_t at = 0; r == 0 && at < bytes.n; at += piece)
		r = tar_stream_push(&t, (struct str){ bytes.p + at, bytes.n - at < piece ? bytes.n - at : piece }, e);
	return r < 0 ? r : tar_stream_end(&t, e);
}

static void any_cut(void **state)
{
	static const size_t pieces[] = { 1, 7, 511, 512, 513, 4096, 100000 };
	_cleanup_buf_ struct buf b, want;
	struct err e = { 0 };
	buf_init(&b, 1 << 20);
	buf_init(&want, 1 << 20);
	write_archive(&b);
	assert_int_equal(b.len % TAR_STREAM_BLOCK, 0);
	buf_addf(&want,
		 "5 d ->  - 0 0 []\n0 d/empty ->  - 0 1700000000 []\n0 d/f ->  x 7 0 [content]\n2 d/l -> f - 0 0 []\n"
		 "0 %s ->  - 3 0 [far]\n2 %s -> %s - 0 0 []\n",
		 long_name, long_name, long_target);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		assert_int_equal(read_in_pieces(buf_str(&b), pieces[i], &e), 0);
		assert_true(str_eq(buf_str(&seen), buf_str(&want)));
	}
	/* Cut anywhere, it is not whole. */
	for (size_t n = 0; n < b.len; n += 256)
		assert_int_equal(read_in_pieces((struct str){ b.data, n }, 1000, &e), -ERR_BAD_REQUEST);
}

/* Each bit of the first header counts. */
static void any_bit(void **state)
{
	_cleanup_buf_ struct buf b;
	struct err e = { 0 };
	buf_init(&b, 1 << 20);
	write_archive(&b);
	for (size_t i = 0; i < TAR_STREAM_BLOCK * 8; i++) {
		/* Behind the number of the sum there is a NUL and a blank that say nothing, and either may be the other. */
		if (i / 8 >= 154 && i / 8 <= 155)
			continue;
		b.data[i / 8] ^= (char)(1 << i % 8);
		int r = read_in_pieces(buf_str(&b), 4096, &e);
		if (r == 0)
			print_error("bit %zu of byte %zu is not looked at\n", i % 8, i / 8);
		assert_int_equal(r, -ERR_BAD_REQUEST);
		b.data[i / 8] ^= (char)(1 << i % 8);
	}
}

/* Lengths of records count themselves. */
static void lengths_of_records(void **state)
{
	_cleanup_buf_ struct buf b;
	struct err e = { 0 };
	buf_init(&b, 1 << 20);
	for (size_t n = 1; n <= TAR_STREAM_NAME_MAX; n += n > 80 && n < 130 ? 1 : n > 960 && n < 1010 ? 1 : 37) {
		char name[TAR_STREAM_NAME_MAX + 1];
		memset(name, 'x', n);
		name[n] = '\0';
		buf_reset(&b);
		put(&b, (struct tar_item){ .kind = TAR_SYMLINK, .name = name, .target = name }, "");
		tar_stream_finish(&b);
		assert_false(buf_failed(&b));
		assert_int_equal(read_in_pieces(buf_str(&b), 4096, &e), 0);
		assert_int_equal(seen.len, strlen("2  ->  - 0 0 []\n") + 2 * n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_cut),
		cmocka_unit_test(any_bit),
		cmocka_unit_test(lengths_of_records),
	};
	buf_init(&seen, 1 << 20);
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	buf_done(&seen);
	return r;
}
