/* The documents of the OIDC issuer, which anybody may read (OpenID Connect Discovery 1.0 §4, RFC 7517), and its rotation. */
#include "identity/oidc.h"

#include "db/queries_oidc.h"
#include "identity/app.h"

#define ROUTE_FILE "routes_identity.def"
#include "../api/declare.h"

struct listing {
	struct arena *a;
	struct oidc_keys_row *rows;
	size_t count;
};

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct listing *p = arg;
	return q_oidc_keys(c, p->a, &p->rows, &p->count, e);
}

static void list_of(struct json_writer *j, const char *name, const char *const *values)
{
	jw_key(j, name);
	jw_array(j);
	for (; *values; values++)
		jw_string(j, *values);
	jw_array_end(j);
}

int oidc_configuration(struct request *r, struct response *w, struct err *e)
{
	static const char *const claims[] = { "iss",   "sub",	    "aud",     "exp",	     "nbf",
					      "iat",   "jti",	    "org",     "project",    "stack",
					      "scope", "operation", "stackId", "deployment", NULL };
	const char *issuer = arena_printf(r->arena, "%s" OIDC_ISSUER_PATH, app_of(r)->public_url);
	const char *jwks = arena_printf(r->arena, "%s" OIDC_JWKS_PATH, app_of(r)->public_url);
	if (!issuer || !jwks)
		return err_nomem(e);
	response_header(w, "Cache-Control", "public, max-age=" OIDC_DOCUMENT_AGE_S);
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "issuer", issuer);
	jw_kv_string(j, "jwks_uri", jwks);
	list_of(j, "response_types_supported", (const char *const[]){ "id_token", NULL });
	list_of(j, "subject_types_supported", (const char *const[]){ "public", NULL });
	list_of(j, "id_token_signing_alg_values_supported", (const char *const[]){ "RS256", NULL });
	list_of(j, "scopes_supported", (const char *const[]){ "openid", NULL });
	list_of(j, "claims_supported", claims);
	jw_object_end(j);
	return 0;
}

int oidc_jwks(struct request *r, struct response *w, struct err *e)
{
	struct listing p = { .a = r->arena };
	/* A cloud may look before the first token is asked for. */
	int rc = oidc_key_ensure(app_of(r)->identity, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, list_fn, &p, e);
	if (rc < 0)
		return rc;
	response_header(w, "Cache-Control", "public, max-age=" OIDC_DOCUMENT_AGE_S);
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "keys");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++) {
		jw_object(j);
		jw_kv_string(j, "kty", "RSA");
		jw_kv_string(j, "use", "sig");
		jw_kv_string(j, "alg", "RS256");
		jw_kv_string(j, "kid", p.rows[i].id);
		jw_kv_string(j, "n", p.rows[i].public_n);
		jw_kv_string(j, "e", p.rows[i].public_e);
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

struct rotate_oidc {
	bool revoke;
};
const struct field rotate_oidc_fields[] = {
	FIELD(struct rotate_oidc, revoke, "revoke", FIELD_BOOL,
	      .doc = "All other keys are gone at once, and no verifier takes a token of theirs any more"),
	FIELD_END
};

int site_oidc_rotate(struct request *r, struct response *w, struct err *e)
{
	struct rotate_oidc body = { 0 };
	const char *id;
	int rc = request_decode(r, w, rotate_oidc_fields, &body, e);
	if (rc == 0)
		rc = oidc_rotate(app_of(r)->identity, r->arena, body.revoke, &id, e);
	if (rc < 0)
		return rc;
	if (app_of(r)->poke)
		app_of(r)->poke(app_of(r));
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", id);
	jw_object_end(j);
	return 0;
}

static void time_or_null(struct json_writer *j, struct arena *a, const char *name, int64_t us)
{
	jw_kv_string(j, name, us > 0 ? clock_rfc3339(a, us) : NULL);
}

int site_oidc_keys(struct request *r, struct response *w, struct err *e)
{
	struct listing p = { .a = r->arena };
	int64_t now_us = clock_now_us();
	int rc = db_read(app_of(r)->db, list_fn, &p, e);
	if (rc < 0)
		return rc;
	bool signing = false;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "keys");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++) {
		const struct oidc_keys_row *key = &p.rows[i];
		bool waits = key->signs_from_us > now_us;
		jw_object(j);
		jw_kv_string(j, "id", key->id);
		jw_kv_string(j, "state", waits ? "waiting" : signing ? "retired" : "signing");
		time_or_null(j, r->arena, "created", key->created_us);
		time_or_null(j, r->arena, "signsFrom", key->signs_from_us);
		time_or_null(j, r->arena, "neededUntil", key->needed_until_us);
		jw_object_end(j);
		signing |= !waits;
	}
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}
