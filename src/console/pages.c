/* The pages themselves. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/id.h"
#include "console/page.h"
#include "console/session.h"

#define ROUTE_FILE "routes_console.def"
#include "../api/declare.h"

/* A page of something that is not over loads itself again. */
#define REFRESH_S 3
#define LATEST_MAX 30

static bool is_over(const char *status)
{
	return streq(status, "succeeded") || streq(status, "failed") || streq(status, "skipped") ||
	       streq(status, "cancelled");
}

static void put_crumbs(struct page *p, const struct viewer *v)
{
	page_add(p, "<p class=\"crumbs\">");
	page_text(p, v->org.name);
	page_add(p, " / ");
	page_text(p, v->stack.project);
	page_add(p, " / <a");
	page_href(p, v->org.name, v->stack.project, v->stack.name, NULL);
	page_add(p, ">");
	page_text(p, v->stack.name);
	page_add(p, "</a></p>");
}

static void put_list(struct page *p, const struct deployment_summary *list, size_t count, bool with_stack)
{
	struct arena *a = p->r->arena;
	page_add(p, "<div class=\"card\">");
	if (count == 0) {
		page_add(p, "<p class=\"empty\">No deployments yet.</p></div>");
		return;
	}
	page_add(p,
		 "<table><tr><th>Deployment</th><th>Status</th><th class=\"wide\">By</th><th>Created (UTC)</th></tr>");
	for (size_t i = 0; i < count; i++) {
		const struct deployment_summary *d = &list[i];
		const char *version = arena_printf(a, "%" PRId64, d->version);
		const char *created = clock_plain(a, d->created_us);
		page_add(p, "<tr><td><a");
		page_href(p, d->org, d->project, d->stack, "deployments", version ? version : "", NULL);
		page_add(p, ">");
		if (with_stack)
			page_text(p, arena_printf(a, "%s/%s/%s ", d->org, d->project, d->stack));
		page_text(p, arena_printf(a, "#%" PRId64 " %s", d->version, d->operation));
		page_add(p, "</a></td><td>");
		page_status(p, d->status);
		page_add(p, "</td><td class=\"wide\">");
		page_text(p, d->requested_by);
		page_add(p, "</td><td>");
		page_text(p, created ? arena_printf(a, "%.16s", created) : "");
		page_add(p, "</td></tr>");
	}
	page_add(p, "</table></div>");
}

static bool any_running(const struct deployment_summary *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!is_over(list[i].status))
			return true;
	return false;
}

int console_start(struct request *r, struct response *w, struct err *e)
{
	struct viewer v;
	struct deployment_summary *list;
	size_t count;
	int rc = viewer_enter(r, w, &v, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = deploy_recent(app_of(r), r->arena, NULL, v.who.user_id, LATEST_MAX, &list, &count, e);
	if (rc < 0)
		return rc;
	struct page p;
	page_begin(&p, r, w, "Deployments", v.who.user_name, any_running(list, count) ? REFRESH_S : 0);
	page_add(&p, "<h1>Latest deployments</h1>");
	put_list(&p, list, count, true);
	page_add(&p, "<h2>Connect the CLI</h2><div class=\"card\"><code>pulumi login ");
	page_text(&p, app_of(r)->public_url);
	page_add(&p, "</code></div>");
	return page_end(&p, 200, e);
}

int console_stack(struct request *r, struct response *w, struct err *e)
{
	struct viewer v;
	struct deployment_summary *list;
	size_t count;
	int rc = viewer_enter(r, w, &v, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = deploy_recent(app_of(r), r->arena, v.stack.id, NULL, LATEST_MAX, &list, &count, e);
	if (rc < 0)
		return rc;
	struct page p;
	page_begin(&p, r, w, v.stack.name, v.who.user_name, any_running(list, count) ? REFRESH_S : 0);
	put_crumbs(&p, &v);
	page_add(&p, "<h1>");
	page_text(&p, v.stack.name);
	page_add(&p, "</h1><div class=\"card\"><dl>");
	page_fact(&p, "Version", arena_printf(r->arena, "%" PRId64, v.stack.version));
	page_fact(&p, "Resources", arena_printf(r->arena, "%" PRId64, v.stack.resource_count));
	page_fact(&p, "State", v.stack.running_update_id ? "an update is running" : "");
	page_add(&p, "</dl></div><h2>Deployments</h2>");
	put_list(&p, list, count, false);
	return page_end(&p, 200, e);
}

static void put_step(struct page *p, const struct deployment_step_view *s, bool last)
{
	struct arena *a = p->r->arena;
	/* What went well on the way folds away; what matters stays open. */
	bool open = last || !streq(s->status, "succeeded");
	page_add(p, open ? "<details open><summary>" : "<details><summary>");
	page_status(p, s->status);
	page_add(p, "<b>");
	page_text(p, s->name);
	page_add(p, "</b>");
	if (s->started_us != DB_NULL_INT) {
		int64_t end_us = streq(s->status, "running") ? clock_now_us() : s->updated_us;
		page_add(p, "<time>");
		page_text(p, page_duration(a, end_us - s->started_us));
		page_add(p, "</time>");
	}
	page_add(p, "</summary>");
	if (s->text.n > 0) {
		page_add(p, "<pre>");
		page_log(p, s->text);
		page_add(p, "</pre>");
	}
	page_add(p, "</details>");
}

static void put_deployment(struct page *p, const struct viewer *v, const struct deployment_view *d)
{
	struct arena *a = p->r->arena;
	put_crumbs(p, v);
	page_add(p, "<h1>");
	page_text(p, arena_printf(a, "Deployment #%" PRId64 ": %s", d->version, d->operation));
	page_status(p, d->status);
	page_add(p, "</h1><div class=\"card\"><dl>");
	page_fact(p, "Requested by", d->requested_by);
	page_fact(p, "Runner", d->agent_name);
	page_fact_time(p, "Created", d->created_us);
	page_fact_time(p, "Started", d->started_us);
	if (d->started_us != DB_NULL_INT)
		page_fact(
			p, "Duration",
			page_duration(a, (d->ended_us != DB_NULL_INT ? d->ended_us : clock_now_us()) - d->started_us));
	page_add(p, "</dl>");
	if (d->message[0]) {
		page_add(p, streq(d->status, "failed") ? "<p class=\"note\">" : "<p class=\"note calm\">");
		page_text(p, d->message);
		page_add(p, "</p>");
	}
	page_add(p, "</div><h2>Log</h2>");
	if (d->step_count == 0)
		page_add(p, is_over(d->status) ? "<p class=\"empty\">It did not run.</p>"
					       : "<p class=\"empty\">Waiting for a runner.</p>");
	for (size_t i = 0; i < d->step_count; i++)
		put_step(p, &d->steps[i], i + 1 == d->step_count);
}

int console_deployment(struct request *r, struct response *w, struct err *e)
{
	struct viewer v;
	struct deployment_view d;
	int64_t version;
	int rc = viewer_enter(r, w, &v, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (str_to_int64(str_of(request_param(r, "version")), &version))
		rc = deploy_view(app_of(r), r->arena, v.stack.id, version, &d, e);
	if (rc <= 0)
		return rc < 0 ? rc : page_not_found(r, w, v.who.user_name, e);
	struct page p;
	page_begin(&p, r, w, arena_printf(r->arena, "#%" PRId64 " %s: %s", d.version, d.operation, d.status),
		   v.who.user_name, is_over(d.status) ? 0 : REFRESH_S);
	put_deployment(&p, &v, &d);
	return page_end(&p, 200, e);
}

static void put_changes(struct page *p, const char *text)
{
	struct json changes, key, value;
	struct json_iter it;
	if (!text || json_check(str_of(text), &changes, NULL) < 0)
		return;
	json_iter_init(&it, changes);
	while (json_next(&it, &key, &value)) {
		int64_t n;
		const char *name = json_cstr(key, p->r->arena);
		if (name && json_int64(value, &n))
			page_fact(p, name, arena_printf(p->r->arena, "%" PRId64, n));
	}
}

static int update_page(struct request *r, struct response *w, const char *id, int64_t version, struct viewer *v,
		       struct err *e)
{
	struct update_view u;
	struct arena *a = r->arena;
	int rc = deploy_update_view(app_of(r), a, v->stack.id, id, version, &u, e);
	if (rc <= 0)
		return rc < 0 ? rc : page_not_found(r, w, v->who.user_name, e);
	bool preview = u.dry_run;
	const char *title = preview ? arena_printf(a, "Preview of %s", streq(u.kind, "preview") ? "update" : u.kind)
				    : arena_printf(a, "Update #%" PRId64 ": %s", u.version, u.kind);
	struct page p;
	page_begin(&p, r, w, title ? title : "", v->who.user_name, is_over(u.status) ? 0 : REFRESH_S);
	put_crumbs(&p, v);
	page_add(&p, "<h1>");
	page_text(&p, title);
	page_status(&p, u.status);
	page_add(&p, "</h1><div class=\"card\"><dl>");
	page_fact(&p, "Requested by", u.requested_by);
	page_fact(&p, "Message", u.message);
	page_fact_time(&p, "Started", u.started_us);
	if (u.started_us != DB_NULL_INT)
		page_fact(&p, "Duration",
			  page_duration(a, (u.ended_us != DB_NULL_INT ? u.ended_us : clock_now_us()) - u.started_us));
	page_add(&p, "</dl></div>");
	if (u.resource_changes) {
		page_add(&p, "<h2>Changes</h2><div class=\"card\"><dl>");
		put_changes(&p, u.resource_changes);
		page_add(&p, "</dl></div>");
	}
	if (u.deployment_version != DB_NULL_INT) {
		const char *number = arena_printf(a, "%" PRId64, u.deployment_version);
		page_add(&p, "<p>Made by <a");
		page_href(&p, v->org.name, v->stack.project, v->stack.name, "deployments", number ? number : "", NULL);
		page_add(&p, ">deployment #");
		page_text(&p, number);
		page_add(&p, "</a>, which has its log.</p>");
	}
	return page_end(&p, 200, e);
}

int console_update(struct request *r, struct response *w, struct err *e)
{
	struct viewer v;
	int64_t version;
	int rc = viewer_enter(r, w, &v, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (!str_to_int64(str_of(request_param(r, "version")), &version))
		return page_not_found(r, w, v.who.user_name, e);
	return update_page(r, w, NULL, version, &v, e);
}

int console_preview(struct request *r, struct response *w, struct err *e)
{
	struct viewer v;
	int rc = viewer_enter(r, w, &v, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	return update_page(r, w, request_param(r, "id"), 0, &v, e);
}
