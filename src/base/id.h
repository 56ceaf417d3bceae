/*
 * id.h: UUIDv7, ordered by time. Text form, 36 characters and a NUL.
 *
 * What is taken over from elsewhere gets a UUIDv8 instead: the time there, and a hash of what it is, so that taking it
 * twice gives the same id, and nothing that is made here ever has it.
 */
#ifndef SLIPWAY_BASE_ID_H
#define SLIPWAY_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define ID_SIZE 37

/* Monotonic within the process; any thread. */
void id_new(char ret[ID_SIZE]);
const char *id_new_arena(struct arena *a);
bool id_valid(struct str s); /* any UUID in lower-case text form */
/* `hash` has at least 10 bytes. */
void id_derive(char ret[ID_SIZE], int64_t us, const unsigned char *hash);
bool id_is_derived(const char *id);
/* Not an id, but where those of that time begin: every id that was made before compares less. */
void id_floor(char ret[ID_SIZE], int64_t us);

#endif
