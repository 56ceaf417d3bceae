/*
 * backlog.h: bytes that wait for a server that is away, in a file without a name: first in, first out. The file is made
 * when it is first needed, in a folder that runs cannot see; it has no name there, so it is gone with the process that
 * made it, however that ends.
 *
 * For one thread at a time (upload.c holds its lock).
 */
#ifndef SLIPWAY_AGENT_BACKLOG_H
#define SLIPWAY_AGENT_BACKLOG_H

#include "base/str.h"

struct backlog {
	const char *dir;
	int64_t max_bytes;
	int fd;		/* -1: not made yet */
	int64_t first;	/* where the oldest bytes begin */
	int64_t next;	/* where the next ones go */
	int64_t wrap;	/* next is behind this again, at the beginning: bytes end here; 0: they do not wrap */
	int64_t pieces; /* that are in it */
};

/* `dir` must outlive it. max_bytes 0: it takes nothing. */
void backlog_init(struct backlog *s, const char *dir, int64_t max_bytes);
void backlog_done(struct backlog *s);
/* Keeps a piece; *ret_at is where. ERR_NO_SPACE: the bound is reached, or the disk is full. */
int backlog_put(struct backlog *s, struct str piece, int64_t *ret_at, struct err *e);
/* Takes the oldest piece out, which is `n` bytes at `at`, and adds it to `out`. */
int backlog_take(struct backlog *s, int64_t at, size_t n, struct buf *out, struct err *e);

#endif
