/*
 * dial.h: a name looked up by a thread of its own. Whoever asked may leave at any time: the lookup ends by itself.
 */
#ifndef SLIPWAY_AGENT_DIAL_H
#define SLIPWAY_AGENT_DIAL_H

#include "os/netspace.h"

#define DIAL_ADDRESSES_MAX 8

struct dial;

/* wake_fd (an eventfd, duplicated) hears of the end. NULL: no memory, no thread, no descriptor. */
struct dial *dial_start(const char *host, uint16_t port, int wake_fd);
/* -1: not yet; else how many addresses there are, in the resolver's order. */
int dial_result(struct dial *d, const union net_address **ret);
/* NULL is fine. */
void dial_leave(struct dial *d);

#endif
