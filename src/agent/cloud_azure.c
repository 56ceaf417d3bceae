/* Azure: the token is a client assertion of an application with a federated credential. The provider and the SDKs send it
 * to Microsoft Entra themselves. */
#include "agent/credentials.h"
#include "base/encode.h"
#include "base/limits.h"

#define FORM_MAX_BYTES (64 * KIB)

/* ARM_ENVIRONMENT, as the providers name them; the first is the usual one. */
static const struct environment {
	const char *name, *authority, *scope;
} environments[] = {
	{ "public", "https://login.microsoftonline.com", "https://management.azure.com/.default" },
	{ "usgovernment", "https://login.microsoftonline.us", "https://management.usgovcloudapi.net/.default" },
	{ "china", "https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default" },
};

static struct str variable(const struct order *o, const char *name)
{
	for (size_t i = 0; i < o->variable_count; i++)
		if (streq(o->variables[i].name, name))
			return o->variables[i].value;
	return STR_NULL;
}

static const struct environment *environment_of(const struct order *o)
{
	struct str name = variable(o, "ARM_ENVIRONMENT");
	for (size_t i = 0; i < ARRAY_SIZE(environments); i++)
		if (name.n == 0 || str_is(name, environments[i].name))
			return &environments[i];
	return NULL;
}

int cloud_azure_variables(const struct credentials_config *config, const struct api_oidc *token, struct credentials *c,
			  struct err *e)
{
	const struct order_oidc *oidc = &config->order->oidc;
	int r = cloud_need(oidc->azure.client_id, "azure.clientId", e);
	if (r == 0)
		r = cloud_need(oidc->azure.tenant_id, "azure.tenantId", e);
	if (r < 0)
		return err_wrap(e, "Azure");
	/* The providers of Pulumi and Terraform. No ARM_OIDC_TOKEN_FILE_PATH: they refuse a file that differs from the token. */
	credentials_set(c, "ARM_USE_OIDC", "true", false);
	credentials_set(c, "ARM_OIDC_TOKEN", token->token, true);
	credentials_set(c, "ARM_CLIENT_ID", oidc->azure.client_id, false);
	credentials_set(c, "ARM_TENANT_ID", oidc->azure.tenant_id, false);
	credentials_set(c, "ARM_SUBSCRIPTION_ID", oidc->azure.subscription_id, false);
	/* Microsoft's SDKs: the credential of workloads. */
	credentials_set(c, "AZURE_CLIENT_ID", oidc->azure.client_id, false);
	credentials_set(c, "AZURE_TENANT_ID", oidc->azure.tenant_id, false);
	credentials_set(c, "AZURE_SUBSCRIPTION_ID", oidc->azure.subscription_id, false);
	credentials_set(c, "AZURE_FEDERATED_TOKEN_FILE", c->files[0].path, false);
	credentials_set(c, "AZURE_AUTHORITY_HOST", config->clouds->azure_authority, false);
	return 0;
}

static int refused(const struct credentials_config *config, const struct api_oidc *token,
		   const struct cloud_answer *answer, struct err *e)
{
	struct arena *a = config->arena;
	struct json root = JSON_ABSENT;
	struct str text = answer->body;
	if (json_check(answer->body, &root, NULL) == 0)
		(void)json_string(json_get(root, "error_description"), a, &text);
	return err_set(e, ERR_FORBIDDEN,
		       "the application %s of the tenant %s was refused: %s (HTTP %d; the token's issuer is %s, its "
		       "audience %s, its subject %s)",
		       cloud_clean(a, str_of(config->order->oidc.azure.client_id)),
		       cloud_clean(a, str_of(config->order->oidc.azure.tenant_id)), cloud_clean(a, text),
		       answer->status, token->issuer, token->audience, token->subject);
}

int cloud_azure_try(const struct credentials_config *config, const struct api_oidc *token, struct err *e)
{
	const struct order_oidc *oidc = &config->order->oidc;
	const struct environment *environment = environment_of(config->order);
	struct cloud_answer answer;
	_cleanup_buf_ struct buf form;
	_cleanup_buf_ struct buf path;
	buf_init(&form, FORM_MAX_BYTES);
	buf_init(&path, FORM_MAX_BYTES);
	/* Another place to sign in than those that we know: it is the run's business. */
	if (!environment || variable(config->order, "AZURE_AUTHORITY_HOST").n)
		return err_set(e, ERR_UNAVAILABLE, "the environment is not one of Azure's own");
	buf_addc(&path, '/');
	url_escape(&path, str_of(oidc->azure.tenant_id));
	buf_adds(&path, "/oauth2/v2.0/token");
	cloud_form_add(&form, "grant_type", "client_credentials");
	cloud_form_add(&form, "client_id", oidc->azure.client_id);
	cloud_form_add(&form, "scope", environment->scope);
	cloud_form_add(&form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
	cloud_form_add(&form, "client_assertion", token->token);
	int r = buf_check(&form, "the request", e);
	if (r == 0)
		r = buf_check(&path, "the path", e);
	if (r == 0)
		r = cloud_post(config,
			       config->clouds->azure_authority ? config->clouds->azure_authority
							       : environment->authority,
			       path.data, "application/x-www-form-urlencoded", NULL, buf_str(&form), &answer, e);
	if (r < 0)
		return r;
	if (answer.status >= 300)
		return refused(config, token, &answer, e);
	config->say(config->arg, "Azure: the token is taken; the run signs in with it");
	return 0;
}
