/*
 * tar.h: the little of tar that a backup is made of: regular files, one behind the other (POSIX ustar; sizes from 8 GiB on
 * in GNU's base-256). What is written here, `tar -x` unpacks; what is read here was written here. And whole trees, for
 * whoever else unpacks them.
 */
#ifndef SLIPWAY_OS_TAR_H
#define SLIPWAY_OS_TAR_H

#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

#define TAR_BLOCK_BYTES 512
#define TAR_NAME_MAX 99

/* A whole entry from memory, or `size` bytes of an open file from its present position. mode 0600. */
int tar_put(int fd, const char *name, struct str bytes, int64_t mtime_s, struct err *e);
int tar_put_file(int fd, const char *name, int from_fd, int64_t size, int64_t mtime_s, struct err *e);
/* Two empty blocks. */
int tar_end(int fd, struct err *e);

/* A tree is written as if it belonged to one owner. */
struct tar_owner {
	uid_t uid;
	gid_t gid;
};
/* A folder without its content, or a small file. Names of any length (pax headers where they are longer than ustar's). */
int tar_put_folder(int fd, const char *name, mode_t mode, struct tar_owner owner, struct err *e);
int tar_put_text(int fd, const char *name, struct str bytes, mode_t mode, struct tar_owner owner, struct err *e);
/* An open file, executable by all. */
int tar_put_program(int fd, const char *name, int from, struct tar_owner owner, struct err *e);
/* The folder at `path` as `name`, with all that is below: folders, regular files, symbolic links. Links are not followed,
 * devices and sockets are left out, set-user-id bits too. Deeper than TAR_DEPTH_MAX is refused. */
#define TAR_DEPTH_MAX 1000
int tar_put_tree(int fd, const char *path, const char *name, struct tar_owner owner, struct err *e);

struct tar_entry {
	char name[TAR_NAME_MAX + 1];
	int64_t size;
};
/* 1: an entry, whose bytes follow at fd (tar_copy); 0: the end. ERR_BAD_REQUEST when it is damaged or cut. */
int tar_next(int fd, struct tar_entry *ret, struct err *e);
/* The entry's bytes into an open file; the position is then at the next header. */
int tar_copy(int fd, const struct tar_entry *entry, int to_fd, struct err *e);

#endif
