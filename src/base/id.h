/*
 * id.h: UUIDv7, ordered by time. Text form, 36 characters and a NUL.
 */
#ifndef SLIPWAY_BASE_ID_H
#define SLIPWAY_BASE_ID_H

#include <stdbool.h>

#include "base/str.h"

#define ID_SIZE 37

/* Monotonic within the process; any thread. */
void id_new(char ret[ID_SIZE]);
const char *id_new_arena(struct arena *a);
bool id_valid(struct str s); /* any UUID in lower-case text form */

#endif
