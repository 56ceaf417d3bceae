#include "agent/dial.h"

#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct dial {
	_Atomic int holders; /* who asked, and the thread */
	_Atomic int count;   /* -1: not yet; written behind the addresses */
	int wake_fd;
	char host[256], port[8];
	union net_address addresses[DIAL_ADDRESSES_MAX];
};

void dial_leave(struct dial *d)
{
	if (!d || atomic_fetch_sub(&d->holders, 1) > 1)
		return;
	close(d->wake_fd);
	free(d);
}

static void *look_up(void *arg)
{
	struct dial *d = arg;
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	const uint64_t one = 1;
	int n = 0;
	if (getaddrinfo(d->host, d->port, &hints, &list) != 0)
		list = NULL;
	for (const struct addrinfo *i = list; i && n < DIAL_ADDRESSES_MAX; i = i->ai_next) {
		if (i->ai_addrlen <= sizeof(d->addresses[n]))
			memcpy(&d->addresses[n++], i->ai_addr, i->ai_addrlen);
	}
	if (list)
		freeaddrinfo(list);
	d->count = n;
	if (write(d->wake_fd, &one, sizeof(one)) < 0)
		n = 0; /* its counter is at the end: it is awake */
	dial_leave(d);
	return NULL;
}

struct dial *dial_start(const char *host, uint16_t port, int wake_fd)
{
	struct dial *d = calloc(1, sizeof(*d));
	pthread_t thread;
	if (!d)
		return NULL;
	d->holders = 2;
	d->count = -1;
	d->wake_fd = fcntl(wake_fd, F_DUPFD_CLOEXEC, 3);
	snprintf(d->host, sizeof(d->host), "%s", host);
	snprintf(d->port, sizeof(d->port), "%u", (unsigned)port);
	if (d->wake_fd < 0 || pthread_create(&thread, NULL, look_up, d) != 0) {
		if (d->wake_fd >= 0)
			close(d->wake_fd);
		free(d);
		return NULL;
	}
	pthread_detach(thread);
	return d;
}

int dial_result(struct dial *d, const union net_address **ret)
{
	int n = d->count;
	*ret = d->addresses;
	return n;
}
