/*
 * Edits of a delta checkpoint over a text: the input up to the first line feed is the text, the rest the edits. What is
 * accepted must be what a second, slower way makes of it; what is refused must be refused as a bad request.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "state/delta.h"

/* The same by the definition: byte by byte. */
static void slowly(struct str base, struct json edits, struct arena *a, struct buf *out)
{
	size_t at = 0;
	struct json edit;
	json_foreach(edit, edits) {
		int64_t from, to;
		struct str text;
		MUST(json_int64(json_path(edit, "Span", "start", "offset", NULL), &from));
		MUST(json_int64(json_path(edit, "Span", "end", "offset", NULL), &to));
		MUST(json_string(json_get(edit, "NewText"), a, &text));
		while (at < (size_t)from)
			buf_addc(out, base.p[at++]);
		buf_add_str(out, text);
		at = (size_t)to;
	}
	while (at < base.n)
		buf_addc(out, base.p[at++]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest, base = str_cut((struct str){ (const char *)data, size }, '\n', &rest);
	struct json edits;
	struct err e = { 0 };
	if (!base.p || !rest.p || json_check(rest, &edits, NULL) < 0)
		return 0;
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf out, expected;
	arena_init(&a, 16 * MIB);
	buf_init(&out, MIB);
	buf_init(&expected, MIB);
	int rc = delta_apply(base, edits, &a, &out, &e);
	MUST(rc == 0 || rc == -ERR_BAD_REQUEST || rc == -ERR_TOO_LARGE || rc == -ERR_NO_MEMORY);
	if (rc != 0)
		return 0;
	slowly(base, edits, &a, &expected);
	MUST(str_eq(buf_str(&out), buf_str(&expected)));
	return 0;
}
