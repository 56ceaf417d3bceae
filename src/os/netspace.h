/*
 * netspace.h: a network of a run's own.
 *
 * A user namespace and, owned by it, a network namespace, held by descriptors: they live as long as those are open or
 * somebody is inside. A child enters them through process_config.namespaces. Whoever makes further user namespaces in
 * there (bubblewrap does) has no power over the network: it is owned by one above.
 *
 * Inside there is the loopback and nothing else until a program is attached from outside. Sockets that listen inside
 * are made here, and stay with us: a connection to 127.0.0.1 in there is accepted by this process, which shares nothing
 * else with it. Any thread.
 */
#ifndef SLIPWAY_OS_NETSPACE_H
#define SLIPWAY_OS_NETSPACE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"

union net_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* "127.0.0.1", "::1": no names. */
bool net_address_parse(const char *text, uint16_t port, union net_address *ret);
bool net_address_is_loopback(const union net_address *a);
socklen_t net_address_size(const union net_address *a);
/* Without the port. */
const char *net_address_text(const union net_address *a, char *buf, size_t size);
/* The same host, whatever the ports; an IPv4 address is the same in its IPv6 form. */
bool net_address_same_host(const union net_address *a, const union net_address *b);
/* The address within the IPv6 form of one, else as it is. */
union net_address net_address_plain(const union net_address *a);

struct net_prefix {
	union net_address address; /* IPv4 */
	int bits;
};

struct net_listener {
	union net_address address; /* one that is not of the loopback becomes an address of it, inside */
	int fd;			   /* set by netspace_new */
};

struct netspace_config {
	bool drop; /* made as uid and gid; needs root. Else as ourselves. */
	uid_t uid;
	gid_t gid;
	const struct net_prefix *prohibited; /* IPv4 destinations that stay closed whatever routes come later */
	size_t prohibited_count;
	struct net_listener *listeners;
	size_t listener_count;
};

struct netspace {
	int fds[2]; /* the user namespace and the network namespace, in the order of entering */
};
#define NETSPACE_NONE ((struct netspace){ { -1, -1 } })

/* On an error nothing is open. */
int netspace_new(const struct netspace_config *c, struct netspace *ret, struct err *e);
/* The descriptors; those of the listeners are the caller's. */
void netspace_close(struct netspace *n);

/* The addresses of this machine, loopback and link-local ones included, at most `max`; returns how many. */
size_t netspace_own_addresses(union net_address *list, size_t max);

#endif
