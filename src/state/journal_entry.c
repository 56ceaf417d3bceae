#include "state/journal_entry.h"

#include <stddef.h>

#include "state/deployment.h"

enum slot_type { SLOT_INT, SLOT_BOOL, SLOT_OBJECT, SLOT_ARRAY, SLOT_STRING };

static const struct slot {
	struct str name;
	enum slot_type type;
	size_t offset;
} slots[] = {
#define SLOT(name, type, member)                                               \
	{                                                                      \
		STR(name), SLOT_##type, offsetof(struct journal_entry, member) \
	}
	SLOT("sequenceID", INT, sequence),
	SLOT("operationID", INT, operation),
	SLOT("removeOld", INT, remove_old),
	SLOT("removeNew", INT, remove_new),
	SLOT("pendingReplacementOld", INT, pending_replacement_old),
	SLOT("pendingReplacementNew", INT, pending_replacement_new),
	SLOT("deleteOld", INT, delete_old),
	SLOT("deleteNew", INT, delete_new),
	SLOT("isRefresh", BOOL, is_refresh),
	SLOT("requiresByteString", BOOL, requires_byte_string),
	SLOT("state", OBJECT, state),
	SLOT("operation", OBJECT, pending),
	SLOT("secretsProvider", OBJECT, secrets_provider),
	SLOT("snippets", ARRAY, snippets),
	SLOT("newSnapshot", OBJECT, new_snapshot),
	SLOT("extensionRef", STRING, extension_ref),
	SLOT("extension", OBJECT, extension),
#undef SLOT
};

static int wrong(struct err *e, const char *name, const char *what)
{
	return err_set(e, ERR_BAD_REQUEST, "%s: must be %s", name, what);
}

static int set_slot(const struct slot *s, struct json v, struct journal_entry *ret, struct err *e)
{
	void *to = (char *)ret + s->offset;
	switch (s->type) {
	case SLOT_INT:
		if (!json_int64(v, to) || *(int64_t *)to == JOURNAL_NONE)
			return wrong(e, s->name.p, "an integer");
		return 0;
	case SLOT_BOOL:
		if (json_type(v) != JSON_BOOL)
			return wrong(e, s->name.p, "true or false");
		*(bool *)to = json_is_true(v);
		return 0;
	case SLOT_OBJECT:
		if (json_type(v) != JSON_OBJECT)
			return wrong(e, s->name.p, "an object");
		break;
	case SLOT_ARRAY:
		if (json_type(v) != JSON_ARRAY)
			return wrong(e, s->name.p, "an array");
		break;
	case SLOT_STRING:
		if (json_type(v) != JSON_STRING)
			return wrong(e, s->name.p, "a string");
		break;
	}
	*(struct json *)to = v;
	return 0;
}

/* What the kind needs beyond the types of its members. */
static int check_kind(const struct journal_entry *j, struct err *e)
{
	if (j->state.p && json_type(json_get(j->state, "urn")) != JSON_STRING)
		return wrong(e, "state/urn", "a string");
	if (j->pending.p && json_type(json_get(j->pending, "resource")) != JSON_OBJECT)
		return wrong(e, "operation/resource", "an object");
	switch (j->kind) {
	case JOURNAL_WRITE:
		if (!j->new_snapshot.p)
			return err_set(e, ERR_BAD_REQUEST, "newSnapshot: is required");
		return deployment_check(j->new_snapshot, "newSnapshot", NULL, e);
	case JOURNAL_SECRETS_MANAGER:
		if (!j->secrets_provider.p)
			return err_set(e, ERR_BAD_REQUEST, "secretsProvider: is required");
		return 0;
	case JOURNAL_EXTENSION_PARAMETERIZE:
		if (!j->extension_ref.p)
			return err_set(e, ERR_BAD_REQUEST, "extensionRef: is required");
		if (!j->extension.p)
			return err_set(e, ERR_BAD_REQUEST, "extension: is required");
		return 0;
	default:
		return 0;
	}
}

int journal_entry_parse(struct json v, struct journal_entry *ret, struct err *e)
{
	if (json_type(v) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "must be an object");
	*ret = (struct journal_entry){
		.kind = JOURNAL_KIND_COUNT,
		.remove_old = JOURNAL_NONE,
		.remove_new = JOURNAL_NONE,
		.pending_replacement_old = JOURNAL_NONE,
		.pending_replacement_new = JOURNAL_NONE,
		.delete_old = JOURNAL_NONE,
		.delete_new = JOURNAL_NONE,
	};
	struct json_iter it = json_iter_start(v);
	struct json key, value;
	while (json_next(&it, &key, &value)) {
		if (json_is_null(value))
			continue;
		if (json_string_is(key, "kind")) {
			int64_t kind;
			if (!json_int64(value, &kind) || kind < 0 || kind >= JOURNAL_KIND_COUNT)
				return wrong(e, "kind", "an integer from 0 to 9");
			ret->kind = (enum journal_kind)kind;
			continue;
		}
		for (size_t i = 0; i < ARRAY_SIZE(slots); i++) {
			if (!json_string_is(key, slots[i].name.p))
				continue;
			int rc = set_slot(&slots[i], value, ret, e);
			if (rc < 0)
				return rc;
			break;
		}
	}
	if (ret->kind == JOURNAL_KIND_COUNT)
		return err_set(e, ERR_BAD_REQUEST, "kind: is required");
	return ret->sequence < 1 ? wrong(e, "sequenceID", "an integer of at least 1") : 0;
}

int journal_body_check(struct json body, int64_t *ret_count, struct err *e)
{
	struct json entries = json_get(body, "entries");
	if (json_type(entries) != JSON_ARRAY)
		return err_set(e, ERR_BAD_REQUEST, "/entries: must be an array");
	int64_t count = 0;
	struct json entry;
	json_foreach(entry, entries) {
		struct journal_entry j;
		if (journal_entry_parse(entry, &j, e) < 0 || check_kind(&j, e) < 0)
			return err_wrap(e, "/entries/%lld", (long long)count);
		count++;
	}
	*ret_count = count;
	return 0;
}
