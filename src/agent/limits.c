#include "agent/limits.h"

#include <unistd.h>

#include "agent/agent.h"
#include "base/limits.h"

/* What is left is for the host and the agent itself. */
static int64_t four_fifths_of_memory(void)
{
	return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 5 * 4;
}

void limits_read(const struct agent_config *config, struct limits *ret)
{
	*ret = (struct limits){
		.memory_bytes =
			config->memory_limit_mib ? config->memory_limit_mib * (int64_t)MIB : four_fifths_of_memory(),
		.cpu_percent = config->cpu_limit_percent,
		.pids = config->pids_limit,
		.disk_bytes = config->disk_limit_mib * (int64_t)MIB,
		.log_bytes = config->log_limit_mib * (int64_t)MIB,
	};
}
