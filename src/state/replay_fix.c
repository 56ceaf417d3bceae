#include "state/replay_fix.h"

#define URN_PREFIX "urn:pulumi:"
#define ROOT_STACK_TYPE "pulumi:pulumi:Stack"

/* --- dependencies --- */

static bool keep_seen(void *arg, struct str in, struct str *ret)
{
	(void)ret;
	return map_get(arg, in, NULL);
}

/* An emptied list is left out, as the engine does. */
static struct json or_absent(struct json list)
{
	return list.n == 2 ? JSON_ABSENT : list;
}

int fix_dependencies(struct resource *list, size_t count, struct arena *a, struct err *e)
{
	struct map seen;
	map_init(&seen, a);
	for (size_t i = 0; i < count; i++) {
		struct resource *r = &list[i];
		struct json *m = r->member;
		resource_set(r, RESOURCE_DEPENDENCIES,
			     or_absent(edit_list(m[RESOURCE_DEPENDENCIES], keep_seen, &seen, a)));
		resource_set(
			r, RESOURCE_PROPERTY_DEPENDENCIES,
			or_absent(edit_map_of_lists(m[RESOURCE_PROPERTY_DEPENDENCIES], true, keep_seen, &seen, a)));
		resource_set(r, RESOURCE_REPLACE_WITH,
			     or_absent(edit_list(m[RESOURCE_REPLACE_WITH], keep_seen, &seen, a)));
		if (m[RESOURCE_DELETED_WITH].n > 2)
			resource_set(r, RESOURCE_DELETED_WITH,
				     edit_string(m[RESOURCE_DELETED_WITH], keep_seen, &seen, a));
		if (!map_put(&seen, json_view(m[RESOURCE_URN], a), (int64_t)i))
			return err_nomem(e);
	}
	/* Parents may lawfully come later here, so they are looked up in the whole list. The parent of a parent that is
	 * gone is not known any more: such a resource becomes one without a parent. */
	for (size_t i = 0; i < count; i++)
		if (list[i].member[RESOURCE_PARENT].n > 2 &&
		    !map_get(&seen, json_view(list[i].member[RESOURCE_PARENT], a), NULL))
			resource_set(&list[i], RESOURCE_PARENT, JSON_ABSENT);
	return arena_failed(a) ? err_nomem(e) : 0;
}

/* --- aliases --- */

static bool alias_put(struct alias_map *m, struct arena *a, struct str old, struct str now)
{
	if (m->count == m->capacity) {
		size_t capacity = m->capacity ? m->capacity * 2 : 16;
		struct str *urns = arena_array(a, capacity, sizeof(*urns));
		if (!urns)
			return false;
		if (m->count)
			memcpy(urns, m->urns, m->count * sizeof(*urns));
		m->urns = urns;
		m->capacity = capacity;
	}
	m->urns[m->count] = now;
	return map_put(&m->map, old, (int64_t)m->count++);
}

static bool alias_get(const struct alias_map *m, struct str old, struct str *ret)
{
	int64_t i;
	if (!map_get(&m->map, old, &i))
		return false;
	*ret = m->urns[i];
	return true;
}

bool alias_edit(void *map, struct str in, struct str *ret)
{
	alias_get(map, in, ret);
	return true;
}

/* urn:pulumi:<stack>::<project>::<qualified type>::<name>; false if it has not this form. */
static bool urn_split(struct str urn, struct str part[4])
{
	if (!str_starts_with(urn, URN_PREFIX))
		return false;
	struct str rest = { urn.p + sizeof(URN_PREFIX) - 1, urn.n - (sizeof(URN_PREFIX) - 1) };
	for (int i = 0; i < 3; i++) {
		const char *at = memmem(rest.p, rest.n, "::", 2);
		if (!at)
			return false;
		part[i] = (struct str){ rest.p, (size_t)(at - rest.p) };
		rest = (struct str){ at + 2, rest.n - part[i].n - 2 };
	}
	part[3] = rest;
	return true;
}

/* What the child's URN becomes when its parent is now `parent`; absent if nothing is to change. */
static struct str child_urn(struct str urn, struct str parent, struct arena *a)
{
	struct str p[4], c[4];
	if (!urn_split(parent, p) || !urn_split(urn, c) || str_is(p[2], ROOT_STACK_TYPE))
		return STR_NULL;
	const char *dollar = memrchr(c[2].p, '$', c[2].n);
	struct str type = dollar ? (struct str){ dollar + 1, (size_t)(c[2].p + c[2].n - dollar - 1) } : c[2];
	char *text = arena_printf(a, URN_PREFIX "%.*s::%.*s::%.*s$%.*s::%.*s", STR_ARG(c[0]), STR_ARG(c[1]),
				  STR_ARG(p[2]), STR_ARG(type), STR_ARG(c[3]));
	return str_of(text);
}

/* The URN before the last "::" of a provider reference. */
static struct json edit_provider(struct json v, struct alias_map *m, struct arena *a)
{
	struct str ref = json_view(v, a);
	size_t at = ref.n;
	while (at >= 2 && memcmp(ref.p + at - 2, "::", 2) != 0)
		at--;
	struct str now;
	if (at < 2 || !alias_get(m, (struct str){ ref.p, at - 2 }, &now))
		return v;
	char *text = arena_printf(a, "%.*s%.*s", STR_ARG(now), (int)(ref.n - at + 2), ref.p + at - 2);
	return text ? json_quoted(a, str_of(text)) : v;
}

static int collect(struct resource *list, size_t count, struct alias_map *m, struct arena *a, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		struct resource *r = &list[i];
		struct str urn = json_view(r->member[RESOURCE_URN], a);
		struct json alias;
		json_foreach(alias, r->member[RESOURCE_ALIASES]) {
			struct str old = json_view(alias, a);
			if (!map_get(&m->map, old, NULL) && !alias_put(m, a, old, urn))
				return err_nomem(e);
		}
		struct str parent;
		if (m->count == 0 || !alias_get(m, json_view(r->member[RESOURCE_PARENT], a), &parent))
			continue;
		struct str now = child_urn(urn, parent, a);
		if (now.p && !alias_put(m, a, urn, now))
			return err_nomem(e);
	}
	return 0;
}

int fix_aliases(struct resource *list, size_t count, struct alias_map *ret_map, struct arena *a, struct err *e)
{
	struct alias_map *m = ret_map;
	*m = (struct alias_map){ 0 };
	map_init(&m->map, a);
	int rc = collect(list, count, m, a, e);
	if (rc < 0 || m->count == 0)
		return rc;
	for (size_t i = 0; i < count; i++) {
		struct resource *r = &list[i];
		static const enum resource_member single[] = { RESOURCE_URN, RESOURCE_PARENT, RESOURCE_DELETED_WITH,
							       RESOURCE_VIEW_OF };
		for (size_t s = 0; s < ARRAY_SIZE(single); s++)
			resource_set(r, single[s], edit_string(r->member[single[s]], alias_edit, m, a));
		resource_set(r, RESOURCE_PROVIDER, edit_provider(r->member[RESOURCE_PROVIDER], m, a));
		resource_set(r, RESOURCE_DEPENDENCIES, edit_list(r->member[RESOURCE_DEPENDENCIES], alias_edit, m, a));
		resource_set(r, RESOURCE_PROPERTY_DEPENDENCIES,
			     edit_map_of_lists(r->member[RESOURCE_PROPERTY_DEPENDENCIES], false, alias_edit, m, a));
		resource_set(r, RESOURCE_ALIASES, JSON_ABSENT);
	}
	return arena_failed(a) ? err_nomem(e) : 0;
}
