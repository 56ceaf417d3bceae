/*
 * signals.h: SIGTERM, SIGINT and SIGHUP as something to wait for. Open it before any thread is started: threads inherit
 * the mask, and no handler ever runs. Of the main thread.
 */
#ifndef SLIPWAY_CLI_SIGNALS_H
#define SLIPWAY_CLI_SIGNALS_H

#include "base/err.h"

struct signals {
	int fd;
};

int signals_open(struct signals *s, struct err *e);
void signals_close(struct signals *s);
/* Waits for a signal, for other_fd (-1: none) to become readable, or for the time-out (-1: none). Returns the signal's
 * number, 0 for the descriptor, -1 for the time-out. A signal wins over the descriptor. */
int signals_wait(struct signals *s, int other_fd, int timeout_ms);
const char *signal_name(int sig);

#endif
