#include "state/drift_diff.h"

#include "base/limits.h"
#include "state/resource_view.h"

/* Deeper, wider or further than this, a value is told as one. */
#define DEPTH_MAX 16
#define WIDTH_MAX 256
#define PATH_LONG_BYTES 512
/* A longer name is told by its beginning: so a path always has room. */
#define NAME_BYTES 256
#define PATH_BYTES (PATH_LONG_BYTES + 8 * NAME_BYTES)

/* A value on both sides, and what lies at its place in the other map (the inputs, while the outputs are compared): a provider
 * that knows no secrets gives back in the open what was closed when it went in. */
enum { OLD, NEW, OLD_OTHER, NEW_OTHER, PLACES };
struct place {
	struct json v[PLACES];
};

struct diff {
	struct arena *a;
	struct json_writer *w;
	struct buf path;
	int depth;
	bool inputs; /* which of the two is being compared */
	bool cut;
	size_t count;
	struct str told[DRIFT_PROPERTIES_MAX]; /* names of the first level */
	struct str top;			       /* that is being walked */
};

/* --- paths: as the engine writes them: a.b[0]["c.d"] --- */

static bool is_plain(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
		if (!letter && (i == 0 || ((c < '0' || c > '9') && c != '-')))
			return false;
	}
	return name.n > 0;
}

static void push_name(struct diff *d, struct str name)
{
	if (name.n > NAME_BYTES)
		name.n = NAME_BYTES;
	if (is_plain(name)) {
		buf_adds(&d->path, d->path.len ? "." : "");
		buf_add_str(&d->path, name);
	} else {
		buf_addc(&d->path, '[');
		json_quote(&d->path, name);
		buf_addc(&d->path, ']');
	}
}

static void pop(struct diff *d, size_t len)
{
	d->path.len = len;
}

/* --- telling --- */

static bool has_been_told(const struct diff *d, struct str top)
{
	for (size_t i = 0; i < d->count; i++)
		if (str_eq(d->told[i], top))
			return true;
	return false;
}

/* false: there is room for no more. */
static bool begin_property(struct diff *d, struct str path, const char *kind)
{
	if (d->count == DRIFT_PROPERTIES_MAX) {
		d->cut = true;
		return false;
	}
	d->told[d->count++] = d->top;
	jw_object(d->w);
	jw_kv_str(d->w, "path", path);
	jw_kv_string(d->w, "kind", kind);
	return true;
}

/* What is closed on one side is closed on the other. */
static void put_value(struct diff *d, const char *name, struct json v, bool closed, bool *cut)
{
	_cleanup_buf_ struct buf text;
	buf_init(&text, DRIFT_VALUE_BYTES);
	if (!v.p)
		return;
	if (closed && !json_has_secret(v)) {
		jw_kv_string(d->w, name, "[secret]");
		return;
	}
	json_redact(v, &text);
	if (buf_failed(&text)) {
		*cut = true;
		return;
	}
	jw_key(d->w, name);
	jw_raw_str(d->w, buf_str(&text));
}

static void tell(struct diff *d, const struct place *p)
{
	bool cut = false, closed = false;
	struct json old = p->v[OLD], new = p->v[NEW];
	if (!begin_property(d, buf_str(&d->path), !old.p ? "add" : !new.p ? "delete" : "update"))
		return;
	for (int i = 0; i < PLACES; i++)
		closed |= json_has_secret(p->v[i]);
	put_value(d, "old", old, closed, &cut);
	put_value(d, "new", new, closed, &cut);
	if (d->inputs)
		jw_kv_bool(d->w, "input", true);
	if (cut)
		jw_kv_bool(d->w, "cut", true);
	jw_object_end(d->w);
	d->cut |= cut;
}

/* --- walking --- */

static void walk(struct diff *d, const struct place *p);

static bool may_descend(const struct diff *d, const struct place *p)
{
	struct json old = p->v[OLD], new = p->v[NEW];
	enum json_type type = json_type(old);
	return type == json_type(new) && (type == JSON_OBJECT || type == JSON_ARRAY) && d->depth < DEPTH_MAX &&
	       d->path.len < PATH_LONG_BYTES && json_count(old) <= WIDTH_MAX && json_count(new) <= WIDTH_MAX &&
	       !json_is_secret(old) && !json_is_secret(new);
}

static void walk_member(struct diff *d, struct str name, const struct place *p)
{
	size_t len = d->path.len;
	/* "__defaults", "__provider": the engine's own notes. */
	if (d->depth == 1 && str_starts_with(name, "__"))
		return;
	if (d->depth == 1) {
		d->top = name;
		if (d->inputs && has_been_told(d, name))
			return;
	}
	push_name(d, name);
	walk(d, p);
	pop(d, len);
}

/* The member of each; what is closed as a whole is so in all its parts. */
static struct place member(const struct place *p, const char *name)
{
	struct place ret;
	for (int i = 0; i < PLACES; i++)
		ret.v[i] = json_is_secret(p->v[i]) ? p->v[i] : json_get(p->v[i], name);
	return ret;
}

static void walk_object(struct diff *d, const struct place *p)
{
	struct json_iter it;
	struct json key, value;
	struct str name;
	for (int side = OLD; side <= NEW; side++) {
		it = json_iter_start(p->v[side]);
		while (json_next(&it, &key, &value)) {
			/* Out of memory: the arena remembers. A NUL no program wrote. */
			if (!json_string(key, d->a, &name) || str_has_nul(name))
				continue;
			struct place next = member(p, name.p);
			if (side == OLD || !next.v[OLD].p)
				walk_member(d, name, &next);
		}
	}
}

static void walk_array(struct diff *d, const struct place *p)
{
	struct json_iter it[PLACES];
	for (int i = 0; i < PLACES; i++)
		it[i] = json_iter_start(json_type(p->v[i]) == JSON_ARRAY ? p->v[i] : JSON_ABSENT);
	for (size_t n = 0;; n++) {
		struct place next = { 0 };
		for (int i = 0; i < PLACES; i++)
			if (!json_next(&it[i], NULL, &next.v[i]))
				next.v[i] = json_is_secret(p->v[i]) ? p->v[i] : JSON_ABSENT;
		if (!next.v[OLD].p && !next.v[NEW].p)
			return;
		size_t len = d->path.len;
		buf_addf(&d->path, "[%zu]", n);
		walk(d, &next);
		pop(d, len);
	}
}

/* Depth is bounded by DEPTH_MAX. */
static void walk(struct diff *d, const struct place *p)
{
	struct json old = p->v[OLD], new = p->v[NEW];
	if ((!old.p && !new.p) || (old.p && new.p &&json_equal(old, new)))
		return;
	if (!may_descend(d, p)) {
		tell(d, p);
		return;
	}
	d->depth++;
	if (json_type(old) == JSON_OBJECT)
		walk_object(d, p);
	else
		walk_array(d, p);
	d->depth--;
}

/* A null map is an empty one. */
static struct json map_of(struct json state, const char *name)
{
	struct json v = json_get(state, name);
	return json_type(v) == JSON_OBJECT ? v : (struct json){ "{}", 2 };
}

static void compare(struct diff *d, const char *what, const char *other, struct json old, struct json new)
{
	struct place p = { { map_of(old, what), map_of(new, what), map_of(old, other), map_of(new, other) } };
	walk(d, &p);
}

/* --- what the provider says --- */

static struct str first_name(struct str path)
{
	size_t n = 0;
	while (n < path.n && path.p[n] != '.' && path.p[n] != '[')
		n++;
	return (struct str){ path.p, n };
}

static const char *kind_of(struct json diff)
{
	static const struct {
		const char *told, *kind;
	} kinds[] = {
		{ "add", "add" }, { "add-replace", "add" }, { "delete", "delete" }, { "delete-replace", "delete" }
	};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (json_string_is(json_get(diff, "diffKind"), kinds[i].told))
			return kinds[i].kind;
	return "update";
}

static bool is_secret_in(struct json state, const char *name)
{
	return json_has_secret(json_path(state, "outputs", name, NULL)) ||
	       json_has_secret(json_path(state, "inputs", name, NULL));
}

static void tell_of(struct diff *d, struct json path, const char *kind, struct json old, struct json new)
{
	struct str text;
	if (!json_string(path, d->a, &text) || str_has_nul(text))
		return;
	d->top = first_name(text);
	if (has_been_told(d, d->top))
		return;
	const char *top = str_dup(d->a, d->top);
	if (text.n > PATH_LONG_BYTES) {
		text.n = PATH_LONG_BYTES;
		d->cut = true;
	}
	if (!top || !begin_property(d, text, kind))
		return;
	if (is_secret_in(old, top))
		jw_kv_string(d->w, "old", "[secret]");
	if (is_secret_in(new, top))
		jw_kv_string(d->w, "new", "[secret]");
	jw_object_end(d->w);
}

static void add_what_the_provider_says(struct diff *d, struct json metadata, struct json old, struct json new)
{
	struct json detailed = json_get(metadata, "detailedDiff"), key, value;
	if (json_count(detailed) > 0) {
		struct json_iter it = json_iter_start(detailed);
		while (json_next(&it, &key, &value))
			tell_of(d, key, kind_of(value), old, new);
		return;
	}
	json_foreach(value, json_get(metadata, "diffs"))
		tell_of(d, value, "update", old, new);
}

size_t drift_diff_write(struct json metadata, struct arena *a, struct json_writer *w, bool *ret_cut)
{
	struct json old = json_get(metadata, "old"), new = json_get(metadata, "new");
	struct diff d = { .a = a, .w = w };
	buf_init(&d.path, PATH_BYTES);
	jw_array(w);
	compare(&d, "outputs", "inputs", old, new);
	d.inputs = true;
	compare(&d, "inputs", "outputs", old, new);
	d.inputs = false;
	add_what_the_provider_says(&d, metadata, old, new);
	jw_array_end(w);
	*ret_cut = d.cut || buf_failed(&d.path);
	buf_done(&d.path);
	return d.count;
}
