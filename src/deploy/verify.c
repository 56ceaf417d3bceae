/* Whether settings and logs can be read (state/verify.h): JSON, secrets that open, chunks that inflate. */
#include "state/verify.h"

#include <inttypes.h>

#include "base/compress.h"
#include "base/limits.h"
#include "db/queries_verify.h"
#include "deploy/deploy.h"
#include "deploy/secrets.h"

struct page {
	struct arena *a;
	struct verify_cursor at;
	struct verify_settings_row *settings;
	struct verify_deployments_row *deployments;
	struct verify_logs_row *logs;
	size_t count;
};

static int settings_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	return q_verify_settings(c, p->a, &(struct verify_settings_in){ p->at.id, VERIFY_PAGE }, &p->settings,
				 &p->count, e);
}

static int deployments_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	return q_verify_deployments(c, p->a, &(struct verify_deployments_in){ p->at.id, VERIFY_PAGE }, &p->deployments,
				    &p->count, e);
}

static int logs_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	struct verify_logs_in in = {
		.after = p->at.id, .after_step = p->at.step, .after_line = p->at.line, .n = VERIFY_PAGE
	};
	return q_verify_logs(c, p->a, &in, &p->logs, &p->count, e);
}

static int check_settings(struct app *app, const char *stack_id, const char *text, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_secrets_key_ struct secrets_key key = { 0 };
	struct secret_list secrets = { 0 };
	struct json document;
	arena_init(&a, 0);
	int rc = json_check(str_of(text), &document, e);
	if (rc == 0)
		rc = secrets_key_load(app, &a, stack_id, &key, e);
	return rc < 0 ? rc : secrets_collect(&key, document, &a, &secrets, e);
}

static void settings_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_settings_row *s = &p->settings[i];
	struct err e = { 0 };
	v->settings++;
	if (check_settings(app, s->stack_id, s->document, &e) < 0)
		verify_problem(v, "deployment settings of stack %s: %s", s->stack_id, e.message);
	verify_at(&p->at, s->stack_id, "");
}

static void deployment_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_deployments_row *d = &p->deployments[i];
	struct err e = { 0 };
	v->settings++;
	if (check_settings(app, d->stack_id, d->settings, &e) < 0)
		verify_problem(v, "settings of deployment %s: %s", d->id, e.message);
	verify_at(&p->at, d->id, "");
}

static void log_row(struct app *app, struct verify *v, struct page *p, size_t i)
{
	const struct verify_logs_row *l = &p->logs[i];
	_cleanup_buf_ struct buf text;
	struct json root;
	struct err e = { 0 };
	buf_init(&text, 16 * LOG_APPEND_BYTES);
	v->logs++;
	if (zstd_decompress(l->body, 16 * LOG_APPEND_BYTES, &text, &e) < 0 || json_check(buf_str(&text), &root, &e) < 0)
		verify_problem(v, "log of deployment %s, step %" PRId64 ", from line %" PRId64 ": %s", l->deployment_id,
			       l->step, l->first_line, e.message);
	verify_at(&p->at, l->deployment_id, "");
	p->at.step = l->step;
	p->at.line = l->first_line;
}

static int walk(struct app *app, struct verify *v, db_fn fn,
		void (*row)(struct app *app, struct verify *v, struct page *p, size_t i), struct err *e)
{
	struct page p = { .count = VERIFY_PAGE };
	while (p.count == VERIFY_PAGE) {
		_cleanup_arena_ struct arena a;
		arena_init(&a, 0);
		p.a = &a;
		int rc = db_read(app->db, fn, &p, e);
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < p.count; i++)
			row(app, v, &p, i);
	}
	return 0;
}

int deploy_verify(struct app *app, struct verify *v, struct err *e)
{
	int rc = walk(app, v, settings_fn, settings_row, e);
	if (rc == 0)
		rc = walk(app, v, deployments_fn, deployment_row, e);
	if (rc == 0)
		rc = walk(app, v, logs_fn, log_row, e);
	return rc;
}
