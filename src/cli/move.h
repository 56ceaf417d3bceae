/*
 * move.h: stacks that come from another backend: `slipway admin import`.
 *
 * A source lists its stacks, and tells for each its history, oldest first, and the states that it has. What it gives is in
 * the shape of the service's API (cli-protocol §3), whatever it was. One thread; what a call returns lies in the arena
 * that it was given.
 */
#ifndef SLIPWAY_CLI_MOVE_H
#define SLIPWAY_CLI_MOVE_H

#include <stdint.h>

#include "base/json.h"

struct move_stack {
	const char *org; /* NULL: the source has no organizations */
	const char *project;
	const char *name;
	const char *key; /* of the source: what it calls the stack */
	/* filled by look() */
	struct json tags; /* absent: none */
	const char *note; /* what is to be told about it, or NULL */
	const char *left; /* what of it is not taken, or NULL */
};

struct move_update {
	const char *key; /* of the source: never another update of that stack */
	int64_t version; /* 0: the source counts none */
	const char *kind;
	const char *result; /* as the source has it */
	int64_t start_s, end_s;
	const char *message;
	struct json environment, config, changes; /* absent: none */
	int64_t resource_count;			  /* -1: unknown */
	const char *author;			  /* NULL: unknown */
};

struct move_source {
	const char *url; /* without secrets; part of the ids that are derived */
	/* What is told to the user and concerns no single stack. */
	void (*tell)(void *arg, const char *text);
	void *tell_arg;
	int (*list)(struct move_source *s, struct arena *a, struct move_stack **ret, size_t *ret_count, struct err *e);
	int (*look)(struct move_source *s, struct move_stack *stack, struct arena *a, struct err *e);
	int (*history)(struct move_source *s, const struct move_stack *stack, struct arena *a, struct move_update **ret,
		       size_t *ret_count, struct err *e);
	/* An UntypedDeployment: what the update left (NULL: the newest). p == NULL: there is none, or it is not kept. */
	int (*state)(struct move_source *s, const struct move_stack *stack, const struct move_update *u,
		     struct arena *a, struct str *ret, struct err *e);
	/* Opens base64 ciphertexts of the stack, in their order; NULL: the source has no keys. */
	int (*decrypt)(struct move_source *s, const struct move_stack *stack, const struct str *ciphertexts,
		       size_t count, struct arena *a, struct str *ret_plaintexts, struct err *e);
	const char *left; /* what no stack brings along */
	void (*free)(struct move_source *s);
};

/* file://: the layout of the CLI's own backend. */
int move_files_open(const char *url, struct arena *a, struct move_source **ret, struct err *e);
/* http(s)://: another service. */
int move_service_open(const char *url, const char *token, struct arena *a, struct move_source **ret, struct err *e);

/* A checkpoint of the file backend as an UntypedDeployment; p == NULL: the stack never had a state. */
int move_checkpoint_read(struct str text, struct arena *a, struct str *ret, struct err *e);
/* config of the file backend's history ({"p:k":"v"|{"secure":".."}|{..}}) as the service has it. */
int move_config_read(struct json config, struct arena *a, struct json *ret, struct err *e);

#endif
