#include "state/delta.h"

#include <inttypes.h>

static int offset_of(struct json edit, const char *end, size_t number, int64_t *ret, struct err *e)
{
	struct json v = json_path(edit, "Span", end, "offset", NULL);
	if (!json_int64(v, ret))
		return err_set(e, ERR_BAD_REQUEST, "/deploymentDelta/%zu/Span/%s/offset: must be an integer", number,
			       end);
	return 0;
}

int delta_apply(struct str base, struct json edits, struct arena *a, struct buf *out, struct err *e)
{
	size_t at = 0, number = 0;
	struct json edit;
	if (json_type(edits) != JSON_ARRAY)
		return err_set(e, ERR_BAD_REQUEST, "/deploymentDelta: must be an array");
	json_foreach(edit, edits) {
		int64_t from, to;
		struct str text;
		struct json new_text = json_get(edit, "NewText");
		int rc = offset_of(edit, "start", number, &from, e);
		if (rc == 0)
			rc = offset_of(edit, "end", number, &to, e);
		if (rc < 0)
			return rc;
		if (from < (int64_t)at || to < from || to > (int64_t)base.n)
			return err_set(e, ERR_BAD_REQUEST,
				       "/deploymentDelta/%zu: the span %" PRId64 " to %" PRId64
				       " does not follow the one before it within the %zu bytes that were saved last",
				       number, from, to, base.n);
		if (json_type(new_text) != JSON_STRING)
			return err_set(e, ERR_BAD_REQUEST, "/deploymentDelta/%zu/NewText: must be a string", number);
		if (!json_string(new_text, a, &text))
			return err_nomem(e);
		buf_add(out, base.p + at, (size_t)from - at);
		buf_add_str(out, text);
		at = (size_t)to;
		number++;
	}
	buf_add(out, base.p + at, base.n - at);
	return buf_check(out, "the state", e);
}
