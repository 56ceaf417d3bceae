/*
 * file.h: files and folders. Every descriptor is close-on-exec. Any thread.
 */
#ifndef SLIPWAY_OS_FILE_H
#define SLIPWAY_OS_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

/* The whole file, at most max_bytes (ERR_TOO_LARGE). ERR_NOT_FOUND if there is none. */
int file_read(struct arena *a, const char *path, size_t max_bytes, struct str *ret, struct err *e);
/* Likewise, for a path that a stranger made: ERR_BAD_REQUEST for what is not a regular file. A pipe is not waited for. */
int file_read_regular(struct arena *a, const char *path, size_t max_bytes, struct str *ret, struct err *e);
/* The beginning of a regular file: at most `size` bytes; *ret_n says how many came. Negative without one. */
int file_read_head(const char *path, char *to, size_t size, size_t *ret_n);
/* Writes to a temporary name beside it, fsyncs, renames, fsyncs the folder. */
int file_write_atomic(const char *path, struct str bytes, mode_t mode, struct err *e);
/* A new file (ERR_CONFLICT if it exists), no fsync: for what does not outlive the process. */
int file_write_new(const char *path, struct str bytes, mode_t mode, struct err *e);
/* All folders of path; those that are made get `mode`. Fine if it is there. */
int file_mkdir_p(const char *path, mode_t mode, struct err *e);
/* Removes a file or a whole tree, never following a symbolic link, also where folders are closed to their owner.
 * Fine if nothing is there. */
int file_remove_tree(const char *path, struct err *e);
/* Gives the tree to uid and gid, without following symbolic links; hard links to other owners' files are left. */
int file_chown_tree(const char *path, uid_t uid, gid_t gid, struct err *e);
/* A new file with the bytes of `from`, which must be a regular one: shared by the file system where it can do that, so
 * that writing to one does not change the other. `go_on` (may be NULL) is asked now and then: ERR_CANCELLED. */
int file_clone(const char *from, const char *to, mode_t mode, bool (*go_on)(void *arg), void *arg, struct err *e);
/* Takes an exclusive lock on the file (made if absent) for as long as the descriptor is open. ERR_CONFLICT if somebody
 * else holds it. */
int file_lock(const char *path, int *ret_fd, struct err *e);
bool file_exists(const char *path);
bool file_is_dir(const char *path);
/* All of it, over interruptions. */
int file_write_all(int fd, struct str bytes, struct err *e);
/* An unnamed file in memory that holds `bytes`, positioned at its start. */
int file_memory(const char *name, struct str bytes, int *ret_fd, struct err *e);

#endif
