/* Whether settings and logs can be read (state/verify.h): JSON, secrets that open, chunks that inflate. */
#include "state/verify.h"

#include <inttypes.h>

#include "base/compress.h"
#include "base/limits.h"
#include "blob/blob.h"
#include "db/queries_listing.h"
#include "db/queries_verify.h"
#include "deploy/deploy.h"
#include "deploy/secrets.h"

struct page {
	struct verify_page p;
	struct verify_settings_row *settings;
	struct verify_settings_versions_row *versions;
	struct verify_deployments_row *deployments;
	struct verify_logs_row *logs;
	struct verify_cache_row *cache;
};

static int settings_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	return q_verify_settings(c, p->p.a, &(struct verify_settings_in){ p->p.at.id, VERIFY_PAGE }, &p->settings,
				 &p->p.count, e);
}

static int versions_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	struct verify_settings_versions_in in = { .after = p->p.at.id,
						  .after_version = p->p.at.line,
						  .n = VERIFY_PAGE };
	return q_verify_settings_versions(c, p->p.a, &in, &p->versions, &p->p.count, e);
}

static int deployments_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	return q_verify_deployments(c, p->p.a, &(struct verify_deployments_in){ p->p.at.id, VERIFY_PAGE },
				    &p->deployments, &p->p.count, e);
}

static int logs_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	struct verify_logs_in in = {
		.after = p->p.at.id, .after_step = p->p.at.step, .after_line = p->p.at.line, .n = VERIFY_PAGE
	};
	return q_verify_logs(c, p->p.a, &in, &p->logs, &p->p.count, e);
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
	/* Removed since, and these settings with it. */
	if (rc == -ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc : secrets_collect(&key, document, &a, &secrets, e);
}

static void settings_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_settings_row *s = &p->settings[i];
	struct err e = { 0 };
	v->settings++;
	if (check_settings(app, s->stack_id, s->document, &e) < 0)
		verify_problem(v, "deployment settings of stack %s: %s", s->stack_id, e.message);
	verify_at(&page->at, s->stack_id, "");
}

static void version_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_settings_versions_row *s = &p->versions[i];
	struct err e = { 0 };
	v->settings++;
	if (s->document && check_settings(app, s->stack_id, s->document, &e) < 0)
		verify_problem(v, "version %" PRId64 " of the deployment settings of stack %s: %s", s->version,
			       s->stack_id, e.message);
	verify_at(&page->at, s->stack_id, "");
	page->at.line = s->version;
}

static void deployment_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_deployments_row *d = &p->deployments[i];
	struct err e = { 0 };
	v->settings++;
	if (check_settings(app, d->stack_id, d->settings, &e) < 0)
		verify_problem(v, "settings of deployment %s: %s", d->id, e.message);
	verify_at(&page->at, d->id, "");
}

static void log_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_logs_row *l = &p->logs[i];
	_cleanup_buf_ struct buf text;
	struct json root;
	struct err e = { 0 };
	buf_init(&text, 16 * LOG_APPEND_BYTES);
	v->logs++;
	if (zstd_decompress(l->body, 16 * LOG_APPEND_BYTES, &text, &e) < 0 || json_check(buf_str(&text), &root, &e) < 0)
		verify_problem(v, "log of deployment %s, step %" PRId64 ", from line %" PRId64 ": %s", l->deployment_id,
			       l->step, l->first_line, e.message);
	verify_at(&page->at, l->deployment_id, "");
	page->at.step = l->step;
	page->at.line = l->first_line;
}

static int cache_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct page *p = arg;
	struct verify_cache_in in = { .after = p->p.at.id, .n = VERIFY_PAGE };
	return q_verify_cache(c, p->p.a, &in, &p->cache, &p->p.count, e);
}

/* One without its file is no damage: no backup has it, and its readers do without. */
static void cache_row(struct app *app, struct verify *v, struct verify_page *page, size_t i)
{
	struct page *p = (struct page *)page;
	const struct verify_cache_row *n = &p->cache[i];
	struct err e = { 0 };
	v->cache_entries++;
	int rc = blob_check(app->cache, n->blob_key, &e);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		verify_problem(v, "dependency cache of %s/%s: '%s': %s", n->org, n->project, n->key, e.message);
	verify_at(&page->at, n->id, "");
}

struct wrong {
	struct arena *a;
	struct counts_wrong_row *rows;
	size_t count;
};

static int counts_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct wrong *p = arg;
	return q_counts_wrong(c, p->a, &p->rows, &p->count, e);
}

/* The totals that lists show, beside the rows themselves (listing.h). */
static int verify_counts(struct app *app, struct verify *v, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct wrong p = { .a = &a };
	int rc = db_read(app->db, counts_fn, &p, e);
	for (size_t i = 0; rc >= 0 && i < p.count; i++)
		verify_problem(v,
			       "the count of deployments %s of organization %s (bucket %" PRId64
			       ") is too high by %" PRId64,
			       p.rows[i].status, p.rows[i].org_name, p.rows[i].bucket, p.rows[i].too_many);
	return rc < 0 ? rc : 0;
}

int deploy_verify(struct app *app, struct verify *v, struct err *e)
{
	struct page page = { 0 };
	int rc = verify_walk(app, v, settings_fn, settings_row, &page.p, e);
	if (rc == 0)
		rc = verify_walk(app, v, versions_fn, version_row, &page.p, e);
	if (rc == 0)
		rc = verify_walk(app, v, deployments_fn, deployment_row, &page.p, e);
	if (rc == 0)
		rc = verify_walk(app, v, logs_fn, log_row, &page.p, e);
	if (rc == 0)
		rc = verify_walk(app, v, cache_fn, cache_row, &page.p, e);
	return rc < 0 ? rc : verify_counts(app, v, e);
}
