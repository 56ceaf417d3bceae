/*
 * tunnel.h: connections that come out of a sandbox, and go on from the agent. One thread and one poll loop for all of a
 * run. Each listener is either the way to one fixed address (the server), or a proxy that asks which one (proxy.h).
 *
 * Names are looked up by threads of their own, which the end of a tunnel does not wait for. At most TUNNEL_LINKS_MAX
 * connections at once; further ones wait in the listener's backlog.
 */
#ifndef SLIPWAY_AGENT_TUNNEL_H
#define SLIPWAY_AGENT_TUNNEL_H

#include "agent/proxy.h"

#define TUNNEL_LINKS_MAX 256

struct tunnel;

struct tunnel_door {
	int fd;		  /* a listening, non-blocking socket of any kind; the tunnel's from now on, also on an error */
	const char *host; /* where all that comes in here goes; NULL: it is a proxy */
	uint16_t port;
};

struct tunnel_config {
	const struct tunnel_door *doors;
	size_t door_count;	      /* at most TUNNEL_DOORS_MAX */
	const struct net_rule *rules; /* of the proxy; they outlive the tunnel */
	size_t rule_count;
	int wake_fd; /* an eventfd that hears when tunnel_refused has something; -1: none */
};
#define TUNNEL_DOORS_MAX 4

int tunnel_start(const struct tunnel_config *c, struct tunnel **ret, struct err *e);
/* The next "host:port" that was refused, each once; false: none. From one thread. */
bool tunnel_refused(struct tunnel *t, char *ret, size_t size);
/* Ends all connections. NULL is fine. */
void tunnel_stop(struct tunnel *t);

#endif
