/*
 * order.h: the work order (docs/runner-protocol.md), decoded. Everything lies in the arena it was decoded into, which
 * the job keeps to its end.
 */
#ifndef SLIPWAY_AGENT_ORDER_H
#define SLIPWAY_AGENT_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct order_auth {
	const char *access_token;
	const char *ssh_private_key, *ssh_password;
	const char *user_name, *password;
};

struct order_git {
	const char *repo_url, *branch, *commit, *tag, *repo_dir; /* empty rather than NULL, but for repo_url */
	struct order_auth auth;					 /* all NULL: none */
};

struct order_image {
	const char *reference;		 /* NULL: none asked for */
	const char *username, *password; /* for its registry; NULL: none */
};

/* What the settings say of a cloud. Empty rather than NULL. */
struct order_oidc {
	bool has_aws, has_azure, has_gcp;
	struct {
		const char *role_arn, *session_name, *duration;
		const char *const *policy_arns; /* NULL-terminated */
	} aws;
	struct {
		const char *client_id, *tenant_id, *subscription_id;
	} azure;
	struct {
		const char *project_id, *workload_pool_id, *provider_id, *service_account, *region, *token_lifetime;
	} gcp;
	const char *text; /* all of it as JSON; NULL: no cloud is asked for */
};

struct order_variable {
	const char *name;
	struct str value;
	bool secret;
};

struct order {
	const char *id, *organization, *project, *stack, *operation, *console_url, *requested_by;
	int64_t version;
	int64_t attempt;
	int64_t timeout_s, heartbeat_s, lease_s;
	const char *backend_url, *run_token;
	bool has_source;
	const char *unsupported; /* "template": a source that cannot be fetched yet */
	struct order_git git;
	const char *template_url;	  /* the source is this template, and `git` its repository; NULL: it is not */
	const char *network_mode;	  /* of the pool (network.h); NULL: it says nothing */
	const char *const *network_allow; /* NULL-terminated, or NULL */
	struct order_image image;
	const char *executor_root;  /* where the file PULUMI_ENV lies; NULL: the default */
	const char *const *pre_run; /* NULL-terminated */
	const struct order_variable *variables;
	size_t variable_count;
	bool skip_install_dependencies, delete_after_destroy, remediate_if_drift_detected;
	const char *shell;
	bool cache; /* restore and save dependencies */
	struct order_oidc oidc;
};

int order_decode(struct json body, struct arena *a, struct order *ret, struct err *e);

#endif
