#include "base/mem.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"

/* Under AddressSanitizer the unused part of a block is poisoned, with a gap behind each allocation, so that an
 * overrun within an arena is found like one of malloc's. */
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif
#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#define ARENA_GAP 16
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ARENA_GAP 0
#endif

#define ALIGN 16
/* Small: each parked request has one. */
#define FIRST_BLOCK_BYTES (1 * KIB)
#define LAST_BLOCK_BYTES (1 * MIB)
/* arena_reset keeps at most this much, so that one large request does not make a worker fat for ever. */
#define KEEP_BLOCK_BYTES (256 * KIB)

struct arena_block {
	struct arena_block *next;
	size_t cap;
	size_t used;
	size_t pad; /* keeps data[] at a multiple of 16 */
	char data[];
};

_Static_assert(sizeof(struct arena_block) % ALIGN == 0, "block data must be aligned");

static void block_free(struct arena_block *b)
{
	ASAN_UNPOISON_MEMORY_REGION(b->data, b->cap);
	free(b);
}

static struct arena_block *block_new(struct arena *a, size_t need)
{
	/* Blocks double, so that a large decode costs few mallocs and a small one little memory. */
	size_t cap = a->blocks ? a->blocks->cap * 2 : FIRST_BLOCK_BYTES - sizeof(struct arena_block);
	if (cap > LAST_BLOCK_BYTES)
		cap = LAST_BLOCK_BYTES;
	if (cap < need)
		cap = need;
	struct arena_block *b = malloc(sizeof(*b) + cap);
	if (!b)
		return NULL;
	b->cap = cap;
	b->used = 0;
	if (a->blocks && cap == need && a->blocks->cap - a->blocks->used > ALIGN * 4) {
		/* An own block for one large piece: the present block stays in front with its free rest. */
		b->next = a->blocks->next;
		a->blocks->next = b;
	} else {
		b->next = a->blocks;
		a->blocks = b;
	}
	ASAN_POISON_MEMORY_REGION(b->data, b->cap);
	return b;
}

/* Not zeroed. */
static void *alloc_raw(struct arena *a, size_t size)
{
	if (a->failed)
		return NULL;
	if (size > a->max_bytes) /* also keeps the rounding below from overflowing */
		goto fail;
	size_t need = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (need == 0)
		need = ALIGN;
	if (need > a->max_bytes - a->used_bytes)
		goto fail;
	struct arena_block *b = a->blocks;
	if (!b || b->cap - b->used < need + ARENA_GAP) {
		b = block_new(a, need + ARENA_GAP);
		if (!b)
			goto fail;
	}
	char *p = b->data + b->used;
	b->used += need + ARENA_GAP;
	a->used_bytes += need;
	ASAN_UNPOISON_MEMORY_REGION(p, size ? size : 1);
	return p;
fail:
	a->failed = true;
	return NULL;
}

void arena_init(struct arena *a, size_t max_bytes)
{
	*a = (struct arena){ .max_bytes = max_bytes ? max_bytes : ARENA_MAX_BYTES };
}

void arena_done(struct arena *a)
{
	for (struct arena_block *b = a->blocks, *next; b; b = next) {
		next = b->next;
		block_free(b);
	}
	*a = (struct arena){ .max_bytes = a->max_bytes };
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = NULL;
	for (struct arena_block *b = a->blocks, *next; b; b = next) {
		next = b->next;
		if (b->cap <= KEEP_BLOCK_BYTES && (!keep || b->cap > keep->cap)) {
			if (keep)
				block_free(keep);
			keep = b;
		} else {
			block_free(b);
		}
	}
	if (keep) {
		keep->next = NULL;
		keep->used = 0;
		ASAN_POISON_MEMORY_REGION(keep->data, keep->cap);
	}
	*a = (struct arena){ .blocks = keep, .max_bytes = a->max_bytes };
}

bool arena_failed(const struct arena *a)
{
	return a->failed;
}

bool arena_owns(const struct arena *a, const void *p)
{
	uintptr_t at = (uintptr_t)p;
	for (const struct arena_block *b = a->blocks; b; b = b->next) {
		if (at >= (uintptr_t)b->data && at < (uintptr_t)b->data + b->used)
			return true;
	}
	return false;
}

void *arena_alloc(struct arena *a, size_t size)
{
	void *p = alloc_raw(a, size);
	if (p)
		memset(p, 0, size);
	return p;
}

void *arena_bytes(struct arena *a, size_t size)
{
	return alloc_raw(a, size);
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(n, size, &total)) {
		a->failed = true;
		return NULL;
	}
	return arena_alloc(a, total);
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *p = n < SIZE_MAX ? alloc_raw(a, n + 1) : NULL;
	if (!p) {
		a->failed = true;
		return NULL;
	}
	if (n)
		memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	char *p = NULL;
	if (n < 0) {
		a->failed = true;
	} else if ((size_t)n < sizeof(small)) {
		p = arena_strndup(a, small, (size_t)n);
	} else {
		p = alloc_raw(a, (size_t)n + 1);
		if (p)
			vsnprintf(p, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *p = arena_vprintf(a, fmt, ap);
	va_end(ap);
	return p;
}

void cleanup_close_fn(int *fd)
{
	if (*fd < 0)
		return;
	int saved = errno;
	close(*fd);
	*fd = -1;
	errno = saved;
}
