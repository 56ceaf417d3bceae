#include "deploy/settings_fields.h"

#include "deploy/deployment.h"

#define END                  \
	{                    \
		.name = NULL \
	}

static const char *const providers[] = { "github", "gitlab", "bitbucket", "azure_devops", "custom", NULL };

static const struct setting image_credentials[] = {
	{ .name = "username", .kind = SET_STRING },
	{ .name = "password", .kind = SET_CREDENTIAL },
	END,
};
static const struct setting image_object[] = {
	{ .name = "reference", .kind = SET_STRING },
	{ .name = "credentials", .kind = SET_OBJECT, .sub = image_credentials },
	{ .name = "isDefault", .kind = SET_READ_ONLY },
	END,
};
static const struct setting executor[] = {
	{ .name = "executorImage", .kind = SET_IMAGE, .sub = image_object },
	{ .name = "executorRootPath", .kind = SET_STRING },
	{ .name = "workingDirectory", .kind = SET_STRING, .empty_inherits = true }, /* CLI only, not in the schema */
	END,
};
static const struct setting ssh_auth[] = {
	{ .name = "sshPrivateKey", .kind = SET_CREDENTIAL },
	{ .name = "password", .kind = SET_CREDENTIAL },
	END,
};
static const struct setting basic_auth[] = {
	{ .name = "userName", .kind = SET_SECRET },
	{ .name = "password", .kind = SET_CREDENTIAL },
	END,
};
static const struct setting source_auth[] = {
	{ .name = "accessToken", .kind = SET_CREDENTIAL },
	{ .name = "sshAuth", .kind = SET_OBJECT, .sub = ssh_auth },
	{ .name = "basicAuth", .kind = SET_OBJECT, .sub = basic_auth },
	END,
};
const struct setting settings_git[] = {
	{ .name = "repoUrl", .kind = SET_STRING, .empty_inherits = true },
	{ .name = "repoURL", .kind = SET_STRING, .empty_inherits = true, .canonical = "repoUrl" },
	{ .name = "branch", .kind = SET_STRING, .empty_inherits = true },
	{ .name = "commit", .kind = SET_STRING, .empty_inherits = true },
	{ .name = "tag", .kind = SET_STRING, .empty_inherits = true },
	{ .name = "repoDir", .kind = SET_PATH },
	{ .name = "gitAuth", .kind = SET_OBJECT, .sub = source_auth },
	END,
};
static const struct setting hg[] = {
	{ .name = "repoUrl", .kind = SET_STRING, .empty_inherits = true },
	{ .name = "repoURL", .kind = SET_STRING, .empty_inherits = true, .canonical = "repoUrl" },
	{ .name = "branch", .kind = SET_STRING, .empty_inherits = true },
	{ .name = "revision", .kind = SET_STRING, .empty_inherits = true },
	{ .name = "repoDir", .kind = SET_PATH },
	{ .name = "hgAuth", .kind = SET_OBJECT, .sub = source_auth },
	END,
};
static const struct setting template_[] = {
	{ .name = "sourceUrl", .kind = SET_STRING },
	{ .name = "gitAuth", .kind = SET_OBJECT, .sub = source_auth },
	{ .name = "projectSourceUrl", .kind = SET_READ_ONLY },
	END,
};
const struct setting settings_source[] = {
	{ .name = "git", .kind = SET_OBJECT, .sub = settings_git },
	{ .name = "hg", .kind = SET_OBJECT, .sub = hg },
	{ .name = "template", .kind = SET_OBJECT, .sub = template_ },
	END,
};
static const struct setting github[] = {
	{ .name = "repository", .kind = SET_STRING },
	{ .name = "deployCommits", .kind = SET_BOOL },
	{ .name = "previewPullRequests", .kind = SET_BOOL },
	{ .name = "pullRequestTemplate", .kind = SET_BOOL },
	{ .name = "deployPullRequest", .kind = SET_INT },
	{ .name = "paths", .kind = SET_STRINGS },
	{ .name = "installationId", .kind = SET_ID },
	{ .name = "deployTags", .kind = SET_BOOL },
	{ .name = "tagFilters", .kind = SET_STRINGS },
	{ .name = "reviewStackLabels", .kind = SET_STRINGS },
	END,
};
static const struct setting vcs[] = {
	{ .name = "provider", .kind = SET_STRING, .one_of = providers },
	{ .name = "repository", .kind = SET_STRING },
	{ .name = "deployCommits", .kind = SET_BOOL },
	{ .name = "previewPullRequests", .kind = SET_BOOL },
	{ .name = "pullRequestTemplate", .kind = SET_BOOL },
	{ .name = "deployPullRequest", .kind = SET_INT },
	{ .name = "paths", .kind = SET_STRINGS },
	{ .name = "installationId", .kind = SET_ID },
	{ .name = "deployTags", .kind = SET_BOOL },
	{ .name = "tagFilters", .kind = SET_STRINGS },
	{ .name = "reviewStackLabels", .kind = SET_STRINGS },
	END,
};
static const struct setting oidc_aws[] = {
	{ .name = "roleArn", .kind = SET_STRING },
	{ .name = "sessionName", .kind = SET_STRING },
	{ .name = "duration", .kind = SET_DURATION },
	{ .name = "policyArns", .kind = SET_STRINGS },
	END,
};
static const struct setting oidc_azure[] = {
	{ .name = "clientId", .kind = SET_STRING },
	{ .name = "tenantId", .kind = SET_STRING },
	{ .name = "subscriptionId", .kind = SET_STRING },
	END,
};
static const struct setting oidc_gcp[] = {
	{ .name = "projectId", .kind = SET_STRING },
	{ .name = "workloadPoolId", .kind = SET_STRING },
	{ .name = "providerId", .kind = SET_STRING },
	{ .name = "serviceAccount", .kind = SET_STRING },
	{ .name = "region", .kind = SET_STRING },
	{ .name = "tokenLifetime", .kind = SET_DURATION },
	END,
};
static const struct setting oidc[] = {
	{ .name = "aws", .kind = SET_OBJECT, .sub = oidc_aws },
	{ .name = "azure", .kind = SET_OBJECT, .sub = oidc_azure },
	{ .name = "gcp", .kind = SET_OBJECT, .sub = oidc_gcp },
	END,
};
static const struct setting options[] = {
	{ .name = "skipInstallDependencies", .kind = SET_BOOL },
	{ .name = "skipIntermediateDeployments", .kind = SET_BOOL },
	{ .name = "shell", .kind = SET_STRING, .empty_inherits = true },
	{ .name = "deleteAfterDestroy", .kind = SET_BOOL },
	{ .name = "remediateIfDriftDetected", .kind = SET_BOOL },
	END,
};
static const struct setting role[] = {
	{ .name = "id", .kind = SET_STRING },
	{ .name = "name", .kind = SET_STRING },
	{ .name = "defaultIdentifier", .kind = SET_STRING },
	END,
};
static const struct setting operation[] = {
	{ .name = "operation", .kind = SET_OPERATION, .empty_inherits = true, .one_of = deployment_operations },
	{ .name = "preRunCommands", .kind = SET_STRINGS, .empty_inherits = true },
	{ .name = "environmentVariables", .kind = SET_VARIABLES },
	{ .name = "options", .kind = SET_OBJECT, .sub = options },
	{ .name = "oidc", .kind = SET_OBJECT, .sub = oidc },
	{ .name = "role", .kind = SET_ROLE, .sub = role },
	END,
};
static const struct setting cache[] = {
	{ .name = "enable", .kind = SET_BOOL },
	END,
};
const struct setting settings_document[] = {
	{ .name = "tag", .kind = SET_STRING },
	{ .name = "executorContext", .kind = SET_OBJECT, .sub = executor },
	{ .name = "sourceContext", .kind = SET_OBJECT, .sub = settings_source },
	{ .name = "gitHub", .kind = SET_OBJECT, .sub = github },
	{ .name = "vcs", .kind = SET_OBJECT, .sub = vcs },
	{ .name = "operationContext", .kind = SET_OBJECT, .sub = operation },
	{ .name = "agentPoolID", .kind = SET_POOL },
	{ .name = "cacheOptions", .kind = SET_OBJECT, .sub = cache },
	{ .name = "version", .kind = SET_READ_ONLY },
	{ .name = "source", .kind = SET_READ_ONLY },
	/* Of a create, decoded by its own table. */
	{ .name = "inheritSettings", .kind = SET_READ_ONLY },
	{ .name = "operation", .kind = SET_READ_ONLY },
	END,
};
