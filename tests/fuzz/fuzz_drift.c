/*
 * What differs between the two states of a resource, out of any event: a list that is valid JSON, within its bounds, and
 * nothing where the two are the same and the provider says nothing.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "state/drift_diff.h"

static size_t diff(struct json metadata, struct buf *out)
{
	_cleanup_arena_ struct arena a;
	struct json_writer w;
	struct json list;
	bool cut;
	arena_init(&a, 16 * MIB);
	buf_reset(out);
	jw_init(&w, out);
	size_t count = drift_diff_write(metadata, &a, &w, &cut);
	MUST(count <= DRIFT_PROPERTIES_MAX);
	if (arena_failed(&a))
		return count;
	MUST(!buf_failed(out));
	MUST(json_check(buf_str(out), &list, NULL) == 0);
	MUST(json_type(list) == JSON_ARRAY && json_count(list) == count);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json metadata, same;
	_cleanup_buf_ struct buf out, text;
	buf_init(&out, 4 * MIB);
	buf_init(&text, 4 * MIB);
	if (json_check((struct str){ (const char *)data, size }, &metadata, NULL) < 0)
		return 0;
	diff(metadata, &out);
	struct json old = json_get(metadata, "old");
	if (!old.p)
		return 0;
	buf_adds(&text, "{\"old\":");
	buf_add(&text, old.p, old.n);
	buf_adds(&text, ",\"new\":");
	buf_add(&text, old.p, old.n);
	buf_addc(&text, '}');
	MUST(json_check(buf_str(&text), &same, NULL) == 0);
	MUST(diff(same, &out) == 0);
	return 0;
}
