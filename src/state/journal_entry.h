/*
 * journal_entry.h: one entry of an update's journal, decoded (cli-protocol §3.6.4).
 */
#ifndef SLIPWAY_STATE_JOURNAL_ENTRY_H
#define SLIPWAY_STATE_JOURNAL_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

enum journal_kind {
	JOURNAL_BEGIN,
	JOURNAL_SUCCESS,
	JOURNAL_FAILURE,
	JOURNAL_REFRESH_SUCCESS,
	JOURNAL_OUTPUTS,
	JOURNAL_WRITE,
	JOURNAL_SECRETS_MANAGER,
	JOURNAL_REBUILT_BASE_STATE,
	JOURNAL_EXTENSION_PARAMETERIZE,
	JOURNAL_SNIPPETS,
	JOURNAL_KIND_COUNT
};

/* An index or operation id that the entry does not have. */
#define JOURNAL_NONE INT64_MIN

/* The only version of entries that there is. */
#define JOURNAL_ENTRY_VERSION 1

struct journal_entry {
	int64_t version;
	enum journal_kind kind;
	int64_t sequence;  /* unique per update, 1 and up */
	int64_t operation; /* operation id */
	/* *_old: index into the resources of the base; *_new: the operation whose success made the resource. */
	int64_t remove_old, remove_new;
	int64_t pending_replacement_old, pending_replacement_new;
	int64_t delete_old, delete_new;
	bool is_refresh;
	bool requires_byte_string;
	/* Absent when the entry does not have it. */
	struct json state;
	struct json pending; /* "operation" */
	struct json secrets_provider;
	struct json snippets;
	struct json new_snapshot;
	struct json extension_ref;
	struct json extension;
};

typedef int (*journal_entry_fn)(void *arg, const struct journal_entry *j, struct err *e);

/* Reads a body {"entries":[...]} entry by entry, in one walk over its text. The error (ERR_BAD_REQUEST, or what `fn`
 * returned) names /entries/<n>/<member>. */
int journal_body_read(struct json body, journal_entry_fn fn, void *arg, struct err *e);

/* The same, and what an entry needs for its kind; none of another version. *ret_count: how many there are. */
int journal_body_check(struct json body, int64_t *ret_count, struct err *e);

#endif
