#include "state/journal_entry.h"

#include <stddef.h>

#include "state/deployment.h"

enum slot_type { SLOT_INT, SLOT_BOOL, SLOT_OBJECT, SLOT_ARRAY, SLOT_STRING };

static const struct slot {
	struct str name;
	enum slot_type type;
	size_t offset;
	/* What an object must have. */
	const char *needs;
	enum json_type needs_type;
} slots[] = {
#define SLOT(name, type, member, ...)                                                       \
	{                                                                                   \
		STR(name), SLOT_##type, offsetof(struct journal_entry, member), __VA_ARGS__ \
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
	SLOT("state", OBJECT, state, "urn", JSON_STRING),
	SLOT("operation", OBJECT, pending, "resource", JSON_OBJECT),
	SLOT("secretsProvider", OBJECT, secrets_provider),
	SLOT("snippets", ARRAY, snippets),
	SLOT("newSnapshot", OBJECT, new_snapshot),
	SLOT("extensionRef", STRING, extension_ref),
	SLOT("extension", OBJECT, extension),
	SLOT("version", INT, version),
#undef SLOT
};

static int wrong(struct err *e, const char *name, const char *what)
{
	return err_set(e, ERR_BAD_REQUEST, "%s: must be %s", name, what);
}

/* `at` stands before an object; goes over it. */
static int read_object(const struct slot *s, struct json_iter *at, struct json *ret, struct err *e)
{
	struct json key, needed = JSON_ABSENT;
	if (!s->needs) {
		*ret = json_over(at);
		return 0;
	}
	struct json_iter members = json_into(at);
	while (json_next_key(&members, &key)) {
		struct json value = json_over(&members);
		if (json_string_is(key, s->needs))
			needed = value;
	}
	*ret = json_out(at, &members);
	if (json_type(needed) == s->needs_type)
		return 0;
	return err_set(e, ERR_BAD_REQUEST, "%s/%s: must be %s", s->name.p, s->needs,
		       s->needs_type == JSON_STRING ? "a string" : "an object");
}

/* `at` stands before the value; goes over it. */
static int read_slot(const struct slot *s, struct json_iter *at, struct journal_entry *ret, struct err *e)
{
	static const enum json_type types[] = { [SLOT_BOOL] = JSON_BOOL,
						[SLOT_OBJECT] = JSON_OBJECT,
						[SLOT_ARRAY] = JSON_ARRAY,
						[SLOT_STRING] = JSON_STRING };
	static const char *const names[] = { [SLOT_BOOL] = "true or false",
					     [SLOT_OBJECT] = "an object",
					     [SLOT_ARRAY] = "an array",
					     [SLOT_STRING] = "a string" };
	void *to = (char *)ret + s->offset;
	if (s->type == SLOT_INT) {
		if (!json_int64(json_over(at), to) || *(int64_t *)to == JOURNAL_NONE)
			return wrong(e, s->name.p, "an integer");
		return 0;
	}
	if (json_here(at) != types[s->type])
		return wrong(e, s->name.p, names[s->type]);
	if (s->type == SLOT_OBJECT)
		return read_object(s, at, to, e);
	struct json value = json_over(at);
	if (s->type == SLOT_BOOL)
		*(bool *)to = json_is_true(value);
	else
		*(struct json *)to = value;
	return 0;
}

/* What the kind needs beyond the types of its members. */
static int check_kind(const struct journal_entry *j, struct err *e)
{
	switch (j->kind) {
	case JOURNAL_WRITE:
		if (!j->new_snapshot.p)
			return err_set(e, ERR_BAD_REQUEST, "newSnapshot: is required");
		return deployment_check(j->new_snapshot, "newSnapshot", e);
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

static const struct slot *slot_of(struct json key)
{
	struct str k = { key.p + 1, key.n - 2 };
	for (size_t i = 0; i < ARRAY_SIZE(slots); i++)
		if (str_eq(k, slots[i].name))
			return &slots[i];
	/* Written with escapes, it is the same name. */
	for (size_t i = 0; memchr(k.p, '\\', k.n) && i < ARRAY_SIZE(slots); i++)
		if (json_string_is(key, slots[i].name.p))
			return &slots[i];
	return NULL;
}

static int read_members(struct json_iter *members, struct journal_entry *ret, struct err *e)
{
	struct json key;
	int64_t kind;
	int rc = 0;
	while (rc == 0 && json_next_key(members, &key)) {
		bool is_kind = json_string_is(key, "kind");
		const struct slot *s = is_kind ? NULL : slot_of(key);
		if (s && json_here(members) != JSON_NULL) {
			rc = read_slot(s, members, ret, e);
			continue;
		}
		struct json value = json_over(members);
		if (!is_kind || json_is_null(value))
			continue;
		if (!json_int64(value, &kind) || kind < 0 || kind >= JOURNAL_KIND_COUNT)
			return wrong(e, "kind", "an integer from 0 to 9");
		ret->kind = (enum journal_kind)kind;
	}
	return rc;
}

/* `at` stands before the entry; goes over it. */
static int read_entry(struct json_iter *at, struct journal_entry *ret, struct err *e)
{
	if (json_here(at) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "must be an object");
	*ret = (struct journal_entry){
		.version = JOURNAL_ENTRY_VERSION,
		.kind = JOURNAL_KIND_COUNT,
		.remove_old = JOURNAL_NONE,
		.remove_new = JOURNAL_NONE,
		.pending_replacement_old = JOURNAL_NONE,
		.pending_replacement_new = JOURNAL_NONE,
		.delete_old = JOURNAL_NONE,
		.delete_new = JOURNAL_NONE,
	};
	struct json_iter members = json_into(at);
	int rc = read_members(&members, ret, e);
	if (rc < 0)
		return rc;
	json_out(at, &members);
	if (ret->kind == JOURNAL_KIND_COUNT)
		return err_set(e, ERR_BAD_REQUEST, "kind: is required");
	return ret->sequence < 1 ? wrong(e, "sequenceID", "an integer of at least 1") : 0;
}

int journal_body_read(struct json body, journal_entry_fn fn, void *arg, struct err *e)
{
	struct json key;
	long long count = -1; /* no "entries" yet */
	struct json_iter it = json_iter_start(body);
	while (json_next_key(&it, &key)) {
		if (!json_string_is(key, "entries")) {
			json_over(&it);
			continue;
		}
		if (count >= 0)
			return err_set(e, ERR_BAD_REQUEST, "/entries: is there twice");
		if (json_here(&it) != JSON_ARRAY)
			break;
		count = 0;
		struct json_iter list = json_into(&it);
		for (; json_next_key(&list, NULL); count++) {
			struct journal_entry j;
			int rc = read_entry(&list, &j, e);
			if (rc == 0)
				rc = fn(arg, &j, e);
			if (rc < 0) {
				err_wrap(e, "/entries/%lld", count);
				return rc;
			}
		}
		json_out(&it, &list);
	}
	return count < 0 ? err_set(e, ERR_BAD_REQUEST, "/entries: must be an array") : 0;
}

static int check_entry(void *arg, const struct journal_entry *j, struct err *e)
{
	int64_t *count = arg;
	++*count;
	/* What the start of the update has agreed on; another one would be replayed as what it is not. */
	if (j->version != JOURNAL_ENTRY_VERSION)
		return err_set(e, ERR_BAD_REQUEST, "version: must be %d", JOURNAL_ENTRY_VERSION);
	return check_kind(j, e);
}

int journal_body_check(struct json body, int64_t *ret_count, struct err *e)
{
	*ret_count = 0;
	return journal_body_read(body, check_entry, ret_count, e);
}
