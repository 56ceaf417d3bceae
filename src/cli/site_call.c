#include "cli/site_call.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/encode.h"

#define BODY_MAX_BYTES (64 * (size_t)1024)

void call_init(struct call *c, struct invocation *in, const char *path, const char *result)
{
	*c = (struct call){ .in = in, .method = "POST", .path = path, .result = result };
	buf_init(&c->body, BODY_MAX_BYTES);
	jw_init(&c->j, &c->body);
	jw_object(&c->j);
}

void call_set(struct call *c, const char *name, const char *value)
{
	if (value)
		jw_kv_string(&c->j, name, value);
}

void call_set_expiry(struct call *c)
{
	if (c->in->config.expires_us > 0)
		jw_kv_int(&c->j, "expires", (clock_now_us() + c->in->config.expires_us) / US_PER_S);
}

int64_t level_number(const char *level)
{
	return streq(level, "admin") ? 103 : streq(level, "write") ? 102 : streq(level, "none") ? 0 : 101;
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
	*ret = JSON_ABSENT;
	return rc < 0 || answer.body.n == 0 ? rc : json_check(answer.body, ret, e);
}

int call_run(struct call *c, struct err *e)
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
		printf("%.*s\n", answer.p ? (int)answer.n : 2, answer.p ? answer.p : "{}");
		return 0;
	}
	if (!c->result)
		return 0;
	const char *result = json_cstr(json_get(answer, c->result), c->in->arena);
	if (!result)
		return err_set(e, ERR_INTERNAL, "the server's answer has no '%s'", c->result);
	puts(result);
	return 0;
}

int call_need(const char *value, const char *flag, struct err *e)
{
	return value ? 0 : err_set(e, ERR_USAGE, "%s is missing", flag);
}

int call_org_path(struct buf *ret, const char *org, const char *rest, struct err *e)
{
	buf_adds(ret, "/api/orgs/");
	url_escape(ret, str_of(org));
	buf_adds(ret, rest);
	return buf_check(ret, "the path", e);
}
