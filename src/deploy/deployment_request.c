#include "deploy/deployment_request.h"

#include "base/limits.h"
#include "deploy/pool.h"

struct asked {
	const char *operation;
	bool inherit;
};
static const struct field asked_fields[] = {
	FIELD(struct asked, operation, "operation", FIELD_STRING),
	FIELD(struct asked, inherit, "inheritSettings", FIELD_BOOL),
	FIELD_END,
};

static int check_operation(struct json body, struct arena *a, struct asked *ret, struct err *e)
{
	struct json nested = json_path(body, "operationContext", "operation", NULL);
	*ret = (struct asked){ .inherit = true };
	int rc = fields_decode(body, asked_fields, ret, a, NULL, e);
	if (rc < 0)
		return rc;
	if (!json_is_null(nested) && !json_string_is(nested, ""))
		return err_set(e, ERR_BAD_REQUEST, "operation must only be set at the top level");
	if (!ret->operation || !ret->operation[0])
		return err_set(e, ERR_BAD_REQUEST, "Missing top level required field 'operation'");
	for (size_t i = 0; deployment_operations[i]; i++)
		if (streq(ret->operation, deployment_operations[i]))
			return 0;
	return err_set(e, ERR_BAD_REQUEST,
		       "/operation: must be one of update, preview, refresh, destroy, detect-drift, remediate-drift");
}

struct saved {
	struct arena *arena;
	const char *stack_id;
	bool found;
	struct settings_get_row row;
};

static int saved_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct saved *s = arg;
	struct settings_get_in in = { .stack_id = s->stack_id };
	int rc = q_settings_get(c, s->arena, &in, &s->row, e);
	s->found = rc > 0;
	return rc < 0 ? rc : 0;
}

static int read_settings(struct app *app, struct arena *a, const struct access *access, struct json body,
			 struct ignored_fields *ig, struct settings_input *ret, struct err *e)
{
	_cleanup_secrets_key_ struct secrets_key key;
	struct saved saved = { .arena = a, .stack_id = access->stack_id };
	struct json stored = JSON_ABSENT;
	int rc = secrets_key_load(app, a, access->stack_id, &key, e);
	if (rc == 0)
		rc = db_read(app->db, saved_fn, &saved, e);
	if (rc == 0 && saved.found)
		rc = json_check(str_of(saved.row.document), &stored, e);
	/* Read against nothing for who may not see what is stored: the errors would tell of it. */
	if (!access_may(access, PERM_STACK_WRITE))
		stored = JSON_ABSENT;
	return rc < 0 ? rc : settings_read(body, stored, &key, SETTINGS_CREATE, a, ig, ret, e);
}

/* Whoever may only deploy takes the settings as they were saved. What a client sends empty, as the CLI does, overrides
 * nothing; nor does the null that it always sends for the agent pool (cli-protocol §4.2): the saved pool stays. */
static int check_override(const struct access *access, struct deployment_request *q, struct err *e)
{
	if (access_may(access, PERM_STACK_WRITE))
		return 0;
	if (!q->inherit)
		return err_set(e, ERR_FORBIDDEN,
			       "inheritSettings: to do without the saved settings needs the permission stack-write");
	if (q->settings.pool == POOL_DEFAULT)
		q->settings.pool = POOL_INHERIT;
	if (q->settings.pool != POOL_INHERIT || settings_has_values(q->settings.patch))
		return err_set(e, ERR_FORBIDDEN,
			       "settings of one's own need the permission stack-write; with stack-deploy a deployment "
			       "runs as it was configured");
	return 0;
}

int deployment_request_read(struct app *app, struct arena *a, const struct access *access, struct json body,
			    struct ignored_fields *ig, struct deployment_request *ret, struct err *e)
{
	struct asked asked;
	int rc = check_operation(body, a, &asked, e);
	*ret = (struct deployment_request){ .operation = asked.operation, .inherit = asked.inherit };
	if (rc == 0)
		rc = read_settings(app, a, access, body, ig, &ret->settings, e);
	if (rc == 0)
		rc = check_override(access, ret, e);
	if (rc < 0 || ret->settings.pool != POOL_NAMED)
		return rc;
	bool known;
	rc = pool_exists(app, a, access->org.id, ret->settings.pool_id, &known, e);
	if (rc == 0 && !known)
		return err_set(e, ERR_BAD_REQUEST,
			       "the agent pool specified in the deployment settings does not exist");
	return rc;
}

static void write_asked(struct json_writer *w, const struct deployment_request *q)
{
	jw_kv_string(w, "operation", q->operation);
	jw_kv_bool(w, "inheritSettings", q->inherit);
	if (q->settings.pool != POOL_INHERIT)
		jw_kv_string(w, "agentPoolID", q->settings.pool_id);
}

const char *deployment_request_text(const struct deployment_request *q, struct arena *a, struct err *e)
{
	_cleanup_buf_ struct buf out;
	struct json_writer w;
	buf_init(&out, 4 * HTTP_JSON_BODY_BYTES);
	jw_init(&w, &out);
	jw_object(&w);
	write_asked(&w, q);
	jw_kv_raw(&w, "settings", q->settings.patch);
	jw_object_end(&w);
	if (buf_check(&out, "deployment request", e) < 0)
		return NULL;
	const char *text = arena_strndup(a, out.data, out.len);
	if (!text)
		err_nomem(e);
	return text;
}

int deployment_request_parse(const char *text, struct arena *a, struct deployment_request *ret, struct err *e)
{
	struct json v, pool;
	struct asked asked = { .inherit = true };
	int rc = json_check(str_of(text), &v, e);
	if (rc == 0)
		rc = fields_decode(v, asked_fields, &asked, a, NULL, e);
	if (rc < 0)
		return err_wrap(e, "a stored deployment request");
	*ret = (struct deployment_request){ .operation = asked.operation, .inherit = asked.inherit };
	ret->settings.patch = json_get(v, "settings");
	pool = json_get(v, "agentPoolID");
	ret->settings.pool = !pool.p ? POOL_INHERIT : json_is_null(pool) ? POOL_DEFAULT : POOL_NAMED;
	if (ret->settings.pool == POOL_NAMED)
		ret->settings.pool_id = json_cstr(pool, a);
	return arena_failed(a) ? err_nomem(e) : 0;
}

void deployment_request_show(struct json_writer *w, const struct deployment_request *q, struct arena *a)
{
	struct json_iter it;
	struct json key, value;
	struct str name;
	jw_object(w);
	write_asked(w, q);
	json_iter_init(&it, q->settings.patch);
	while (json_next(&it, &key, &value)) {
		if (secrets_is_nothing(value) || !json_string(key, a, &name))
			continue; /* the arena remembers that it failed */
		jw_key_str(w, name);
		secrets_write_redacted(w, value, a);
	}
	jw_object_end(w);
}

/* NULL: the default pool. One that was removed since is no longer a reason to fail: its deployments fall back, too. */
static const char *choose_pool(const struct deployment_request *q, const struct saved *saved)
{
	switch (q->settings.pool) {
	case POOL_NAMED:
		return q->settings.pool_id;
	case POOL_INHERIT:
		return q->inherit && saved->found ? saved->row.pool_id : NULL;
	case POOL_DEFAULT:
		break;
	}
	return NULL;
}

int deployment_request_queue(struct db_conn *c, struct arena *a, const struct deployment_request *q,
			     const struct deployment_origin *from, const char *id, int64_t now_us, int64_t *ret_version,
			     struct err *e)
{
	struct saved saved = { .arena = a, .stack_id = from->stack_id };
	struct json stored = JSON_ABSENT, settings;
	int rc = saved_fn(c, &saved, e);
	if (rc == 0 && saved.found)
		rc = json_check(str_of(saved.row.document), &stored, e);
	if (rc == 0)
		rc = settings_merge(q->inherit ? stored : JSON_ABSENT, q->settings.patch, a, &settings, e);
	if (rc == 0)
		rc = settings_check(settings, SETTINGS_CREATE, e);
	if (rc < 0)
		return rc;
	/* With settings of the stack the program may be somewhere that we do not know of; the run's log will say. */
	if (!saved.found && !settings_has_source(settings))
		return err_set(e, ERR_BAD_REQUEST,
			       "the stack has no deployment settings, and the request has no source to deploy: "
			       "set sourceContext.git.repoUrl");
	struct deployment_new n = {
		.org_id = from->org_id,
		.stack_id = from->stack_id,
		.operation = q->operation,
		.pool_id = choose_pool(q, &saved),
		.settings = settings.p, /* NUL-terminated by settings_merge */
		.inherit_settings = q->inherit,
		.skip_intermediate = json_is_true(
			json_path(settings, "operationContext", "options", "skipIntermediateDeployments", NULL)),
		.initiator = from->initiator,
		.user_id = from->user_id,
		.org_token = from->org_token,
	};
	return deployment_add(c, a, &n, id, now_us, ret_version, e);
}
