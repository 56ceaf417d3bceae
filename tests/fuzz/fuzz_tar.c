/*
 * An archive of the dependency cache, as a stranger may have made it. However it is cut, the sink is told the same; what is
 * accepted, written again, reads the same; and a name that is taken never has a way out in it. The sums of headers
 * are put right first, or nothing would get past them. The first byte chooses the size of the pieces.
 */
#include "fuzz.h"

#include <stdio.h>

#include "base/limits.h"
#include "executor/cache.h"
#include "os/tar_stream.h"

#define SUM_AT 148

static const char *const places[] = { "tree/node_modules", "home/.npm", NULL };

struct reading {
	struct buf told;
	struct buf again;
	int64_t left; /* of the present file */
	bool in_file;
};

static int on_begin(void *arg, const struct tar_item *i, struct err *e)
{
	struct reading *r = arg;
	size_t n = strlen(i->name);
	MUST(!r->in_file);
	MUST(n > 0 && n <= TAR_STREAM_NAME_MAX && strlen(i->target) <= TAR_STREAM_NAME_MAX);
	MUST(i->size >= 0 && (i->kind == TAR_FILE || i->size == 0));
	MUST((i->kind == TAR_SYMLINK) == (i->target[0] != '\0'));
	if (cache_name_ok(places, i->name)) {
		MUST(i->name[0] != '/' && i->name[n - 1] != '/' && !strstr(i->name, "/../") && !strstr(i->name, "//"));
		MUST(!str_ends_with(str_of(i->name), "/.."));
		(void)cache_target_ok(i->name, i->target);
	}
	r->in_file = true;
	r->left = i->size;
	buf_addf(&r->told, "%c%d%lld,%lld:%s:%s\n", i->kind, i->executable, (long long)i->size, (long long)i->mtime_s,
		 i->name, i->target);
	tar_stream_put(&r->again, i);
	return 0;
}

static int on_data(void *arg, struct str bytes, struct err *e)
{
	struct reading *r = arg;
	MUST(r->in_file && bytes.n > 0 && (int64_t)bytes.n <= r->left);
	r->left -= (int64_t)bytes.n;
	buf_add_str(&r->told, bytes);
	buf_add_str(&r->again, bytes);
	return 0;
}

static int on_end(void *arg, struct err *e)
{
	struct reading *r = arg;
	MUST(r->in_file && r->left == 0);
	r->in_file = false;
	size_t over = r->again.len % TAR_STREAM_BLOCK;
	if (over)
		tar_stream_pad(&r->again, (int64_t)over);
	return 0;
}

static int read_all(struct reading *r, struct str bytes, size_t piece)
{
	const struct tar_sink sink = { on_begin, on_data, on_end, r };
	static struct tar_stream t;
	struct err e = { 0 };
	int rc = 0;
	buf_init(&r->told, 8 * MIB);
	buf_init(&r->again, 8 * MIB);
	tar_stream_init(&t, &sink);
	for (size_t at = 0; rc == 0 && at < bytes.n; at += piece)
		rc = tar_stream_push(&t, (struct str){ bytes.p + at, bytes.n - at < piece ? bytes.n - at : piece }, &e);
	if (rc == 0)
		rc = tar_stream_end(&t, &e);
	MUST(rc == 0 || rc == -ERR_BAD_REQUEST);
	return rc;
}

static void done(struct reading *r)
{
	buf_done(&r->told);
	buf_done(&r->again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[256 * 1024];
	if (size < 1 || size > sizeof(text))
		return 0;
	size_t piece = (size_t)data[0] * 3 + 1, n = size - 1;
	memcpy(text, data + 1, n);
	for (size_t at = 0; at + TAR_STREAM_BLOCK <= n; at += TAR_STREAM_BLOCK) {
		unsigned sum = 0;
		if (memcmp(text + at + 257, "ustar", 5) != 0)
			continue;
		memset(text + at + SUM_AT, ' ', 8);
		for (size_t i = 0; i < TAR_STREAM_BLOCK; i++)
			sum += (unsigned char)text[at + i];
		snprintf(text + at + SUM_AT, 8, "%06o", sum);
	}
	struct reading cut = { 0 }, whole = { 0 }, again = { 0 };
	int r1 = read_all(&cut, (struct str){ text, n }, piece);
	int r2 = read_all(&whole, (struct str){ text, n }, sizeof(text));
	MUST(r1 == r2 && str_eq(buf_str(&cut.told), buf_str(&whole.told)));
	if (r1 == 0) {
		tar_stream_finish(&whole.again);
		MUST(!buf_failed(&whole.again));
		MUST(read_all(&again, buf_str(&whole.again), 4096) == 0);
		MUST(str_eq(buf_str(&again.told), buf_str(&whole.told)));
		done(&again);
	}
	done(&cut);
	done(&whole);
	return 0;
}
