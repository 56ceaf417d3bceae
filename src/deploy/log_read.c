#include <inttypes.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/limits.h"
#include "deploy/log_store.h"

#define CHUNK_TEXT_BYTES (8 * LOG_APPEND_BYTES)
/* Small appends make small chunks: so many are asked for at once. */
#define CHUNKS_AT_ONCE 16

struct reading {
	struct arena *arena;
	const char *id;
	struct log_place from;
	int64_t step;
	int64_t offset; /* streaming: as in a place. Step form: the line */
	int64_t max_lines;
	size_t bytes, max_bytes;
	struct log_page *page;
	struct deployment_get_row d;
	struct step_list_row *steps;
	size_t step_count;
};

static struct log_item *add_item(struct reading *r)
{
	struct log_page *p = r->page;
	if (p->count == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 64;
		struct log_item *items = arena_array(r->arena, cap, sizeof(*items));
		if (!items)
			return NULL;
		if (p->count)
			memcpy(items, p->items, p->count * sizeof(*items));
		p->items = items;
		p->cap = cap;
	}
	return &p->items[p->count++];
}

static bool full(const struct reading *r)
{
	return (int64_t)r->page->count >= r->max_lines || r->bytes >= r->max_bytes;
}

static int add_text(struct reading *r, int64_t t_us, const char *text, struct err *e)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 16 * KIB);
	json_quote(&b, str_of(text));
	struct log_item *item = add_item(r);
	char *copy = arena_strndup(r->arena, b.data ? b.data : "", b.len);
	if (!item || !copy)
		return err_nomem(e);
	*item = (struct log_item){ .step = -1, .t_us = t_us, .text = { copy, b.len } };
	return 0;
}

static int open_chunk(struct arena *a, struct str body, struct json *ret, struct err *e)
{
	_cleanup_buf_ struct buf text;
	buf_init(&text, CHUNK_TEXT_BYTES);
	int rc = zstd_decompress(body, CHUNK_TEXT_BYTES, &text, e);
	if (rc < 0)
		return err_wrap(e, "a stored log chunk");
	/* The spans that are handed out live in the arena. */
	char *copy = arena_strndup(a, text.data, text.len);
	if (!copy)
		return err_nomem(e);
	return json_check((struct str){ copy, text.len }, ret, e);
}

/* Adds lines of the step from *line on until the page is full or nothing is left; moves *line. */
static int add_lines(struct db_conn *c, struct reading *r, int64_t step, int64_t *line, int64_t end, struct err *e)
{
	while (*line < end && !full(r)) {
		struct log_chunk_at_in in = {
			.deployment_id = r->id, .step = step, .line = *line, .n = CHUNKS_AT_ONCE
		};
		struct log_chunk_at_row *rows;
		size_t count;
		int64_t before = *line;
		int rc = q_log_chunk_at(c, r->arena, &in, &rows, &count, e);
		for (size_t i = 0; rc >= 0 && i < count && !full(r); i++) {
			struct json chunk, item;
			int64_t n = rows[i].first_line;
			if (n > *line || n + rows[i].line_count <= *line)
				continue;
			rc = open_chunk(r->arena, rows[i].body, &chunk, e);
			if (rc < 0)
				break;
			json_foreach(item, chunk) {
				if (n++ < *line)
					continue;
				if (*line >= end || full(r))
					break;
				struct log_item *out = add_item(r);
				if (!out)
					return err_nomem(e);
				*out = (struct log_item){ .step = step, .line = *line, .text = json_get(item, "l") };
				json_int64(json_get(item, "t"), &out->t_us);
				r->bytes += out->text.n;
				(*line)++;
			}
		}
		if (rc < 0)
			return rc;
		if (*line == before)
			return err_set(e, ERR_INTERNAL, "line %" PRId64 " of step %" PRId64 " is missing", before,
				       step);
	}
	return 0;
}

static int load(struct db_conn *c, struct reading *r, struct err *e)
{
	struct deployment_get_in in = { .id = r->id };
	struct step_list_in steps = { .deployment_id = r->id };
	int rc = q_deployment_get(c, r->arena, &in, &r->d, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "deployment %s", r->id);
	return rc < 0 ? rc : q_step_list(c, r->arena, &steps, &r->steps, &r->step_count, e);
}

/* The CLI that sees the header "pulumi update" leaves the log and follows the update's events, for which it waits only
 * five seconds (cli-protocol §4.2): so the header comes when an update has been started (before that it has no version),
 * or under another name when the step has ended without one. NULL: not yet. */
static int header_of(struct db_conn *c, struct reading *r, const struct step_list_row *step, bool ended,
		     const char **ret, struct err *e)
{
	static const char *const followed[] = { "pulumi update", "pulumi preview", "pulumi refresh", "pulumi destroy" };
	bool is_followed = false;
	for (size_t i = 0; i < ARRAY_SIZE(followed); i++)
		is_followed = is_followed || streq(step->name, followed[i]);
	*ret = step->name;
	if (!is_followed)
		return 0;
	struct update_summary *updates;
	size_t count;
	int rc = state_updates_of_deployment(c, r->arena, r->id, &updates, &count, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++)
		if (updates[i].started_us != DB_NULL_INT)
			return 0;
	*ret = ended ? "Pulumi operation" : NULL;
	return 0;
}

static int read_one_step(struct db_conn *c, struct reading *r, bool over, bool *ret_wait, struct err *e)
{
	const struct step_list_row *s = &r->steps[r->step];
	bool ended = streq(s->status, "succeeded") || streq(s->status, "failed") || over;
	int rc;
	*ret_wait = false;
	if (streq(s->status, "not-started")) {
		*ret_wait = !over;
		return 0;
	}
	if (r->offset == 0) {
		const char *header;
		rc = header_of(c, r, s, ended, &header, e);
		if (rc < 0)
			return rc;
		*ret_wait = header == NULL;
		if (*ret_wait)
			return 0;
		struct log_item *item = add_item(r);
		if (!item)
			return err_nomem(e);
		*item = (struct log_item){ .header = header, .step = r->step };
		r->offset = 1;
	}
	if (r->d.log_removed_us != DB_NULL_INT)
		return 0;
	int64_t line = r->offset - 1;
	rc = add_lines(c, r, s->step, &line, s->line_count, e);
	r->offset = line + 1;
	/* A step's last lines may come after its end was reported: only what follows it shows that it is complete. */
	*ret_wait = line < s->line_count || !(over || (ended && (size_t)r->step + 1 < r->step_count));
	return rc;
}

/* Whether the log's last line says already why the deployment ended. */
static int is_told(struct db_conn *c, struct reading *r, bool *ret, struct err *e)
{
	size_t i = r->step_count;
	*ret = false;
	while (i > 0 && r->steps[i - 1].line_count == 0)
		i--;
	if (i == 0 || r->d.log_removed_us != DB_NULL_INT)
		return 0;
	const struct step_list_row *s = &r->steps[i - 1];
	struct log_chunk_tail_in in = { .deployment_id = r->id, .step = s->step, .before = s->line_count, .n = 1 };
	struct log_chunk_tail_row *row;
	size_t count;
	struct json chunk, item, last = JSON_ABSENT;
	struct str text;
	int rc = q_log_chunk_tail(c, r->arena, &in, &row, &count, e);
	if (rc < 0 || count == 0)
		return rc;
	rc = open_chunk(r->arena, row[0].body, &chunk, e);
	if (rc < 0)
		return rc;
	json_foreach(item, chunk)
		last = json_get(item, "l");
	*ret = json_string(last, r->arena, &text) && memmem(text.p, text.n, r->d.message, strlen(r->d.message)) != NULL;
	return 0;
}

/* Every token that was given out names a place that exists, and places do not go away. */
static bool is_a_place(const struct reading *r)
{
	size_t step = (size_t)r->from.step;
	if (step >= r->step_count)
		return step == r->step_count && r->from.offset == 0;
	return r->from.offset <= r->steps[step].line_count + 1;
}

static int stream_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct reading *r = arg;
	r->page->count = 0;
	r->bytes = 0;
	r->page->complete = false;
	r->step = r->from.step;
	r->offset = r->from.offset;
	int rc = load(c, r, e);
	if (rc < 0)
		return rc;
	if (!is_a_place(r))
		return err_set(e, ERR_BAD_REQUEST, "the continuation token is not one of this log");
	bool over = deployment_is_over(r->d.status), wait = false;
	while (!full(r) && (size_t)r->step < r->step_count) {
		rc = read_one_step(c, r, over, &wait, e);
		if (rc < 0)
			return rc;
		if (wait)
			break;
		r->step++;
		r->offset = 0;
	}
	if (over && (size_t)r->step >= r->step_count && !full(r)) {
		/* Why it ended stands last: the only place where a client of the log can see it. */
		int64_t t_us = r->d.ended_us == DB_NULL_INT ? r->d.modified_us : r->d.ended_us;
		if (r->d.log_removed_us != DB_NULL_INT)
			rc = add_text(r, t_us, "The log was kept for its time and then removed.\n", e);
		bool told = !r->d.message[0];
		if (rc == 0 && !told)
			rc = is_told(c, r, &told, e);
		const char *message = arena_printf(r->arena, "%s\n", r->d.message);
		if (rc == 0 && !message)
			return err_nomem(e);
		if (rc == 0 && !told)
			rc = add_text(r, t_us, message, e);
		r->page->complete = true;
	}
	r->page->next = (struct log_place){ r->step, r->offset };
	r->page->full = !r->page->complete && full(r);
	return rc;
}

const char *log_place_token(struct arena *a, struct log_place p)
{
	return arena_printf(a, "0.%" PRId64 ".%" PRId64, p.step, p.offset);
}

bool log_place_parse(const char *token, struct log_place *ret)
{
	struct str rest;
	int64_t job;
	struct str first = str_cut(str_of(token), '.', &rest);
	struct str second = str_cut(rest, '.', &rest);
	return rest.p && str_to_int64(first, &job) && job == 0 && str_to_int64(second, &ret->step) &&
	       str_to_int64(rest, &ret->offset) && ret->step >= 0 && ret->offset >= 0 && ret->step < INT32_MAX &&
	       ret->offset < INT64_MAX - 1;
}

int log_read_stream(struct app *app, struct arena *a, const char *deployment_id, struct log_place from,
		    int64_t max_lines, size_t max_bytes, struct log_page *ret, struct err *e)
{
	struct log_page page = { .next_offset = DB_NULL_INT };
	struct reading r = { .arena = a,
			     .id = deployment_id,
			     .from = from,
			     .max_lines = max_lines,
			     .max_bytes = max_bytes,
			     .page = &page };
	int rc = db_read(app->db, stream_fn, &r, e);
	if (rc < 0)
		return rc;
	page.deployment = r.d;
	page.steps = r.steps;
	page.step_count = r.step_count;
	*ret = page;
	return 0;
}

static int step_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct reading *r = arg;
	r->page->count = 0;
	r->bytes = 0;
	int rc = load(c, r, e);
	if (rc < 0)
		return rc;
	if (r->step < 0 || (size_t)r->step >= r->step_count)
		return err_set(e, ERR_NOT_FOUND, "step %" PRId64, r->step);
	const struct step_list_row *s = &r->steps[r->step];
	r->page->step_name = s->name;
	bool over = deployment_is_over(r->d.status), removed = r->d.log_removed_us != DB_NULL_INT;
	int64_t line = r->offset;
	if (!removed)
		rc = add_lines(c, r, s->step, &line, s->line_count, e);
	if (rc < 0)
		return rc;
	bool complete = removed || (line >= s->line_count && (over || (size_t)r->step + 1 < r->step_count));
	r->page->next_offset = complete ? DB_NULL_INT : line;
	return 0;
}

int log_read_step(struct app *app, struct arena *a, const char *deployment_id, int64_t step, int64_t offset,
		  int64_t count, struct log_page *ret, struct err *e)
{
	struct log_page page = { 0 };
	struct reading r = { .arena = a,
			     .id = deployment_id,
			     .step = step,
			     .offset = offset,
			     .max_lines = count,
			     .max_bytes = LOG_PAGE_BYTES,
			     .page = &page };
	int rc = db_read(app->db, step_fn, &r, e);
	if (rc < 0)
		return rc;
	*ret = page;
	return 0;
}

struct tail {
	struct arena *arena;
	const char *id;
	struct step_list_row *steps;
	size_t count;
};

static int tail_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct tail *t = arg;
	struct step_list_in in = { .deployment_id = t->id };
	return q_step_list(c, t->arena, &in, &t->steps, &t->count, e);
}

int log_tail_place(struct app *app, struct arena *a, const char *deployment_id, int64_t n, struct log_place *ret,
		   struct err *e)
{
	struct tail t = { .arena = a, .id = deployment_id };
	int rc = db_read(app->db, tail_fn, &t, e);
	if (rc < 0)
		return rc;
	*ret = (struct log_place){ 0 };
	for (size_t i = t.count; i-- > 0;) {
		int64_t lines = t.steps[i].line_count;
		*ret = (struct log_place){ t.steps[i].step, n < lines ? 1 + lines - n : 0 };
		if (n < lines || (n == lines && n > 0))
			break;
		n -= lines;
	}
	return 0;
}

int log_tail_text(struct db_conn *c, struct arena *a, const char *deployment_id, int64_t step, size_t max_bytes,
		  struct str *ret, struct err *e)
{
	struct json *lines = NULL;
	size_t count = 0, bytes = 0;
	int64_t before = INT64_MAX;
	bool done = false;
	/* Backwards, chunk by chunk, until enough lines are there. */
	struct log_chunk_tail_row *rows;
	size_t row_count, total = 0;
	struct json chunks[256];
	size_t chunk_count = 0;
	while (!done && chunk_count < ARRAY_SIZE(chunks)) {
		struct log_chunk_tail_in in = {
			.deployment_id = deployment_id, .step = step, .before = before, .n = CHUNKS_AT_ONCE
		};
		int rc = q_log_chunk_tail(c, a, &in, &rows, &row_count, e);
		if (rc < 0)
			return rc;
		done = row_count == 0;
		for (size_t i = 0; i < row_count && !done && chunk_count < ARRAY_SIZE(chunks); i++) {
			rc = open_chunk(a, rows[i].body, &chunks[chunk_count], e);
			if (rc < 0)
				return rc;
			before = rows[i].first_line;
			total += (size_t)rows[i].line_count;
			bytes += chunks[chunk_count++].n;
			done = bytes >= max_bytes;
		}
	}
	lines = arena_array(a, total, sizeof(*lines));
	if (!lines)
		return err_nomem(e);
	for (size_t i = chunk_count; i-- > 0;) {
		struct json item;
		json_foreach(item, chunks[i])
			if (count < total)
				lines[count++] = json_get(item, "l");
	}
	size_t first = count, size = 0;
	while (first > 0 && size + lines[first - 1].n <= max_bytes)
		size += lines[--first].n;
	_cleanup_buf_ struct buf b;
	buf_init(&b, max_bytes + 1);
	for (size_t i = first; i < count; i++) {
		struct str s;
		if (!json_string(lines[i], a, &s))
			return err_nomem(e);
		buf_add_str(&b, s);
	}
	int rc = buf_check(&b, "log", e);
	if (rc < 0)
		return rc;
	char *text = arena_strndup(a, b.data ? b.data : "", b.len);
	if (!text)
		return err_nomem(e);
	*ret = (struct str){ text, b.len };
	return 0;
}
