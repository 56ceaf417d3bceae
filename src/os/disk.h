/*
 * disk.h: how much of a disk a tree takes, and how much there is. Any thread.
 */
#ifndef SLIPWAY_OS_DISK_H
#define SLIPWAY_OS_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* What a file takes at least: its inode and its name are not free either, and inodes may be few. */
#define DISK_FILE_MIN_BYTES 4096
/* No build nests deeper; a walk holds one descriptor for each level. */
#define DISK_DEPTH_MAX 200

struct disk_space {
	int64_t total_bytes;
	int64_t free_bytes; /* for others than root */
	/* What is taken, each file of it counted DISK_FILE_MIN_BYTES more: a number that grows with whatever is written. */
	int64_t taken;
};

/* The file system of the path: one system call. */
int disk_space(const char *path, struct disk_space *ret, struct err *e);
/* Walks the tree, links not followed: blocks of files, those with several names shared among them. ERR_TOO_LARGE: nested
 * deeper than DISK_DEPTH_MAX. ERR_CANCELLED: *stop became true. What vanishes meanwhile is not counted. */
int disk_use(const char *path, const atomic_bool *stop, int64_t *ret_bytes, struct err *e);

#endif
