/* The resources and operations that are left after some entries. */
#include "state/replay_internal.h"

#include <stdlib.h>

#include "base/limits.h"
#include "state/replay_fix.h"

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
		struct resource *made = replay_made_by(r, r->unmade[i]);
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

struct json replay_extensions(struct replayer *r)
{
	if (r->extension_count == 0)
		return r->base.extensions;
	_cleanup_buf_ struct buf b;
	struct map base;
	map_init(&base, r->a);
	buf_init(&b, HTTP_DOCUMENT_BODY_BYTES);
	buf_addc(&b, '{');
	struct json_iter it = json_iter_start(r->base.extensions);
	struct json key, value;
	while (json_next(&it, &key, &value)) {
		buf_adds(&b, b.len > 1 ? "," : "");
		buf_add(&b, key.p, key.n);
		buf_addc(&b, ':');
		buf_add(&b, value.p, value.n);
		map_put(&base, json_view(key, r->a), 1);
	}
	for (size_t i = 0; i < r->extension_count; i++) {
		struct json ref = r->extensions[i].ref;
		if (map_get(&base, json_view(ref, r->a), NULL))
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
	json_foreach(snippet, snippets) {
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

int replay_generate(struct replayer *r, struct generated *g, struct err *e)
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
