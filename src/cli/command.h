/*
 * command.h: the verbs of `slipway`, a row each (commands.c): from the rows come the dispatch, the check of the arguments
 * and every --help.
 */
#ifndef SLIPWAY_CLI_COMMAND_H
#define SLIPWAY_CLI_COMMAND_H

#include "server/config.h"

struct invocation {
	const struct command *command;
	struct config config;
	struct options options;
	const char *const *args; /* arguments that are no flags */
	size_t arg_count;
	struct arena *arena;
};

struct command {
	const char *name;      /* "admin org add" */
	unsigned bit;	       /* which rows of config_options it has */
	const char *arguments; /* as shown: "NAME"; NULL: none */
	size_t argument_count;
	const char *summary;
	const char *text; /* more for --help, or NULL */
	/* The process's exit code, or a negative error code. */
	int (*run)(struct invocation *in, struct err *e);
};

extern const struct command commands[];
extern const size_t command_count;

/* The whole program; returns the exit code. */
int cli_main(int argc, char **argv);

int command_serve(struct invocation *in, struct err *e);
int command_dev(struct invocation *in, struct err *e);
int command_agent(struct invocation *in, struct err *e);
int command_config(struct invocation *in, struct err *e);
int command_routes(struct invocation *in, struct err *e);
int command_version(struct invocation *in, struct err *e);
int command_help(struct invocation *in, struct err *e);
int command_org_add(struct invocation *in, struct err *e);
int command_org_set(struct invocation *in, struct err *e);
int command_grant_list(struct invocation *in, struct err *e);
int command_grant_remove(struct invocation *in, struct err *e);
int command_grant_set(struct invocation *in, struct err *e);
int command_org_list(struct invocation *in, struct err *e);
int command_org_members(struct invocation *in, struct err *e);
int command_org_token_create(struct invocation *in, struct err *e);
int command_org_token_list(struct invocation *in, struct err *e);
int command_org_token_revoke(struct invocation *in, struct err *e);
int command_user_list(struct invocation *in, struct err *e);
int command_user_remove(struct invocation *in, struct err *e);
int command_user_add(struct invocation *in, struct err *e);
int command_token_create(struct invocation *in, struct err *e);
int command_pool_create(struct invocation *in, struct err *e);
int command_key_rotate(struct invocation *in, struct err *e);
int command_oidc_keys(struct invocation *in, struct err *e);
int command_oidc_rotate(struct invocation *in, struct err *e);
int command_backup(struct invocation *in, struct err *e);
int command_restore(struct invocation *in, struct err *e);
int command_verify(struct invocation *in, struct err *e);
int command_export(struct invocation *in, struct err *e);
int command_import(struct invocation *in, struct err *e);

#endif
