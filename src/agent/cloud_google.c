/* Google: workload identity federation. The run gets the configuration of an external account (AIP-4117), which says where the
 * token lies; the SDKs read it, exchange it, and act as the service account. */
#include <inttypes.h>

#include "agent/credentials.h"
#include "base/clock.h"
#include "base/encode.h"
#include "base/limits.h"

#define STS_URL "https://sts.googleapis.com"
#define IAM_URL "https://iamcredentials.googleapis.com"
#define JWT_TYPE "urn:ietf:params:oauth:token-type:jwt"
#define SCOPE "https://www.googleapis.com/auth/cloud-platform"
#define TEXT_MAX_BYTES (64 * KIB)

static const char *sts_url(const struct credentials_config *config)
{
	return config->clouds->google_sts ? config->clouds->google_sts : STS_URL;
}

static const char *audience(const struct credentials_config *config)
{
	const struct order_oidc *oidc = &config->order->oidc;
	return arena_printf(config->arena,
			    "//iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s/providers/%s",
			    oidc->gcp.project_id, oidc->gcp.workload_pool_id, oidc->gcp.provider_id);
}

/* Path of the call that makes a token of the service account. NULL: out of memory. */
static const char *impersonation_path(const struct credentials_config *config)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, TEXT_MAX_BYTES);
	buf_adds(&b, "/v1/projects/-/serviceAccounts/");
	url_escape(&b, str_of(config->order->oidc.gcp.service_account));
	buf_adds(&b, ":generateAccessToken");
	return buf_failed(&b) ? NULL : str_dup(config->arena, buf_str(&b));
}

static int64_t lifetime_s(const struct credentials_config *config)
{
	int64_t us;
	const char *text = config->order->oidc.gcp.token_lifetime;
	return str_to_go_duration_us(str_of(text), &us) ? us / US_PER_S : 0;
}

static int write_account(const struct credentials_config *config, const char *token_file, struct buf *b, struct err *e)
{
	const char *pool = audience(config), *path = impersonation_path(config);
	const char *iam = config->clouds->google_iam ? config->clouds->google_iam : IAM_URL;
	const char *url = path ? arena_printf(config->arena, "%s%s", iam, path) : NULL;
	const char *exchange = arena_printf(config->arena, "%s/v1/token", sts_url(config));
	struct json_writer j;
	if (!pool || !url || !exchange)
		return err_nomem(e);
	jw_init(&j, b);
	jw_object(&j);
	jw_kv_string(&j, "type", "external_account");
	jw_kv_string(&j, "audience", pool);
	jw_kv_string(&j, "subject_token_type", JWT_TYPE);
	jw_kv_string(&j, "token_url", exchange);
	if (config->order->oidc.gcp.service_account[0]) {
		jw_kv_string(&j, "service_account_impersonation_url", url);
		if (lifetime_s(config) > 0) {
			jw_key(&j, "service_account_impersonation");
			jw_object(&j);
			jw_kv_int(&j, "token_lifetime_seconds", lifetime_s(config));
			jw_object_end(&j);
		}
	}
	jw_key(&j, "credential_source");
	jw_object(&j);
	jw_kv_string(&j, "file", token_file);
	jw_key(&j, "format");
	jw_object(&j);
	jw_kv_string(&j, "type", "text");
	jw_object_end(&j);
	jw_object_end(&j);
	jw_object_end(&j);
	return buf_check(b, "the account", e);
}

int cloud_google_variables(const struct credentials_config *config, const struct api_oidc *token, struct credentials *c,
			   struct err *e)
{
	const struct order_oidc *oidc = &config->order->oidc;
	_cleanup_buf_ struct buf account;
	buf_init(&account, TEXT_MAX_BYTES);
	int r = cloud_need(oidc->gcp.project_id, "gcp.projectId", e);
	if (r == 0)
		r = cloud_need(oidc->gcp.workload_pool_id, "gcp.workloadPoolId", e);
	if (r == 0)
		r = cloud_need(oidc->gcp.provider_id, "gcp.providerId", e);
	if (r == 0)
		r = write_account(config, c->files[0].path, &account, e);
	const char *path = arena_printf(config->arena, "%s/" CREDENTIALS_GOOGLE_FILE, config->folder);
	const char *text = r == 0 ? str_dup(config->arena, buf_str(&account)) : NULL;
	if (r == 0 && (!path || !text))
		r = err_nomem(e);
	if (r < 0)
		return err_wrap(e, "Google");
	/* The provider takes the text, libraries take a file. */
	credentials_set(c, "GOOGLE_CREDENTIALS", text, false);
	credentials_set(c, "GOOGLE_APPLICATION_CREDENTIALS", path, false);
	credentials_set(c, "GOOGLE_PROJECT", oidc->gcp.project_id, false);
	credentials_set(c, "GOOGLE_REGION", oidc->gcp.region, false);
	credentials_file(c, path, text);
	return 0;
}

static int refused(const struct credentials_config *config, const struct api_oidc *token, const char *what,
		   const struct cloud_answer *answer, struct err *e)
{
	struct arena *a = config->arena;
	struct json root = JSON_ABSENT, error;
	struct str text = answer->body;
	/* RFC 6749 at one of the two, {"error": {"message"}} at the other. */
	if (json_check(answer->body, &root, NULL) == 0) {
		error = json_get(root, "error");
		(void)(json_string(json_get(root, "error_description"), a, &text) ||
		       json_string(json_get(error, "message"), a, &text));
	}
	return err_set(e, ERR_FORBIDDEN,
		       "%s was refused: %s (HTTP %d; the token's issuer is %s, its audience %s, its subject %s)", what,
		       cloud_clean(a, text), answer->status, token->issuer, token->audience, token->subject);
}

static int take(const struct credentials_config *config, const struct cloud_answer *answer, const char *member,
		const char **ret, struct err *e)
{
	struct json root = JSON_ABSENT;
	const char *value =
		json_check(answer->body, &root, NULL) == 0 ? json_cstr(json_get(root, member), config->arena) : NULL;
	if (!value)
		return err_set(e, ERR_UNAVAILABLE, "the answer has no %s: is the address right?", member);
	*ret = value;
	return 0;
}

static int try_pool(const struct credentials_config *config, const struct api_oidc *token, const char **ret_access,
		    struct err *e)
{
	const char *pool = audience(config);
	struct cloud_answer answer;
	_cleanup_buf_ struct buf form;
	buf_init(&form, TEXT_MAX_BYTES);
	if (!pool)
		return err_nomem(e);
	cloud_form_add(&form, "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
	cloud_form_add(&form, "requested_token_type", "urn:ietf:params:oauth:token-type:access_token");
	cloud_form_add(&form, "subject_token_type", JWT_TYPE);
	cloud_form_add(&form, "audience", pool);
	cloud_form_add(&form, "scope", SCOPE);
	cloud_form_add(&form, "subject_token", token->token);
	int r = buf_check(&form, "the request", e);
	if (r == 0)
		r = cloud_post(config, sts_url(config), "/v1/token", "application/x-www-form-urlencoded", NULL,
			       buf_str(&form), &answer, e);
	if (r == 0 && answer.status >= 300)
		return refused(config, token,
			       arena_printf(config->arena, "the token at the provider %s of the pool %s",
					    config->order->oidc.gcp.provider_id,
					    config->order->oidc.gcp.workload_pool_id),
			       &answer, e);
	return r < 0 ? r : take(config, &answer, "access_token", ret_access, e);
}

static int try_account(const struct credentials_config *config, const struct api_oidc *token, const char *access,
		       struct err *e)
{
	const char *path = impersonation_path(config), *ignored;
	struct cloud_answer answer;
	struct json_writer j;
	_cleanup_buf_ struct buf body;
	buf_init(&body, TEXT_MAX_BYTES);
	jw_init(&j, &body);
	jw_object(&j);
	jw_key(&j, "scope");
	jw_array(&j);
	jw_string(&j, SCOPE);
	jw_array_end(&j);
	if (lifetime_s(config) > 0)
		jw_kv_string(&j, "lifetime", arena_printf(config->arena, "%" PRId64 "s", lifetime_s(config)));
	jw_object_end(&j);
	int r = path ? buf_check(&body, "the request", e) : err_nomem(e);
	if (r == 0)
		r = cloud_post(config, config->clouds->google_iam ? config->clouds->google_iam : IAM_URL, path,
			       "application/json", access, buf_str(&body), &answer, e);
	if (r == 0 && answer.status >= 300)
		return refused(config, token,
			       arena_printf(config->arena, "acting as the service account %s",
					    config->order->oidc.gcp.service_account),
			       &answer, e);
	return r < 0 ? r : take(config, &answer, "accessToken", &ignored, e);
}

int cloud_google_try(const struct credentials_config *config, const struct api_oidc *token, struct err *e)
{
	const char *access = NULL;
	int r = try_pool(config, token, &access, e);
	if (r == 0 && config->order->oidc.gcp.service_account[0])
		r = try_account(config, token, access, e);
	if (r == 0)
		config->say(config->arg, "Google: the token is taken; the run signs in with it");
	return r;
}
