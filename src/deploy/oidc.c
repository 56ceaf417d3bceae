#include "deploy/oidc.h"

#include <ctype.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "deploy/job.h"
#include "identity/limits.h"
#include "identity/oidc.h"

#define SESSION_DEFAULT_US US_PER_HOUR
/* Google takes no token that is good for longer than a day. */
#define LIFETIME_MAX_US (23 * US_PER_HOUR)
#define LIFETIME_MIN_US (5 * US_PER_MINUTE)
/* What a cancel may take behind the deadline. */
#define DEADLINE_SLACK_US (5 * US_PER_MINUTE)
/* Our clock may be ahead of a verifier's. */
#define NOT_BEFORE_SLACK_US (5 * US_PER_MINUTE)
#define CLAIMS_MAX_BYTES (16 * KIB)

/* --- what it says --- */

/* The parts of a subject are set apart by colons: a name with one could stand for another stack. */
static bool is_plain(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
			return false;
	return name[0] != '\0';
}

int oidc_identity_settle(struct oidc_identity *o, struct app *app, struct arena *a, struct err *e)
{
	const char *const names[] = { o->organization, o->project, o->stack, o->operation };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!is_plain(names[i]))
			return err_set(e, ERR_CONFLICT,
				       "'%s' cannot stand in the subject of a token: only letters, digits, '-', '_' "
				       "and '.' can",
				       names[i]);
	char *audience = arena_strdup(a, o->organization);
	for (char *c = audience; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	o->audience = audience;
	o->issuer = arena_printf(a, "%s" OIDC_ISSUER_PATH, app->public_url);
	o->subject = arena_printf(a, "pulumi:deploy:org:%s:project:%s:stack:%s:operation:%s:scope:write",
				  o->organization, o->project, o->stack, o->operation);
	return o->audience && o->issuer && o->subject ? 0 : err_nomem(e);
}

void oidc_write_claims(struct json_writer *w, const struct oidc_identity *o, struct arena *a)
{
	jw_kv_string(w, "iss", o->issuer);
	jw_kv_string(w, "sub", o->subject);
	jw_kv_string(w, "aud", o->audience);
	jw_kv_string(w, "org", o->organization);
	jw_kv_string(w, "project", o->project);
	jw_kv_string(w, "stack", o->stack);
	jw_kv_string(w, "stackId", o->stack_id);
	jw_kv_string(w, "operation", o->operation);
	/* A string: conditions of clouds compare strings. */
	if (o->version > 0)
		jw_kv_string(w, "deployment", arena_printf(a, "%" PRId64, o->version));
	jw_kv_string(w, "scope", "write");
}

static int64_t longer(int64_t us, struct json cloud, const char *member)
{
	char text[64];
	int64_t other;
	struct json v = json_get(cloud, member);
	/* Settings are checked when they are saved; "" is none. */
	if (json_type(v) != JSON_STRING || v.n < 2 || v.n - 2 >= sizeof(text))
		return us;
	memcpy(text, v.p + 1, v.n - 2);
	text[v.n - 2] = '\0';
	return str_to_go_duration_us(str_of(text), &other) && other > us ? other : us;
}

bool oidc_cloud_is_set(struct json cloud)
{
	struct json_iter it;
	struct json v;
	if (json_type(cloud) != JSON_OBJECT)
		return false;
	json_iter_init(&it, cloud);
	while (json_next(&it, NULL, &v))
		if ((json_type(v) == JSON_STRING && v.n > 2) || json_count(v) > 0)
			return true;
	return false;
}

int64_t oidc_lifetime_us(struct json settings, int64_t until_deadline_us)
{
	struct json oidc = json_path(settings, "operationContext", "oidc", NULL);
	int64_t most_us = until_deadline_us + DEADLINE_SLACK_US;
	int64_t us = longer(SESSION_DEFAULT_US, json_get(oidc, "aws"), "duration");
	us = longer(us, json_get(oidc, "gcp"), "tokenLifetime");
	if (oidc_cloud_is_set(json_get(oidc, "azure")))
		us = most_us;
	us = us < most_us ? us : most_us;
	us = us < LIFETIME_MAX_US ? us : LIFETIME_MAX_US;
	return us > LIFETIME_MIN_US ? us : LIFETIME_MIN_US;
}

/* --- who gets it --- */

struct minting {
	struct app *app;
	struct arena *arena;
	const char *id;
	int64_t attempt;
	int64_t now_us;
	struct deployment_get_row d;
	struct oidc_key key;
	int64_t expires_us;
};

static int mint_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct minting *m = arg;
	struct limits limits;
	struct json settings;
	int rc = job_check(c, m->arena, m->id, m->attempt, &m->d, e);
	if (rc == 0)
		rc = job_alive(c, m->app, &m->d, m->now_us, e);
	if (rc == 0)
		rc = identity_limits(c, m->arena, m->app, m->d.org_id, &limits, e);
	if (rc == 0)
		rc = json_check(str_of(m->d.settings), &settings, e);
	if (rc < 0)
		return rc;
	/* Before its first step it has no deadline yet. */
	int64_t deadline_us = m->d.deadline_us == DB_NULL_INT ? m->now_us + limits.timeout_us : m->d.deadline_us;
	int64_t expires_us = m->now_us + oidc_lifetime_us(settings, deadline_us - m->now_us);
	/* Whole seconds, as the token has them. */
	m->expires_us = expires_us / US_PER_S * US_PER_S;
	return oidc_key_take(c, m->arena, m->now_us, m->expires_us, &m->key, e);
}

static int sign(struct minting *m, const struct oidc_identity *o, const char **ret_token, struct err *e)
{
	_cleanup_buf_ struct buf claims;
	struct json_writer j;
	char id[ID_SIZE];
	buf_init(&claims, CLAIMS_MAX_BYTES);
	id_new(id);
	jw_init(&j, &claims);
	jw_object(&j);
	oidc_write_claims(&j, o, m->arena);
	jw_kv_int(&j, "iat", m->now_us / US_PER_S);
	jw_kv_int(&j, "nbf", (m->now_us - NOT_BEFORE_SLACK_US) / US_PER_S);
	jw_kv_int(&j, "exp", m->expires_us / US_PER_S);
	jw_kv_string(&j, "jti", id);
	jw_object_end(&j);
	int rc = buf_check(&claims, "the claims", e);
	return rc < 0 ? rc : oidc_sign(m->app->identity, &m->key, buf_str(&claims), m->arena, ret_token, e);
}

int job_oidc(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, struct oidc_grant *ret,
	     struct err *e)
{
	struct minting m = { .app = app, .arena = a, .id = deployment_id, .attempt = attempt };
	int rc = oidc_key_ensure(app->identity, e);
	m.now_us = clock_now_us();
	if (rc == 0)
		rc = db_write(app->db, mint_fn, &m, e);
	if (rc < 0)
		return rc;
	struct oidc_grant grant = { .identity = { .organization = m.d.org_name,
						  .project = m.d.project,
						  .stack = m.d.stack_name,
						  .stack_id = m.d.stack_id,
						  .operation = m.d.operation,
						  .version = m.d.version },
				    .expires_us = m.expires_us,
				    .lifetime_us = m.expires_us - m.now_us };
	rc = oidc_identity_settle(&grant.identity, app, a, e);
	if (rc == 0)
		rc = sign(&m, &grant.identity, &grant.token, e);
	if (rc == 0)
		*ret = grant;
	return rc;
}
