#include "agent/agent.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/command.h"

static int need(const char *value, const char *flag, struct err *e)
{
	return value ? 0 : err_set(e, ERR_USAGE, "%s is missing", flag);
}

/* The token or the file of it, whichever was said louder. */
static int choose_token(const struct invocation *in, bool *ret_token, struct err *e)
{
	const struct option_value *token = options_value(&in->options, "token");
	const struct option_value *file = options_value(&in->options, "token-file");
	if (!token->text && !file->text)
		return err_set(e, ERR_USAGE,
			       "--token-file FILE is missing: the token of an agent pool, as 'slipway admin "
			       "pool create' prints it");
	if (token->text && file->text && token->source == file->source)
		return err_set(e, ERR_USAGE, "%s and %s: give one of them", token->where, file->where);
	*ret_token = token->text && (!file->text || token->source > file->source);
	return 0;
}

int command_agent(struct invocation *in, struct err *e)
{
	const struct config *c = &in->config;
	log_set_name("agent");
	bool token = false;
	int rc = need(c->server, "--server URL", e);
	if (rc == 0)
		rc = choose_token(in, &token, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < in->options.ignored_count; i++)
		log_info("agent", "without meaning here: %s", in->options.ignored[i]);
	struct agent_config agent = {
		.server_url = c->server,
		.token = token ? c->token : NULL,
		.token_file = token ? NULL : c->token_file,
		.config_file = c->agent_file ? c->agent_file : c->config,
		.env_forward = c->env_forward,
		.single_run = c->single_run,
		.polling_interval_us = c->polling_interval_us,
		.polling_interval_override = c->polling_interval_override,
		.health_host = c->health_address.host,
		.health_port = c->health_address.port,
		.health_threshold_us = c->health_threshold_us,
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
		.docker_host = c->docker_host,
		.image = c->image,
		.container_read_only = c->container_read_only,
		.allow_metadata = c->allow_metadata,
		.allow_insecure_sources = c->allow_insecure_sources,
		.git_cache_max_bytes = (uint64_t)c->git_cache_mib * MIB,
		.dev = c->allow_process,
		.clouds = { .aws_sts = c->aws_sts_url,
			    .azure_authority = c->azure_authority_url,
			    .google_sts = c->google_sts_url,
			    .google_iam = c->google_iam_url },
		.grace_s = (int)(c->grace_us / US_PER_S),
		.patience_us = c->patience_us,
		.log_buffer_bytes = c->log_buffer_mib * (int64_t)MIB,
	};
	/* The options' table knows the same names. */
	BUG_ON(!agent_isolation_parse(c->isolation, &agent.isolation));
	BUG_ON(!agent_pull_parse(c->pull, &agent.pull));
	BUG_ON(!agent_network_parse(c->network, &agent.network));
	return agent_main(&agent, e);
}
