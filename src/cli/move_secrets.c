#include "cli/move_secrets.h"

#include "base/encode.h"
#include "base/limits.h"

/* {"<key>":"<secret>","ciphertext":".."} is a secret inside of inputs, outputs and the like (cli-protocol §7). */
#define SIGNATURE_KEY "4dabf18193072939515e22adb298388d"
#define SECRET_SIGNATURE "1b47061264138c4ac30d75fd1eb44270"

/* A span of the text that is replaced. A secret's `with` is its old ciphertext until it is sealed anew. */
struct edit {
	struct json at;
	struct str with;
};

struct edits {
	struct arena *a;
	struct edit *list;
	size_t count, cap;
	bool failed;
};

static void add(struct edits *s, struct json at, struct str with)
{
	if (s->count == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 32;
		struct edit *more = arena_array(s->a, cap, sizeof(*more));
		if (!more) {
			s->failed = true;
			return;
		}
		if (s->count)
			memcpy(more, s->list, s->count * sizeof(*more));
		s->list = more;
		s->cap = cap;
	}
	s->list[s->count++] = (struct edit){ .at = at, .with = with };
}

/* Depth is bounded by json_check. */
static void find_secrets(struct edits *s, struct json v)
{
	enum json_type type = json_type(v);
	struct str old;
	if ((type != JSON_OBJECT && type != JSON_ARRAY) ||
	    !memmem(v.p, v.n, SECRET_SIGNATURE, sizeof(SECRET_SIGNATURE) - 1))
		return;
	if (json_string_is(json_get(v, SIGNATURE_KEY), SECRET_SIGNATURE)) {
		struct json ciphertext = json_get(v, "ciphertext");
		if (json_string(ciphertext, s->a, &old))
			add(s, ciphertext, old);
		return;
	}
	struct json value;
	json_foreach(value, v)
		find_secrets(s, value);
}

/* {"secure":".."} alone, anywhere in the value of a structured key. */
static void find_secure(struct edits *s, struct json v)
{
	struct json value, secure = json_get(v, "secure");
	struct str old, bytes;
	if (json_type(v) == JSON_OBJECT && json_count(v) == 1 && json_string(secure, s->a, &old)) {
		if (base64_decode(s->a, old, &bytes))
			add(s, secure, old);
		return;
	}
	json_foreach(value, v)
		find_secure(s, value);
}

static int reseal_all(struct edits *s, move_reseal_fn reseal, void *arg, struct err *e)
{
	struct str *old = arena_array(s->a, s->count, sizeof(*old));
	struct str *new = arena_array(s->a, s->count, sizeof(*new));
	if (s->failed || !old || !new)
		return err_nomem(e);
	for (size_t i = 0; i < s->count; i++)
		old[i] = s->list[i].with;
	int rc = s->count ? reseal(arg, old, s->count, s->a, new, e) : 0;
	for (size_t i = 0; rc == 0 && i < s->count; i++)
		s->list[i].with = new[i];
	return rc;
}

static int by_place(const void *x, const void *y)
{
	const struct edit *a = x, *b = y;
	return a->at.p < b->at.p ? -1 : a->at.p > b->at.p;
}

/* The text with all edits: strings, which are quoted, but for the raw one at raw_at. */
static int apply(struct edits *s, struct json whole, struct json raw_at, struct str raw, struct str *ret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	const char *at = whole.p;
	if (s->count)
		qsort(s->list, s->count, sizeof(*s->list), by_place);
	buf_init(&b, 2 * HTTP_DOCUMENT_BODY_BYTES);
	for (size_t i = 0; i < s->count; i++) {
		const struct edit *edit = &s->list[i];
		buf_add(&b, at, (size_t)(edit->at.p - at));
		if (edit->at.p == raw_at.p)
			buf_add_str(&b, raw);
		else
			json_quote(&b, edit->with);
		at = edit->at.p + edit->at.n;
	}
	buf_add(&b, at, (size_t)(whole.p + whole.n - at));
	int rc = buf_check(&b, "the document", e);
	*ret = (struct str){ rc == 0 ? arena_strndup(s->a, b.data ? b.data : "", b.len) : NULL, b.len };
	return rc < 0 || ret->p ? rc : err_nomem(e);
}

const char *move_state_provider(struct json root, struct arena *a)
{
	return json_cstr(json_path(root, "deployment", "secrets_providers", "type", NULL), a);
}

int move_reseal_state(struct json root, struct str provider_state, move_reseal_fn reseal, void *arg, struct arena *a,
		      struct str *ret, struct err *e)
{
	struct edits s = { .a = a };
	struct json deployment = json_get(root, "deployment");
	struct json state = json_path(deployment, "secrets_providers", "state", NULL);
	find_secrets(&s, json_get(deployment, "resources"));
	find_secrets(&s, json_get(deployment, "pending_operations"));
	int rc = reseal_all(&s, reseal, arg, e);
	if (rc == 0 && state.p)
		add(&s, state, provider_state);
	if (rc == 0 && s.failed)
		rc = err_nomem(e);
	return rc < 0 ? rc : apply(&s, root, state, provider_state, ret, e);
}

/* {"string":"<text>","secret":true,"object":b} */
static int reseal_value(struct json value, move_reseal_fn reseal, void *arg, struct edits *outer, size_t *count,
			struct err *e)
{
	struct edits inner = { .a = outer->a };
	struct json text = json_get(value, "string"), parsed;
	struct str old, bytes, new;
	if (!json_is_true(json_get(value, "secret")) || !json_string(text, outer->a, &old))
		return 0;
	if (!json_is_true(json_get(value, "object"))) {
		if (!base64_decode(outer->a, old, &bytes) || old.n == 0)
			return 0; /* another provider's: "v1:..." */
		int rc = reseal(arg, &old, 1, outer->a, &new, e);
		if (rc < 0)
			return rc;
		++*count;
		add(outer, text, new);
		return 0;
	}
	if (json_check(old, &parsed, NULL) < 0)
		return 0;
	find_secure(&inner, parsed);
	*count += inner.count;
	int rc = reseal_all(&inner, reseal, arg, e);
	/* All of the text: blanks around the value stay, too. */
	if (rc == 0)
		rc = apply(&inner, (struct json){ old.p, old.n }, JSON_ABSENT, STR_NULL, &new, e);
	if (rc == 0)
		add(outer, text, new);
	return rc;
}

int move_reseal_config(struct json config, move_reseal_fn reseal, void *arg, struct arena *a, struct json *ret,
		       size_t *ret_count, struct err *e)
{
	struct edits s = { .a = a };
	struct json value;
	struct str text;
	size_t count = 0;
	*ret = config;
	json_foreach(value, config) {
		int rc = reseal_value(value, reseal, arg, &s, &count, e);
		if (rc < 0)
			return rc;
	}
	if (s.failed)
		return err_nomem(e);
	int rc = s.count ? apply(&s, config, JSON_ABSENT, STR_NULL, &text, e) : 0;
	if (rc == 0 && s.count)
		*ret = (struct json){ text.p, text.n };
	*ret_count = count;
	return rc;
}
