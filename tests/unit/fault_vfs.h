/*
 * fault_vfs.h: an SQLite VFS that makes the n-th call of a kind fail, over the system's own. Only for the tests.
 *
 * Any thread: SQLite calls it from the writer's and from the readers'.
 */
#ifndef SLIPWAY_TESTS_FAULT_VFS_H
#define SLIPWAY_TESTS_FAULT_VFS_H

#include <stdbool.h>

enum fault_call { FAULT_WRITE, FAULT_SYNC, FAULT_TRUNCATE, FAULT_READ, FAULT_OPEN, FAULT_SHM, FAULT_CALL_COUNT };

/* Becomes the default VFS. Once per process. */
void fault_vfs_install(void);
/* The n-th call from now (1: the next one) gives `code`; `for_good`: all later ones too. n = 0: none fails. */
void fault_vfs_plan(enum fault_call call, int n, int code, bool for_good);
/* How many calls of the planned kind have failed since fault_vfs_plan. */
int fault_vfs_hits(void);

#endif
