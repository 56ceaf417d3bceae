/*
 * Edits of delta checkpoints over a text: the input up to the first line feed is the text, every further line the edits
 * of one delta. What is accepted must be what a second, slower way makes of it; what is refused must be refused as a bad
 * request, and change nothing.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "state/delta.h"

/* The same by the definition: byte by byte, on a copy. */
static void slowly(struct buf *text, struct json edits, struct arena *a)
{
	_cleanup_buf_ struct buf out;
	size_t at = 0;
	struct json edit;
	buf_init(&out, MIB);
	json_foreach(edit, edits) {
		int64_t from, to;
		struct str new_text;
		MUST(json_int64(json_path(edit, "Span", "start", "offset", NULL), &from));
		MUST(json_int64(json_path(edit, "Span", "end", "offset", NULL), &to));
		MUST(json_string(json_get(edit, "NewText"), a, &new_text));
		while (at < (size_t)from)
			buf_addc(&out, text->data[at++]);
		buf_add_str(&out, new_text);
		at = (size_t)to;
	}
	while (at < text->len)
		buf_addc(&out, text->data[at++]);
	buf_reset(text);
	buf_add_str(text, buf_str(&out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest, line = str_cut((struct str){ (const char *)data, size }, '\n', &rest);
	if (!line.p || !rest.p)
		return 0;
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf expected, out;
	_cleanup_delta_pieces_ struct delta_pieces pieces = { 0 };
	arena_init(&a, 16 * MIB);
	buf_init(&expected, MIB);
	buf_init(&out, MIB);
	buf_add_str(&expected, line);
	MUST(delta_pieces_init(&pieces, &a, line, NULL) == 0);
	while (rest.p) {
		struct json edits;
		struct err e = { 0 };
		line = str_cut(rest, '\n', &rest);
		if (json_check(line, &edits, NULL) < 0)
			continue;
		int rc = delta_edit(&pieces, edits, &e);
		MUST(rc == 0 || rc == -ERR_BAD_REQUEST || rc == -ERR_NO_MEMORY);
		if (rc == -ERR_NO_MEMORY)
			return 0;
		if (rc == 0)
			slowly(&expected, edits, &a);
		buf_reset(&out);
		rc = delta_write(&pieces, &out, &e);
		MUST(rc == 0 || rc == -ERR_TOO_LARGE);
		if (rc < 0)
			return 0;
		MUST(str_eq(buf_str(&out), buf_str(&expected)));
	}
	return 0;
}
