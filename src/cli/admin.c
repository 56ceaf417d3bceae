/*
 * admin.c: `slipway admin ...` that makes and sets things: REST calls over the control socket, which only the owner of the data
 * directory may open. The id or the token is the only line on standard output; --json prints the whole answer instead.
 */
#include "cli/site_call.h"

#include "base/clock.h"
#include "base/encode.h"

#define PATH_MAX_BYTES (64 * (size_t)1024)

int command_org_add(struct invocation *in, struct err *e)
{
	struct call c;
	call_init(&c, in, "/api/site/orgs", "id");
	call_set(&c, "name", in->args[0]);
	return call_run(&c, e);
}

/* Absent is not 0, which the options do not tell apart. */
static bool is_given(struct invocation *in, const char *name)
{
	return options_value(&in->options, name)->text != NULL;
}

int command_org_set(struct invocation *in, struct err *e)
{
	bool limit = is_given(in, "limit"), time_limit = is_given(in, "time-limit");
	if (!limit && !time_limit && !in->config.level)
		return err_set(e, ERR_USAGE,
			       "nothing to set: --limit N, --time-limit TIME or --level LEVEL is missing");
	if (in->config.time_limit_us % US_PER_S != 0)
		return err_set(e, ERR_USAGE, "--time-limit: must be whole seconds");
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_MAX_BYTES);
	int rc = call_org_path(&path, in->args[0], "", e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, "id");
	c.method = "PATCH";
	if (in->config.level) {
		jw_kv_int(&c.j, "setDefaultStackPermission", level_number(in->config.level));
		jw_kv_bool(&c.j, "setDefaultStackDeploy", streq(in->config.level, "deploy"));
	}
	if (limit)
		jw_kv_int(&c.j, "setDeploymentConcurrency", in->config.limit);
	if (time_limit)
		jw_kv_int(&c.j, "setDeploymentTimeoutSeconds", in->config.time_limit_us / US_PER_S);
	return call_run(&c, e);
}

int command_user_add(struct invocation *in, struct err *e)
{
	if (in->config.role && !in->config.org)
		return err_set(e, ERR_USAGE, "--role needs --org");
	struct call c;
	call_init(&c, in, "/api/site/users", "id");
	call_set(&c, "name", in->args[0]);
	call_set(&c, "organization", in->config.org);
	call_set(&c, "role", in->config.role);
	if (in->config.site_admin)
		jw_kv_bool(&c.j, "siteAdmin", true);
	return call_run(&c, e);
}

int command_user_remove(struct invocation *in, struct err *e)
{
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_MAX_BYTES);
	buf_adds(&path, "/api/site/users/");
	url_escape(&path, str_of(in->args[0]));
	int rc = buf_check(&path, "the path", e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, "id");
	c.method = "DELETE";
	return call_run(&c, e);
}

int command_token_create(struct invocation *in, struct err *e)
{
	int rc = call_need(in->config.user, "--user NAME", e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, "/api/site/tokens", "tokenValue");
	call_set(&c, "user", in->config.user);
	call_set(&c, "description", in->config.description);
	call_set_expiry(&c);
	return call_run(&c, e);
}

int command_pool_create(struct invocation *in, struct err *e)
{
	int rc = call_need(in->config.org, "--org ORG", e);
	if (rc < 0)
		return rc;
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_MAX_BYTES);
	rc = call_org_path(&path, in->config.org, "/agent-pools", e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, "tokenValue");
	call_set(&c, "name", in->args[0]);
	call_set(&c, "description", in->config.description);
	return call_run(&c, e);
}

int command_key_rotate(struct invocation *in, struct err *e)
{
	struct call c;
	call_init(&c, in, "/api/site/keys/rotate", "id");
	return call_run(&c, e);
}

int command_oidc_rotate(struct invocation *in, struct err *e)
{
	struct call c;
	call_init(&c, in, "/api/site/oidc/rotate", "id");
	if (in->config.revoke)
		jw_kv_bool(&c.j, "revoke", true);
	return call_run(&c, e);
}
