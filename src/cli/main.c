#include <malloc.h>

#include "base/limits.h"
#include "cli/command.h"

/*
 * What a large request gave back goes to the system at once. Left to itself the allocator learns from the first large
 * block that all such blocks are common, and keeps tens of megabytes in the arenas of the threads, which nobody needs
 * again for minutes. Lower thresholds cost page faults instead: at 1 MiB, a tenth of the time of an update of 1,000
 * resources (docs/performance.md).
 */
static void give_memory_back(void)
{
	mallopt(M_MMAP_THRESHOLD, 4 * MIB);
	mallopt(M_TRIM_THRESHOLD, 4 * MIB);
}

int main(int argc, char **argv)
{
	give_memory_back();
	return cli_main(argc, argv);
}
