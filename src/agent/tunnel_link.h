/*
 * tunnel_link.h: one connection of a tunnel: its two ends and what is on its way between them. The thread of its tunnel.
 */
#ifndef SLIPWAY_AGENT_TUNNEL_LINK_H
#define SLIPWAY_AGENT_TUNNEL_LINK_H

#include <poll.h>

#include "agent/dial.h"
#include "agent/proxy.h"

enum link_state {
	LINK_HEAD,	 /* of a proxy: its request is not complete */
	LINK_RESOLVING,	 /* a name is looked up */
	LINK_CONNECTING, /* outwards */
	LINK_OPEN,
	LINK_ANSWERING, /* what it cannot have is said to it, then it closes */
	LINK_CLOSED,
};

/* One direction: bytes [from, to) wait for being written. */
struct flow {
	char *bytes;
	size_t from, to;
	bool ended;  /* nothing more will be read */
	bool closed; /* and the writer's side was told */
};

struct link {
	enum link_state state;
	int inside, outside;
	struct flow out, in; /* from inside to outside, and back */
	int64_t until_us;    /* 0: no limit */
	bool proxied, connect;
	size_t head_bytes;
	char host[NET_HOST_MAX];
	uint16_t port;
	struct dial *dial;
	union net_address addresses[DIAL_ADDRESSES_MAX];
	size_t address_count, next_address;
};

/* Takes fd when it succeeds. false: no memory. */
bool link_init(struct link *l, int fd);
void link_done(struct link *l);
/* Two places. */
void link_watch(const struct link *l, struct pollfd *watch);
/* Reads what there is of a request's head. false: nothing came. */
bool link_read_head(struct link *l);
struct str link_head(const struct link *l);
/* Says it in an answer of HTTP to a proxy's client, and ends; other clients are only closed. */
void link_answer(struct link *l, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* `outside` is connected. */
void link_open(struct link *l);
/* By what poll said of both ends. */
void link_move(struct link *l, short inside, short outside);

#endif
