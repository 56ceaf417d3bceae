/* `slipway admin grant|org-token ...`: who may do what to a stack, and tokens of machines. */
#include "cli/site_call.h"

#include "base/encode.h"

#define PATH_BYTES (16 * (size_t)1024)

/* "/api/stacks/ORG/PROJECT/STACK/collaborators[/USER]" */
static int grant_path(struct invocation *in, const char *user, struct buf *ret, struct err *e)
{
	struct str project, name, org = str_cut(str_of(in->args[0]), '/', &project);
	project = str_cut(project, '/', &name);
	if (!name.p || org.n == 0 || project.n == 0 || name.n == 0)
		return err_set(e, ERR_USAGE, "'%s' is no stack: ORGANIZATION/PROJECT/STACK", in->args[0]);
	const struct str parts[] = { org, project, name };
	buf_adds(ret, "/api/stacks");
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		buf_addc(ret, '/');
		url_escape(ret, parts[i]);
	}
	buf_adds(ret, "/collaborators");
	if (user) {
		buf_addc(ret, '/');
		url_escape(ret, str_of(user));
	}
	return buf_check(ret, "the path", e);
}

int command_grant_set(struct invocation *in, struct err *e)
{
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_BYTES);
	int rc = call_need(in->config.user, "--user NAME", e);
	if (rc == 0)
		rc = call_need(in->config.level, "--level LEVEL", e);
	if (rc == 0)
		rc = grant_path(in, in->config.user, &path, e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, NULL);
	c.method = "PUT";
	jw_kv_int(&c.j, "permission", level_number(in->config.level));
	jw_kv_bool(&c.j, "deploy", streq(in->config.level, "deploy"));
	return call_run(&c, e);
}

int command_grant_remove(struct invocation *in, struct err *e)
{
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_BYTES);
	int rc = call_need(in->config.user, "--user NAME", e);
	if (rc == 0)
		rc = grant_path(in, in->config.user, &path, e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, NULL);
	c.method = "DELETE";
	return call_run(&c, e);
}

int command_grant_list(struct invocation *in, struct err *e)
{
	static const struct list_column columns[] = { { "user", "githubLogin" }, { "level", NULL }, { NULL, NULL } };
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_BYTES);
	int rc = grant_path(in, NULL, &path, e);
	return rc < 0 ? rc : list_run(in, path.data, "users", columns, e);
}

/* --- tokens of organizations --- */

static int token_path(struct invocation *in, const char *id, struct buf *ret, struct err *e)
{
	int rc = call_need(in->config.org, "--org ORG", e);
	if (rc == 0)
		rc = call_org_path(ret, in->config.org, id ? "/tokens/" : "/tokens", e);
	if (rc == 0 && id)
		url_escape(ret, str_of(id));
	return rc < 0 ? rc : buf_check(ret, "the path", e);
}

int command_org_token_create(struct invocation *in, struct err *e)
{
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_BYTES);
	int rc = token_path(in, NULL, &path, e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, "tokenValue");
	call_set(&c, "name", in->args[0]);
	call_set(&c, "description", in->config.description);
	jw_kv_bool(&c.j, "admin", in->config.admin);
	call_set_expiry(&c);
	return call_run(&c, e);
}

int command_org_token_revoke(struct invocation *in, struct err *e)
{
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_BYTES);
	int rc = token_path(in, in->args[0], &path, e);
	if (rc < 0)
		return rc;
	struct call c;
	call_init(&c, in, path.data, NULL);
	c.method = "DELETE";
	return call_run(&c, e);
}

int command_org_token_list(struct invocation *in, struct err *e)
{
	static const struct list_column columns[] = { { "id", NULL },	    { "name", NULL },	 { "admin", NULL },
						      { "lastUsed", NULL }, { "expires", NULL }, { NULL, NULL } };
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_BYTES);
	int rc = token_path(in, NULL, &path, e);
	return rc < 0 ? rc : list_run(in, path.data, "tokens", columns, e);
}
