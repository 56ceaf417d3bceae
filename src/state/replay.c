#include "state/replay.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "crypto/crypto.h"
#include "state/deployment.h"
#include "state/journal_entry.h"
#include "state/map.h"
#include "state/replay_fix.h"
#include "state/resource.h"

/* A growing array in the arena. */
#define PUSH(a, array, count, capacity, value)                                                            \
	({                                                                                                \
		if ((count) == (capacity)) {                                                              \
			size_t wanted_ = (capacity) ? (capacity) * 2 : 64;                                \
			typeof(array) bigger_ = arena_array((a), wanted_, sizeof(*(array)));              \
			if (bigger_) {                                                                    \
				if (count)                                                                \
					memcpy(bigger_, (array), (count) * sizeof(*(array)));             \
				(array) = bigger_;                                                        \
				(capacity) = wanted_;                                                     \
			}                                                                                 \
		}                                                                                         \
		if ((count) < (capacity))                                                                 \
			(array)[(count)++] = (value);                                                     \
	})

/* What the journal did to a resource of the base. */
struct base_mark {
	bool removed;
	bool delete;
	bool pending_replacement;
	struct json replacement; /* its new state; absent: none */
};

struct base {
	struct resource *resources;
	struct base_mark *marks;
	size_t count;
	struct json *operations; /* pending */
	size_t operation_count, operation_capacity;
	struct json secrets_providers, metadata, snippets, extensions;
	struct json text; /* the DeploymentV3: its members that no rule here knows are carried along */
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

static const struct json json_true = { "true", 4 };

static int base_load(struct replayer *r, struct json deployment, struct err *e)
{
	static const char *const names[] = { "resources", "pending_operations", "secrets_providers", "metadata",
					     "snippets", "extensions" };
	struct json found[ARRAY_SIZE(names)];
	struct base *b = &r->base;
	size_t marks = b->count;
	struct base_mark *old_marks = b->marks;
	json_pick(deployment, names, ARRAY_SIZE(names), found);
	*b = (struct base){ .secrets_providers = found[2],
			    .metadata = found[3],
			    .snippets = found[4],
			    .extensions = found[5],
			    .text = deployment };
	b->count = json_count(found[0]);
	b->resources = arena_array(r->a, b->count, sizeof(*b->resources));
	b->marks = arena_array(r->a, b->count, sizeof(*b->marks));
	if (!b->resources || !b->marks)
		return err_nomem(e);
	if (marks)
		memcpy(b->marks, old_marks, (marks < b->count ? marks : b->count) * sizeof(*b->marks));
	struct json v;
	size_t i = 0;
	json_foreach (v, found[0])
		resource_parse(v, &b->resources[i++]);
	json_foreach (v, found[1])
		PUSH(r->a, b->operations, b->operation_count, b->operation_capacity, v);
	return arena_failed(r->a) ? err_nomem(e) : 0;
}

static struct base_mark *mark_of(struct replayer *r, int64_t index)
{
	return index >= 0 && (uint64_t)index < r->base.count ? &r->base.marks[index] : NULL;
}

/* The resource that the success of this operation made; NULL if it made none. */
static struct resource *made_by(struct replayer *r, int64_t operation)
{
	int64_t i;
	return map_get_int(&r->made_by, operation, &i) ? &r->made[i] : NULL;
}

static void close_operation(struct replayer *r, int64_t operation)
{
	int64_t i;
	if (map_get_int(&r->begun_by, operation, &i))
		r->begun[i].open = false;
}

/* --- the kinds of entries --- */

static void add_begin(struct replayer *r, const struct journal_entry *j)
{
	struct begun b = { j->operation, j->pending, true };
	int64_t i;
	if (map_get_int(&r->begun_by, j->operation, &i)) {
		r->begun[i] = b;
		return;
	}
	if (map_put_int(&r->begun_by, j->operation, (int64_t)r->begun_count))
		PUSH(r->a, r->begun, r->begun_count, r->begun_capacity, b);
}

static void add_success(struct replayer *r, const struct journal_entry *j)
{
	struct base_mark *m;
	struct resource *made;
	close_operation(r, j->operation);
	if (j->state.p) {
		struct resource state;
		resource_parse(j->state, &state);
		if (map_put_int(&r->made_by, j->operation, (int64_t)r->made_count))
			PUSH(r->a, r->made, r->made_count, r->made_capacity, state);
	}
	if ((m = mark_of(r, j->remove_old)))
		m->removed = true;
	if (j->remove_new != JOURNAL_NONE)
		PUSH(r->a, r->unmade, r->unmade_count, r->unmade_capacity, j->remove_new);
	if ((m = mark_of(r, j->delete_old)))
		m->delete = true;
	if (j->delete_new != JOURNAL_NONE && (made = made_by(r, j->delete_new)))
		resource_set(made, RESOURCE_DELETE, json_true);
	if ((m = mark_of(r, j->pending_replacement_old)))
		m->pending_replacement = true;
	if (j->pending_replacement_new != JOURNAL_NONE && (made = made_by(r, j->pending_replacement_new)))
		resource_set(made, RESOURCE_PENDING_REPLACEMENT, json_true);
	r->has_refresh |= j->is_refresh;
}

/* Refresh and outputs: a new state for a resource that is there already. */
static void replace_state(struct replayer *r, const struct journal_entry *j)
{
	struct base_mark *m = mark_of(r, j->remove_old);
	struct resource *made = j->remove_new != JOURNAL_NONE ? made_by(r, j->remove_new) : NULL;
	if (m)
		m->replacement = j->state;
	if (made)
		resource_parse(j->state, made);
}

static void add_refresh(struct replayer *r, const struct journal_entry *j)
{
	close_operation(r, j->operation);
	r->has_refresh = true;
	if (j->state.p) {
		replace_state(r, j);
		return;
	}
	struct base_mark *m = mark_of(r, j->remove_old);
	if (m)
		m->removed = true;
	if (j->remove_new != JOURNAL_NONE)
		PUSH(r->a, r->unmade, r->unmade_count, r->unmade_capacity, j->remove_new);
}

/* The old one stays when nothing has changed, so that its text does. */
static void add_secrets_manager(struct replayer *r, const struct journal_entry *j)
{
	struct json old = r->base.secrets_providers;
	if (old.p && str_eq(json_text(json_get(old, "state")), json_text(json_get(j->secrets_provider, "state"))) &&
	    json_equal(json_get(old, "type"), json_get(j->secrets_provider, "type")))
		return;
	r->base.secrets_providers = j->secrets_provider;
}

static void add_extension(struct replayer *r, const struct journal_entry *j)
{
	struct extension x = { j->extension_ref, j->extension };
	for (size_t i = 0; i < r->extension_count; i++) {
		if (json_equal(r->extensions[i].ref, x.ref)) {
			r->extensions[i] = x;
			return;
		}
	}
	PUSH(r->a, r->extensions, r->extension_count, r->extension_capacity, x);
}

/* --- the list that is left --- */

static void emit(struct replayer *r, struct generated *g, const struct resource *res)
{
	PUSH(r->a, g->resources, g->count, g->capacity, *res);
	g->features |= resource_features(res);
}

static void emit_made(struct replayer *r, struct generated *g)
{
	bool *gone = arena_array(r->a, r->made_count, sizeof(*gone));
	if (!gone)
		return;
	for (size_t i = 0; i < r->unmade_count; i++) {
		struct resource *made = made_by(r, r->unmade[i]);
		if (made)
			gone[made - r->made] = true;
	}
	for (size_t i = 0; i < r->made_count; i++)
		if (!gone[i])
			emit(r, g, &r->made[i]);
}

static void emit_base(struct replayer *r, struct generated *g)
{
	for (size_t i = 0; i < r->base.count; i++) {
		const struct base_mark *m = &r->base.marks[i];
		struct resource res = r->base.resources[i];
		if (m->removed)
			continue;
		if (m->replacement.p) {
			resource_parse(m->replacement, &res);
			emit(r, g, &res);
			continue;
		}
		if (m->pending_replacement)
			resource_set(&res, RESOURCE_PENDING_REPLACEMENT, json_true);
		if (m->delete)
			resource_set(&res, RESOURCE_DELETE, json_true);
		emit(r, g, &res);
	}
}

static void emit_operation(struct replayer *r, struct generated *g, struct json operation)
{
	struct resource res;
	resource_parse(json_get(operation, "resource"), &res);
	g->features |= resource_features(&res);
	PUSH(r->a, g->operations, g->operation_count, g->operation_capacity, operation);
}

static int by_operation(const void *a, const void *b)
{
	int64_t x = ((const struct begun *)a)->operation, y = ((const struct begun *)b)->operation;
	return x < y ? -1 : x > y;
}

/* What had begun and not ended; then the creations that a former update left open: only the user can clear those. */
static void emit_operations(struct replayer *r, struct generated *g)
{
	struct begun *begun = arena_array(r->a, r->begun_count, sizeof(*begun));
	if (!begun)
		return;
	if (r->begun_count)
		memcpy(begun, r->begun, r->begun_count * sizeof(*begun));
	qsort(begun, r->begun_count, sizeof(*begun), by_operation);
	for (size_t i = 0; i < r->begun_count; i++)
		if (begun[i].open && begun[i].pending.p)
			emit_operation(r, g, begun[i].pending);
	for (size_t i = 0; i < r->base.operation_count; i++)
		if (json_string_is(json_get(r->base.operations[i], "type"), "creating"))
			emit_operation(r, g, r->base.operations[i]);
}

/* {"<ref>":..}: the base's own win over those of the journal. */
static struct json merge_extensions(struct replayer *r)
{
	if (r->extension_count == 0)
		return r->base.extensions;
	_cleanup_buf_ struct buf b;
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES);
	buf_addc(&b, '{');
	struct json_iter it = json_iter_start(r->base.extensions);
	struct json key, value;
	while (json_next(&it, &key, &value)) {
		buf_adds(&b, b.len > 1 ? "," : "");
		buf_add(&b, key.p, key.n);
		buf_addc(&b, ':');
		buf_add(&b, value.p, value.n);
	}
	for (size_t i = 0; i < r->extension_count; i++) {
		struct json ref = r->extensions[i].ref;
		const char *name = json_cstr(ref, r->a);
		if (name && json_get(r->base.extensions, name).p)
			continue;
		buf_adds(&b, b.len > 1 ? "," : "");
		buf_add(&b, ref.p, ref.n);
		buf_addc(&b, ':');
		buf_add(&b, r->extensions[i].value.p, r->extensions[i].value.n);
	}
	buf_addc(&b, '}');
	if (buf_failed(&b)) {
		r->a->failed = true;
		return JSON_ABSENT;
	}
	return (struct json){ arena_strndup(r->a, b.data, b.len), b.len };
}

/* The URNs in every snippet's `references` follow the aliases. */
static struct json fix_snippets(struct json snippets, struct alias_map *aliases, struct arena *a)
{
	if (aliases->count == 0 || !snippets.p)
		return snippets;
	_cleanup_buf_ struct buf b;
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES);
	struct json_writer w;
	jw_init(&w, &b);
	jw_array(&w);
	struct json snippet;
	json_foreach (snippet, snippets) {
		jw_object(&w);
		struct json_iter it = json_iter_start(snippet);
		struct json key, value;
		while (json_next(&it, &key, &value)) {
			jw_key_str(&w, json_view(key, a));
			if (!json_string_is(key, "references") || json_type(value) != JSON_OBJECT) {
				jw_raw(&w, value);
				continue;
			}
			jw_object(&w);
			struct json_iter refs = json_iter_start(value);
			struct json name, urn;
			while (json_next(&refs, &name, &urn)) {
				jw_key_str(&w, json_view(name, a));
				jw_raw(&w, edit_string(urn, alias_edit, aliases, a));
			}
			jw_object_end(&w);
		}
		jw_object_end(&w);
	}
	jw_array_end(&w);
	if (buf_failed(&b)) {
		a->failed = true;
		return snippets;
	}
	return (struct json){ arena_strndup(a, b.data, b.len), b.len };
}

static int generate(struct replayer *r, struct generated *g, struct err *e)
{
	*g = (struct generated){ 0 };
	emit_made(r, g);
	emit_base(r, g);
	emit_operations(r, g);
	if (arena_failed(r->a))
		return err_nomem(e);
	if (r->byte_string && g->count + g->operation_count > 0)
		g->features |= 1u << FEATURE_BYTE_STRING;
	if (json_count(r->base.snippets) > 0)
		g->features |= 1u << FEATURE_SNIPPETS;
	int rc = r->has_refresh ? fix_dependencies(g->resources, g->count, r->a, e) : 0;
	struct alias_map aliases;
	if (rc == 0)
		rc = fix_aliases(g->resources, g->count, &aliases, r->a, e);
	if (rc < 0)
		return rc;
	g->snippets = fix_snippets(r->base.snippets, &aliases, r->a);
	return arena_failed(r->a) ? err_nomem(e) : 0;
}

/* What there is becomes the base of what follows. */
static int rebuild_base(struct replayer *r, struct err *e)
{
	struct generated g;
	int rc = generate(r, &g, e);
	if (rc < 0)
		return rc;
	struct base *b = &r->base;
	b->extensions = merge_extensions(r);
	b->snippets = g.snippets;
	b->resources = g.resources;
	b->count = g.count;
	b->marks = arena_array(r->a, g.count, sizeof(*b->marks));
	b->operations = g.operations;
	b->operation_count = g.operation_count;
	b->operation_capacity = g.operation_capacity;
	r->made = NULL;
	r->made_count = r->made_capacity = 0;
	r->unmade_count = r->begun_count = r->extension_count = 0;
	map_init(&r->made_by, r->a);
	map_init(&r->begun_by, r->a);
	return arena_failed(r->a) ? err_nomem(e) : 0;
}

static int add(struct replayer *r, const struct journal_entry *j, struct err *e)
{
	int rc = 0;
	r->byte_string |= j->requires_byte_string;
	switch (j->kind) {
	case JOURNAL_BEGIN:
		add_begin(r, j);
		break;
	case JOURNAL_SUCCESS:
		add_success(r, j);
		break;
	case JOURNAL_FAILURE:
		close_operation(r, j->operation);
		break;
	case JOURNAL_REFRESH_SUCCESS:
		add_refresh(r, j);
		break;
	case JOURNAL_OUTPUTS:
		if (j->state.p)
			replace_state(r, j);
		break;
	case JOURNAL_WRITE:
		rc = base_load(r, j->new_snapshot, e);
		break;
	case JOURNAL_SECRETS_MANAGER:
		add_secrets_manager(r, j);
		break;
	case JOURNAL_REBUILT_BASE_STATE:
		rc = rebuild_base(r, e);
		break;
	case JOURNAL_EXTENSION_PARAMETERIZE:
		add_extension(r, j);
		break;
	case JOURNAL_SNIPPETS:
		r->base.snippets = j->snippets;
		break;
	case JOURNAL_KIND_COUNT:
		break;
	}
	return rc == 0 && arena_failed(r->a) ? err_nomem(e) : rc;
}

/* --- the text --- */

static void write_manifest(struct replayer *r, struct json_writer *w, const char *engine_version, int64_t now_us)
{
	bool known = engine_version && engine_version[0];
	jw_key(w, "manifest");
	jw_object(w);
	jw_kv_string(w, "time", clock_rfc3339(r->a, now_us));
	/* The CLI checks that this is the hash of the version (cli-protocol §3.3). */
	jw_kv_string(w, "magic", known ? crypto_sha256_hex(r->a, str_of(engine_version)) : "");
	jw_kv_string(w, "version", known ? engine_version : "");
	jw_object_end(w);
}

static void write_list(struct json_writer *w, const char *key, const struct json *list, size_t count)
{
	if (count == 0)
		return;
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < count; i++)
		jw_raw(w, list[i]);
	jw_array_end(w);
}

static void write_resources(struct json_writer *w, const struct generated *g)
{
	if (g->count == 0)
		return;
	jw_key(w, "resources");
	jw_array(w);
	for (size_t i = 0; i < g->count; i++) {
		if (i > 0)
			buf_addc(w->b, ',');
		resource_emit(&g->resources[i], w->b);
	}
	jw_array_end(w);
}

/* Members of the base that no rule knows. */
static void write_others(struct json_writer *w, struct json deployment, struct arena *a)
{
	static const char *const known[] = { "manifest", "secrets_providers", "resources", "pending_operations",
					     "metadata", "snippets", "extensions" };
	struct json_iter it = json_iter_start(deployment);
	struct json key, value;
	while (json_next(&it, &key, &value)) {
		bool is_known = false;
		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			is_known |= json_string_is(key, known[i]);
		if (is_known)
			continue;
		jw_key_str(w, json_view(key, a));
		jw_raw(w, value);
	}
}

static void write_document(struct replayer *r, const struct generated *g, const struct replay_input *in,
			   struct json_writer *w)
{
	struct json extensions = merge_extensions(r);
	jw_object(w);
	jw_kv_int(w, "version", g->features ? 4 : 3);
	if (g->features) {
		jw_key(w, "features");
		jw_array(w);
		for (int f = 0; f < FEATURE_COUNT; f++)
			if (g->features & 1u << f)
				jw_string(w, deployment_feature_names[f]);
		jw_array_end(w);
	}
	jw_key(w, "deployment");
	jw_object(w);
	write_manifest(r, w, in->engine_version, in->now_us);
	if (r->base.secrets_providers.p)
		jw_kv_raw(w, "secrets_providers", r->base.secrets_providers);
	write_resources(w, g);
	write_list(w, "pending_operations", g->operations, g->operation_count);
	jw_key(w, "metadata");
	jw_raw_str(w, r->base.metadata.p ? json_text(r->base.metadata) : STR("{}"));
	if (json_count(g->snippets) > 0)
		jw_kv_raw(w, "snippets", g->snippets);
	if (json_count(extensions) > 0)
		jw_kv_raw(w, "extensions", extensions);
	write_others(w, r->base.text, r->a);
	jw_object_end(w);
	jw_object_end(w);
}

/* --- the order of entries --- */

struct ordered {
	int64_t sequence;
	size_t arrival;
	struct json text;
};

static int by_sequence(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	if (x->sequence != y->sequence)
		return x->sequence < y->sequence ? -1 : 1;
	return x->arrival < y->arrival ? -1 : x->arrival > y->arrival;
}

static int order_entries(const struct replay_input *in, struct arena *a, struct ordered **ret, size_t *ret_count,
			 struct err *e)
{
	struct ordered *list = NULL;
	size_t count = 0, capacity = 0;
	for (size_t i = 0; i < in->batch_count; i++) {
		struct json entry;
		json_foreach (entry, json_get(in->batches[i], "entries")) {
			struct ordered o = { 0, count, entry };
			if (!json_int64(json_get(entry, "sequenceID"), &o.sequence))
				return err_set(e, ERR_INTERNAL, "a stored journal entry has no sequenceID");
			PUSH(a, list, count, capacity, o);
			if (arena_failed(a))
				return err_nomem(e);
		}
	}
	if (count)
		qsort(list, count, sizeof(*list), by_sequence);
	*ret = list;
	*ret_count = count;
	return 0;
}

static bool base_has_byte_string(struct json root)
{
	struct json feature;
	json_foreach (feature, json_get(root, "features"))
		if (json_string_is(feature, deployment_feature_names[FEATURE_BYTE_STRING]))
			return true;
	return false;
}

int replay(const struct replay_input *in, struct arena *a, struct buf *out, int64_t *ret_resource_count,
	   struct err *e)
{
	struct replayer r = { .a = a };
	struct ordered *entries = NULL;
	size_t count = 0;
	map_init(&r.made_by, a);
	map_init(&r.begun_by, a);
	/* Such bytes may hide in secrets, where nobody but the engine that wrote them can see them: once declared, the
	 * feature stays, lest an older engine corrupts them. */
	r.byte_string = base_has_byte_string(in->base);
	int rc = base_load(&r, json_get(in->base, "deployment"), e);
	if (rc == 0)
		rc = order_entries(in, a, &entries, &count, e);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct journal_entry j;
		if (i > 0 && entries[i].sequence == entries[i - 1].sequence)
			continue;
		rc = journal_entry_parse(entries[i].text, &j, e);
		if (rc < 0)
			rc = err_wrap(e, "journal entry %lld", (long long)entries[i].sequence);
		else
			rc = add(&r, &j, e);
	}
	struct generated g;
	if (rc == 0)
		rc = generate(&r, &g, e);
	if (rc < 0)
		return rc;
	struct json_writer w;
	jw_init(&w, out);
	write_document(&r, &g, in, &w);
	rc = buf_check(out, "the state", e);
	if (rc < 0)
		return rc;
	if (arena_failed(a))
		return err_nomem(e);
	*ret_resource_count = (int64_t)g.count;
	return 0;
}
