#include "state/replay_internal.h"

#include <stdlib.h>

#include "state/deployment.h"
#include "state/journal_entry.h"

/* The members of a DeploymentV3, in one walk over its text. */
static void read_base(struct replayer *r, struct json_iter *members)
{
	struct base *b = &r->base;
	const struct {
		const char *name;
		struct json *to;
	} single[] = { { "secrets_providers", &b->secrets_providers },
		       { "metadata", &b->metadata },
		       { "snippets", &b->snippets },
		       { "extensions", &b->extensions },
		       { "manifest", NULL } }; /* which is written anew */
	struct json key;
	while (json_next_key(members, &key)) {
		if (json_string_is(key, "resources")) {
			struct json_iter list = json_into(members);
			struct resource resource;
			for (b->count = 0; json_next_key(&list, NULL);) {
				resource_read(&list, &resource);
				PUSH(r->a, b->resources, b->count, b->capacity, resource);
			}
			json_out(members, &list);
			continue;
		}
		struct json v, value = json_over(members);
		if (json_string_is(key, "pending_operations")) {
			b->operation_count = 0;
			json_foreach(v, value)
				PUSH(r->a, b->operations, b->operation_count, b->operation_capacity, v);
			continue;
		}
		size_t i = 0;
		while (i < ARRAY_SIZE(single) && !json_string_is(key, single[i].name))
			i++;
		if (i == ARRAY_SIZE(single))
			PUSH(r->a, b->others, b->other_count, b->other_capacity, ((struct member){ key, value }));
		else if (single[i].to)
			*single[i].to = json_is_null(value) ? JSON_ABSENT : value;
	}
	if (json_type(b->extensions) != JSON_OBJECT)
		b->extensions = JSON_ABSENT;
}

static int load_base(struct replayer *r, struct json_iter *members, struct err *e)
{
	struct base *b = &r->base;
	size_t marks = b->count;
	struct base_mark *old_marks = b->marks;
	*b = (struct base){ 0 };
	read_base(r, members);
	b->marks = arena_array(r->a, b->count, sizeof(*b->marks));
	if (arena_failed(r->a) || !b->marks)
		return err_nomem(e);
	if (marks)
		memcpy(b->marks, old_marks, (marks < b->count ? marks : b->count) * sizeof(*b->marks));
	return 0;
}

/* An UntypedDeployment; absent: nothing. */
static int load(struct replayer *r, struct json root, struct err *e)
{
	struct json key, feature;
	struct json_iter it = json_iter_start(root);
	int rc = 0;
	while (rc == 0 && json_next_key(&it, &key)) {
		if (json_string_is(key, "deployment")) {
			struct json_iter members = json_into(&it);
			rc = load_base(r, &members, e);
			json_out(&it, &members);
			continue;
		}
		struct json value = json_over(&it);
		if (json_string_is(key, "features"))
			r->features = value;
	}
	/* Such bytes may hide in secrets, where nobody but the engine that wrote them can see them: once declared, the
	 * feature stays, lest an older engine corrupts them. */
	json_foreach(feature, r->features)
		r->byte_string |= json_string_is(feature, deployment_feature_names[FEATURE_BYTE_STRING]);
	return rc;
}

static struct base_mark *mark_of(struct replayer *r, int64_t index)
{
	return index >= 0 && (uint64_t)index < r->base.count ? &r->base.marks[index] : NULL;
}

struct resource *replay_made_by(struct replayer *r, int64_t operation)
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
	if (j->delete_new != JOURNAL_NONE && (made = replay_made_by(r, j->delete_new)))
		resource_set(made, RESOURCE_DELETE, json_true);
	if ((m = mark_of(r, j->pending_replacement_old)))
		m->pending_replacement = true;
	if (j->pending_replacement_new != JOURNAL_NONE && (made = replay_made_by(r, j->pending_replacement_new)))
		resource_set(made, RESOURCE_PENDING_REPLACEMENT, json_true);
	r->has_refresh |= j->is_refresh;
}

/* Refresh and outputs: a new state for a resource that is there already. */
static void replace_state(struct replayer *r, const struct journal_entry *j)
{
	struct base_mark *m = mark_of(r, j->remove_old);
	struct resource *made = j->remove_new != JOURNAL_NONE ? replay_made_by(r, j->remove_new) : NULL;
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
	struct str ref = json_view(x.ref, r->a);
	int64_t i;
	if (map_get(&r->extension_by, ref, &i)) {
		r->extensions[i] = x;
		return;
	}
	if (map_put(&r->extension_by, ref, (int64_t)r->extension_count))
		PUSH(r->a, r->extensions, r->extension_count, r->extension_capacity, x);
}

/* What there is becomes the base of what follows. */
static int rebuild_base(struct replayer *r, struct err *e)
{
	struct generated g;
	int rc = replay_generate(r, &g, e);
	if (rc < 0)
		return rc;
	struct base *b = &r->base;
	b->extensions = replay_extensions(r);
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
	map_init(&r->extension_by, r->a);
	return arena_failed(r->a) ? err_nomem(e) : 0;
}

static int add(struct replayer *r, const struct journal_entry *j, struct err *e)
{
	struct json_iter members;
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
		members = json_iter_start(j->new_snapshot);
		rc = load_base(r, &members, e);
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

/* --- the order of entries --- */

struct ordered {
	struct journal_entry entry;
	size_t arrival;
};

static int by_sequence(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	if (x->entry.sequence != y->entry.sequence)
		return x->entry.sequence < y->entry.sequence ? -1 : 1;
	return x->arrival < y->arrival ? -1 : x->arrival > y->arrival;
}

struct order {
	struct arena *a;
	struct ordered *list;
	size_t count, capacity;
	bool sorted;
};

static int take_entry(void *arg, const struct journal_entry *j, struct err *e)
{
	struct order *o = arg;
	struct ordered next = { .entry = *j, .arrival = o->count };
	o->sorted &= o->count == 0 || o->list[o->count - 1].entry.sequence <= j->sequence;
	PUSH(o->a, o->list, o->count, o->capacity, next);
	return arena_failed(o->a) ? err_nomem(e) : 0;
}

static int order_entries(const struct replay_input *in, struct order *o, struct err *e)
{
	for (size_t i = 0; i < in->batch_count; i++) {
		int rc = journal_body_read(in->batches[i], take_entry, o, e);
		if (rc < 0)
			return rc;
	}
	/* As they come from the CLI, mostly: then the sort would only move them about. */
	if (!o->sorted)
		qsort(o->list, o->count, sizeof(*o->list), by_sequence);
	return 0;
}

int replay(const struct replay_input *in, struct arena *a, struct buf *out, int64_t *ret_resource_count, struct err *e)
{
	struct replayer r = { .a = a };
	struct order o = { .a = a, .sorted = true };
	map_init(&r.made_by, a);
	map_init(&r.begun_by, a);
	map_init(&r.extension_by, a);
	int rc = load(&r, in->base, e);
	if (rc == 0)
		rc = order_entries(in, &o, e);
	for (size_t i = 0; rc == 0 && i < o.count; i++)
		if (i == 0 || o.list[i].entry.sequence != o.list[i - 1].entry.sequence)
			rc = add(&r, &o.list[i].entry, e);
	struct generated g;
	if (rc == 0)
		rc = replay_generate(&r, &g, e);
	if (rc < 0)
		return rc;
	rc = replay_write(&r, &g, in, out, e);
	if (rc == 0)
		*ret_resource_count = (int64_t)g.count;
	return rc;
}
