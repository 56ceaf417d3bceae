#include "agent/credentials.h"

#include "base/limits.h"

void credentials_set(struct credentials *c, const char *name, const char *value, bool secret)
{
	if (!value || !value[0])
		return;
	BUG_ON(c->variable_count == CREDENTIALS_VARIABLES_MAX);
	c->variables[c->variable_count].name = name;
	c->variables[c->variable_count].value = value;
	c->variables[c->variable_count].secret = secret;
	c->variable_count++;
}

void credentials_file(struct credentials *c, const char *path, const char *content)
{
	BUG_ON(c->file_count == CREDENTIALS_FILES_MAX);
	c->files[c->file_count].path = path;
	c->files[c->file_count].content = content;
	c->file_count++;
}

int credentials_of_token(const struct credentials_config *config, const struct api_oidc *token, struct credentials *ret,
			 struct err *e)
{
	const struct order_oidc *oidc = &config->order->oidc;
	struct credentials c = { .token = token->token, .required = oidc->text != NULL };
	const char *path = arena_printf(config->arena, "%s/" CREDENTIALS_TOKEN_FILE, config->folder);
	if (!path)
		return err_nomem(e);
	credentials_set(&c, "PULUMI_OIDC_TOKEN", token->token, true);
	credentials_set(&c, "PULUMI_OIDC_TOKEN_FILE", path, false);
	credentials_set(&c, "PULUMI_DEPLOY_OIDC_CONFIG", oidc->text, false);
	credentials_file(&c, path, token->token);
	int r = oidc->has_azure ? cloud_azure_variables(config, token, &c, e) : 0;
	if (r == 0 && oidc->has_gcp)
		r = cloud_google_variables(config, token, &c, e);
	if (r == 0)
		*ret = c;
	return r;
}

/* A cloud that cannot be reached from here may be reached by the run, which then signs in by itself. */
static int tried(const struct credentials_config *config, const char *cloud, int r, struct err *e)
{
	if (r != -ERR_UNAVAILABLE)
		return r < 0 ? err_wrap(e, "%s", cloud) : 0;
	const char *line =
		arena_printf(config->arena, "warning: %s could not be asked (%s): the run will sign in by itself",
			     cloud, e->message);
	config->say(config->arg, line ? line : "warning: a cloud could not be asked");
	err_reset(e);
	return 0;
}

int credentials_ask(const struct credentials_config *config, const struct api_oidc *token, struct credentials *c,
		    struct err *e)
{
	const struct order_oidc *oidc = &config->order->oidc;
	int r = oidc->has_aws ? cloud_aws(config, token, c, e) : 0;
	if (r < 0)
		return err_wrap(e, "AWS");
	if (oidc->has_azure)
		r = tried(config, "Azure", cloud_azure_try(config, token, e), e);
	if (r == 0 && oidc->has_gcp)
		r = tried(config, "Google", cloud_google_try(config, token, e), e);
	return r;
}
