#include "cli/command.h"

#include <stdio.h>

#include "base/log.h"
#include "cli/signals.h"
#include "server/server.h"

static void greet_empty(const struct config *config)
{
	fprintf(stderr,
		"There are no users yet. The first one, who becomes site administrator, and an access token:\n"
		"\n"
		"  slipway admin user add NAME --data %s\n"
		"  slipway admin token create --user NAME --data %s\n"
		"\n",
		config->data, config->data);
}

int command_serve(struct invocation *in, struct err *e)
{
	log_set_name("server");
	struct signals signals;
	int rc = signals_open(&signals, e);
	if (rc < 0)
		return rc;
	struct server *server;
	rc = server_start(&in->config, &server, e);
	if (rc < 0)
		return rc;
	if (server_is_empty(server))
		greet_empty(&in->config);
	printf("listening on %s\n", server_listen_url(server));
	fflush(stdout);
	int sig = signals_wait(&signals, -1, -1);
	log_info("server", "stopping on %s", signal_name(sig));
	server_free(server);
	signals_close(&signals);
	return 0;
}
