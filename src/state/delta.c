#include "state/delta.h"

#include <inttypes.h>
#include <stdlib.h>

void delta_pieces_done(struct delta_pieces *p)
{
	free(p->list);
	*p = (struct delta_pieces){ 0 };
}

int delta_pieces_init(struct delta_pieces *p, struct arena *a, struct str text, struct err *e)
{
	*p = (struct delta_pieces){ .a = a, .list = calloc(1, sizeof(*p->list)), .count = 1, .n = text.n };
	if (!p->list)
		return err_nomem(e);
	p->list[0] = text;
	return 0;
}

struct edit {
	size_t from, to;
	struct str text;
};

static int offset_of(struct json edit, const char *end, size_t number, int64_t *ret, struct err *e)
{
	struct json v = json_path(edit, "Span", end, "offset", NULL);
	if (!json_int64(v, ret))
		return err_set(e, ERR_BAD_REQUEST, "/deploymentDelta/%zu/Span/%s/offset: must be an integer", number,
			       end);
	return 0;
}

/* at: where the edit before it ended. */
static int read_edit(const struct delta_pieces *p, struct json v, size_t number, size_t at, struct edit *ret,
		     struct err *e)
{
	int64_t from, to;
	struct json text = json_get(v, "NewText");
	int rc = offset_of(v, "start", number, &from, e);
	if (rc == 0)
		rc = offset_of(v, "end", number, &to, e);
	if (rc < 0)
		return rc;
	if (from < (int64_t)at || to < from || to > (int64_t)p->n)
		return err_set(e, ERR_BAD_REQUEST,
			       "/deploymentDelta/%zu: the span %" PRId64 " to %" PRId64
			       " does not follow the one before it within the %zu bytes that were saved last",
			       number, from, to, p->n);
	if (json_type(text) != JSON_STRING)
		return err_set(e, ERR_BAD_REQUEST, "/deploymentDelta/%zu/NewText: must be a string", number);
	*ret = (struct edit){ (size_t)from, (size_t)to };
	return json_string(text, p->a, &ret->text) ? 0 : err_nomem(e);
}

/* Where the walk over the former pieces is. */
struct cursor {
	const struct delta_pieces *p;
	size_t piece, inside, at;
};

static void push(struct delta_pieces *now, struct str s)
{
	if (s.n == 0)
		return;
	now->list[now->count++] = s;
	now->n += s.n;
}

/* Goes on up to offset `to`; what is passed is kept (now) or dropped (NULL). */
static void walk(struct cursor *c, size_t to, struct delta_pieces *now)
{
	while (c->at < to) {
		struct str piece = c->p->list[c->piece];
		size_t n = piece.n - c->inside;
		if (n > to - c->at)
			n = to - c->at;
		if (now)
			push(now, (struct str){ piece.p + c->inside, n });
		c->at += n;
		c->inside += n;
		if (c->inside == piece.n) {
			c->piece++;
			c->inside = 0;
		}
	}
}

int delta_edit(struct delta_pieces *p, struct json edits, struct err *e)
{
	size_t number = 0;
	struct json v;
	_cleanup_delta_pieces_ struct delta_pieces now = { .a = p->a };
	if (json_type(edits) != JSON_ARRAY)
		return err_set(e, ERR_BAD_REQUEST, "/deploymentDelta: must be an array");
	/* An edit cuts one piece in two at most, and adds one. */
	now.list = calloc(p->count + 2 * json_count(edits) + 1, sizeof(*now.list));
	struct cursor c = { .p = p };
	if (!now.list)
		return err_nomem(e);
	json_foreach(v, edits) {
		struct edit edit;
		int rc = read_edit(p, v, number++, c.at, &edit, e);
		if (rc < 0)
			return rc;
		walk(&c, edit.from, &now);
		push(&now, edit.text);
		walk(&c, edit.to, NULL);
	}
	walk(&c, p->n, &now);
	struct delta_pieces was = *p;
	*p = now;
	now = was;
	return 0;
}

int delta_write(const struct delta_pieces *p, struct buf *out, struct err *e)
{
	buf_reserve(out, p->n);
	for (size_t i = 0; i < p->count; i++)
		buf_add_str(out, p->list[i]);
	return buf_check(out, "the state", e);
}
