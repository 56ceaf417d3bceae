/*
 * Documents of other backends on their way here (src/cli/move*.c). Whatever is accepted comes out as valid JSON, and with
 * every secret sealed "anew" by the same text, a state is the text that it was.
 */
#include "fuzz.h"

#include "base/limits.h"
#include "cli/move.h"
#include "cli/move_secrets.h"

static int same(void *arg, const struct str *old, size_t count, struct arena *a, struct str *ret_new, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		ret_new[i] = old[i];
	return 0;
}

static void reseal_state(struct json root, struct arena *a)
{
	struct json state = json_path(root, "deployment", "secrets_providers", "state", NULL), again;
	struct str text;
	if (move_reseal_state(root, json_text(state), same, NULL, a, &text, NULL) < 0)
		return;
	MUST(json_check(text, &again, NULL) == 0);
	MUST(json_equal(root, again));
}

static void reseal_config(struct json config, struct arena *a)
{
	struct json again, checked;
	size_t count;
	if (move_reseal_config(config, same, NULL, a, &again, &count, NULL) < 0)
		return;
	MUST(json_check(json_text(again), &checked, NULL) == 0);
	MUST(json_equal(config, checked));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size }, state;
	struct json root, config, checked;
	_cleanup_arena_ struct arena a;
	arena_init(&a, 64 * MIB);
	if (json_check(text, &root, NULL) < 0)
		return 0;
	if (move_checkpoint_read(text, &a, &state, NULL) == 0 && state.p) {
		MUST(json_check(state, &checked, NULL) == 0);
		reseal_state(checked, &a);
	}
	reseal_state(root, &a);
	reseal_config(root, &a);
	if (move_config_read(root, &a, &config, NULL) == 0 && config.p) {
		MUST(json_check(json_text(config), &checked, NULL) == 0);
		MUST(json_count(config) == json_count(root));
		reseal_config(checked, &a);
	}
	return 0;
}
