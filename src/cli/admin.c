/*
 * admin.c: `slipway admin ...`: REST calls over the control socket, which only the owner of the data directory may open.
 * The id or the token is the only line on standard output; --json prints the whole answer instead.
 */
#include "cli/site_call.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/json.h"

#define BODY_MAX_BYTES (64 * (size_t)1024)

struct call {
	struct invocation *in;
	const char *method;
	const char *path;
	const char *result; /* the member of the answer that is printed */
	struct buf body;
	struct json_writer j;
};

static void call_init(struct call *c, struct invocation *in, const char *path, const char *result)
{
	*c = (struct call){ .in = in, .method = "POST", .path = path, .result = result };
	buf_init(&c->body, BODY_MAX_BYTES);
	jw_init(&c->j, &c->body);
	jw_object(&c->j);
}

static void call_set(struct call *c, const char *name, const char *value)
{
	if (value)
		jw_kv_string(&c->j, name, value);
}

int site_client(struct invocation *in, struct http_client **ret, struct err *e)
{
	const struct config *config = &in->config;
	struct http_client_config client_config = { .base_url = "http://localhost", .user_agent = "slipway-admin" };
	client_config.socket_path =
		config->socket ? config->socket : arena_printf(in->arena, "%s/slipway.sock", config->data);
	return client_config.socket_path ? http_client_new(&client_config, ret, e) : err_nomem(e);
}

int site_call(struct invocation *in, const char *method, const char *path, struct str body, int timeout_ms,
	      struct json *ret, struct err *e)
{
	struct http_client *client;
	struct http_client_response answer;
	struct http_client_request rq = { .method = method, .path = path, .body = body, .timeout_ms = timeout_ms };
	int rc = site_client(in, &client, e);
	if (rc < 0)
		return rc;
	rc = http_client_send(client, &rq, in->arena, &answer, e);
	http_client_free(client);
	if (rc == -ERR_UNAVAILABLE)
		/* What curl says is about a "localhost" that is not asked. */
		return err_set(e, ERR_UNAVAILABLE,
			       "no server answers on %s%s; is it running, and is --data its directory?",
			       in->config.socket ? in->config.socket : in->config.data,
			       in->config.socket ? "" : "/slipway.sock");
	if (rc == 0 && answer.status >= 400)
		return http_client_refusal(&answer, in->arena, e);
	return rc < 0 ? rc : json_check(answer.body, ret, e);
}

/* Sends it and prints the result. */
static int call_run(struct call *c, struct err *e)
{
	jw_object_end(&c->j);
	struct json answer = JSON_ABSENT;
	int rc = buf_check(&c->body, "the request", e);
	if (rc == 0)
		rc = site_call(c->in, c->method, c->path, buf_str(&c->body), 0, &answer, e);
	buf_done(&c->body);
	if (rc < 0)
		return rc;
	if (c->in->config.json) {
		printf("%.*s\n", (int)answer.n, answer.p ? answer.p : "");
		return 0;
	}
	const char *result = json_cstr(json_get(answer, c->result), c->in->arena);
	if (!result)
		return err_set(e, ERR_INTERNAL, "the server's answer has no '%s'", c->result);
	puts(result);
	return 0;
}

static int need(const char *value, const char *flag, struct err *e)
{
	return value ? 0 : err_set(e, ERR_USAGE, "%s is missing", flag);
}

static int org_path(struct buf *ret, const char *org, const char *rest, struct err *e)
{
	buf_adds(ret, "/api/orgs/");
	url_escape(ret, str_of(org));
	buf_adds(ret, rest);
	return buf_check(ret, "the path", e);
}

int command_org_add(struct invocation *in, struct err *e)
{
	struct call c;
	call_init(&c, in, "/api/site/orgs", "id");
	call_set(&c, "name", in->args[0]);
	return call_run(&c, e);
}

/* Absent is not 0, which the options do not tell apart. */
static bool is_given(struct invocation *in, const char *name)
{
	return options_value(&in->options, name)->text != NULL;
}

int command_org_set(struct invocation *in, struct err *e)
{
	bool limit = is_given(in, "limit"), time_limit = is_given(in, "time-limit");
	if (!limit && !time_limit)
		return err_set(e, ERR_USAGE, "nothing to set: --limit N or --time-limit TIME is missing");
	if (in->config.time_limit_us % US_PER_S != 0)
		return err_set(e, ERR_USAGE, "--time-limit: must be whole seconds");
	_cleanup_buf_ struct buf path;
	buf_init(&path, BODY_MAX_BYTES);
	int rc = org_path(&path, in->args[0], "", e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, "id");
	c.method = "PATCH";
	if (limit)
		jw_kv_int(&c.j, "setDeploymentConcurrency", in->config.limit);
	if (time_limit)
		jw_kv_int(&c.j, "setDeploymentTimeoutSeconds", in->config.time_limit_us / US_PER_S);
	return call_run(&c, e);
}

int command_user_add(struct invocation *in, struct err *e)
{
	if (in->config.role && !in->config.org)
		return err_set(e, ERR_USAGE, "--role needs --org");
	struct call c;
	call_init(&c, in, "/api/site/users", "id");
	call_set(&c, "name", in->args[0]);
	call_set(&c, "organization", in->config.org);
	call_set(&c, "role", in->config.role);
	if (in->config.site_admin)
		jw_kv_bool(&c.j, "siteAdmin", true);
	return call_run(&c, e);
}

int command_token_create(struct invocation *in, struct err *e)
{
	int rc = need(in->config.user, "--user NAME", e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, "/api/site/tokens", "tokenValue");
	call_set(&c, "user", in->config.user);
	call_set(&c, "description", in->config.description);
	return call_run(&c, e);
}

int command_pool_create(struct invocation *in, struct err *e)
{
	int rc = need(in->config.org, "--org ORG", e);
	if (rc < 0)
		return rc;
	_cleanup_buf_ struct buf path;
	buf_init(&path, BODY_MAX_BYTES);
	rc = org_path(&path, in->config.org, "/agent-pools", e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, "tokenValue");
	call_set(&c, "name", in->args[0]);
	call_set(&c, "description", in->config.description);
	return call_run(&c, e);
}

int command_key_rotate(struct invocation *in, struct err *e)
{
	struct call c;
	call_init(&c, in, "/api/site/keys/rotate", "id");
	return call_run(&c, e);
}
