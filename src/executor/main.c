/*
 * slipway-executor PLAN [--close-metadata]: see plan.h and metadata.c. `--version` prints the version; `--probe` proves that
 * it can run here; `--relay ADDRESS PORT` is reach.c, beside a run.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "executor/executor.h"
#include "executor/plan.h"

/* Frames go where a container's standard output leads; what is printed by mistake goes with the errors. */
static int open_stream(struct err *e)
{
	if (dup2(STDOUT_FILENO, FRAME_FD) < 0 || fcntl(FRAME_FD, F_SETFD, FD_CLOEXEC) < 0 ||
	    dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return err_errno(e, "cannot move descriptors");
	return 0;
}

static int run(const char *source, bool close_metadata, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct channel channel;
	struct runner runner;
	struct plan plan;
	arena_init(&a, 0);
	if (streq(source, PLAN_STREAM) && open_stream(e) < 0) {
		fprintf(stderr, "slipway-executor: %s\n", e->message);
		return -(int)e->code;
	}
	channel_init(&channel, FRAME_FD, STDIN_FILENO);
	int r = runner_init(&runner, &channel, e);
	if (r == 0 && close_metadata)
		r = metadata_close(e);
	if (r == 0)
		r = plan_load(source, &a, &plan, e);
	if (r == 0 && plan.memory_bytes > 0)
		runner.memory = (struct process_limit){ RLIMIT_DATA, (uint64_t)plan.memory_bytes };
	if (r == 0 && plan.drop) {
		files_prepare(&plan, &a);
		r = privileges_drop((uint32_t)plan.uid, (uint32_t)plan.gid, e);
	}
	if (r == 0)
		r = files_write(&plan, &a, e);
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
	if (argc == 4 && streq(argv[1], "--relay")) {
		if (reach_run(argv[2], argv[3], &e) == 0)
			return 0;
		fprintf(stderr, "slipway-executor: %s\n", e.message);
		return 1;
	}
	bool close_metadata = argc == 3 && streq(argv[2], "--close-metadata");
	if (argc != (close_metadata ? 3 : 2) || argv[1][0] == '-') {
		fprintf(stderr,
			"usage: slipway-executor PLAN [--close-metadata]\nStarted by `slipway agent`; not meant for hands.\n");
		return 2;
	}
	/* The steps run as the same user: they may not look into our memory (the plan) or open our descriptors. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return run(argv[1], close_metadata, &e) == 0 ? 0 : 1;
}
