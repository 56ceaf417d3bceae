/*
 * cgroup_files.h: the files of a control group, for cgroup.c and cgroup_find.c.
 */
#ifndef SLIPWAY_OS_CGROUP_FILES_H
#define SLIPWAY_OS_CGROUP_FILES_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel makes the files of a group with its folder and refuses others; where a test stands in for it, they are made
 * as they are written. */
#define CGROUP_CREATE O_CREAT

/* false: errno says why. */
bool cgroup_write(const char *dir, const char *file, const char *text);
bool cgroup_write_int(const char *dir, const char *file, int64_t value);
/* The text without its last line break; false: there is none. */
bool cgroup_read(const char *dir, const char *file, char *ret, size_t size);
/* The number behind `key` in a file of lines "key number"; 0 when there is none. */
int64_t cgroup_read_key(const char *dir, const char *file, const char *key);

#endif
