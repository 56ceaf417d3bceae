/* Stacks over HTTP (cli-protocol §3.1, §3.2). */
#include "state/stack.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/id.h"
#include "db/queries_state.h"
#include "http/http.h"
#include "state/busy.h"
#include "state/deployment.h"
#include "state/names.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

/* Stacks per page; the CLI asks for as many pages as there are. */
#define LIST_PAGE 1000

struct create_stack {
	const char *name;
	struct json tags;
	struct json state;
	struct json config;
	struct json teams;
};
const struct field create_stack_fields[] = {
	FIELD(struct create_stack, name, "stackName", FIELD_STRING, .required = true),
	FIELD(struct create_stack, tags, "tags", FIELD_STRING_MAP),
	FIELD(struct create_stack, state, "state", FIELD_JSON_OBJECT, .doc = "Its first state, as an export gives it"),
	FIELD(struct create_stack, config, "config", FIELD_JSON_OBJECT),
	FIELD(struct create_stack, teams, "teams", FIELD_STRING_LIST, .doc = "Accepted; there are no teams yet"),
	FIELD_END
};

struct rename_stack {
	const char *name;
	const char *project;
};
const struct field rename_stack_fields[] = {
	FIELD(struct rename_stack, name, "newName", FIELD_STRING, .doc = "Absent or empty: stays"),
	FIELD(struct rename_stack, project, "newProject", FIELD_STRING, .doc = "Absent or empty: stays"), FIELD_END
};

int stack_api_create(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	struct create_stack body = { 0 };
	struct checkpoint checkpoint;
	struct new_stack n = { .access = access, .project = request_param(r, "projectName") };
	int64_t resources;
	int rc = request_decode(r, w, create_stack_fields, &body, e);
	if (rc == 0)
		rc = name_check(n.project, "projectName", e);
	if (rc == 0)
		rc = name_check(body.name, "/stackName", e);
	if (rc == 0)
		rc = tags_check(body.tags, "/tags", r->arena, e);
	if (rc == 0 && json_get(body.config, "environment").p)
		rc = err_set(
			e, ERR_BAD_REQUEST,
			"/config/environment: this server keeps no environments; keep the configuration in a file");
	if (rc == 0 && body.state.p) {
		rc = untyped_deployment_check(body.state, &resources, e);
		if (rc < 0)
			return err_wrap(e, "/state");
		rc = checkpoint_prepare(app_of(r), r->arena, json_text(body.state), STR_NULL, resources, &checkpoint,
					e);
		n.checkpoint = rc == 0 ? &checkpoint : NULL;
	}
	n.name = body.name;
	n.tags = body.tags;
	if (rc == 0)
		rc = stack_create(app_of(r), r->arena, &n, e);
	if (n.checkpoint)
		checkpoint_settle(app_of(r), n.checkpoint, rc);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_object_end(j);
	return 0;
}

const struct field stack_delete_query[] = {
	QUERY("force", FIELD_BOOL, .doc = "also with resources"),
	QUERY("forceDestroy", FIELD_BOOL, .doc = "the same, as Pulumi's provider calls it"), FIELD_END
};

struct look {
	struct request *r;
	struct stack stack;
	struct update running;
	bool has_running;
	int found;
};

static int project_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *p = arg;
	const struct access *access = request_access(p->r);
	struct stack_project_exists_in in = { .org_id = access->org.id, .project = request_param(p->r, "projectName") };
	struct stack_project_exists_row row;
	int rc = identity_org_reader(c, p->r->arena, access, &in.reader_id, e);
	if (rc == 0)
		rc = q_stack_project_exists(c, p->r->arena, &in, &row, e);
	p->found = rc > 0;
	return rc < 0 ? rc : 0;
}

int stack_api_project(struct request *r, struct response *w, struct err *e)
{
	struct look p = { .r = r };
	int rc = db_read(app_of(r)->db, project_fn, &p, e);
	if (rc < 0)
		return rc;
	if (p.found == 0)
		return err_set(e, ERR_NOT_FOUND, "project '%s'", request_param(r, "projectName"));
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "orgName", request_access(r)->org.name);
	jw_kv_string(j, "projectName", request_param(r, "projectName"));
	jw_object_end(j);
	return 0;
}

static int get_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *p = arg;
	struct arena *a = p->r->arena;
	p->has_running = false;
	p->found = state_stack_by_id(c, a, request_access(p->r)->stack_id, &p->stack, e);
	if (p->found <= 0 || !p->stack.running_update_id)
		return p->found < 0 ? p->found : 0;
	int rc = update_find(c, a, p->stack.running_update_id, &p->running, e);
	p->has_running = rc > 0;
	return rc < 0 ? rc : 0;
}

int stack_api_get(struct request *r, struct response *w, struct err *e)
{
	struct look p = { .r = r };
	int rc = db_read(app_of(r)->db, get_fn, &p, e);
	if (rc < 0)
		return rc;
	if (p.found == 0 || p.stack.deleted)
		return stack_gone(e);
	const struct stack *s = &p.stack;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", s->id);
	jw_kv_string(j, "orgName", request_access(r)->org.name);
	jw_kv_string(j, "projectName", s->project);
	jw_kv_string(j, "stackName", s->name);
	if (p.has_running) {
		jw_key(j, "currentOperation");
		jw_object(j);
		jw_kv_string(j, "kind", p.running.kind);
		jw_kv_string(j, "author", p.running.author ? p.running.author : "");
		jw_kv_int(j, "started", p.running.started_us / US_PER_S);
		jw_object_end(j);
	}
	/* Of the newest update, running or not: what `pulumi cancel` takes. */
	jw_kv_string(j, "activeUpdate", s->latest_update_id ? s->latest_update_id : "");
	jw_key(j, "tags");
	jw_raw_str(j, str_of(s->tags));
	jw_kv_int(j, "version", s->version);
	jw_object_end(j);
	return 0;
}

int stack_api_delete(struct request *r, struct response *w, struct err *e)
{
	bool force, destroy;
	struct update holder = { 0 };
	int rc = request_query_bool(r, "force", false, &force, e);
	/* What the resource provider calls it (clients §1.1). */
	if (rc == 0)
		rc = request_query_bool(r, "forceDestroy", false, &destroy, e);
	if (rc == 0)
		rc = stack_delete(app_of(r), r->arena, request_access(r), force || destroy, &holder, e);
	if (rc < 0)
		return busy_answer(w, rc, &holder, e);
	response_empty(w, 204);
	return 0;
}

/* --- list --- */

struct list {
	struct request *r;
	struct stack_list_in in;
	struct stack_list_row *rows;
	size_t count;
};

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct list *p = arg;
	return q_stack_list(c, p->r->arena, &p->in, &p->rows, &p->count, e);
}

const struct field stack_list_query[] = { QUERY("organization", FIELD_STRING),
					  QUERY("project", FIELD_STRING),
					  QUERY("tagName", FIELD_STRING),
					  QUERY("tagValue", FIELD_STRING),
					  QUERY("maxResults", FIELD_INT, .min = 1, .max = LIST_PAGE),
					  QUERY("continuationToken", FIELD_STRING),
					  FIELD_END };

/* "<org>/<project>/<stack>" of the last one on the page before. */
static int list_token(struct request *r, struct stack_list_in *in, struct err *e)
{
	const char *token = request_query(r, "continuationToken");
	struct str text, rest, name;
	in->after_org = in->after_project = in->after_name = "";
	if (!token || !token[0])
		return 0;
	if (!base64url_decode(r->arena, str_of(token), &text) || !str_is_utf8(text) || str_has_nul(text))
		return err_set(e, ERR_BAD_REQUEST, "continuationToken: is not one of ours");
	in->after_org = str_dup(r->arena, str_cut(text, '/', &rest));
	in->after_project = str_dup(r->arena, str_cut(rest, '/', &name));
	in->after_name = str_dup(r->arena, name);
	if (!rest.p || !name.p || !in->after_org || !in->after_project || !in->after_name)
		return err_set(e, ERR_BAD_REQUEST, "continuationToken: is not one of ours");
	return 0;
}

static const char *not_empty(const char *s)
{
	return s && s[0] ? s : NULL;
}

static void write_summary(struct request *r, struct json_writer *j, const struct stack_list_row *s)
{
	jw_object(j);
	jw_kv_string(j, "id", s->id);
	jw_kv_string(j, "orgName", s->org);
	jw_kv_string(j, "projectName", s->project);
	jw_kv_string(j, "stackName", s->name);
	/* 0 is shown as "in progress", absence as "n/a" (cli-protocol §3.2). */
	if (s->running_update_id)
		jw_kv_int(j, "lastUpdate", 0);
	else if (s->last_update_us != DB_NULL_INT)
		jw_kv_int(j, "lastUpdate", s->last_update_us / US_PER_S);
	if (s->version > 0 || s->resource_count > 0)
		jw_kv_int(j, "resourceCount", s->resource_count);
	if (app_of(r)->public_url) {
		jw_key(j, "links");
		jw_object(j);
		jw_kv_string(j, "self",
			     arena_printf(r->arena, "%s/%s/%s/%s", app_of(r)->public_url, s->org, s->project, s->name));
		jw_object_end(j);
	}
	jw_object_end(j);
}

int stack_api_list(struct request *r, struct response *w, struct err *e)
{
	const struct principal *who = &request_access(r)->who;
	struct list p = { .r = r };
	struct stack_list_in *in = &p.in;
	int64_t page;
	int rc = request_query_int(r, "maxResults", 1, LIST_PAGE, LIST_PAGE, &page, e);
	if (rc == 0)
		rc = list_token(r, in, e);
	if (rc < 0)
		return rc;
	/* A deployment that nobody asked for sees its own stack. */
	in->reader_id = who->automatic ? NULL : identity_reader(who);
	in->only_stack_id = who->automatic ? who->stack_id : NULL;
	in->org = not_empty(request_query(r, "organization"));
	in->project = not_empty(request_query(r, "project"));
	in->tag_name = not_empty(request_query(r, "tagName"));
	in->tag_value = not_empty(request_query(r, "tagValue"));
	in->count = page + 1;
	rc = db_read(app_of(r)->db, list_fn, &p, e);
	if (rc < 0)
		return rc;
	bool more = p.count > (size_t)page;
	if (more)
		p.count = (size_t)page;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "stacks");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++)
		write_summary(r, j, &p.rows[i]);
	jw_array_end(j);
	jw_key(j, "continuationToken");
	if (more) {
		const struct stack_list_row *last = &p.rows[p.count - 1];
		_cleanup_buf_ struct buf token;
		buf_init(&token, KIB);
		base64url_encode(&token,
				 str_of(arena_printf(r->arena, "%s/%s/%s", last->org, last->project, last->name)));
		jw_str(j, buf_str(&token));
	} else {
		jw_null(j);
	}
	jw_object_end(j);
	return 0;
}

/* --- rename --- */

int stack_api_rename(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	struct rename_stack body = { 0 };
	const char *update_id;
	struct update holder = { 0 };
	int rc = request_decode(r, w, rename_stack_fields, &body, e);
	if (rc < 0)
		return rc;
	const char *name = not_empty(body.name) ? body.name : access->stack_name;
	const char *project = not_empty(body.project) ? body.project : access->stack_project;
	rc = name_check(name, "/newName", e);
	if (rc == 0)
		rc = name_check(project, "/newProject", e);
	if (rc == 0)
		rc = stack_rename(app_of(r), r->arena, access, project, name, &update_id, &holder, e);
	if (rc < 0)
		return busy_answer(w, rc, &holder, e);
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "updateId", update_id);
	jw_object_end(j);
	return 0;
}

int stack_api_policy_packs(struct request *r, struct response *w, struct err *e)
{
	(void)r;
	(void)e;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "requiredPolicies");
	jw_array(j);
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}
