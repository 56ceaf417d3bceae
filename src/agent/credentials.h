/*
 * credentials.h: what a run gets of clouds (features §6.2, docs/oidc.md): the step "Fetch provider credentials via OIDC".
 *
 * The server gives a token for the deployment. AWS: the agent assumes the role with it, and the run gets the session. Azure and
 * Google: their SDKs use the token themselves, so the run gets variables and files that lead them to it; the agent tries
 * it once, so that what is set up wrongly is told here and not by whatever the program does first.
 *
 * Every run gets the token itself, too, also without any cloud in its settings: PULUMI_OIDC_TOKEN, and a file.
 */
#ifndef SLIPWAY_AGENT_CREDENTIALS_H
#define SLIPWAY_AGENT_CREDENTIALS_H

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/order.h"

/* Below the executor's root. The path of the file is the hosted service's. */
#define CREDENTIALS_FOLDER "mnt/pulumi"
#define CREDENTIALS_TOKEN_FILE "pulumi.oidc"
#define CREDENTIALS_GOOGLE_FILE "google.json"

#define CREDENTIALS_VARIABLES_MAX 24
#define CREDENTIALS_FILES_MAX 2

struct credentials {
	struct {
		const char *name, *value;
		bool secret;
	} variables[CREDENTIALS_VARIABLES_MAX];
	size_t variable_count;
	struct {
		const char *path; /* as the run sees it */
		const char *content;
	} files[CREDENTIALS_FILES_MAX];
	size_t file_count;
	const char *token; /* NULL: there is none */
	bool required;	   /* a cloud needs it: the run does not go on without its files */
};

/* What they are made with. Lives as long as the job. */
struct credentials_config {
	struct arena *arena;
	const struct order *order;
	const struct agent_clouds *clouds;
	const char *folder; /* CREDENTIALS_FOLDER, as the run sees it */
	void (*say)(void *arg, const char *line);
	bool (*cancelled)(void *arg);
	void *arg;
};

void credentials_set(struct credentials *c, const char *name, const char *value, bool secret);
void credentials_file(struct credentials *c, const char *path, const char *content);

/* Everything that follows from the token without asking anybody. */
int credentials_of_token(const struct credentials_config *config, const struct api_oidc *token, struct credentials *ret,
			 struct err *e);
/* Asks the clouds of the settings. The error names the cloud, the role, and what the cloud said. */
int credentials_ask(const struct credentials_config *config, const struct api_oidc *token, struct credentials *c,
		    struct err *e);

/* --- cloud_aws.c --- */
int cloud_aws(const struct credentials_config *config, const struct api_oidc *token, struct credentials *c,
	      struct err *e);
/* What a sessionName stands for (features §6.4): variables filled in, at most 64 characters, those that AWS takes. */
char *cloud_aws_session_name(struct arena *a, const struct order *o);
/* Text of the first element of that name in an answer of AWS; false if there is none, or it is not well formed. */
bool cloud_aws_element(struct str xml, const char *name, struct arena *a, struct str *ret);

/* --- cloud_azure.c, cloud_google.c --- */
int cloud_azure_variables(const struct credentials_config *config, const struct api_oidc *token, struct credentials *c,
			  struct err *e);
int cloud_azure_try(const struct credentials_config *config, const struct api_oidc *token, struct err *e);
int cloud_google_variables(const struct credentials_config *config, const struct api_oidc *token, struct credentials *c,
			   struct err *e);
int cloud_google_try(const struct credentials_config *config, const struct api_oidc *token, struct err *e);

/* --- cloud_call.c: what the three have in common --- */
struct cloud_answer {
	int status;
	struct str body;
};
/* POSTs a form or JSON; busy or absent clouds are asked again, four times in all. ERR_UNAVAILABLE when none of them answered. */
int cloud_post(const struct credentials_config *config, const char *url, const char *path, const char *content_type,
	       const char *bearer, struct str body, struct cloud_answer *ret, struct err *e);
void cloud_form_add(struct buf *b, const char *name, const char *value);
/* ERR_BAD_REQUEST "operationContext.oidc.CLOUD.NAME is missing" if it is empty. */
int cloud_need(const char *value, const char *name, struct err *e);
/* What somebody else's answer says, fit for a line of a log. */
const char *cloud_clean(struct arena *a, struct str text);

#endif
