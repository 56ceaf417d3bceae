#include "base/json_members.h"

#include <stdlib.h>

static int compare_members(const void *a, const void *b)
{
	const struct json_member *ma = a, *mb = b;
	int c = str_compare(ma->name, mb->name);
	/* The same name twice: in the order of the text. */
	return c ? c : (ma->value.p > mb->value.p) - (ma->value.p < mb->value.p);
}

int json_members_init(struct json_members *m, struct json object, struct arena *a, struct err *e)
{
	struct json_iter it;
	struct json key, value;
	*m = (struct json_members){ 0 };
	if (json_type(object) != JSON_OBJECT)
		return 0;
	size_t n = json_count(object), kept = 0;
	m->items = arena_array(a, n + 1, sizeof(*m->items));
	if (!m->items)
		return err_nomem(e);
	json_iter_init(&it, object);
	for (size_t i = 0; json_next(&it, &key, &value); i++) {
		m->items[i].value = value;
		if (!json_string(key, a, &m->items[i].name))
			return err_nomem(e);
	}
	qsort(m->items, n, sizeof(*m->items), compare_members);
	for (size_t i = 0; i < n; i++)
		if (i + 1 == n || str_compare(m->items[i].name, m->items[i + 1].name) != 0)
			m->items[kept++] = m->items[i];
	m->count = kept;
	return 0;
}

struct json json_members_get(const struct json_members *m, struct str name)
{
	size_t low = 0, high = m->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int c = str_compare(m->items[middle].name, name);
		if (c == 0)
			return m->items[middle].value;
		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return JSON_ABSENT;
}
