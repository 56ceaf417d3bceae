#include "agent/tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/dial.h"
#include "agent/tunnel_link.h"
#include "base/clock.h"
#include "base/limits.h"

/* A client that opened a connection to the proxy says what it wants within this; and a connection outwards stands. */
#define PATIENCE_US (30 * US_PER_S)
#define REFUSALS_MAX 100
#define OWN_MAX 64

struct tunnel {
	pthread_t thread;
	struct tunnel_config config;
	struct tunnel_door doors[TUNNEL_DOORS_MAX];
	struct link links[TUNNEL_LINKS_MAX]; /* the first `count` are in use */
	size_t count;
	int event_fd;
	_Atomic bool stop;
	pthread_mutex_t lock;
	struct buf refused;  /* every "host:port\n" so far */
	size_t refused_seen; /* bytes of it that were asked for */
	size_t refused_count;
};

static void refuse(struct tunnel *t, const struct link *l)
{
	char line[NET_HOST_MAX + 10];
	const uint64_t one = 1;
	bool is_new = false;
	snprintf(line, sizeof(line), "%s:%u\n", l->host, (unsigned)l->port);
	pthread_mutex_lock(&t->lock);
	if (t->refused_count < REFUSALS_MAX) {
		struct str rest = buf_str(&t->refused);
		is_new = true;
		while (is_new && rest.p && rest.n)
			is_new = !str_eq(str_cut(rest, '\n', &rest), (struct str){ line, strlen(line) - 1 });
	}
	if (is_new) {
		buf_add(&t->refused, line, strlen(line));
		t->refused_count++;
	}
	pthread_mutex_unlock(&t->lock);
	if (is_new && t->config.wake_fd >= 0 && write(t->config.wake_fd, &one, sizeof(one)) < 0)
		return; /* it is awake */
}

bool tunnel_refused(struct tunnel *t, char *ret, size_t size)
{
	pthread_mutex_lock(&t->lock);
	struct str all = buf_str(&t->refused), rest;
	bool found = t->refused_seen < all.n;
	if (found) {
		struct str line =
			str_cut((struct str){ all.p + t->refused_seen, all.n - t->refused_seen }, '\n', &rest);
		snprintf(ret, size, "%.*s", STR_ARG(line));
		t->refused_seen += line.n + 1;
	}
	pthread_mutex_unlock(&t->lock);
	return found;
}

/* --- the way out --- */

static void look_up(struct tunnel *t, struct link *l)
{
	l->state = LINK_RESOLVING;
	l->until_us = clock_mono_us() + PATIENCE_US;
	l->dial = dial_start(l->host, l->port, t->event_fd);
	if (!l->dial)
		link_answer(l, 503, "the agent cannot look up names at present");
}

/* The next address of the list. */
static void connect_next(struct link *l)
{
	while (l->next_address < l->address_count) {
		const union net_address *a = &l->addresses[l->next_address++];
		l->outside = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (l->outside < 0)
			continue;
		if (connect(l->outside, &a->any, net_address_size(a)) == 0 || errno == EINPROGRESS) {
			l->state = LINK_CONNECTING;
			l->until_us = clock_mono_us() + PATIENCE_US;
			return;
		}
		close(l->outside);
		l->outside = -1;
	}
	link_answer(l, 502, "the agent cannot connect to %s:%u", l->host, (unsigned)l->port);
}

static void looked_up(struct tunnel *t, struct link *l)
{
	const union net_address *found;
	union net_address own[OWN_MAX];
	int n = dial_result(l->dial, &found);
	if (n < 0)
		return;
	size_t own_count = l->proxied ? netspace_own_addresses(own, OWN_MAX) : 0;
	for (int i = 0; i < n; i++) {
		if (!l->proxied ||
		    proxy_allows_address(t->config.rules, t->config.rule_count, &found[i], l->port, own, own_count))
			l->addresses[l->address_count++] = found[i];
	}
	dial_leave(l->dial);
	l->dial = NULL;
	if (n > 0 && l->address_count == 0) {
		refuse(t, l);
		link_answer(l, 403,
			    "%s leads to an address of a private network, which the pool's allow list does not name",
			    l->host);
	} else if (n == 0) {
		link_answer(l, 502, "the agent cannot find the host %s", l->host);
	} else {
		connect_next(l);
	}
}

static void connected(struct link *l)
{
	int error = 0;
	socklen_t size = sizeof(error);
	if (getsockopt(l->outside, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error) {
		close(l->outside);
		l->outside = -1;
		connect_next(l);
	} else {
		link_open(l);
	}
}

static void read_head(struct tunnel *t, struct link *l)
{
	struct proxy_request rq;
	struct err e = { 0 };
	if (!link_read_head(l))
		return;
	int r = proxy_parse(link_head(l), &rq, &e);
	if (r < 0)
		link_answer(l, 400, "%s", e.message);
	if (r <= 0)
		return;
	memcpy(l->host, rq.host, sizeof(l->host));
	l->port = rq.port;
	l->connect = rq.connect;
	l->head_bytes = rq.head_bytes;
	if (net_rules_allow(t->config.rules, t->config.rule_count, l->host, l->port)) {
		look_up(t, l);
		return;
	}
	refuse(t, l);
	link_answer(l, 403, "%s:%u is not in the allow list of the agent pool", l->host, (unsigned)l->port);
}

/* --- the loop --- */

static void enter(struct tunnel *t, const struct tunnel_door *door)
{
	int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct link *l = &t->links[t->count];
	if (!link_init(l, fd)) {
		close(fd);
		return;
	}
	t->count++;
	l->proxied = !door->host;
	l->until_us = clock_mono_us() + PATIENCE_US;
	if (!l->proxied) {
		snprintf(l->host, sizeof(l->host), "%s", door->host);
		l->port = door->port;
		look_up(t, l);
	}
}

static void turn_link(struct tunnel *t, struct link *l, short inside, short outside)
{
	if (l->state == LINK_HEAD && inside)
		read_head(t, l);
	else if (l->state == LINK_RESOLVING)
		looked_up(t, l);
	else if (l->state == LINK_CONNECTING && outside)
		connected(l);
	else if (l->state == LINK_OPEN || l->state == LINK_ANSWERING)
		link_move(l, inside, outside);
	if (l->until_us && l->state != LINK_CLOSED && clock_mono_us() > l->until_us) {
		if (l->state == LINK_HEAD || l->state == LINK_ANSWERING)
			l->state = LINK_CLOSED;
		else
			link_answer(l, 504, "%s:%u does not answer", l->host, (unsigned)l->port);
	}
}

static void turn(struct tunnel *t)
{
	struct pollfd watch[1 + TUNNEL_DOORS_MAX + 2 * TUNNEL_LINKS_MAX];
	size_t n = 0, doors = t->config.door_count, count = t->count;
	int64_t until = INT64_MAX;
	watch[n++] = (struct pollfd){ .fd = t->event_fd, .events = POLLIN };
	for (size_t i = 0; i < doors; i++)
		watch[n++] = (struct pollfd){ .fd = count < TUNNEL_LINKS_MAX ? t->doors[i].fd : -1, .events = POLLIN };
	for (size_t i = 0; i < count; i++) {
		link_watch(&t->links[i], &watch[n]);
		n += 2;
		if (t->links[i].until_us && t->links[i].until_us < until)
			until = t->links[i].until_us;
	}
	int64_t left_us = until == INT64_MAX ? -1 : until - clock_mono_us();
	poll(watch, n, until == INT64_MAX ? -1 : left_us <= 0 ? 0 : (int)(left_us / US_PER_MS) + 1);
	if (watch[0].revents) {
		uint64_t ignored;
		if (read(t->event_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
			return;
	}
	for (size_t i = 0; i < count; i++)
		turn_link(t, &t->links[i], watch[1 + doors + 2 * i].revents, watch[2 + doors + 2 * i].revents);
	for (size_t i = 0; i < doors; i++) {
		if (watch[1 + i].revents && t->count < TUNNEL_LINKS_MAX)
			enter(t, &t->doors[i]);
	}
	for (size_t i = 0; i < t->count;) {
		if (t->links[i].state != LINK_CLOSED) {
			i++;
			continue;
		}
		link_done(&t->links[i]);
		t->links[i] = t->links[--t->count];
	}
}

static void *tunnel_main(void *arg)
{
	struct tunnel *t = arg;
	while (!t->stop)
		turn(t);
	return NULL;
}

static void release(struct tunnel *t)
{
	for (size_t i = 0; i < t->count; i++)
		link_done(&t->links[i]);
	for (size_t i = 0; i < t->config.door_count; i++)
		close(t->doors[i].fd);
	if (t->event_fd >= 0)
		close(t->event_fd);
	pthread_mutex_destroy(&t->lock);
	buf_done(&t->refused);
	free(t);
}

int tunnel_start(const struct tunnel_config *c, struct tunnel **ret, struct err *e)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	BUG_ON(c->door_count > TUNNEL_DOORS_MAX);
	if (!t) {
		for (size_t i = 0; i < c->door_count; i++)
			close(c->doors[i].fd);
		return err_nomem(e);
	}
	t->config = *c;
	memcpy(t->doors, c->doors, c->door_count * sizeof(*c->doors));
	pthread_mutex_init(&t->lock, NULL);
	buf_init(&t->refused, REFUSALS_MAX * (NET_HOST_MAX + 10));
	t->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = t->event_fd < 0 ? err_errno(e, "eventfd") : 0;
	if (r == 0 && pthread_create(&t->thread, NULL, tunnel_main, t) != 0)
		r = err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	if (r < 0)
		release(t);
	else
		*ret = t;
	return r;
}

void tunnel_stop(struct tunnel *t)
{
	const uint64_t one = 1;
	if (!t)
		return;
	t->stop = true;
	if (write(t->event_fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN)
		pthread_join(t->thread, NULL);
	release(t);
}
