/*
 * The session of a browser as JSON. A browser sends its cookie also for pages of others, so whatever changes something
 * needs the header Slipway-Csrf besides (server/authorize.c). Its value is in these answers, which no page of another
 * site can read.
 */
#include "base/clock.h"
#include "console/session.h"
#include "crypto/crypto.h"
#include "identity/users.h"

#define ROUTE_FILE "routes_console.def"
#include "../api/declare.h"

struct sign_in_body {
	const char *access_token;
};

const struct field console_session_fields[] = { FIELD(struct sign_in_body, access_token, "accessToken", FIELD_STRING,
						      .required = true, .doc = "a personal access token"),
						FIELD_END };

/* csrf NULL: who asks has no session, but a token. */
static int answer(struct request *r, struct response *w, const struct principal *who, int64_t expires_us,
		  const char *csrf)
{
	struct json_writer *j = response_json(w);
	response_header(w, "Cache-Control", "no-store");
	jw_object(j);
	jw_kv_string(j, "githubLogin", who->user_name);
	jw_kv_bool(j, "siteAdmin", who->site_admin);
	if (expires_us != DB_NULL_INT)
		jw_kv_string(j, "expires", clock_rfc3339(r->arena, expires_us));
	if (csrf)
		jw_kv_string(j, "csrfToken", csrf);
	jw_object_end(j);
	return 0;
}

int console_session_get(struct request *r, struct response *w, struct err *e)
{
	const struct principal *who = &request_access(r)->who;
	const char *csrf = NULL;
	if (who->session && !(csrf = token_csrf(r->arena, str_of(request_cookie(r, SESSION_COOKIE)))))
		return err_nomem(e);
	return answer(r, w, who, who->expires_us, csrf);
}

int console_session_create(struct request *r, struct response *w, struct err *e)
{
	struct sign_in_body body = { 0 };
	struct session made;
	int rc = request_decode(r, w, console_session_fields, &body, e);
	if (rc >= 0)
		rc = session_begin(r, w, str_trim(str_of(body.access_token)), &made, e);
	if (rc < 0)
		return rc;
	const char *csrf = token_csrf(r->arena, str_of(made.token));
	return csrf ? answer(r, w, &made.who, made.expires_us, csrf) : err_nomem(e);
}

int console_session_delete(struct request *r, struct response *w, struct err *e)
{
	int rc = session_end(r, w, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}
