/*
 * The versions of a stack on its way. Each is a call of its own, whose update id is derived from where it comes from and
 * what it is there: so a run that was interrupted goes on where it was, and one that is repeated takes only what is new.
 */
#include "cli/passage.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"
#include "crypto/crypto.h"

static int derive_id(struct passage *p, const char *key, int64_t start_s, struct arena *a, const char **ret,
		     struct err *e)
{
	unsigned char hash[CRYPTO_SHA256_BYTES];
	char id[ID_SIZE];
	const char *what = arena_printf(a, "%s\n%s\n%s\n%s", p->m->source->url, p->from->key, p->name, key);
	if (!what)
		return err_nomem(e);
	crypto_sha256(str_of(what), hash);
	id_derive(id, start_s * US_PER_S, hash);
	*ret = arena_strdup(a, id);
	return *ret ? 0 : err_nomem(e);
}

/* 1: the stack here has that update. */
static int is_here(struct passage *p, const char *id, struct arena *a, struct err *e)
{
	struct json answer;
	const char *path = arena_printf(a, "%s/update/%s", p->path, id);
	if (!path)
		return err_nomem(e);
	int rc = site_call(p->m->in, "GET", path, STR_NULL, PASSAGE_CALL_MS, &answer, e);
	if (rc == -ERR_NOT_FOUND) {
		err_reset(e);
		return 0;
	}
	return rc < 0 ? rc : 1;
}

static const char *kind_here(const char *kind)
{
	static const char *const kinds[] = { "update", "refresh", "destroy", "import", "rename" };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (streq(kind, kinds[i]))
			return kind;
	return streq(kind, "resource-import") ? "import" : "update";
}

static void put_body(struct json_writer *j, struct passage *p, const struct move_update *u, const char *id,
		     struct json config, struct str state)
{
	jw_object(j);
	jw_kv_string(j, "organization", p->org);
	jw_kv_string(j, "project", p->project);
	jw_kv_string(j, "stack", p->stack);
	jw_kv_string(j, "updateID", id);
	jw_kv_int(j, "version", u->version > p->version ? u->version : 0);
	jw_kv_string(j, "kind", kind_here(u->kind));
	jw_kv_string(j, "result", u->result);
	jw_kv_string(j, "message", u->message);
	jw_kv_raw(j, "environment", u->environment);
	jw_kv_raw(j, "config", config);
	jw_kv_raw(j, "resourceChanges", u->changes);
	if (u->resource_count >= 0)
		jw_kv_int(j, "resourceCount", u->resource_count);
	if (u->author)
		jw_kv_string(j, "requestedBy", u->author);
	jw_kv_int(j, "startTime", u->start_s > 0 ? u->start_s : 0);
	jw_kv_int(j, "endTime", u->end_s > 0 ? u->end_s : 0);
	if (state.p)
		jw_kv_raw(j, "state", (struct json){ state.p, state.n });
	jw_object_end(j);
}

static int send_version(struct passage *p, const struct move_update *u, const char *id, struct str state,
			struct arena *a, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	struct json answer;
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES);
	jw_init(&j, &b);
	put_body(&j, p, u, id, passage_turn_config(p, u, a), state);
	int rc = buf_check(&b, "the version", e);
	if (rc == 0)
		rc = site_call(p->m->in, "POST", "/api/site/versions", buf_str(&b), PASSAGE_CALL_MS, &answer, e);
	if (rc < 0)
		return rc;
	json_int64(json_get(answer, "version"), &p->version);
	if (u->author && !json_is_true(json_get(answer, "authorKnown")))
		passage_note(p, arena_printf(p->a, "made by %s, who is no user here", u->author));
	p->taken++;
	return 0;
}

/* The state of an update as it is to lie here; p == NULL: it is not to be had. */
static int read_state(struct passage *p, const struct move_update *u, struct arena *a, struct str *ret, struct err *e)
{
	struct str text;
	*ret = STR_NULL;
	int rc = p->m->source->state(p->m->source, p->from, u, a, &text, e);
	if (rc == 0 && text.p)
		return passage_turn_state(p, text, a, ret, e);
	if (rc == 0) {
		p->lost_first = p->lost ? p->lost_first : u->version;
		p->lost_last = u->version;
		p->lost++;
	}
	return rc;
}

/* With its state if that can be had; *ret_state tells. */
static int take_update(struct passage *p, const struct move_update *u, const char *id, bool *ret_state, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct str state;
	arena_init(&a, 0);
	int rc = read_state(p, u, &a, &state, e);
	if (rc == 0)
		rc = send_version(p, u, id, state, &a, e);
	*ret_state = rc == 0 && state.p;
	/* A state that is refused is told; its version is taken all the same. Anything else is final. */
	if (rc != -ERR_BAD_REQUEST && rc != -ERR_TOO_LARGE)
		return rc;
	const char *why = arena_printf(p->a, "the state of version %" PRId64 " is not taken: %s", u->version,
				       e ? e->message : "");
	err_reset(e);
	rc = send_version(p, u, id, STR_NULL, &a, e);
	if (rc == 0)
		passage_note(p, why);
	return rc;
}

/* Whether the newest version here has its state. */
static int has_state(struct passage *p, bool *ret, struct err *e)
{
	struct json answer, v;
	const char *path = arena_printf(p->a, "%s/versions?pageSize=1", p->path);
	int rc = path ? site_call(p->m->in, "GET", path, STR_NULL, PASSAGE_CALL_MS, &answer, e) : err_nomem(e);
	if (rc == 0)
		json_foreach(v, json_get(answer, "versions"))
			*ret = json_is_true(json_get(v, "stored"));
	return rc;
}

static bool has_ended(const struct move_update *u)
{
	return streq(u->result, "succeeded") || streq(u->result, "failed");
}

/* Everything behind the newest version that is here. *ret_last: the newest of all that has its state here; NULL: none. */
static int take_history(struct passage *p, const struct move_update **ret_last, struct err *e)
{
	struct move_source *source = p->m->source;
	struct move_update *list;
	size_t count, next = 0;
	int rc = source->history(source, p->from, p->a, &list, &count, e);
	if (rc < 0)
		return rc;
	const char **ids = arena_array(p->a, count, sizeof(*ids));
	if (!ids)
		return err_nomem(e);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = derive_id(p, list[i].key, list[i].start_s, p->a, &ids[i], e);
	for (size_t i = p->is_new ? 0 : count; rc == 0 && next == 0 && i > 0; i--) {
		rc = is_here(p, ids[i - 1], p->a, e);
		if (rc > 0)
			next = i;
		rc = rc < 0 ? rc : 0;
	}
	p->before = (int64_t)next;
	bool stored = false;
	if (rc == 0 && next)
		rc = has_state(p, &stored, e);
	*ret_last = stored ? &list[next - 1] : NULL;
	for (size_t i = next; rc == 0 && i < count; i++) {
		bool stored_it = false;
		if (!has_ended(&list[i])) {
			passage_note(p, arena_printf(p->a, "version %" PRId64 " has not ended there and is not taken",
						     list[i].version));
			continue;
		}
		rc = take_update(p, &list[i], ids[i], &stored_it, e);
		*ret_last = stored_it ? &list[i] : NULL;
	}
	return rc;
}

/* The newest state, where the history does not end with it (an import, an update that was killed). */
static int take_newest(struct passage *p, const struct move_update *last, struct err *e)
{
	struct move_source *source = p->m->source;
	_cleanup_arena_ struct arena a, b;
	struct str text, before = STR_NULL, state;
	struct json x, y;
	arena_init(&a, 0);
	arena_init(&b, 0);
	int rc = source->state(source, p->from, NULL, &a, &text, e);
	if (rc == 0 && last)
		rc = source->state(source, p->from, last, &b, &before, e);
	if (rc < 0 || !text.p)
		return rc;
	if ((rc = json_check(text, &x, e)) < 0)
		return rc;
	if (before.p && json_check(before, &y, NULL) == 0 && json_equal(x, y))
		return 0;
	/* A stack without any state may answer an empty one. */
	struct json deployment = json_get(x, "deployment");
	if (!last && p->taken == 0 && p->before == 0 && json_count(json_get(deployment, "resources")) == 0 &&
	    json_count(json_get(deployment, "pending_operations")) == 0)
		return 0;
	struct move_update u = {
		.kind = "import", .result = "succeeded", .start_s = clock_now_us() / US_PER_S, .resource_count = -1
	};
	u.end_s = u.start_s;
	u.message = arena_printf(&a, "taken from %s", source->url);
	const char *hash = crypto_sha256_hex(&a, text), *id = NULL;
	if (!u.message || !hash)
		return err_nomem(e);
	/* A state that came back after another one is new again. */
	for (int again = 0;; again++) {
		const char *key = arena_printf(&a, "%s %d", hash, again);
		rc = key ? derive_id(p, key, 0, &a, &id, e) : err_nomem(e);
		if (rc < 0 || streq(id, p->newest))
			return rc;
		rc = is_here(p, id, &a, e);
		if (rc < 0)
			return rc;
		/* A stack that was used here since has left it behind. */
		if (rc > 0 && p->newest[0] && !id_is_derived(p->newest))
			return 0;
		if (rc == 0)
			break;
	}
	rc = passage_turn_state(p, text, &a, &state, e);
	return rc < 0 ? rc : send_version(p, &u, id, state, &a, e);
}

int passage_take_versions(struct passage *p, struct err *e)
{
	const struct move_update *last = NULL;
	int rc = take_history(p, &last, e);
	return rc < 0 ? rc : take_newest(p, last, e);
}
