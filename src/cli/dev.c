/*
 * dev.c: `slipway dev`: the server in this process, one agent as a child.
 *
 * Standard output carries two facts for whoever reads it: on the first start the access token, and the line
 * "listening on URL" once /readyz answers 200. Everything else is on standard error.
 */
#include "cli/command.h"

#include <stdio.h>

#include "base/log.h"
#include "cli/agent_child.h"
#include "cli/signals.h"
#include "deploy/deploy.h"
#include "identity/identity.h"
#include "os/file.h"
#include "server/server.h"

#define ADMIN_NAME "admin"
#define ORG_NAME "acme"

static int write_secret(const char *path, const char *secret, struct arena *a, struct err *e)
{
	const char *line = arena_printf(a, "%s\n", secret);
	return line ? file_write_atomic(path, str_of(line), 0600, e) : err_nomem(e);
}

/* The first user, the organization and a token for them. */
static int make_admin(struct invocation *in, struct identity *identity, struct err *e)
{
	const char *id, *token;
	const char *path = arena_printf(in->arena, "%s/admin-token", in->config.data);
	if (!path)
		return err_nomem(e);
	int rc = identity_org_add(identity, in->arena, ORG_NAME, &id, e);
	if (rc == -ERR_CONFLICT) /* a first start that got no further */
		rc = 0;
	if (rc == 0)
		rc = identity_user_add(identity, in->arena, ADMIN_NAME, true, ORG_NAME, "admin", NULL, &id, NULL, e);
	if (rc == 0)
		rc = identity_token_add(identity, in->arena, ADMIN_NAME, "made by slipway dev", DB_NULL_INT, NULL,
					&token, &id, e);
	if (rc == 0)
		rc = write_secret(path, token, in->arena, e);
	if (rc < 0)
		return err_wrap(e, "first start");
	fprintf(stderr, "Made user %s, organization %s, and this access token, also kept in %s:\n", ADMIN_NAME,
		ORG_NAME, path);
	fflush(stderr);
	puts(token);
	fflush(stdout);
	return 0;
}

/* A pool that serves every organization, whose token only our own agent has. */
static int make_pool(struct invocation *in, struct app *app, const char *path, struct err *e)
{
	if (file_exists(path))
		return 0;
	const char *id, *token;
	int rc = deploy_pool_add(app, in->arena, NULL, "dev", "the agent of slipway dev", NULL, &id, &token, e);
	if (rc == 0)
		rc = write_secret(path, token, in->arena, e);
	return rc;
}

static int run(struct invocation *in, struct server *server, struct signals *signals, struct err *e)
{
	struct app *app = server_app(server);
	const char *token_file = arena_printf(in->arena, "%s/agent-token", in->config.data);
	struct agent_child agent;
	int rc = token_file ? 0 : err_nomem(e);
	if (rc == 0 && server_is_empty(server))
		rc = make_admin(in, app->identity, e);
	if (rc == 0)
		rc = make_pool(in, app, token_file, e);
	if (rc == 0)
		rc = agent_child_init(&agent, &in->config, server_listen_url(server), token_file, in->arena, e);
	if (rc == 0)
		rc = server_ready(app, e);
	if (rc < 0)
		return rc;
	printf("listening on %s\n", server_listen_url(server));
	fflush(stdout);
	int sig = agent_child_supervise(&agent, signals);
	log_info("dev", "stopping on %s; running deployments may finish, a second signal kills them", signal_name(sig));
	/* The agent first: runs that close their updates need the server. */
	agent_child_stop(&agent, signals);
	return 0;
}

int command_dev(struct invocation *in, struct err *e)
{
	log_set_name("dev");
	struct signals signals;
	int rc = signals_open(&signals, e);
	if (rc < 0)
		return rc;
	struct server *server;
	rc = server_start(&in->config, &server, e);
	if (rc < 0)
		return rc;
	rc = run(in, server, &signals, e);
	server_free(server);
	signals_close(&signals);
	return rc;
}
