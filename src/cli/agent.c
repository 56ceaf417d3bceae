#include "agent/agent.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"

static int need(const char *value, const char *flag, struct err *e)
{
	return value ? 0 : err_set(e, ERR_USAGE, "%s is missing", flag);
}

int command_agent(struct invocation *in, struct err *e)
{
	const struct config *c = &in->config;
	int rc = need(c->server, "--server URL", e);
	if (rc == 0)
		rc = need(c->token_file, "--token-file FILE", e);
	if (rc < 0)
		return rc;
	struct agent_config agent = {
		.server_url = c->server,
		.token_file = c->token_file,
		.work_dir = c->work,
		.name = c->name,
		.concurrency = (int)c->concurrency,
		.memory_limit_mib = c->memory_limit_mib,
		.cpu_limit_percent = c->cpu_limit_percent,
		.pids_limit = c->pids_limit,
		.disk_limit_mib = c->disk_limit_mib,
		.log_limit_mib = c->log_limit_mib,
		.tools_dir = c->tools,
		.executor = c->executor,
		.allow_insecure_sources = c->allow_insecure_sources,
		.dev = c->allow_process,
		.grace_s = (int)(c->grace_us / US_PER_S),
	};
	BUG_ON(!agent_isolation_parse(c->isolation, &agent.isolation)); /* the option's table knows the same names */
	log_set_name("agent");
	return agent_main(&agent, e);
}
