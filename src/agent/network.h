/*
 * network.h: what network a run has (docs/architecture.md §7).
 *
 *	host      that of the agent's machine
 *	isolated  one of its own: the internet and what the machine reaches by a program in user space, but neither the
 *		  machine itself (its loopback, its addresses) nor link-local addresses, where clouds give out credentials
 *	none      its own loopback, and a proxy of the agent that knows an allow list
 *
 * In both of its own, the server is reached under its usual address, which leads inside to a tunnel of the agent.
 * The pool says which mode; the option --network of the agent is the least strict that it gives.
 */
#ifndef SLIPWAY_AGENT_NETWORK_H
#define SLIPWAY_AGENT_NETWORK_H

#include "agent/isolate.h"
#include "os/netspace.h"

struct network;

/* Finds out which modes work here. The error: --network asks for one that does not. Before the slots run. */
int network_probe(struct agent *agent, struct err *e);
/* "host,isolated,none": for the server. */
void network_modes_text(const struct agent *agent, char *ret, size_t size);

/* Decides for the job and makes it; j->network stays NULL for the host's. The error says what to install. */
int network_start(struct job *j, struct err *e);
/* Lines for the first step of the log. */
void network_say(struct job *j);
/* What was refused since the last call, into the log. */
void network_say_refused(struct job *j);
/* Ends it with all connections. NULL is fine. */
void network_stop(struct network *n);

/* --- what a level needs that puts an executor into it --- */
const struct netspace *network_space(const struct network *n);
/* A line for the front of /etc/hosts, or "". */
const char *network_hosts(const struct network *n);
/* The text of /etc/resolv.conf. */
const char *network_resolver(const struct network *n);
/* The address of the proxy ("http://127.0.0.1:3128"), or NULL; and what is not to be asked of it. */
const char *network_proxy(const struct network *n);
const char *network_proxy_exceptions(const struct network *n);

/* --- network_attach.c: the program in user space --- */
struct attachment {
	struct process process;
	int exit_fd; /* closed: it ends, as it also does when we die */
};
#define ATTACHMENT_NONE ((struct attachment){ .process = PROCESS_NONE, .exit_fd = -1 })
#define ATTACHMENT_VARIANTS 3
/* Inside: the address of the run is .100, the resolver .3. Addresses for documentation, so that they hide nobody's. */
#define ATTACHMENT_CIDR "198.51.100.0/24"
#define ATTACHMENT_RESOLVER "198.51.100.3"

/* Returns when the network is up. `variant`: 0 is the most closed one. */
int attachment_start(const char *program, int variant, const struct netspace *space, struct attachment *ret,
		     struct err *e);
void attachment_stop(struct attachment *a);

#endif
