#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>

#include "os/netspace.h"

bool net_address_parse(const char *text, uint16_t port, union net_address *ret)
{
	union net_address a = { 0 };
	if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) {
		a.v4.sin_family = AF_INET;
		a.v4.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1) {
		a.v6.sin6_family = AF_INET6;
		a.v6.sin6_port = htons(port);
	} else {
		return false;
	}
	*ret = a;
	return true;
}

socklen_t net_address_size(const union net_address *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

union net_address net_address_plain(const union net_address *a)
{
	union net_address plain = { 0 };
	if (a->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr))
		return *a;
	plain.v4.sin_family = AF_INET;
	plain.v4.sin_port = a->v6.sin6_port;
	memcpy(&plain.v4.sin_addr, (const char *)&a->v6.sin6_addr + 12, 4);
	return plain;
}

bool net_address_is_loopback(const union net_address *a)
{
	union net_address p = net_address_plain(a);
	if (p.any.sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&p.v6.sin6_addr);
	return ntohl(p.v4.sin_addr.s_addr) >> 24 == 127;
}

bool net_address_same_host(const union net_address *a, const union net_address *b)
{
	union net_address x = net_address_plain(a), y = net_address_plain(b);
	if (x.any.sa_family != y.any.sa_family)
		return false;
	if (x.any.sa_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&x.v6.sin6_addr, &y.v6.sin6_addr);
	return x.v4.sin_addr.s_addr == y.v4.sin_addr.s_addr;
}

const char *net_address_text(const union net_address *a, char *buf, size_t size)
{
	const void *bytes = a->any.sa_family == AF_INET6 ? (const void *)&a->v6.sin6_addr : &a->v4.sin_addr;
	if (!inet_ntop(a->any.sa_family, bytes, buf, (socklen_t)size))
		snprintf(buf, size, "?");
	return buf;
}

size_t netspace_own_addresses(union net_address *list, size_t max)
{
	struct ifaddrs *all;
	size_t n = 0;
	if (getifaddrs(&all) != 0)
		return 0;
	for (const struct ifaddrs *i = all; i && n < max; i = i->ifa_next) {
		union net_address a = { 0 };
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		memcpy(&a, i->ifa_addr, i->ifa_addr->sa_family == AF_INET ? sizeof(a.v4) : sizeof(a.v6));
		list[n++] = a;
	}
	freeifaddrs(all);
	return n;
}
