#include "agent/proxy.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

/* Networks that are not the internet: "this network", private ones, carriers', loopback, link-local, tests', multicast
 * and reserved (RFC 6890). */
static bool is_closed_v4(uint32_t a)
{
	static const struct {
		uint32_t network;
		int bits;
	} closed[] = { { 0x00000000, 8 },  { 0x0A000000, 8 },  { 0x64400000, 10 }, { 0x7F000000, 8 },
		       { 0xA9FE0000, 16 }, { 0xAC100000, 12 }, { 0xC0000000, 24 }, { 0xC0A80000, 16 },
		       { 0xC6120000, 15 }, { 0xE0000000, 3 },  { 0xA83F8110, 32 } /* Azure's host: 168.63.129.16 */ };
	for (size_t i = 0; i < ARRAY_SIZE(closed); i++) {
		if ((a ^ closed[i].network) >> (32 - closed[i].bits) == 0)
			return true;
	}
	return false;
}

static bool is_closed(const union net_address *given)
{
	union net_address a = net_address_plain(given);
	if (a.any.sa_family != AF_INET6)
		return is_closed_v4(ntohl(a.v4.sin_addr.s_addr));
	const uint8_t *b = a.v6.sin6_addr.s6_addr;
	/* Global unicast is 2000::/3. In it, 2002::/16 (6to4) and 2001::/32 (Teredo) lead to IPv4 addresses, and
	 * 64:ff9b::/96 outside of it does so too. */
	return (b[0] & 0xE0) != 0x20 || (b[0] == 0x20 && b[1] == 0x02) ||
	       (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0);
}

bool proxy_allows_address(const struct net_rule *rules, size_t count, const union net_address *address, uint16_t port,
			  const union net_address *own, size_t own_count)
{
	bool closed = is_closed(address);
	for (size_t i = 0; !closed && i < own_count; i++)
		closed = net_address_same_host(&own[i], address);
	for (size_t i = 0; closed && i < count; i++) {
		if (rules[i].literal && (rules[i].port == 0 || rules[i].port == port) &&
		    net_address_same_host(&rules[i].address, address))
			closed = false;
	}
	return !closed;
}

/* Including the empty line; 0: not there yet. */
static size_t head_size(struct str s)
{
	for (size_t i = 0; i + 1 < s.n; i++) {
		if (s.p[i] != '\n')
			continue;
		if (s.p[i + 1] == '\n')
			return i + 2;
		if (i + 2 < s.n && s.p[i + 1] == '\r' && s.p[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

static int parse_line(struct str line, struct proxy_request *rq, struct err *e)
{
	struct str rest, host, port;
	struct str method = str_cut(line, ' ', &rest);
	struct str target = str_cut(rest, ' ', &rest);
	uint16_t number = 80;
	if (!rest.p || !str_starts_with(rest, "HTTP/1."))
		return err_set(e, ERR_BAD_REQUEST, "this is a proxy for HTTP/1.1");
	rq->connect = str_is(method, "CONNECT");
	if (!rq->connect) {
		if (target.n < 7 || strncasecmp(target.p, "http://", 7) != 0)
			return err_set(e, ERR_BAD_REQUEST, "this is a proxy: it takes CONNECT, or an http:// address");
		target = (struct str){ target.p + 7, target.n - 7 };
		size_t n = 0;
		while (n < target.n && target.p[n] != '/' && target.p[n] != '?' && target.p[n] != '#')
			n++;
		target.n = n;
	}
	if (!net_split(target, &host, &port) || !net_host_parse(host, rq->host) || (rq->connect && !port.p) ||
	    (port.p && !net_port_parse(port, &number)))
		return err_set(e, ERR_BAD_REQUEST, "the request does not name a host and a port");
	rq->port = number;
	return 1;
}

int proxy_parse(struct str bytes, struct proxy_request *ret, struct err *e)
{
	struct proxy_request rq = { .head_bytes = head_size(bytes) };
	struct str rest;
	if (!rq.head_bytes)
		return bytes.n >= PROXY_HEAD_MAX_BYTES ? err_set(e, ERR_BAD_REQUEST, "the head is too long") : 0;
	struct str line = str_cut((struct str){ bytes.p, rq.head_bytes }, '\n', &rest);
	int r = parse_line(str_trim(line), &rq, e);
	if (r == 1)
		*ret = rq;
	return r;
}

void proxy_rewrite(struct str head, struct buf *out)
{
	static const char *const hops[] = { "Connection:", "Proxy-Connection:", "Keep-Alive:", "Proxy-Authorization:" };
	struct str rest, line = str_cut(head, '\n', &rest);
	struct str method = str_cut(line, ' ', &line);
	struct str target = str_cut(line, ' ', &line);
	size_t n = 7; /* http:// */
	while (n < target.n && target.p[n] != '/' && target.p[n] != '?')
		n++;
	buf_add(out, method.p, method.n);
	buf_addf(out, " %s%.*s HTTP/1.1\r\n", n < target.n && target.p[n] == '/' ? "" : "/", (int)(target.n - n),
		 target.p + n);
	while (rest.p && rest.n) {
		line = str_trim(str_cut(rest, '\n', &rest));
		bool hop = line.n == 0;
		for (size_t i = 0; i < ARRAY_SIZE(hops); i++)
			hop = hop || (line.n >= strlen(hops[i]) && strncasecmp(line.p, hops[i], strlen(hops[i])) == 0);
		if (!hop)
			buf_addf(out, "%.*s\r\n", STR_ARG(line));
	}
	/* One request, one connection: the next one may be for somebody else. */
	buf_addf(out, "Connection: close\r\n\r\n");
}
