/*
 * net_rule.h: lines of an allow list of destinations, and the texts they are made of. No I/O. Any thread.
 */
#ifndef SLIPWAY_OS_NET_RULE_H
#define SLIPWAY_OS_NET_RULE_H

#include "os/netspace.h"

#define NET_HOST_MAX 254

/* "registry.example.com:443", "*.amazonaws.com" (port 443), "*.corp:*", "10.1.2.3:5432", "[2001:db8::1]:22". */
struct net_rule {
	char host[NET_HOST_MAX]; /* lower case */
	bool below;		 /* of "*.": names below host, not host itself */
	uint16_t port;		 /* 0: any */
	bool literal;		 /* host is an address */
	union net_address address;
};

/* ERR_BAD_REQUEST: in words, without the text. */
int net_rule_parse(struct str text, struct net_rule *ret, struct err *e);
/* By name, before anything is looked up. `host` is lower case. */
bool net_rules_allow(const struct net_rule *rules, size_t count, const char *host, uint16_t port);

/* "host:port", "[v6]:port", "host". *ret_port is the text behind the colon; p is NULL without one. */
bool net_split(struct str s, struct str *ret_host, struct str *ret_port);
/* From 1 to 65535. */
bool net_port_parse(struct str s, uint16_t *ret);
/* What a name or an address may be made of, in lower case, without a dot at its end. */
bool net_host_parse(struct str s, char ret[NET_HOST_MAX]);

#endif
