#include "console/session.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/id.h"
#include "console/page.h"
#include "db/queries_identity.h"

#define ROUTE_FILE "routes_console.def"
#include "../api/declare.h"

#define SESSION_TOKEN_PREFIX "pul-session-"
#define SESSION_S (12 * 3600)

struct looking {
	struct request *r;
	struct viewer *v;
};

static int find_stack(struct db_conn *c, struct request *r, struct viewer *v, struct err *e)
{
	struct access access = { .who = v->who };
	int rc = identity_org_access(c, r->arena, &access, request_param(r, "org"), e);
	if (rc == 0)
		rc = state_stack_by_name(c, r->arena, access.org.id, request_param(r, "project"),
					 request_param(r, "stack"), &v->stack, e);
	if (rc > 0) {
		access.stack_id = v->stack.id;
		rc = identity_stack_access(c, r->arena, &access, e);
		v->found = rc == 0 && access_may(&access, PERM_STACK_READ);
	}
	v->org = access.org;
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct looking *l = arg;
	struct request *r = l->r;
	*l->v = (struct viewer){ 0 };
	const char *cookie = request_cookie(r, SESSION_COOKIE);
	if (!cookie || !cookie[0])
		return 0;
	int rc = identity_authenticate(c, r->arena, str_of(cookie), &l->v->who, e);
	if (rc == -ERR_UNAUTHORIZED)
		return 0;
	if (rc < 0)
		return rc;
	l->v->signed_in = l->v->who.kind == PRINCIPAL_USER && l->v->who.session;
	return l->v->signed_in && request_has_param(r, "stack") ? find_stack(c, r, l->v, e) : 0;
}

int viewer_load(struct request *r, struct viewer *ret, struct err *e)
{
	struct looking l = { r, ret };
	return db_read(app_of(r)->db, look_fn, &l, e);
}

int viewer_enter(struct request *r, struct response *w, struct viewer *ret, struct err *e)
{
	int rc = viewer_load(r, ret, e);
	if (rc < 0)
		return rc;
	if (!ret->signed_in)
		rc = page_sign_in(r, w, r->path, NULL, e);
	else if (request_has_param(r, "stack") && !ret->found)
		rc = page_not_found(r, w, ret->who.user_name, e);
	else
		return 0;
	return rc < 0 ? rc : 1;
}

/* --- sign in and out --- */

/* Value of a field of a form; "" when it is not there. */
static const char *form_field(struct request *r, const char *name)
{
	struct str rest = r->body, value;
	while (rest.p) {
		struct str one = str_cut(rest, '&', &rest), text;
		if (!str_is(str_cut(one, '=', &text), name) || !text.p)
			continue;
		if (!url_unescape(r->arena, text, true, &value) || str_has_nul(value))
			return "";
		const char *z = str_dup(r->arena, str_trim(value));
		return z ? z : "";
	}
	return "";
}

/* A path of this server and nothing else: "//host" and "/\host" lead away in a browser. */
static const char *local_path(const char *to)
{
	if (to[0] != '/' || to[1] == '/' || to[1] == '\\')
		return "/";
	for (const char *p = to; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
			return "/";
	return to;
}

/* A foreign page must not be able to sign a browser in as somebody else. */
static bool is_same_site(const struct request *r)
{
	const char *origin = request_header(r, "Origin"), *host = request_header(r, "Host");
	const char *site = request_header(r, "Sec-Fetch-Site");
	if (site && !streq(site, "same-origin") && !streq(site, "none"))
		return false;
	if (!origin || streq(origin, "null"))
		return true; /* no browser; one that hides it has said Sec-Fetch-Site, or sends no cookie back */
	const char *rest = strstr(origin, "://");
	return rest && host && streq(rest + 3, host);
}

struct signing_in {
	struct request *r;
	struct str token;
	struct principal who;
	bool ok;
	struct token_row row;
};

static int check_token_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct signing_in *s = arg;
	int rc = identity_authenticate(c, s->r->arena, s->token, &s->who, e);
	s->ok = rc == 0 && s->who.kind == PRINCIPAL_USER && !s->who.session;
	return rc == -ERR_UNAUTHORIZED ? 0 : rc;
}

static int add_session_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct signing_in *s = arg;
	return identity_token_insert(c, &s->row, e);
}

int session_set_cookie(struct request *r, struct response *w, const char *value, int64_t max_age_s, struct err *e)
{
	bool tls = str_starts_with(str_of(app_of(r)->public_url), "https:");
	const char *cookie =
		arena_printf(r->arena, SESSION_COOKIE "=%s; Path=/; Max-Age=%" PRId64 "; HttpOnly; SameSite=Strict%s",
			     value, max_age_s, tls ? "; Secure" : "");
	if (!cookie)
		return err_nomem(e);
	response_header(w, "Set-Cookie", cookie);
	return 0;
}

int session_begin(struct request *r, struct response *w, struct str access_token, struct session *ret, struct err *e)
{
	struct signing_in s = { .r = r, .token = access_token };
	int64_t now_us = clock_now_us();
	if (!is_same_site(r))
		return err_set(e, ERR_FORBIDDEN, "the request came from another site");
	int rc = s.token.n > 0 ? db_read(app_of(r)->db, check_token_fn, &s, e) : 0;
	if (rc < 0)
		return rc;
	if (!s.ok)
		return err_set(e, ERR_UNAUTHORIZED, "This is not an access token of a user, or it has expired.");
	ret->token = token_new(r->arena, SESSION_TOKEN_PREFIX);
	ret->who = s.who;
	ret->expires_us = now_us + SESSION_S * US_PER_S;
	/* A session does not outlive the token that it came from. */
	if (s.who.expires_us != DB_NULL_INT && s.who.expires_us < ret->expires_us)
		ret->expires_us = s.who.expires_us;
	s.row = (struct token_row){ .id = id_new_arena(r->arena),
				    .kind = "session",
				    .description = "console",
				    .user_id = s.who.user_id,
				    .parent_id = s.who.token_id,
				    .attempt = DB_NULL_INT,
				    .expires_us = ret->expires_us };
	if (!ret->token || !s.row.id)
		return err_nomem(e);
	s.row.hash = token_hash(r->arena, str_of(ret->token));
	rc = db_write(app_of(r)->db, add_session_fn, &s, e);
	return rc < 0 ? rc : session_set_cookie(r, w, ret->token, (ret->expires_us - now_us) / US_PER_S, e);
}

static int redirect(struct response *w, const char *to)
{
	response_header(w, "Location", to);
	response_header(w, "Cache-Control", "no-store");
	response_empty(w, 303);
	return 0;
}

int console_sign_in(struct request *r, struct response *w, struct err *e)
{
	const char *to = local_path(form_field(r, "to"));
	struct session made;
	int rc = session_begin(r, w, str_of(form_field(r, "token")), &made, e);
	if (rc == -ERR_UNAUTHORIZED) {
		const char *problem = arena_strdup(r->arena, e->message);
		err_reset(e);
		return page_sign_in(r, w, to, problem, e);
	}
	return rc < 0 ? rc : redirect(w, to);
}

struct ending {
	struct request *r;
	const char *cookie;
};

static int end_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct ending *p = arg;
	struct principal who;
	int rc = identity_authenticate(c, p->r->arena, str_of(p->cookie), &who, e);
	if (rc == -ERR_UNAUTHORIZED || (rc == 0 && !who.session)) {
		err_reset(e);
		return 0;
	}
	return rc < 0 ? rc : q_token_delete_session(c, &(struct token_delete_session_in){ who.token_id }, e);
}

int session_end(struct request *r, struct response *w, struct err *e)
{
	struct ending p = { r, request_cookie(r, SESSION_COOKIE) };
	if (!is_same_site(r))
		return err_set(e, ERR_FORBIDDEN, "the request came from another site");
	int rc = p.cookie && p.cookie[0] ? db_write(app_of(r)->db, end_fn, &p, e) : 0;
	return rc < 0 ? rc : session_set_cookie(r, w, "", 0, e);
}

int console_sign_out(struct request *r, struct response *w, struct err *e)
{
	int rc = session_end(r, w, e);
	return rc < 0 ? rc : redirect(w, "/");
}
