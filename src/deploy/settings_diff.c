/* What one version of the settings changed (settings_history.h). */
#include "base/encode.h"
#include "base/json_members.h"
#include "base/limits.h"
#include "deploy/settings_history.h"

struct diff {
	const struct settings_diff *d;
	struct json_writer *w;
	struct buf pointer; /* of the value at hand */
	struct err *err;
};

static bool is_tree(struct json v)
{
	return json_type(v) == JSON_OBJECT && !secret_is_leaf(v) && json_count(v) > 0;
}

/* One that does not open any more counts as changed: the ciphertext is all that is known of it. */
static int same_secret(struct diff *f, struct json before, struct json after, bool *ret)
{
	struct str a, b;
	*ret = json_equal(before, after);
	if (*ret)
		return 0;
	struct err ignored = { 0 };
	int rc = secret_open(f->d->key, before, f->d->arena, &a, &ignored);
	if (rc == 0)
		rc = secret_open(f->d->key, after, f->d->arena, &b, &ignored);
	if (arena_failed(f->d->arena))
		return err_nomem(f->err);
	if (rc < 0)
		return 0;
	*ret = crypto_equal(a, b);
	crypto_wipe((void *)(uintptr_t)a.p, a.n);
	crypto_wipe((void *)(uintptr_t)b.p, b.n);
	return 0;
}

static void put_change(struct diff *f, struct json before, struct json after, struct json newest)
{
	struct json_writer *w = f->w;
	bool secret = secret_is_leaf(before) || secret_is_leaf(after) ||
		      (secret_is_leaf(newest) && !is_tree(before) && !is_tree(after));
	jw_object(w);
	jw_kv_str(w, "path", buf_str(&f->pointer));
	jw_kv_string(w, "change", !before.p ? "added" : !after.p ? "removed" : "changed");
	if (secret)
		jw_kv_bool(w, "secret", true);
	if (before.p && !secret) {
		jw_key(w, "old");
		secrets_write_hidden(w, before, newest, f->d->arena);
	}
	if (after.p && !secret) {
		jw_key(w, "new");
		secrets_write_hidden(w, after, newest, f->d->arena);
	}
	jw_object_end(w);
}

static int compare(struct diff *f, struct json before, struct json after, struct json newest);

static int compare_members(struct diff *f, struct json before, struct json after, struct json newest)
{
	size_t len = f->pointer.len, i = 0, k = 0;
	struct json_members old, now, last;
	int rc = json_members_init(&old, before, f->d->arena, f->err);
	if (rc == 0)
		rc = json_members_init(&now, after, f->d->arena, f->err);
	if (rc == 0)
		rc = json_members_init(&last, newest, f->d->arena, f->err);
	/* Both lists are in order: the one whose name comes first goes on, or both. */
	while (rc == 0 && (i < old.count || k < now.count)) {
		int c = i == old.count ? 1 : k == now.count ? -1 : str_compare(old.items[i].name, now.items[k].name);
		struct str name = c <= 0 ? old.items[i].name : now.items[k].name;
		struct json was = c <= 0 ? old.items[i++].value : JSON_ABSENT;
		struct json is = c >= 0 ? now.items[k++].value : JSON_ABSENT;
		json_pointer_add(&f->pointer, name);
		rc = compare(f, was, is, json_members_get(&last, name));
		f->pointer.len = len;
	}
	return rc;
}

static int compare(struct diff *f, struct json before, struct json after, struct json newest)
{
	bool same = json_equal(before, after);
	if (!same && secret_is_leaf(before) && secret_is_leaf(after)) {
		int rc = same_secret(f, before, after, &same);
		if (rc < 0)
			return rc;
	}
	if (same)
		return 0;
	/* Both are trees, or one is and the other is nothing, or an empty object. */
	bool tree = is_tree(before) || is_tree(after);
	bool leaf = (before.p && (json_type(before) != JSON_OBJECT || secret_is_leaf(before))) ||
		    (after.p && (json_type(after) != JSON_OBJECT || secret_is_leaf(after)));
	if (!tree || leaf) {
		put_change(f, before, after, newest);
		return 0;
	}
	return compare_members(f, before, after, newest);
}

static void compare_pools(struct diff *f)
{
	const char *before = f->d->before_pool, *after = f->d->after_pool;
	if (before == after || (before && after && streq(before, after)))
		return;
	jw_object(f->w);
	jw_kv_string(f->w, "path", "/agentPoolID");
	jw_kv_string(f->w, "change", !before ? "added" : !after ? "removed" : "changed");
	if (before)
		jw_kv_string(f->w, "old", before);
	if (after)
		jw_kv_string(f->w, "new", after);
	jw_object_end(f->w);
}

int settings_diff_write(struct json_writer *w, const struct settings_diff *d, struct err *e)
{
	struct diff f = { .d = d, .w = w, .err = e };
	buf_init(&f.pointer, 4 * HTTP_JSON_BODY_BYTES);
	jw_array(w);
	/* The members of the document, not the document: it may be empty, or absent. */
	int rc = compare_members(&f, d->before, d->after, d->newest);
	if (rc == 0)
		rc = buf_check(&f.pointer, "JSON pointer", e);
	compare_pools(&f);
	jw_array_end(w);
	buf_done(&f.pointer);
	return rc;
}
