#include <poll.h>

#include "agent/credentials.h"
#include "base/encode.h"
#include "base/limits.h"

#define TRIES 4
#define CALL_TIMEOUT_MS 15000
#define PAUSE_FIRST_MS 500
#define ANSWER_MAX_BYTES (256 * KIB)
#define SAID_MAX_BYTES 500

static int once(const struct credentials_config *config, const char *url, const struct http_client_request *rq,
		struct http_client_response *ret, struct err *e)
{
	struct http_client_config client_config = { .base_url = url, .user_agent = "slipway-agent/" SLIPWAY_VERSION };
	struct http_client *client;
	int r = http_client_new(&client_config, &client, e);
	if (r < 0)
		return r;
	r = http_client_send(client, rq, config->arena, ret, e);
	http_client_free(client);
	return r;
}

static bool is_busy(int status)
{
	return status == 429 || status >= 500;
}

int cloud_post(const struct credentials_config *config, const char *url, const char *path, const char *content_type,
	       const char *bearer, struct str body, struct cloud_answer *ret, struct err *e)
{
	const char *headers[] = { "Accept: application/json, text/xml",
				  bearer ? arena_printf(config->arena, "Authorization: Bearer %s", bearer) : NULL,
				  NULL };
	struct http_client_request rq = { .method = "POST",
					  .path = path,
					  .body = body,
					  .content_type = content_type,
					  .headers = headers,
					  .timeout_ms = CALL_TIMEOUT_MS,
					  .max_response_bytes = ANSWER_MAX_BYTES,
					  .cancelled = config->cancelled,
					  .cancelled_arg = config->arg };
	struct http_client_response rs;
	if (bearer && !headers[1])
		return err_nomem(e);
	for (int i = 1, pause_ms = PAUSE_FIRST_MS;; i++, pause_ms *= 2) {
		int r = once(config, url, &rq, &rs, e);
		if (r == 0 && !is_busy(rs.status)) {
			*ret = (struct cloud_answer){ rs.status, rs.body };
			return 0;
		}
		if (r == 0)
			r = err_set(e, ERR_UNAVAILABLE, "it answered %d: %s", rs.status,
				    cloud_clean(config->arena, rs.body));
		if (r != -ERR_UNAVAILABLE && r != -ERR_TIMEOUT)
			return r;
		if (i == TRIES)
			return err_set(e, ERR_UNAVAILABLE, "%s does not answer: %.*s", url, ERR_MESSAGE_MAX / 2,
				       e->message);
		for (int waited_ms = 0; waited_ms < pause_ms; waited_ms += 100) {
			if (config->cancelled(config->arg))
				return err_set(e, ERR_CANCELLED, "cancelled");
			poll(NULL, 0, 100);
		}
	}
}

void cloud_form_add(struct buf *b, const char *name, const char *value)
{
	if (b->len)
		buf_addc(b, '&');
	url_escape(b, str_of(name));
	buf_addc(b, '=');
	url_escape(b, str_of(value));
}

int cloud_need(const char *value, const char *name, struct err *e)
{
	return value && value[0]
		       ? 0
		       : err_set(e, ERR_BAD_REQUEST, "operationContext.oidc.%s is missing in the settings", name);
}

const char *cloud_clean(struct arena *a, struct str text)
{
	text = str_trim(text);
	if (text.n == 0)
		return "nothing";
	char *out = arena_strndup(a, text.p, text.n < SAID_MAX_BYTES ? text.n : SAID_MAX_BYTES);
	for (char *c = out; c && *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7F)
			*c = ' ';
	return out ? out : "something too long";
}
