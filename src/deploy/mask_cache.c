#include "deploy/mask_cache.h"

#include <pthread.h>
#include <stdio.h>

#include "base/id.h"
#include "base/limits.h"

#define ENTRIES 256
/* All sets together: some 20 KiB for a token, 1 MiB for a private key. */
#define CACHE_MAX_BYTES ((size_t)32 * MIB)

struct entry {
	char id[ID_SIZE];
	struct mask_set *set; /* NULL: free */
	uint64_t used;
};

static struct {
	pthread_mutex_t lock;
	struct entry entries[ENTRIES];
	uint64_t uses;
	size_t bytes;
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* All of these with the lock held. */
static struct entry *find(const char *id)
{
	for (size_t i = 0; i < ENTRIES; i++) {
		if (cache.entries[i].set && streq(cache.entries[i].id, id))
			return &cache.entries[i];
	}
	return NULL;
}

static void drop(struct entry *entry)
{
	cache.bytes -= mask_set_bytes(entry->set);
	mask_set_free(entry->set);
	entry->set = NULL;
}

/* The entry that is free or was used longest ago. */
static struct entry *oldest(void)
{
	struct entry *best = &cache.entries[0];
	for (size_t i = 0; i < ENTRIES; i++) {
		struct entry *n = &cache.entries[i];
		if (!n->set)
			return n;
		best = n->used < best->used ? n : best;
	}
	return best;
}

static void drop_until_it_fits(size_t bytes)
{
	while (cache.bytes + bytes > CACHE_MAX_BYTES) {
		struct entry *best = NULL;
		for (size_t i = 0; i < ENTRIES; i++) {
			struct entry *n = &cache.entries[i];
			if (n->set && (!best || n->used < best->used))
				best = n;
		}
		drop(best);
	}
}

struct mask_set *mask_cache_get(const char *deployment_id)
{
	pthread_mutex_lock(&cache.lock);
	struct entry *entry = find(deployment_id);
	if (entry)
		entry->used = ++cache.uses;
	struct mask_set *set = entry ? mask_set_ref(entry->set) : NULL;
	pthread_mutex_unlock(&cache.lock);
	return set;
}

void mask_cache_put(const char *deployment_id, struct mask_set *set)
{
	size_t bytes = mask_set_bytes(set);
	if (bytes > CACHE_MAX_BYTES || strlen(deployment_id) >= ID_SIZE)
		return;
	pthread_mutex_lock(&cache.lock);
	if (!find(deployment_id)) {
		drop_until_it_fits(bytes);
		struct entry *entry = oldest();
		if (entry->set)
			drop(entry);
		snprintf(entry->id, sizeof(entry->id), "%s", deployment_id);
		entry->set = mask_set_ref(set);
		entry->used = ++cache.uses;
		cache.bytes += bytes;
	}
	pthread_mutex_unlock(&cache.lock);
}

void mask_cache_forget(const char *deployment_id)
{
	pthread_mutex_lock(&cache.lock);
	struct entry *entry = find(deployment_id);
	if (entry)
		drop(entry);
	pthread_mutex_unlock(&cache.lock);
}
