/*
 * Journals. Input: a state, a NUL byte, a batch of entries. What passed the checks at the door can always be replayed,
 * and what comes out passes the same checks.
 */
#include "fuzz.h"

#include "state/deployment.h"
#include "state/journal_entry.h"
#include "state/rename.h"
#include "state/replay.h"

#define INPUT_MAX (64 * 1024)
/* Edits of a hostile state may grow it: a URN of its aliases in place of each short reference. */
#define OUTPUT_MAX (64 * 1024 * 1024)

/* An UntypedDeployment with that many resources. */
static struct json must_be_state(struct str text, int64_t resources)
{
	struct json root;
	int64_t count;
	MUST(json_check(text, &root, NULL) == 0);
	MUST(untyped_deployment_check(root, &count, NULL) == 0);
	MUST(count == resources);
	return root;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest, base = str_cut((struct str){ (const char *)data, size }, '\0', &rest);
	struct replay_input in = { .base = JSON_ABSENT, .batch_count = 1, .engine_version = "v3.259.0" };
	struct json batch;
	int64_t resources = 0, count;
	if (size > INPUT_MAX || !rest.p || json_check(rest, &batch, NULL) < 0 ||
	    journal_body_check(batch, &count, NULL) < 0)
		return 0;
	if (json_check(base, &in.base, NULL) < 0 || untyped_deployment_check(in.base, &resources, NULL) < 0)
		in.base = JSON_ABSENT;
	in.batches = &batch;
	struct err e = { 0 };
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf out, renamed;
	arena_init(&a, 0);
	buf_init(&out, OUTPUT_MAX);
	buf_init(&renamed, OUTPUT_MAX);
	int rc = replay(&in, &a, &out, &resources, &e);
	if (rc == -ERR_TOO_LARGE)
		return 0;
	MUST(rc == 0);
	struct json root = must_be_state(buf_str(&out), resources);
	struct rename_names names = { "p", "dev", "project", "stack" };
	MUST(rename_document(root, &names, &a, &renamed, &e) == 0);
	must_be_state(buf_str(&renamed), resources);
	return 0;
}
