/*
 * What an agent makes of a program's output, for tests/runner/test_masking.py: mask_filter SECRETS SEED. SECRETS is a file
 * of values, each ended by NUL; standard input goes through the mask and the lines (agent/lines.h) in pieces of
 * random length to standard output.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/lines.h"
#include "base/limits.h"

static void on_line(void *arg, struct str line)
{
	fwrite(line.p, 1, line.n, stdout);
}

static bool read_all(FILE *f, struct buf *b)
{
	char piece[8192];
	size_t n;
	while (f && (n = fread(piece, 1, sizeof(piece), f)) > 0)
		buf_add(b, piece, n);
	return f && !buf_failed(b);
}

static size_t piece_length(unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	unsigned r = *seed >> 16;
	return r % 4 == 0 ? 1 : 1 + r % (r % 3 == 0 ? 4000 : 40);
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	struct lines l;
	_cleanup_buf_ struct buf values, text;
	_cleanup_mask_set_ struct mask_set *set = mask_set_new();
	buf_init(&values, 64 * MIB);
	buf_init(&text, 256 * MIB);
	FILE *f = argc == 3 ? fopen(argv[1], "rb") : NULL;
	if (!read_all(f, &values) || !read_all(stdin, &text))
		return 2;
	fclose(f);
	for (struct str rest = buf_str(&values); rest.n;) {
		struct str value = str_cut(rest, '\0', &rest);
		if (mask_set_add(set, value, &e) < 0) {
			fprintf(stderr, "%s\n", e.message);
			return 1;
		}
	}
	if (mask_set_build(set, &e) < 0)
		return 1;
	unsigned seed = (unsigned)strtoul(argv[2], NULL, 10);
	lines_init(&l, set, on_line, NULL);
	for (size_t at = 0, n; at < text.len; at += n) {
		n = piece_length(&seed);
		n = n < text.len - at ? n : text.len - at;
		lines_feed(&l, (struct str){ text.data + at, n });
	}
	lines_end(&l);
	bool ok = !l.failed;
	lines_done(&l);
	return ok ? 0 : 1;
}
