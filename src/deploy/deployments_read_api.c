/* What shows one deployment: get, updates (features §3.6, cli-protocol §4.3). */
#include <inttypes.h>

#include "base/clock.h"
#include "base/id.h"
#include "deploy/deployments_api.h"
#include "deploy/secrets.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

static bool is_queued(const struct shown *s)
{
	return streq(s->d.status, "not-started");
}

int shown_load(struct db_conn *c, struct arena *a, const char *id, struct waiting_memo *memo, struct shown *ret,
	       struct err *e)
{
	struct deployment_get_in in = { .id = id };
	struct step_list_in steps = { .deployment_id = id };
	int rc = q_deployment_get(c, a, &in, &ret->d, e);
	if (rc <= 0)
		return rc;
	rc = q_step_list(c, a, &steps, &ret->steps, &ret->step_count, e);
	if (rc >= 0)
		rc = state_updates_of_deployment(c, a, id, &ret->updates, &ret->update_count, e);
	if (rc >= 0 && is_queued(ret))
		rc = waiting_read(c, a, &ret->d, clock_now_us(), memo, &ret->waiting, e);
	return rc < 0 ? rc : 1;
}

/* --- JSON --- */

static void put_user(struct json_writer *j, const struct deployment_get_row *d)
{
	jw_key(j, "requestedBy");
	jw_object(j);
	jw_kv_string(j, "name", d->user_display_name ? d->user_display_name : "");
	jw_kv_string(j, "githubLogin", d->user_name ? d->user_name : "");
	jw_kv_string(j, "avatarUrl", "");
	jw_object_end(j);
}

static void put_time(struct json_writer *j, struct arena *a, const char *key, int64_t us)
{
	/* An empty string is a fatal parse error for the CLI: rather no member (cli-protocol §7). */
	if (us != DB_NULL_INT)
		jw_kv_string(j, key, clock_rfc3339(a, us));
}

void deploy_put_jobs(struct json_writer *j, struct arena *a, const struct deployment_get_row *d,
		     const struct step_list_row *steps, size_t count)
{
	if (d->started_us == DB_NULL_INT)
		return;
	int64_t updated_us = d->modified_us;
	for (size_t i = 0; i < count; i++)
		if (steps[i].updated_us > updated_us)
			updated_us = steps[i].updated_us;
	jw_key(j, "jobs");
	jw_array(j);
	jw_object(j);
	jw_kv_string(j, "status", d->status);
	put_time(j, a, "started", d->started_us);
	put_time(j, a, "lastUpdated", updated_us);
	jw_key(j, "steps");
	jw_array(j);
	for (size_t i = 0; i < count; i++) {
		jw_object(j);
		jw_kv_string(j, "name", steps[i].name);
		jw_kv_string(j, "status", steps[i].status);
		put_time(j, a, "started", steps[i].started_us);
		put_time(j, a, "lastUpdated", steps[i].updated_us);
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_object_end(j);
	jw_array_end(j);
}

static int64_t seconds(int64_t us)
{
	return us == DB_NULL_INT ? 0 : us / US_PER_S;
}

/* The preview twins of features §1.3: "Pupdate" is a preview that belongs to an update. */
static const char *shown_kind(struct arena *a, const struct update_summary *u)
{
	return u->dry_run && !streq(u->kind, "preview") ? arena_printf(a, "P%s", u->kind) : u->kind;
}

static void put_environment(struct json_writer *j, const struct update_summary *u)
{
	struct json env;
	jw_key(j, "environment");
	if (u->environment && json_check(str_of(u->environment), &env, NULL) == 0 && json_type(env) == JSON_OBJECT)
		jw_raw(j, env);
	else
		jw_raw_str(j, STR("{}"));
}

/* The flat members of an update, without braces. */
static void put_update(struct json_writer *j, struct arena *a, const struct update_summary *u)
{
	jw_kv_string(j, "kind", shown_kind(a, u));
	jw_kv_string(j, "result", u->result);
	jw_kv_int(j, "version", u->version);
	jw_kv_int(j, "startTime", seconds(u->started_us));
	jw_kv_int(j, "endTime", seconds(u->ended_us));
	jw_kv_string(j, "message", u->message);
	put_environment(j, u);
}

static void put_nested_update(struct json_writer *j, struct arena *a, const struct update_summary *u)
{
	jw_object(j);
	jw_kv_string(j, "id", u->id);
	jw_kv_string(j, "updateID", u->id);
	put_update(j, a, u);
	jw_object_end(j);
}

void shown_write(struct json_writer *j, struct arena *a, const struct shown *s, bool listed)
{
	const struct deployment_get_row *d = &s->d;
	jw_kv_string(j, "id", d->id);
	jw_kv_string(j, "created", clock_plain(a, d->created_us));
	jw_kv_string(j, "modified", clock_plain(a, d->modified_us));
	jw_kv_string(j, "status", d->status);
	jw_kv_int(j, "version", d->version);
	put_user(j, d);
	jw_kv_string(j, "pulumiOperation", d->operation);
	if (d->initiator[0])
		jw_kv_string(j, "initiator", d->initiator);
	jw_kv_bool(j, "inheritSettings", d->inherit_settings);
	if (d->message[0])
		jw_kv_string(j, "message", d->message);
	jw_kv_string(j, "projectName", d->project);
	jw_kv_string(j, "stackName", d->stack_name);
	jw_kv_bool(j, "paused", d->org_paused || d->stack_paused);
	if (is_queued(s)) {
		jw_key(j, "waiting");
		waiting_write(j, a, &s->waiting);
	}
	deploy_put_jobs(j, a, d, s->steps, s->step_count);
	/* The schema of the list has the member also where there is none yet. */
	if (listed && d->started_us == DB_NULL_INT) {
		jw_key(j, "jobs");
		jw_array(j);
		jw_array_end(j);
	}
	if (d->shown_pool_id) {
		jw_key(j, "agentPool");
		jw_object(j);
		jw_kv_string(j, "id", d->shown_pool_id);
		jw_kv_string(j, "name", d->shown_pool_name);
		jw_object_end(j);
	}
	jw_key(j, "updates");
	jw_array(j);
	for (size_t i = 0; i < s->update_count; i++)
		put_nested_update(j, a, &s->updates[i]);
	jw_array_end(j);
}

static int put_configuration(struct json_writer *j, struct arena *a, const char *text, struct err *e)
{
	struct json settings, key, value;
	struct json_iter it;
	int rc = json_check(str_of(text), &settings, e);
	if (rc < 0)
		return rc;
	jw_key(j, "configuration");
	jw_object(j);
	jw_key(j, "environmentVariables");
	jw_array(j);
	json_iter_init(&it, json_path(settings, "operationContext", "environmentVariables", NULL));
	while (json_next(&it, &key, &value)) {
		jw_object(j);
		jw_kv_raw(j, "name", key);
		if (!secret_is_leaf(value))
			jw_kv_raw(j, "value", value);
		jw_kv_bool(j, "secret", secret_is_leaf(value));
		jw_object_end(j);
	}
	jw_array_end(j);
	struct json git = json_path(settings, "sourceContext", "git", NULL);
	struct json template_ = json_path(settings, "sourceContext", "template", NULL);
	if (git.p || template_.p) {
		jw_key(j, "source");
		jw_object(j);
		jw_key(j, git.p ? "git" : "template");
		jw_object(j);
		if (git.p) {
			static const char *const names[] = { "branch", "commit", "repoDir" };
			struct json url = json_get(git, "repoUrl");
			jw_key(j, "repoURL"); /* so spelt in the answer's schema */
			jw_raw_str(j, url.p ? json_text(url) : STR("\"\""));
			for (size_t i = 0; i < ARRAY_SIZE(names); i++)
				if (json_get(git, names[i]).p)
					jw_kv_raw(j, names[i], json_get(git, names[i]));
		} else {
			struct json url = json_get(template_, "sourceUrl");
			jw_key(j, "sourceUrl");
			jw_raw_str(j, url.p ? json_text(url) : STR("\"\""));
		}
		jw_object_end(j);
		jw_object_end(j);
	}
	jw_object_end(j);
	return 0;
}

/* --- get --- */

struct one {
	struct arena *arena;
	const char *stack_id; /* NULL: of any stack */
	const char *id;	      /* NULL: by version */
	int64_t version;
	bool found;
	struct shown shown;
	int64_t latest_version;
	struct stack stack;
};

static int one_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct one *o = arg;
	const char *id = o->id;
	struct deployment_by_version_in in = { .stack_id = o->stack_id, .version = o->version };
	struct deployment_by_version_row row;
	struct deployment_latest_version_in latest = { .stack_id = o->stack_id };
	struct deployment_latest_version_row newest;
	int rc = 1;
	if (!id) {
		rc = q_deployment_by_version(c, o->arena, &in, &row, e);
		id = rc > 0 ? row.id : NULL;
	}
	if (rc > 0)
		rc = shown_load(c, o->arena, id, NULL, &o->shown, e);
	o->found = rc > 0 && (!o->stack_id || streq(o->shown.d.stack_id, o->stack_id));
	if (rc <= 0 || !o->found)
		return rc < 0 ? rc : 0;
	latest.stack_id = o->shown.d.stack_id;
	rc = q_deployment_latest_version(c, o->arena, &latest, &newest, e);
	if (rc > 0) {
		o->latest_version = newest.version;
		rc = state_stack_by_id(c, o->arena, latest.stack_id, &o->stack, e);
	}
	return rc < 0 ? rc : 0;
}

static int read_one(struct request *r, const char *name, db_fn fn, struct one *o, struct err *e)
{
	const char *text = request_param(r, name);
	*o = (struct one){ .arena = r->arena, .stack_id = request_access(r)->stack_id };
	if (streq(name, "deploymentId") && id_valid(str_of(text)))
		o->id = text;
	else if (!o->stack_id || !str_to_int64(str_of(text), &o->version) || o->version < 1)
		return err_set(e, ERR_NOT_FOUND, "deployment '%s'", text);
	int rc = db_read(app_of(r)->db, fn, o, e);
	if (rc == 0 && !o->found)
		return err_set(e, ERR_NOT_FOUND, "deployment '%s'", text);
	return rc;
}

static int load_one(struct request *r, const char *name, struct one *o, struct err *e)
{
	return read_one(r, name, one_fn, o, e);
}

/* Only which one it is: followers of logs ask often. */
static int find_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct one *o = arg;
	struct deployment_stack_in in = { .id = o->id };
	struct deployment_stack_row row;
	struct deployment_by_version_in by_version = { .stack_id = o->stack_id, .version = o->version };
	struct deployment_by_version_row found;
	int rc;
	if (o->id) {
		rc = q_deployment_stack(c, o->arena, &in, &row, e);
		o->found = rc > 0 && (!o->stack_id || streq(row.stack_id, o->stack_id));
		return rc < 0 ? rc : 0;
	}
	rc = q_deployment_by_version(c, o->arena, &by_version, &found, e);
	o->found = rc > 0;
	if (rc > 0)
		o->id = found.id;
	return rc < 0 ? rc : 0;
}

int deploy_find(struct request *r, const char **ret_id, struct err *e)
{
	struct one o;
	int rc = read_one(r, "deploymentId", find_fn, &o, e);
	if (rc == 0)
		*ret_id = o.id;
	return rc;
}

static int get(struct request *r, struct response *w, const char *param, struct err *e)
{
	struct one o;
	int rc = load_one(r, param, &o, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	shown_write(j, r->arena, &o.shown, false);
	jw_kv_int(j, "latestVersion", o.latest_version);
	if (access_may(request_access(r), PERM_SETTINGS_READ))
		rc = put_configuration(j, r->arena, o.shown.d.settings, e);
	if (rc < 0)
		return rc;
	jw_object_end(j);
	return 0;
}

int deploy_get(struct request *r, struct response *w, struct err *e)
{
	return get(r, w, "deploymentId", e);
}

int deploy_get_version(struct request *r, struct response *w, struct err *e)
{
	return get(r, w, "version", e);
}

/* Ours: why it waits. */
int deploy_waiting(struct request *r, struct response *w, struct err *e)
{
	struct one o;
	int rc = load_one(r, "deploymentId", &o, e);
	if (rc < 0)
		return rc;
	if (!is_queued(&o.shown))
		return err_set(e, ERR_NOT_FOUND, "the deployment does not wait: it is %s", o.shown.d.status);
	waiting_write(response_json(w), r->arena, &o.shown.waiting);
	return 0;
}

int deploy_updates(struct request *r, struct response *w, struct err *e)
{
	struct one o;
	int rc = load_one(r, "deploymentId", &o, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_array(j);
	for (size_t i = 0; i < o.shown.update_count; i++) {
		const struct update_summary *u = &o.shown.updates[i];
		jw_object(j);
		/* The schema has the update under "info"; the same flat, as lists have it, is what is convenient. */
		jw_kv_string(j, "updateID", u->id);
		put_update(j, r->arena, u);
		jw_kv_int(j, "latestVersion", o.stack.version);
		put_user(j, &o.shown.d);
		jw_key(j, "info");
		jw_object(j);
		put_update(j, r->arena, u);
		jw_key(j, "config");
		jw_raw_str(j, STR("{}"));
		jw_object_end(j);
		jw_object_end(j);
	}
	jw_array_end(j);
	return 0;
}
