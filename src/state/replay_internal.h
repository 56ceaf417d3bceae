/*
 * replay_internal.h: what the parts of the replay share: replay.c applies entries, replay_list.c makes the list that is
 * left, replay_text.c writes it. No other file includes it.
 */
#ifndef SLIPWAY_STATE_REPLAY_INTERNAL_H
#define SLIPWAY_STATE_REPLAY_INTERNAL_H

#include "state/map.h"
#include "state/replay.h"
#include "state/resource.h"

/* A growing array in the arena. */
#define PUSH(a, array, count, capacity, value)                                                \
	({                                                                                    \
		if ((count) == (capacity)) {                                                  \
			size_t wanted_ = (capacity) ? (capacity)*2 : 64;                      \
			typeof(array) bigger_ = arena_array((a), wanted_, sizeof(*(array)));  \
			if (bigger_) {                                                        \
				if (count)                                                    \
					memcpy(bigger_, (array), (count) * sizeof(*(array))); \
				(array) = bigger_;                                            \
				(capacity) = wanted_;                                         \
			}                                                                     \
		}                                                                             \
		if ((count) < (capacity))                                                     \
			(array)[(count)++] = (value);                                         \
	})

/* What the journal did to a resource of the base. */
struct base_mark {
	bool removed;
	bool delete;
	bool pending_replacement;
	struct json replacement; /* its new state; absent: none */
};

struct member {
	struct json key, value;
};

struct base {
	struct resource *resources;
	struct base_mark *marks;
	size_t count, capacity;
	struct json *operations; /* pending */
	size_t operation_count, operation_capacity;
	struct json secrets_providers, metadata, snippets, extensions;
	struct member *others; /* of the DeploymentV3: what no rule here knows is carried along */
	size_t other_count, other_capacity;
};

struct begun {
	int64_t operation;
	struct json pending;
	bool open;
};

struct extension {
	struct json ref; /* quoted */
	struct json value;
};

struct replayer {
	struct arena *a;
	struct base base;
	struct json features;  /* that the base declares */
	struct resource *made; /* appended by successes */
	size_t made_count, made_capacity;
	struct map made_by; /* operation id → index into made */
	int64_t *unmade;    /* operation ids whose resource is gone again */
	size_t unmade_count, unmade_capacity;
	struct begun *begun;
	size_t begun_count, begun_capacity;
	struct map begun_by; /* operation id → index into begun */
	struct extension *extensions;
	size_t extension_count, extension_capacity;
	struct map extension_by; /* ref → index into extensions */
	bool has_refresh;
	bool byte_string;
};

/* A finished list. */
struct generated {
	struct resource *resources;
	size_t count, capacity;
	struct json *operations;
	size_t operation_count, operation_capacity;
	struct json snippets;
	uint32_t features;
};

/* The resource that the success of this operation made; NULL if it made none. */
struct resource *replay_made_by(struct replayer *r, int64_t operation);
/* The list as it is now. The replayer may go on afterwards. */
int replay_generate(struct replayer *r, struct generated *g, struct err *e);
/* {"<ref>":..}: the base's own win over those of the journal. */
struct json replay_extensions(struct replayer *r);
int replay_write(struct replayer *r, const struct generated *g, const struct replay_input *in, struct buf *out,
		 struct err *e);

static const struct json json_true = { "true", 4 };

#endif
