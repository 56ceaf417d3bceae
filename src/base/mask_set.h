/*
 * mask_set.h: the inside of a mask_set, for mask.c: all patterns in one trie (Aho-Corasick), and a filter in front of it.
 *
 * Text is passed over, a byte for each look, where a bit says that no pattern begins with the next four bytes; a table then says
 * whether one does, and where it leads in the trie. The trie is left as soon as fewer bytes than that are matched. (Three
 * instead of four where some pattern has no more.) The automaton alone is forty times slower with 100 secrets: of so
 * many some begin with any given letter.
 */
#ifndef SLIPWAY_BASE_MASK_SET_H
#define SLIPWAY_BASE_MASK_SET_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/mask.h"

#define MASK_HEAD_BITS 17

/* A node has few children, nearly always one, so they are a linked list; only the root has a table. */
struct mask_node {
	int32_t fail;
	int32_t child;	 /* first one, 0: none (the root is nobody's child) */
	int32_t sibling; /* next child of the same parent, 0: none */
	uint32_t depth;
	uint32_t match; /* length of the longest pattern that ends here, 0: none */
	unsigned char byte;
};

struct mask_head {
	uint32_t bytes;
	int32_t node; /* 0: none */
};

struct mask_set {
	atomic_int references;
	struct mask_node *nodes;
	size_t count, cap;
	size_t shortest; /* pattern */
	int32_t root[256];
	/* Made by mask_set_build. */
	bool built;
	uint32_t head_bytes; /* 3 or 4 */
	struct mask_head *heads;
	uint32_t head_mask; /* number of heads, a power of 2, less 1 */
	uint64_t bits[(1 << MASK_HEAD_BITS) / 64];
};

/*
 * Goes on at p[at] in *state until a pattern ends, or the text does. Returns the place behind what was read: where *ret_match is
 * not 0, so many bytes before it are a pattern. Up to three bytes before `at` may be read again: they must still be there.
 */
size_t mask_set_scan(const struct mask_set *s, const unsigned char *p, size_t at, size_t n, int32_t *state,
		     uint32_t *ret_match);

#endif
