/*
 * forward.h: variables of the agent's own environment that its runs get (--env-forward). A list of names, apart by commas. What
 * the agent needs for itself is never among them.
 */
#ifndef SLIPWAY_AGENT_FORWARD_H
#define SLIPWAY_AGENT_FORWARD_H

#include "base/str.h"

/* ERR_USAGE: a name that is none, or is the agent's own. */
int forward_check(const char *names, struct err *e);
/* Calls `take` for each name that is set. `secret`: by its name, the value is one, and has to be masked. */
void forward_each(const char *names, void (*take)(void *arg, const char *name, const char *value, bool secret),
		  void *arg);

#endif
