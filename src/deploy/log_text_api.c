/* The log as plain text: all of it, or its last lines, as far as it is there when it is asked for. */
#include "base/ansi.h"
#include "deploy/deployments_api.h"
#include "deploy/log_store.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

/* What is held in memory of one answer; a single line may be longer. */
#define PIECE_BYTES (256 * KIB)
#define PIECE_LINES 100000
#define PIECE_MAX_BYTES (32 * MIB)
#define TAIL_MAX INT64_C(1000000000)

static const char *const ansi_words[] = { "keep", "strip", NULL };
const struct field log_text_query[] = {
	QUERY("tail", FIELD_INT, .min = 0, .max = TAIL_MAX, .doc = "only so many of the last lines"),
	QUERY("ansi", FIELD_STRING, .min = 1, .one_of = ansi_words, .doc = "strip takes colours out"), FIELD_END
};

struct text {
	const char *id;
	struct log_place at, end;
	bool strip;
	struct ansi_filter ansi;
	bool in_line; /* the last line has no break (yet) */
};

static int begin(struct request *r, struct text **ret, struct err *e)
{
	const char *id, *ansi = request_query(r, "ansi");
	int64_t tail;
	struct log_place from = { 0 }, end;
	bool strip = ansi && streq(ansi, "strip");
	int rc = deploy_find(r, &id, e);
	if (rc == 0)
		rc = request_query_int(r, "tail", 0, TAIL_MAX, -1, &tail, e);
	if (rc < 0)
		return rc;
	rc = log_tail_place(app_of(r), r->arena, id, 0, &end, e);
	if (rc == 0 && tail >= 0)
		rc = log_tail_place(app_of(r), r->arena, id, tail, &from, e);
	if (rc < 0)
		return rc;
	*ret = request_stream_state(r, sizeof(**ret), NULL);
	if (!*ret)
		return err_nomem(e);
	**ret = (struct text){ .id = id, .at = from, .end = end, .strip = strip };
	return 0;
}

static int put_item(struct text *t, struct arena *a, const struct log_item *item, struct buf *out, struct err *e)
{
	struct str line;
	if (t->in_line && (item->header || item->step < 0)) {
		buf_addc(out, '\n');
		t->in_line = false;
		t->ansi = (struct ansi_filter){ 0 };
	}
	if (item->header) {
		buf_addf(out, "== %s\n", item->header);
		return 0;
	}
	if (!json_string(item->text, a, &line))
		return err_nomem(e);
	if (t->strip)
		ansi_strip(&t->ansi, line, out);
	else
		buf_add_str(out, line);
	if (line.n > 0)
		t->in_line = line.p[line.n - 1] != '\n';
	return 0;
}

/* Whether the log was that long already when it was asked for: one that grows faster than the client reads has an end. */
static bool is_read(const struct text *t, const struct log_page *page)
{
	return !page->full || t->at.step > t->end.step || (t->at.step == t->end.step && t->at.offset >= t->end.offset);
}

int deploy_log_text(struct request *r, struct response *w, struct err *e)
{
	struct text *t = r->stream;
	struct log_page page;
	_cleanup_buf_ struct buf out;
	buf_init(&out, PIECE_MAX_BYTES);
	int rc = t ? 0 : begin(r, &t, e);
	if (rc == 0)
		rc = log_read_stream(app_of(r), r->arena, t->id, t->at, PIECE_LINES, PIECE_BYTES, &page, e);
	for (size_t i = 0; rc == 0 && i < page.count; i++)
		rc = put_item(t, r->arena, &page.items[i], &out, e);
	if (rc == 0)
		rc = buf_check(&out, "text of the log", e);
	if (rc < 0)
		return rc;
	t->at = page.next;
	response_stream(w, "text/plain; charset=utf-8");
	response_header(w, "Cache-Control", "no-store");
	response_header(w, "X-Content-Type-Options", "nosniff");
	struct http_piece *piece = http_piece_new(buf_str(&out));
	if (!piece)
		return err_nomem(e);
	response_piece(w, piece);
	return is_read(t, &page) ? 0 : HTTP_MORE;
}
