#include "cli/command.h"

const struct command commands[] = {
	{ "dev", COMMAND_DEV, NULL, 0, "a server and an agent, for a machine of one's own",
	  "Starts the server and one agent as its child. The first start makes the user admin, the organization acme and an\n"
	  "access token, which is printed once and kept in admin-token in the data directory. Runs may clone file:// and\n"
	  "plain http:// repositories.",
	  command_dev },
	{ "serve", COMMAND_SERVE, NULL, 0, "the server alone",
	  "REST API, state backend and queue. Everything it keeps lies in the data directory.", command_serve },
	{ "agent", COMMAND_AGENT, NULL, 0, "a runner: takes deployments from a server and runs them",
	  "Needs one outbound connection to the server and the token of an agent pool (slipway admin pool create).",
	  command_agent },
	{ "admin org add", COMMAND_ORG_ADD, "NAME", 1, "make an organization", "Prints its id.", command_org_add },
	{ "admin org list", COMMAND_LIST, NULL, 0, "list all organizations",
	  "A line for each: name, whether it is a user's own, members, stacks, what members may do by default.",
	  command_org_list },
	{ "admin org members", COMMAND_LIST, "NAME", 1, "list the members of an organization",
	  "A line for each: login and role.", command_org_members },
	{ "admin org set", COMMAND_ORG_SET, "NAME", 1, "set an organization's default level and its limits",
	  "Prints its id. --level is what members may do to stacks without a grant. --limit and --time-limit let an\n"
	  "organization have more than its own administrators may set (--max-deployments and --max-deployment-timeout of\n"
	  "the server). A time limit counts for runs that begin from now on.",
	  command_org_set },
	{ "admin user add", COMMAND_USER_ADD, "NAME", 1, "make a user, or let one join an organization",
	  "Prints the user's id. The first user becomes site administrator.", command_user_add },
	{ "admin user list", COMMAND_LIST, NULL, 0, "list all users",
	  "A line for each: name, whether a site administrator, organizations with the role, when a token was last used.",
	  command_user_list },
	{ "admin user remove", COMMAND_USER_REMOVE, "NAME", 1, "remove a user",
	  "Prints the user's id. Tokens, memberships and grants go; deployments that the user asked for are cancelled, and\n"
	  "schedules of the user's paused. The personal organization stays, with its stacks and nobody in it. The last\n"
	  "administrator of an organization, or of the site, is not removed. Who is added again has none of it back but\n"
	  "their own stacks.",
	  command_user_remove },
	{ "admin grant set", COMMAND_GRANT_SET, "STACK", 1, "give a member a level on one stack",
	  "STACK is ORGANIZATION/PROJECT/STACK. The level stands in place of the organization's default, also when it is less.",
	  command_grant_set },
	{ "admin grant remove", COMMAND_GRANT_REMOVE, "STACK", 1, "take a member's level on one stack back",
	  "The organization's default counts again.", command_grant_remove },
	{ "admin grant list", COMMAND_LIST, "STACK", 1, "list who has a level of their own on a stack",
	  "A line for each: login and level.", command_grant_list },
	{ "admin org-token create", COMMAND_ORG_TOKEN_CREATE, "NAME", 1,
	  "make a token of an organization, for a machine", "Prints the token. It is stored nowhere: keep it.",
	  command_org_token_create },
	{ "admin org-token list", COMMAND_ORG_TOKEN, NULL, 0, "list the tokens of an organization",
	  "A line for each: id, name, whether with an administrator's rights, last use, end.", command_org_token_list },
	{ "admin org-token revoke", COMMAND_ORG_TOKEN, "ID", 1, "revoke a token of an organization", NULL,
	  command_org_token_revoke },
	{ "admin token create", COMMAND_TOKEN_CREATE, NULL, 0, "make an access token for a user",
	  "Prints the token. It is stored nowhere: keep it.", command_token_create },
	{ "admin pool create", COMMAND_POOL_CREATE, "NAME", 1, "make a pool for agents",
	  "Prints the token for its agents. It is stored nowhere: keep it.", command_pool_create },
	{ "admin key rotate", COMMAND_KEY_ROTATE, NULL, 0, "make a new master key",
	  "Prints the number of the new key. The keys of all organizations are sealed with it, while the server runs; the old\n"
	  "key is then gone from master.key. A backup that was made before needs the master.key that lies in it.",
	  command_key_rotate },
	{ "admin oidc rotate", COMMAND_OIDC_ROTATE, NULL, 0, "make a new key for the tokens that clouds check",
	  "Prints its id. It signs from now on; the one before stays in the JWKS until the last token that it has signed has\n"
	  "expired, so that nothing that runs notices. Happens by itself when a key is as old as --oidc-key-age of the server.",
	  command_oidc_rotate },
	{ "admin oidc keys", COMMAND_LIST, NULL, 0, "list the keys of the OIDC issuer",
	  "A line for each, newest first: id, whether it waits, signs or is retired, since when it signs, and until when a\n"
	  "token of it is good.",
	  command_oidc_keys },
	{ "admin backup", COMMAND_BACKUP, "FILE", 1, "write everything that the server keeps into one file",
	  "The server may go on running. The file holds the master key: keep it as you would keep the secrets themselves.",
	  command_backup },
	{ "admin restore", COMMAND_RESTORE, "FILE", 1, "make a data directory of a backup",
	  "--data names a directory that is empty or not there. Needs no server. 'slipway admin verify' checks the result.",
	  command_restore },
	{ "admin verify", COMMAND_VERIFY, NULL, 0, "read everything that is stored, and tell what is wrong",
	  "A line for each problem; exit code 1 if there is one. Works on a running server and on a directory without one.",
	  command_verify },
	{ "admin export", COMMAND_EXPORT, "DIR", 1, "write the state of every stack into a folder",
	  "DIR/ORGANIZATION/PROJECT/STACK.json, as 'pulumi stack export' gives it and 'pulumi stack import' takes it.",
	  command_export },
	{ "admin import", COMMAND_IMPORT, NULL, 0, "take over every stack of another backend",
	  "From a folder that 'pulumi login file://DIR' used, into the organization --org; or from another Pulumi service, with\n"
	  "a user's token (--token-file, or PULUMI_ACCESS_TOKEN), into organizations of the same names or all into --org. Every\n"
	  "version comes with its state, as far as there is one. What cannot be taken is told; exit code 1 if that is a stack.\n"
	  "It can be repeated: what is here already is not taken again, and a stack that has been used here stays as it is.",
	  command_import },
	{ "config", COMMAND_CONFIG, NULL, 0, "print every option's value and where it comes from",
	  "Takes the options of serve, dev and agent. Each may also stand in the environment (--listen as SLIPWAY_LISTEN) and in\n"
	  "a file (name = value); a flag wins over the environment, the environment over the file.",
	  command_config },
	{ "routes", COMMAND_ROUTES, NULL, 0, "print the routes of the API: method, path, authentication, permission",
	  NULL, command_routes },
	{ "version", COMMAND_PLAIN, NULL, 0, "print the version", NULL, command_version },
	{ "help", COMMAND_PLAIN, NULL, 0, "print this", NULL, command_help },
};
const size_t command_count = ARRAY_SIZE(commands);
