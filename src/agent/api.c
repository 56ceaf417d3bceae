#include "agent/api.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"

#define CALL_TIMEOUT_MS 30000
/* Beyond the time for which the server holds the answer: a heartbeat is small. */
#define BEAT_TIMEOUT_MS 10000
/* An agent that stops does not wait for a server that is away. */
#define LEAVE_TIMEOUT_MS 3000
/* Below this compression saves no packet. */
#define GZIP_MIN_BYTES 2048

int api_init(struct api *api, const char *server_url, const char *token, struct err *e)
{
	struct http_client_config config = { .base_url = server_url,
					     .token = token,
					     .user_agent = "slipway-agent/" SLIPWAY_VERSION,
					     .connect_timeout_ms = 10000 };
	*api = (struct api){ .gzip = !strstr(server_url, "://127.") && !strstr(server_url, "://localhost") &&
				     !strstr(server_url, "://[::1]") };
	return http_client_new(&config, &api->client, e);
}

void api_done(struct api *api)
{
	http_client_free(api->client);
	api->client = NULL;
}

bool api_is_transient(int r)
{
	switch (-r) {
	case ERR_UNAVAILABLE:
	case ERR_TIMEOUT:
	case ERR_INTERNAL:
	case ERR_TOO_MANY:
	case ERR_NO_SPACE:
	case ERR_NO_MEMORY:
	case ERR_IO:
		return true;
	default:
		return false;
	}
}

static int status_error(const struct http_client_response *rs, struct arena *a, struct err *e)
{
	struct json root;
	const char *message = NULL;
	if (json_check(rs->body, &root, NULL) == 0)
		message = json_cstr(json_get(root, "message"), a);
	enum err_code code = err_from_http_status(rs->status);
	if (rs->status >= 500)
		code = ERR_UNAVAILABLE;
	return err_set(e, code, "the server answered %d: %s", rs->status, message ? message : "no reason given");
}

int api_call(struct api *api, const struct http_client_request *base, struct arena *a, struct http_client_response *rs,
	     struct err *e)
{
	struct http_client_request rq = *base;
	if (!rq.timeout_ms)
		rq.timeout_ms = CALL_TIMEOUT_MS;
	rq.gzip = api->gzip && rq.body.n >= GZIP_MIN_BYTES;
	rq.cancelled = api->cancelled;
	rq.cancelled_arg = api->cancelled_arg;
	int64_t asked_us = clock_mono_us();
	int r = http_client_send(api->client, &rq, a, rs, e);
	if (r == 0 && rs->status >= 400)
		r = status_error(rs, a, e);
	if (r == 0 && api->contact) {
		/* Of two threads that were answered at once the earlier one may win: a little less, never more. */
		api->contact->asked_us = asked_us;
		api->contact->heard_us = clock_mono_us();
	}
	return r;
}

bool contact_may_be_over(const struct contact *c, int64_t margin_us)
{
	return c->lease_us > 0 && clock_mono_us() > c->asked_us + c->lease_us - margin_us;
}

bool contact_is_over(const struct contact *c)
{
	return c->lease_us > 0 && clock_mono_us() > c->heard_us + c->lease_us;
}

static int answer(const struct http_client_response *rs, struct json *ret, struct err *e)
{
	int r = json_check(rs->body, ret, e);
	return r < 0 ? err_set(e, ERR_UNAVAILABLE, "the server's answer is not JSON: is the address right?") : 0;
}

static bool take(struct json root, const char *key, struct arena *a, char *to, size_t size)
{
	const char *text = json_cstr(json_get(root, key), a);
	return text && text[0] && (size_t)snprintf(to, size, "%s", text) < size;
}

int api_poll(struct api *api, const struct api_identity *identity, int wait_s, struct api_claim *ret,
	     int *ret_retry_after_s, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct utsname u;
	arena_init(&a, MIB);
	uname(&u);
	const char *machine = streq(u.machine, "x86_64") ? "amd64" : streq(u.machine, "aarch64") ? "arm64" : u.machine;
	const char *headers[] = { arena_printf(&a, "Prefer: wait=%d", wait_s),
				  arena_printf(&a, "Slipway-Agent-Name: %s", identity->name),
				  arena_printf(&a, "Slipway-Agent-Hostname: %s", identity->hostname),
				  arena_printf(&a, "Slipway-Agent-Pid: %d", (int)getpid()),
				  arena_printf(&a, "Slipway-Agent-Platform: linux/%s", machine),
				  "Slipway-Agent-Version: " SLIPWAY_VERSION,
				  arena_printf(&a, "Slipway-Agent-Isolation: %s", identity->isolation),
				  arena_printf(&a, "Slipway-Agent-Networks: %s", identity->networks),
				  arena_printf(&a, "Slipway-Agent-Instance: %s", identity->instance),
				  arena_printf(&a, "Slipway-Agent-Life: %s", identity->life),
				  NULL };
	struct http_client_request rq = {
		.method = "GET", .path = "/api/deployments/poll", .headers = headers, .timeout_ms = (wait_s + 30) * 1000
	};
	struct http_client_response rs;
	struct json root;
	if (arena_failed(&a))
		return err_nomem(e);
	int r = api_call(api, &rq, &a, &rs, e);
	if (r < 0)
		return r;
	*ret_retry_after_s = rs.retry_after_s;
	if (rs.status == 204)
		return 0;
	r = answer(&rs, &root, e);
	if (r < 0)
		return r;
	struct api_claim claim;
	if (!take(root, "deploymentID", &a, claim.deployment, sizeof(claim.deployment)) ||
	    !take(root, "jobToken", &a, claim.token, sizeof(claim.token)) ||
	    !json_int64(json_get(root, "attempt"), &claim.attempt) ||
	    strspn(claim.deployment, "0123456789abcdefABCDEF-") != strlen(claim.deployment))
		return err_set(e, ERR_UNAVAILABLE, "the server's claim is incomplete: is it a Slipway server?");
	*ret = claim;
	return 1;
}

int api_leave(struct api *api, const struct api_identity *identity, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, MIB);
	const char *headers[] = { arena_printf(&a, "Slipway-Agent-Instance: %s", identity->instance),
				  arena_printf(&a, "Slipway-Agent-Life: %s", identity->life), NULL };
	struct http_client_request rq = {
		.method = "POST", .path = "/api/runner/leave", .headers = headers, .timeout_ms = LEAVE_TIMEOUT_MS
	};
	struct http_client_response rs;
	return arena_failed(&a) ? err_nomem(e) : api_call(api, &rq, &a, &rs, e);
}

int api_order(struct api *api, struct arena *a, struct order *ret, struct err *e)
{
	struct http_client_request rq = { .method = "GET",
					  .path = arena_printf(a, "/api/runner/%s/order?attempt=%lld", api->deployment,
							       (long long)api->attempt) };
	struct http_client_response rs;
	struct json root;
	if (!rq.path)
		return err_nomem(e);
	int r = api_call(api, &rq, a, &rs, e);
	if (r == 0)
		r = answer(&rs, &root, e);
	return r < 0 ? r : order_decode(root, a, ret, e);
}

/* POSTs {"attempt":N, <what the caller wrote>} and gives the answer, absent when there is none. */
static int post_waiting(struct api *api, const char *what, int wait_s, struct buf *body, struct arena *a,
			struct json *ret_root, struct err *e)
{
	const char *headers[] = { wait_s > 0 ? arena_printf(a, "Prefer: wait=%d", wait_s) : NULL, NULL };
	struct http_client_request rq = { .method = "POST",
					  .path = arena_printf(a, "/api/runner/%s/%s", api->deployment, what),
					  .headers = headers,
					  .timeout_ms = wait_s > 0 ? wait_s * 1000 + BEAT_TIMEOUT_MS : 0 };
	struct http_client_response rs;
	int r = buf_check(body, what, e);
	if (r < 0 || !rq.path)
		return r < 0 ? r : err_nomem(e);
	rq.body = buf_str(body);
	r = api_call(api, &rq, a, &rs, e);
	if (r == 0 && ret_root && rs.body.n)
		r = answer(&rs, ret_root, e);
	return r;
}

int api_post(struct api *api, const char *what, struct buf *body, struct arena *a, struct json *ret_root, struct err *e)
{
	return post_waiting(api, what, 0, body, a, ret_root, e);
}

void api_begin(struct api *api, struct buf *b, struct json_writer *w)
{
	jw_init(w, b);
	jw_object(w);
	jw_kv_int(w, "attempt", api->attempt);
}

int api_heartbeat(struct api *api, int wait_s, bool *ret_cancel, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	struct json root = JSON_ABSENT;
	arena_init(&a, MIB);
	buf_init(&b, KIB);
	api_begin(api, &b, &w);
	jw_object_end(&w);
	int r = post_waiting(api, "heartbeat", wait_s, &b, &a, &root, e);
	if (r == 0)
		*ret_cancel = json_is_true(json_get(root, "cancel"));
	return r;
}

int api_oidc(struct api *api, struct arena *a, struct api_oidc *ret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	struct json root = JSON_ABSENT;
	buf_init(&b, KIB);
	api_begin(api, &b, &w);
	jw_object_end(&w);
	int r = api_post(api, "oidc", &b, a, &root, e);
	if (r < 0)
		return r;
	struct api_oidc o = { .token = json_cstr(json_get(root, "token"), a),
			      .issuer = json_cstr(json_get(root, "issuer"), a),
			      .subject = json_cstr(json_get(root, "subject"), a),
			      .audience = json_cstr(json_get(root, "audience"), a) };
	if (!o.token || !o.issuer || !o.subject || !o.audience ||
	    !json_int64(json_get(root, "lifetimeSeconds"), &o.lifetime_s) || o.lifetime_s <= 0)
		return err_set(e, ERR_UNAVAILABLE, "the server's token is incomplete");
	*ret = o;
	return 0;
}

int api_step(struct api *api, int step, const char *name, const char *status, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	arena_init(&a, MIB);
	buf_init(&b, 4 * KIB);
	api_begin(api, &b, &w);
	jw_kv_int(&w, "step", step);
	jw_kv_string(&w, "name", name);
	jw_kv_string(&w, "status", status);
	jw_object_end(&w);
	return api_post(api, "steps", &b, &a, NULL, e);
}

int api_log(struct api *api, int step, int64_t offset, struct str lines, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	arena_init(&a, MIB);
	buf_init(&b, LOG_APPEND_BYTES);
	api_begin(api, &b, &w);
	jw_kv_int(&w, "step", step);
	jw_kv_int(&w, "offset", offset);
	jw_key(&w, "lines");
	buf_addc(&b, '[');
	buf_add_str(&b, lines);
	buf_adds(&b, "]}");
	return api_post(api, "log", &b, &a, NULL, e);
}

int api_finish(struct api *api, bool succeeded, const char *message, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	arena_init(&a, MIB);
	buf_init(&b, 16 * KIB);
	api_begin(api, &b, &w);
	jw_kv_string(&w, "status", succeeded ? "succeeded" : "failed");
	jw_kv_string(&w, "message", message);
	jw_object_end(&w);
	return api_post(api, "finish", &b, &a, NULL, e);
}
