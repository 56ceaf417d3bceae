/*
 * storage.h: whether the data directory can be written, and what is said about it.
 *
 * A request or a tick that failed because of the disk makes us try: a row is written, and a blob. If that fails, too, the
 * log says so once, /readyz answers 503, and later failures of that kind are only counted, until a try succeeds. The
 * server itself goes on: it still answers reads, and every request that writes tries for itself.
 *
 * Any thread.
 */
#ifndef SLIPWAY_SERVER_STORAGE_H
#define SLIPWAY_SERVER_STORAGE_H

#include "identity/app.h"

struct storage;

int storage_new(struct app *app, struct storage **ret, struct err *e);
void storage_free(struct storage *s);
/* Something failed with *why. True: it is the disk, and the log has been told or knows already. */
bool storage_failed(struct storage *s, const struct err *why);
/* 0, or ERR_UNAVAILABLE with the reason; tries anew if the last try failed. */
int storage_ready(struct storage *s, struct err *e);
/* A tick: tries again while it does not work. */
int storage_tick(struct storage *s, int64_t now_us, int64_t *ret_next_us, struct err *e);

#endif
