/*
 * proxy.h: what a run without a network may reach all the same: the allow list of its pool, and the head of a request to
 * the proxy (RFC 9110 §9.3.6 for CONNECT; an http:// address in the first line otherwise). No I/O. Any thread.
 */
#ifndef SLIPWAY_AGENT_PROXY_H
#define SLIPWAY_AGENT_PROXY_H

#include "os/net_rule.h"

#define PROXY_HEAD_MAX_BYTES 16384

/*
 * Whether a name that is allowed may lead there. Addresses of the agent's machine and of private networks are refused,
 * unless a rule names the address itself: who serves a name of the list must not choose what of ours is reached.
 */
bool proxy_allows_address(const struct net_rule *rules, size_t count, const union net_address *address, uint16_t port,
			  const union net_address *own, size_t own_count);

struct proxy_request {
	char host[NET_HOST_MAX]; /* lower case, without brackets */
	uint16_t port;
	bool connect;
	/* Behind the head comes the rest of `bytes`, which goes on as it is. */
	size_t head_bytes;
};

/* 1: *ret is set; 0: the head is not complete yet; ERR_BAD_REQUEST: no request for a proxy. */
int proxy_parse(struct str bytes, struct proxy_request *ret, struct err *e);
/* The head as the other side wants it: of a plain request (not CONNECT), which has proxy_parse's result in *rq. */
void proxy_rewrite(struct str head, struct buf *out);

#endif
