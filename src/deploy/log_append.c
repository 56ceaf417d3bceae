#include <inttypes.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/limits.h"
#include "deploy/job.h"
#include "deploy/log_follow.h"
#include "deploy/log_lines.h"
#include "deploy/log_store.h"
#include "deploy/mask_cache.h"
#include "deploy/secrets.h"

/* Logs are read seldom and written live: speed before size. */
#define CHUNK_ZSTD_LEVEL 1
/* Masks and escapes lengthen a text. */
#define CHUNK_TEXT_BYTES (8 * LOG_APPEND_BYTES)
/* Two answers of one runner crossed each other this often: something is broken. */
#define APPEND_TRIES 5

struct append {
	struct app *app;
	struct arena *arena;
	const char *id;
	int64_t attempt;
	int64_t step;
	int64_t offset;
	struct log_lines lines;
	int64_t first;	 /* line_count of the step as last seen */
	struct str body; /* chunk from `first` on; absent: nothing new */
	int64_t now_us;
	bool moved; /* line_count is another one by now */
	struct deployment_get_row d;
};

static int look(struct db_conn *c, struct append *p, struct err *e)
{
	int rc = job_check(c, p->arena, p->id, p->attempt, &p->d, e);
	if (rc < 0)
		return rc;
	struct step_get_in in = { .deployment_id = p->id, .step = p->step };
	struct step_get_row row;
	rc = q_step_get(c, p->arena, &in, &row, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "step %" PRId64 " was not reported", p->step);
	if (row.line_count < p->offset)
		return err_set(e, ERR_CONFLICT, "expected offset %" PRId64, row.line_count);
	p->moved = row.line_count != p->first;
	p->first = row.line_count;
	return 0;
}

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	return look(c, arg, e);
}

static int append_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct append *p = arg;
	int rc = look(c, p, e);
	if (rc < 0 || p->moved)
		return rc;
	if (p->body.p) {
		int64_t next = p->offset + (int64_t)p->lines.count;
		struct log_advance_in advance = {
			.deployment_id = p->id, .step = p->step, .first_line = p->first, .next_line = next
		};
		struct log_append_in in = { .deployment_id = p->id,
					    .step = p->step,
					    .first_line = p->first,
					    .line_count = next - p->first,
					    .body = p->body,
					    .now_us = p->now_us };
		rc = q_log_advance(c, &advance, e);
		if (rc > 0)
			rc = q_log_append(c, &in, e);
		if (rc <= 0)
			return rc < 0 ? rc : err_set(e, ERR_CONFLICT, "the step's log moved");
	}
	return job_alive(c, p->app, &p->d, p->now_us, e);
}

/* The deployment's secrets; *ret stays NULL when it has none. */
static int make_mask(struct append *p, struct mask_set **ret, struct err *e)
{
	if (!strstr(p->d.settings, "\"" SECRET_LEAF "\""))
		return 0;
	*ret = mask_cache_get(p->id);
	if (*ret)
		return 0;
	_cleanup_secrets_key_ struct secrets_key key;
	struct secret_list list = { 0 };
	struct json settings;
	int rc = secrets_key_load(p->app, p->arena, p->d.stack_id, &key, e);
	if (rc == 0)
		rc = json_check(str_of(p->d.settings), &settings, e);
	if (rc == 0)
		rc = secrets_collect(&key, settings, p->arena, &list, e);
	if (rc == 0 && !(*ret = mask_set_new()))
		rc = err_nomem(e);
	for (size_t i = 0; rc >= 0 && i < list.count; i++)
		rc = mask_set_add(*ret, list.items[i], e);
	if (rc >= 0)
		rc = mask_set_build(*ret, e);
	if (rc == 0)
		mask_cache_put(p->id, *ret);
	return rc;
}

static int make_body(struct append *p, const struct mask_set *mask, struct buf *compressed, struct err *e)
{
	_cleanup_buf_ struct buf text;
	struct str chunk;
	buf_init(&text, CHUNK_TEXT_BYTES);
	buf_reset(compressed);
	p->body = STR_NULL;
	if (p->first - p->offset >= (int64_t)p->lines.count)
		return 0;
	int rc = log_lines_write(&p->lines, (size_t)(p->first - p->offset), mask, &text, &chunk, e);
	if (rc == 0)
		rc = zstd_compress(chunk, CHUNK_ZSTD_LEVEL, compressed, e);
	if (rc == 0)
		p->body = buf_str(compressed);
	return rc;
}

int log_append(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, int64_t step,
	       int64_t offset, struct json lines, int64_t *ret_next, struct err *e)
{
	struct append p = { .app = app,
			    .arena = a,
			    .id = deployment_id,
			    .attempt = attempt,
			    .step = step,
			    .offset = offset,
			    .now_us = clock_now_us() };
	_cleanup_buf_ struct buf compressed;
	buf_init(&compressed, CHUNK_TEXT_BYTES);
	_cleanup_mask_set_ struct mask_set *mask = NULL;
	int rc = log_lines_read(lines, &p.lines, e);
	if (rc == 0)
		rc = db_read(app->db, look_fn, &p, e);
	if (rc == 0)
		rc = make_mask(&p, &mask, e);
	for (int i = 0; rc == 0 && i < APPEND_TRIES; i++) {
		rc = make_body(&p, mask, &compressed, e);
		if (rc == 0)
			rc = db_write(app->db, append_fn, &p, e);
		if (rc == 0 && !p.moved) {
			int64_t next = offset + (int64_t)p.lines.count;
			if (p.body.p)
				log_changed(app, a, deployment_id);
			*ret_next = p.first > next ? p.first : next;
			return 0;
		}
	}
	return rc < 0 ? rc : err_set(e, ERR_CONFLICT, "expected offset %" PRId64, p.first);
}
