/*
 * plan.h: what passes between an agent and its executor. Both are of one version, so there is no negotiation; `version`
 * only catches a mixed installation.
 *
 * To change the plan: change the reader (plan.c) and the writer (agent/plan_write.c), raise PLAN_VERSION. To change the
 * frames: this file, frame_out.c, agent/frames.c, PLAN_VERSION.
 *
 * The executor is started as `slipway-executor PLAN`. PLAN is `fd:N` (an inherited descriptor, read to its end and
 * closed, so that the secrets of the plan are on no disk), `stream`, or the path of a file, which is removed once it was read.
 * With `stream` there is nothing but the three standard descriptors, as a container has them: standard input begins with
 * the plan's length (four bytes little-endian) and the plan, the control follows; frames go to standard output.
 *
 * Plan (JSON):
 *
 *	{"version": 3,
 *	 "root": "/",                     executor root: the file PULUMI_ENV lies there (features §2.3)
 *	 "tree": "/deployment",           the checkout
 *	 "workDir": "/deployment/infra",  where the steps run
 *	 "stack": "acme/shop/prod",
 *	 "operation": "update",
 *	 "shell": "bash",
 *	 "patienceMs": 30000,             of a cancel, see below
 *	 "home": "/home/run",             HOME, unless the environment says otherwise
 *	 "fixedPaths": true,              tree and home are at these paths in every run
 *	 "cache": false,                  restore and save dependencies
 *	 "uid": 1000, "gid": 1000,        optional: root gives up everything and becomes that user
 *	 "preRunCommands": ["…"],
 *	 "memoryBytes": 0,                of each process of a step, where nothing counts that of all (0: no limit)
 *	 "skipInstallDependencies": false, "deleteAfterDestroy": false, "remediateIfDriftDetected": false,
 *	 "environment": [["NAME", "value"], …]}   all of it: nothing is inherited
 *
 * "files" are [["/path", "content"], …], made for the run alone (0600, their folders 0700 where they are missing) before its
 * first step; with "filesRequired" the run does not begin without them.
 *
 * Control (standard input of the executor): the byte CONTROL_CANCEL asks it to stop the running step gently and to
 * start no other; the end of the stream (the agent is gone) makes it kill everything and exit. Every other message has the
 * form of a frame. CONTROL_FILE may come at any time: a path, a NUL, and a content that takes the place of that file's, at once
 * and whole. The others come only as an answer (below).
 *
 * Frames (descriptor FRAME_FD of the executor; its steps do not have it): a type byte, the payload's length as four
 * bytes little-endian, the payload.
 *
 *	B  a step begins: its name. Steps are counted by their order.
 *	O  output of the running step: bytes as they came, cut anywhere
 *	E  the step has ended: one byte, 1 succeeded, 0 failed; then a sentence that says why it failed
 *	N  a step that will not run any more: its name
 *	F  the end of everything: one byte, 1 succeeded, 0 failed; then a sentence
 *
 * Cache: within a step the executor may ask for an archive, or offer one; the agent knows the way to the server.
 *
 *	G  executor: the archive under this key, please
 *	A  agent: "y" and its size in decimal, "n" (there is none), or "!" and a sentence
 *	D  agent: after a "y", the archive in pieces; then Z with "y", or with "n" when it broke off
 *
 *	P  executor: this is the key of an archive that could be made
 *	A  agent: "y" and the largest size that is taken, "n" (there is one already), or "!" and a sentence
 *	D  executor: after a "y", the archive in pieces; then Z with "y", or with "n" when it gave up
 *	A  agent: only after a Z with "y": "y" (it is stored), or "!" and a sentence
 *
 * A stream that ends without F is a dead executor. The exit status is 0 after an F with 1, else 1.
 */
#ifndef SLIPWAY_EXECUTOR_PLAN_H
#define SLIPWAY_EXECUTOR_PLAN_H

#include <stddef.h>
#include <stdint.h>

#define PLAN_VERSION 3
/* Environment and commands of one deployment; settings are far below. */
#define PLAN_MAX_BYTES ((size_t)16 * 1024 * 1024)

#define PLAN_STREAM "stream"

#define CONTROL_CANCEL 'C'
#define CONTROL_FILE 'W'

/* Messages of the agent. */
#define CONTROL_ANSWER 'A'
#define CONTROL_DATA 'D'
#define CONTROL_END 'Z'
#define ANSWER_YES 'y'
#define ANSWER_NO 'n'
#define ANSWER_FAILED '!'

#define FRAME_FD 3
#define FRAME_HEADER_BYTES 5
/* Longer payloads are refused by the reader: a frame is at most one read of the executor. */
#define FRAME_MAX_BYTES ((size_t)64 * 1024)

/*
 * The ladder of a cancel: SIGINT; after the patience SIGTERM; after a third of it SIGKILL. Commands other than pulumi have a
 * sixth of the patience, since they have no update to close.
 */
static inline int64_t plan_other_patience(int64_t patience)
{
	return patience / 6;
}

static inline int64_t plan_kill_patience(int64_t patience)
{
	return patience / 3;
}

enum frame_type {
	FRAME_STEP_BEGIN = 'B',
	FRAME_OUTPUT = 'O',
	FRAME_STEP_END = 'E',
	FRAME_STEP_SKIPPED = 'N',
	FRAME_FINISH = 'F',
	FRAME_CACHE_GET = 'G',
	FRAME_CACHE_PUT = 'P',
	FRAME_CACHE_DATA = 'D',
	FRAME_CACHE_END = 'Z',
};

#endif
