#include "state/map.h"

#define MAP_FIRST_CAPACITY 64

void map_init(struct map *m, struct arena *a)
{
	*m = (struct map){ .arena = a };
}

/* FNV-1a, eight bytes at a time, with a final mix: keys are URNs, which differ at their ends. */
static uint64_t hash_of(struct str key)
{
	uint64_t h = 0xcbf29ce484222325u ^ key.n;
	size_t i = 0;
	for (; i + 8 <= key.n; i += 8) {
		uint64_t w;
		memcpy(&w, key.p + i, 8);
		h = (h ^ w) * 0x9E3779B97F4A7C15u;
		h ^= h >> 29;
	}
	for (; i < key.n; i++)
		h = (h ^ (unsigned char)key.p[i]) * 0x100000001b3u;
	h ^= h >> 32;
	return h * 0x9E3779B97F4A7C15u >> 20;
}

static struct map_slot *slot_of(struct map_slot *slots, size_t capacity, struct str key)
{
	size_t i = hash_of(key) & (capacity - 1);
	while (slots[i].key.p && !str_eq(slots[i].key, key))
		i = (i + 1) & (capacity - 1);
	return &slots[i];
}

static bool grow(struct map *m)
{
	size_t capacity = m->capacity ? m->capacity * 2 : MAP_FIRST_CAPACITY;
	struct map_slot *slots = arena_array(m->arena, capacity, sizeof(*slots));
	if (!slots)
		return false;
	for (size_t i = 0; i < m->capacity; i++)
		if (m->slots[i].key.p)
			*slot_of(slots, capacity, m->slots[i].key) = m->slots[i];
	m->slots = slots;
	m->capacity = capacity;
	return true;
}

bool map_put(struct map *m, struct str key, int64_t value)
{
	if (m->count * 4 >= m->capacity * 3 && !grow(m))
		return false;
	struct map_slot *s = slot_of(m->slots, m->capacity, key);
	if (!s->key.p)
		m->count++;
	*s = (struct map_slot){ key, value };
	return true;
}

bool map_get(const struct map *m, struct str key, int64_t *ret)
{
	if (m->count == 0)
		return false;
	const struct map_slot *s = slot_of(m->slots, m->capacity, key);
	if (!s->key.p)
		return false;
	if (ret)
		*ret = s->value;
	return true;
}

bool map_put_int(struct map *m, int64_t key, int64_t value)
{
	struct str k = { (const char *)&key, sizeof(key) };
	if (!map_get(m, k, NULL)) {
		k.p = arena_strndup(m->arena, k.p, k.n);
		if (!k.p)
			return false;
		return map_put(m, k, value);
	}
	slot_of(m->slots, m->capacity, k)->value = value;
	return true;
}

bool map_get_int(const struct map *m, int64_t key, int64_t *ret)
{
	return map_get(m, (struct str){ (const char *)&key, sizeof(key) }, ret);
}
