/*
 * slipway-executor PLAN: see plan.h. `--version` prints the version; `--probe` proves that it can run here.
 */
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "executor/executor.h"
#include "executor/plan.h"

static int run(const char *source, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct channel channel;
	struct runner runner;
	struct plan plan;
	arena_init(&a, 0);
	channel_init(&channel, FRAME_FD, STDIN_FILENO);
	int r = runner_init(&runner, &channel, e);
	if (r == 0)
		r = plan_load(source, &a, &plan, e);
	if (r == 0 && plan.memory_bytes > 0)
		runner.memory = (struct process_limit){ RLIMIT_DATA, (uint64_t)plan.memory_bytes };
	/* Before the first frame the agent hears of a fault by standard error, afterwards by the last frame. */
	if (r < 0)
		fprintf(stderr, "slipway-executor: %s\n", e->message);
	else
		r = steps_run(&runner, &plan, &a, e);
	channel_flush(&channel);
	runner_end(&runner);
	channel_done(&channel);
	return r;
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	if (argc == 2 && (streq(argv[1], "--version") || streq(argv[1], "--probe"))) {
		printf("slipway-executor %s\n", SLIPWAY_VERSION);
		return 0;
	}
	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: slipway-executor PLAN\nStarted by `slipway agent`; not meant for hands.\n");
		return 2;
	}
	/* The steps run as the same user: they may not look into our memory (the plan) or open our descriptors. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return run(argv[1], &e) == 0 ? 0 : 1;
}
