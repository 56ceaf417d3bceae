/*
 * mem.h: arenas, and what the compiler does for us at the end of a scope.
 *
 * An arena belongs to one thread at a time (a request, a job, a command). What dies with its owner comes from it;
 * nothing is freed one by one. Memory from an arena is zeroed. An arena has a maximum; past it, or when malloc
 * fails, an allocation returns NULL and arena_failed() stays true.
 */
#ifndef SLIPWAY_BASE_MEM_H
#define SLIPWAY_BASE_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	size_t used_bytes;	    /* handed out in total */
	size_t max_bytes;
	bool failed;
};

/* max_bytes 0 means ARENA_MAX_BYTES of limits.h. */
void arena_init(struct arena *a, size_t max_bytes);
void arena_done(struct arena *a);
/* Forgets everything; keeps one block for the next user. */
void arena_reset(struct arena *a);
bool arena_failed(const struct arena *a);
/* Whether p points into memory of this arena. */
bool arena_owns(const struct arena *a, const void *p);

/* 16-byte aligned, zeroed; NULL on failure. size 0 gives a valid unique pointer. */
void *arena_alloc(struct arena *a, size_t size);
/* The same, but not zeroed: for a document that is written over it at once. */
void *arena_bytes(struct arena *a, size_t size);
/* Checks n * size for overflow. */
void *arena_array(struct arena *a, size_t n, size_t size);
char *arena_strdup(struct arena *a, const char *s);
/* Copies n bytes and a NUL behind them. */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))

static inline void cleanup_free_fn(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ __attribute__((cleanup(cleanup_free_fn)))
void cleanup_close_fn(int *fd); /* closes if >= 0, keeps errno */
#define _cleanup_close_ __attribute__((cleanup(cleanup_close_fn)))
#define _cleanup_arena_ __attribute__((cleanup(arena_done)))

/* Hands ownership on: the variable becomes NULL (or -1). */
#define TAKE_PTR(p)                 \
	({                          \
		typeof(p) p_ = (p); \
		(p) = NULL;         \
		p_;                 \
	})
#define TAKE_FD(fd)             \
	({                      \
		int fd_ = (fd); \
		(fd) = -1;      \
		fd_;            \
	})

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))

#endif
