#include <stdio.h>

#include "agent/forward.h"
#include "agent/internal.h"
#include "agent/metrics.h"
#include "agent/source.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"

#define LINE_MAX_BYTES (16 * KIB)
/* Its time and number, on the way and in the store. */
#define LINE_COSTS_BYTES 32

static void on_line(void *arg, struct str line)
{
	struct job *j = arg;
	metric_add(METRIC_LOG_LINES, 1);
	metric_add(METRIC_LOG_BYTES, (int64_t)line.n);
	upload_line(j->upload, j->step, line);
}

void job_step_begin(struct job *j, const char *name)
{
	BUG_ON(j->step_open);
	j->step++;
	j->step_open = true;
	j->step_began_us = clock_mono_us();
	snprintf(j->step_name, sizeof(j->step_name), "%s", name);
	lines_init(&j->lines, j->mask, on_line, j);
	upload_step(j->upload, j->step, j->step_name, "running");
}

void job_step_end(struct job *j, bool ok)
{
	if (!j->step_open)
		return;
	lines_end(&j->lines);
	metric_add(METRIC_MASKED, (int64_t)j->lines.mask.replaced);
	metric_step(j->step_name, clock_mono_us() - j->step_began_us);
	if (j->lines.failed)
		log_warn("agent", "%s: step %d: out of memory, a part of its log is lost", j->claim.deployment,
			 j->step);
	lines_done(&j->lines);
	j->step_open = false;
	upload_step(j->upload, j->step, j->step_name, ok ? "succeeded" : "failed");
}

void job_step_skipped(struct job *j, const char *name)
{
	j->step++;
	upload_step(j->upload, j->step, name, "not-started");
}

void job_line(struct job *j, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b;
	va_list ap;
	buf_init(&b, LINE_MAX_BYTES);
	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	buf_addc(&b, '\n');
	lines_own(&j->lines, buf_str(&b));
}

/* How many of the bytes the log still takes, and what they count there: each line costs more than its text. */
static size_t fitting(struct str bytes, int64_t room, int64_t *ret_counted)
{
	size_t n = 0;
	*ret_counted = 0;
	while (n < bytes.n && *ret_counted < room) {
		const char *nl = memchr(bytes.p + n, '\n', bytes.n - n);
		size_t piece = nl ? (size_t)(nl - bytes.p) + 1 - n : bytes.n - n;
		if ((int64_t)piece > room - *ret_counted)
			piece = (size_t)(room - *ret_counted);
		*ret_counted += (int64_t)piece + LINE_COSTS_BYTES;
		n += piece;
	}
	return n;
}

void job_output(struct job *j, struct str bytes)
{
	int64_t limit = j->agent->limits.log_bytes, counted = 0;
	char text[32];
	size_t n = limit ? fitting(bytes, limit - j->printed_bytes, &counted) : bytes.n;
	j->printed_bytes += counted;
	lines_feed(&j->lines, (struct str){ bytes.p, n });
	if (n == bytes.n || j->cut_step == j->step)
		return;
	/* Once in each step, so that none of them looks as if it had said nothing. */
	j->cut_step = j->step;
	job_line(j, "The log of this deployment has reached its limit of %s: further output is not kept.",
		 limits_size(limit, text, sizeof(text)));
}

static int add(struct job *j, const char *value, struct err *e)
{
	return value ? mask_set_add(j->mask, str_of(value), e) : 0;
}

/* A proxy's password comes from our own environment, and goes into the run's. */
static int add_proxies(struct job *j, struct err *e)
{
	static const char *const names[] = { "HTTP_PROXY",  "http_proxy", "HTTPS_PROXY",
					     "https_proxy", "ALL_PROXY",  "all_proxy" };
	int r = 0;
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(names); i++) {
		const char *value = getenv(names[i]);
		const char *begin = value ? strstr(value, "://") : NULL;
		const char *at = begin ? strrchr(begin, '@') : NULL;
		const char *colon = at ? strchr(begin + 3, ':') : NULL;
		struct str plain;
		if (!colon || colon > at)
			continue;
		struct str password = { colon + 1, (size_t)(at - colon - 1) };
		r = mask_set_add(j->mask, password, e);
		if (r >= 0 && url_unescape(&j->arena, password, false, &plain))
			r = mask_set_add(j->mask, plain, e);
	}
	return r;
}

struct forwarded {
	struct job *job;
	int r;
	struct err *e;
};

static void add_forwarded(void *arg, const char *name, const char *value, bool secret)
{
	struct forwarded *f = arg;
	if (f->r >= 0 && secret)
		f->r = add(f->job, value, f->e);
}

static int add_source(struct job *j, struct err *e)
{
	const struct order_auth *auth = &j->order.git.auth;
	struct source_url url;
	int r = add(j, auth->access_token, e);
	if (r >= 0)
		r = add(j, auth->ssh_private_key, e);
	if (r >= 0)
		r = add(j, auth->ssh_password, e);
	if (r >= 0)
		r = add(j, auth->password, e);
	/* A user's name is only a secret where it stands for a token; else it would blank out "git" and "admin". */
	if (r >= 0 && !auth->password)
		r = add(j, auth->user_name, e);
	if (r < 0 || !j->order.git.repo_url || source_parse(&j->order.git, true, &j->arena, &url, NULL) < 0)
		return r;
	if (url.scheme != SOURCE_SSH && url.user && !url.password)
		r = add(j, url.user, e);
	return r < 0 ? r : add(j, url.password, e);
}

int job_mask_init(struct job *j, struct buf *ret_short, struct err *e)
{
	const struct order *o = &j->order;
	j->mask = mask_set_new();
	if (!j->mask)
		return err_nomem(e);
	int r = add(j, o->run_token, e);
	if (r >= 0)
		r = add(j, j->claim.token, e);
	if (r >= 0)
		r = add_source(j, e);
	if (r >= 0)
		r = add(j, o->image.password, e);
	if (r >= 0)
		r = add_proxies(j, e);
	struct forwarded forwarded = { j, r, e };
	forward_each(j->agent->config->env_forward, add_forwarded, &forwarded);
	r = forwarded.r;
	for (size_t i = 0; r >= 0 && i < o->variable_count; i++) {
		if (!o->variables[i].secret)
			continue;
		r = mask_set_add(j->mask, o->variables[i].value, e);
		if (r == 0 && o->variables[i].value.n)
			buf_addf(ret_short, "%s%s", ret_short->len ? ", " : "", o->variables[i].name);
	}
	if (r >= 0)
		r = job_credentials_mask(j, e);
	return r < 0 ? r : mask_set_build(j->mask, e);
}
