/*
 * map.h: a hash table from byte strings, or from integers, to integers; lives in an arena and only grows.
 *
 * Keys are kept by reference: they must live as long as the map. One thread at a time.
 */
#ifndef SLIPWAY_STATE_MAP_H
#define SLIPWAY_STATE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct map_slot {
	struct str key; /* p == NULL: free */
	int64_t value;
};

struct map {
	struct arena *arena;
	struct map_slot *slots;
	size_t capacity; /* a power of two, or 0 */
	size_t count;
};

void map_init(struct map *m, struct arena *a);
/* Sets or replaces; false when out of memory. */
bool map_put(struct map *m, struct str key, int64_t value);
bool map_get(const struct map *m, struct str key, int64_t *ret);
bool map_put_int(struct map *m, int64_t key, int64_t value);
bool map_get_int(const struct map *m, int64_t key, int64_t *ret);

#endif
