#include "deploy/secrets.h"

#include "base/encode.h"
#include "base/json_members.h"

struct key_load {
	struct app *app;
	struct arena *arena;
	const char *stack_id;
	struct stack stack;
	struct org org;
};

static int key_load_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct key_load *l = arg;
	int rc = state_stack_by_id(c, l->arena, l->stack_id, &l->stack, e);
	if (rc > 0)
		rc = state_org_of_stack(c, l->arena, l->stack.org_id, &l->org, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "the stack does not exist any more");
	return rc < 0 ? rc : 0;
}

int secrets_key_load(struct app *app, struct arena *a, const char *stack_id, struct secrets_key *ret, struct err *e)
{
	struct key_load l = { .app = app, .arena = a, .stack_id = stack_id };
	int rc = db_read(app->db, key_load_fn, &l, e);
	if (rc < 0)
		return rc;
	const char *owner = arena_printf(a, "settings:%s", stack_id);
	if (!owner)
		return err_nomem(e);
	rc = state_stack_key(app->identity, &l.org, &l.stack, &ret->key, e);
	if (rc < 0)
		return rc;
	ret->owner = owner;
	return 0;
}

void secrets_key_done(struct secrets_key *k)
{
	crypto_wipe(&k->key, sizeof(k->key));
}

bool secret_is_leaf(struct json v)
{
	return json_type(v) == JSON_OBJECT && json_type(json_get(v, SECRET_LEAF)) == JSON_STRING;
}

int secret_seal(const struct secrets_key *k, struct str plain, struct arena *a, struct str *ret, struct err *e)
{
	struct str sealed;
	int rc = crypto_seal(&k->key, k->owner, plain, a, &sealed, e);
	if (rc < 0)
		return rc;
	char *text = base64_encode_arena(a, sealed);
	if (!text)
		return err_nomem(e);
	*ret = str_of(text);
	return 0;
}

int secret_open_text(const struct secrets_key *k, struct str base64, struct arena *a, struct str *ret, struct err *e)
{
	struct str sealed;
	if (!base64_decode(a, base64, &sealed))
		return err_set(e, ERR_BAD_REQUEST, "the ciphertext is not valid base64");
	int rc = crypto_open(&k->key, k->owner, sealed, a, ret, e);
	if (rc == -ERR_BAD_REQUEST)
		return err_set(e, ERR_BAD_REQUEST, "the ciphertext was not encrypted for this stack");
	return rc;
}

int secret_open(const struct secrets_key *k, struct json v, struct arena *a, struct str *ret, struct err *e)
{
	if (json_is_null(v)) {
		*ret = STR_NULL;
		return 0;
	}
	struct json text = secret_is_leaf(v) ? json_get(v, SECRET_LEAF) : v;
	struct str s;
	if (!json_string(text, a, &s))
		return arena_failed(a) ? err_nomem(e) : err_set(e, ERR_INTERNAL, "a stored secret has a wrong shape");
	if (!secret_is_leaf(v)) {
		*ret = s;
		return 0;
	}
	return secret_open_text(k, s, a, ret, e);
}

static void write_secret(struct json_writer *w, struct json ciphertext)
{
	jw_object(w);
	jw_kv_string(w, "secret", SECRET_MARKER);
	if (ciphertext.p)
		jw_kv_raw(w, "ciphertext", ciphertext);
	jw_object_end(w);
}

bool secrets_is_nothing(struct json v)
{
	struct json_iter it;
	struct json item;
	bool any = false;
	if (json_type(v) != JSON_OBJECT)
		return json_is_null(v);
	json_iter_init(&it, v);
	while (json_next(&it, NULL, &item)) {
		if (!secrets_is_nothing(item))
			return false;
		any = true;
	}
	return any;
}

void secrets_write_hidden(struct json_writer *w, struct json v, struct json newer, struct arena *a)
{
	struct json_members secrets;
	struct json key, item;
	struct str name;
	struct json_iter it;
	if (secret_is_leaf(v) || (secret_is_leaf(newer) && json_type(v) == JSON_STRING)) {
		write_secret(w, secret_is_leaf(v) ? json_get(v, SECRET_LEAF) : JSON_ABSENT);
		return;
	}
	switch (json_type(v)) {
	case JSON_OBJECT:
		json_members_init(&secrets, newer, a, NULL); /* as below */
		jw_object(w);
		json_iter_init(&it, v);
		while (json_next(&it, &key, &item)) {
			/* Out of memory: the arena says so. */
			if (secrets_is_nothing(item) || !json_string(key, a, &name))
				continue;
			jw_key_str(w, name);
			secrets_write_hidden(w, item, json_members_get(&secrets, name), a);
		}
		jw_object_end(w);
		return;
	case JSON_ARRAY:
		jw_array(w);
		json_foreach(item, v)
			secrets_write_hidden(w, item, JSON_ABSENT, a);
		jw_array_end(w);
		return;
	default:
		jw_raw(w, v);
	}
}

void secrets_write_redacted(struct json_writer *w, struct json v, struct arena *a)
{
	secrets_write_hidden(w, v, JSON_ABSENT, a);
}

int secrets_collect(const struct secrets_key *k, struct json v, struct arena *a, struct secret_list *list,
		    struct err *e)
{
	if (secret_is_leaf(v)) {
		if (list->count == list->cap) {
			size_t cap = list->cap ? 2 * list->cap : 16;
			struct str *items = arena_array(a, cap, sizeof(*items));
			if (!items)
				return err_nomem(e);
			if (list->count)
				memcpy(items, list->items, list->count * sizeof(*items));
			list->items = items;
			list->cap = cap;
		}
		int rc = secret_open(k, v, a, &list->items[list->count], e);
		if (rc < 0)
			return rc;
		list->count++;
		return 0;
	}
	if (json_type(v) != JSON_OBJECT)
		return 0;
	struct json_iter it;
	struct json item;
	json_iter_init(&it, v);
	while (json_next(&it, NULL, &item)) {
		int rc = secrets_collect(k, item, a, list, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}
