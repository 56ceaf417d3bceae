#include "agent/order.h"

#include "base/fields.h"

/* Of a server that does not say it. */
#define LEASE_S 600

struct order_text {
	struct {
		const char *id, *organization, *project, *stack, *operation, *console_url, *requested_by;
		int64_t version;
	} deployment;
	int64_t attempt, timeout_s, heartbeat_s, lease_s;
	const char *backend_url, *run_token, *executor_root;
	struct json source, image, pre_run, environment, oidc;
	struct {
		const char *mode;
		struct json allow;
	} network;
	struct {
		bool skip, delete_after, remediate;
		const char *shell;
	} options;
};

static const struct field deployment_fields[] = {
	FIELD(struct order_text, deployment.id, "id", FIELD_STRING, .required = true),
	FIELD(struct order_text, deployment.version, "version", FIELD_INT, .required = true),
	FIELD(struct order_text, deployment.organization, "organization", FIELD_STRING, .required = true),
	FIELD(struct order_text, deployment.project, "project", FIELD_STRING, .required = true),
	FIELD(struct order_text, deployment.stack, "stack", FIELD_STRING, .required = true),
	FIELD(struct order_text, deployment.operation, "operation", FIELD_STRING, .required = true),
	FIELD(struct order_text, deployment.console_url, "consoleUrl", FIELD_STRING),
	FIELD(struct order_text, deployment.requested_by, "requestedBy", FIELD_STRING),
	FIELD_END
};

static const struct field option_fields[] = {
	FIELD(struct order_text, options.skip, "skipInstallDependencies", FIELD_BOOL),
	FIELD(struct order_text, options.delete_after, "deleteAfterDestroy", FIELD_BOOL),
	FIELD(struct order_text, options.remediate, "remediateIfDriftDetected", FIELD_BOOL),
	FIELD(struct order_text, options.shell, "shell", FIELD_STRING), FIELD_END
};

static const struct field network_fields[] = { FIELD(struct order_text, network.mode, "mode", FIELD_STRING),
					       FIELD(struct order_text, network.allow, "allow", FIELD_STRING_LIST),
					       FIELD_END };

static const struct field order_fields[] = {
	FIELD(struct order_text, attempt, "attempt", FIELD_INT, .required = true),
	FIELD(struct order_text, timeout_s, "timeoutSeconds", FIELD_INT, .required = true, .min = 1,
	      .max = 366 * 86400),
	FIELD(struct order_text, heartbeat_s, "heartbeatSeconds", FIELD_INT, .required = true, .min = 1, .max = 3600),
	FIELD(struct order_text, lease_s, "leaseSeconds", FIELD_INT, .min = 1, .max = 3651 * 86400),
	FIELD(struct order_text, backend_url, "backendUrl", FIELD_STRING, .required = true),
	FIELD(struct order_text, run_token, "runToken", FIELD_STRING, .required = true),
	FIELD(struct order_text, source, "source", FIELD_JSON_OBJECT),
	FIELD(struct order_text, image, "image", FIELD_JSON_OBJECT),
	FIELD(struct order_text, executor_root, "executorRootPath", FIELD_STRING),
	FIELD(struct order_text, pre_run, "preRunCommands", FIELD_STRING_LIST),
	FIELD(struct order_text, environment, "environment", FIELD_JSON_ARRAY),
	FIELD(struct order_text, oidc, "oidc", FIELD_JSON_OBJECT),
	FIELD_END
};

static const struct field git_fields[] = { FIELD(struct order_git, repo_url, "repoUrl", FIELD_STRING, .required = true),
					   FIELD(struct order_git, branch, "branch", FIELD_STRING),
					   FIELD(struct order_git, commit, "commit", FIELD_STRING),
					   FIELD(struct order_git, tag, "tag", FIELD_STRING),
					   FIELD(struct order_git, repo_dir, "repoDir", FIELD_STRING),
					   FIELD_END };

static const struct field auth_fields[] = { FIELD(struct order_auth, access_token, "accessToken", FIELD_STRING),
					    FIELD(struct order_auth, ssh_private_key, "sshPrivateKey", FIELD_STRING),
					    FIELD(struct order_auth, ssh_password, "sshPassword", FIELD_STRING),
					    FIELD(struct order_auth, user_name, "userName", FIELD_STRING),
					    FIELD(struct order_auth, password, "password", FIELD_STRING),
					    FIELD_END };

static int decode_auth(struct json auth, struct arena *a, struct order *o, struct err *e)
{
	int r = json_is_null(auth) ? 0 : fields_decode(auth, auth_fields, &o->git.auth, a, NULL, e);
	return r < 0 ? err_wrap(e, "/source") : 0;
}

static const struct field image_fields[] = {
	FIELD(struct order_image, reference, "reference", FIELD_STRING, .required = true), FIELD_END
};

static const struct field credential_fields[] = { FIELD(struct order_image, username, "username", FIELD_STRING),
						  FIELD(struct order_image, password, "password", FIELD_STRING),
						  FIELD_END };

static int decode_image(struct json image, struct arena *a, struct order_image *ret, struct err *e)
{
	if (json_is_null(image))
		return 0;
	struct json credentials = json_get(image, "credentials");
	int r = fields_decode(image, image_fields, ret, a, NULL, e);
	if (r == 0 && !json_is_null(credentials))
		r = fields_decode(credentials, credential_fields, ret, a, NULL, e);
	return r < 0 ? err_wrap(e, "/image") : 0;
}

static int decode_source(struct json source, struct arena *a, struct order *o, struct err *e)
{
	if (json_is_null(source))
		return 0;
	o->has_source = true;
	o->unsupported = json_cstr(json_get(source, "unsupported"), a);
	struct json git = json_get(source, "git"), template_ = json_get(source, "template");
	o->git = (struct order_git){ .repo_url = "", .branch = "", .commit = "", .tag = "", .repo_dir = "" };
	if (!json_is_null(template_)) {
		o->template_url = json_cstr(json_get(template_, "sourceUrl"), a);
		if (!o->template_url)
			return err_set(e, ERR_BAD_REQUEST, "/source/template/sourceUrl: must be a string");
		return decode_auth(json_get(template_, "auth"), a, o, e);
	}
	if (json_is_null(git)) {
		if (!o->unsupported)
			o->unsupported = "unknown";
		return 0;
	}
	int r = fields_decode(git, git_fields, &o->git, a, NULL, e);
	return r < 0 ? err_wrap(e, "/source/git") : decode_auth(json_get(git, "auth"), a, o, e);
}

static int decode_strings(struct json list, const char *name, struct arena *a, const char *const **ret, struct err *e)
{
	const char **strings = arena_array(a, json_count(list) + 1, sizeof(*strings));
	if (!strings)
		return err_nomem(e);
	size_t n = 0;
	struct json one;
	json_foreach(one, list) {
		strings[n] = json_cstr(one, a);
		if (!strings[n++])
			return err_set(e, ERR_BAD_REQUEST, "%s: must be strings without NUL bytes", name);
	}
	*ret = strings;
	return 0;
}

static int decode_variables(struct json list, struct arena *a, struct order *o, struct err *e)
{
	struct order_variable *v = arena_array(a, json_count(list) + 1, sizeof(*v));
	if (!v)
		return err_nomem(e);
	size_t n = 0;
	struct json one;
	json_foreach(one, list) {
		v[n].name = json_cstr(json_get(one, "name"), a);
		v[n].secret = json_is_true(json_get(one, "secret"));
		if (!v[n].name || !json_string(json_get(one, "value"), a, &v[n].value))
			return err_set(e, ERR_BAD_REQUEST, "/environment: must be objects with name and value");
		if (v[n].name[0] == '\0' || strchr(v[n].name, '='))
			return err_set(e, ERR_BAD_REQUEST, "/environment: '%s' is not a variable's name", v[n].name);
		if (str_has_nul(v[n].value))
			return err_set(e, ERR_BAD_REQUEST, "/environment: the value of %s holds a NUL byte", v[n].name);
		n++;
	}
	o->variables = v;
	o->variable_count = n;
	return 0;
}

static const struct field aws_fields[] = { FIELD(struct order_oidc, aws.role_arn, "roleArn", FIELD_STRING),
					   FIELD(struct order_oidc, aws.session_name, "sessionName", FIELD_STRING),
					   FIELD(struct order_oidc, aws.duration, "duration", FIELD_STRING),
					   FIELD_END };
static const struct field azure_fields[] = {
	FIELD(struct order_oidc, azure.client_id, "clientId", FIELD_STRING),
	FIELD(struct order_oidc, azure.tenant_id, "tenantId", FIELD_STRING),
	FIELD(struct order_oidc, azure.subscription_id, "subscriptionId", FIELD_STRING), FIELD_END
};
static const struct field gcp_fields[] = {
	FIELD(struct order_oidc, gcp.project_id, "projectId", FIELD_STRING),
	FIELD(struct order_oidc, gcp.workload_pool_id, "workloadPoolId", FIELD_STRING),
	FIELD(struct order_oidc, gcp.provider_id, "providerId", FIELD_STRING),
	FIELD(struct order_oidc, gcp.service_account, "serviceAccount", FIELD_STRING),
	FIELD(struct order_oidc, gcp.region, "region", FIELD_STRING),
	FIELD(struct order_oidc, gcp.token_lifetime, "tokenLifetime", FIELD_STRING),
	FIELD_END
};

static int decode_cloud(struct json cloud, const struct field *table, bool *ret_has, struct arena *a,
			struct order_oidc *o, struct err *e)
{
	*ret_has = !json_is_null(cloud);
	return *ret_has ? fields_decode(cloud, table, o, a, NULL, e) : 0;
}

static int decode_oidc(struct json oidc, struct arena *a, struct order_oidc *o, struct err *e)
{
	*o = (struct order_oidc){ .aws = { "", "", "", NULL },
				  .azure = { "", "", "" },
				  .gcp = { "", "", "", "", "", "" } };
	int r = decode_strings(json_path(oidc, "aws", "policyArns", NULL), "/aws/policyArns", a, &o->aws.policy_arns,
			       e);
	if (r == 0)
		r = decode_cloud(json_get(oidc, "aws"), aws_fields, &o->has_aws, a, o, e);
	if (r == 0)
		r = decode_cloud(json_get(oidc, "azure"), azure_fields, &o->has_azure, a, o, e);
	if (r == 0)
		r = decode_cloud(json_get(oidc, "gcp"), gcp_fields, &o->has_gcp, a, o, e);
	if (r < 0)
		return err_wrap(e, "/oidc");
	if (!o->has_aws && !o->has_azure && !o->has_gcp)
		return 0;
	o->text = str_dup(a, json_text(oidc));
	return o->text ? 0 : err_nomem(e);
}

int order_decode(struct json body, struct arena *a, struct order *ret, struct err *e)
{
	struct order_text t = { .options.shell = "bash", .lease_s = LEASE_S };
	int r = fields_decode(body, order_fields, &t, a, NULL, e);
	if (r == 0)
		r = fields_decode(json_get(body, "deployment"), deployment_fields, &t, a, NULL, e);
	if (r == 0 && !json_is_null(json_get(body, "options")))
		r = fields_decode(json_get(body, "options"), option_fields, &t, a, NULL, e);
	if (r == 0 && !json_is_null(json_get(body, "network")))
		r = fields_decode(json_get(body, "network"), network_fields, &t, a, NULL, e);
	if (r < 0)
		return err_wrap(e, "work order");
	struct order o = { .id = t.deployment.id,
			   .organization = t.deployment.organization,
			   .project = t.deployment.project,
			   .stack = t.deployment.stack,
			   .operation = t.deployment.operation,
			   .console_url = t.deployment.console_url ? t.deployment.console_url : "",
			   .requested_by = t.deployment.requested_by ? t.deployment.requested_by : "",
			   .version = t.deployment.version,
			   .attempt = t.attempt,
			   .timeout_s = t.timeout_s,
			   .heartbeat_s = t.heartbeat_s,
			   .lease_s = t.lease_s,
			   .backend_url = t.backend_url,
			   .run_token = t.run_token,
			   .network_mode = t.network.mode,
			   .executor_root = t.executor_root,
			   .skip_install_dependencies = t.options.skip,
			   .delete_after_destroy = t.options.delete_after,
			   .remediate_if_drift_detected = t.options.remediate,
			   .shell = t.options.shell[0] ? t.options.shell : "bash" };
	o.cache = json_is_true(json_path(body, "cacheOptions", "enable", NULL));
	r = decode_image(t.image, a, &o.image, e);
	if (r == 0)
		r = decode_source(t.source, a, &o, e);
	if (r == 0)
		r = decode_strings(t.pre_run, "/preRunCommands", a, &o.pre_run, e);
	if (r == 0)
		r = decode_strings(t.network.allow, "/network/allow", a, &o.network_allow, e);
	if (r == 0)
		r = decode_variables(t.environment, a, &o, e);
	if (r == 0)
		r = decode_oidc(t.oidc, a, &o.oidc, e);
	if (r < 0)
		return err_wrap(e, "work order");
	*ret = o;
	return 0;
}
