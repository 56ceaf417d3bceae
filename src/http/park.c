/*
 * park.c: requests that wait without a thread.
 *
 * A request's way, `park_state`, always changed under park.lock:
 *
 *	            http_park()                park_commit()
 *	  NONE ───────────────────▶ SUBSCRIBED ─────────────▶ PARKED
 *	   ▲    worker, in handler      │                       │
 *	   ├────────────────────────────┘                       │
 *	   │ park_end(): the handler answered; park_commit(): a │
 *	   │ wake came in between (`woken`), or the stop        │
 *	   │ (a stream stays SUBSCRIBED while it sends)         │
 *	   │                                                    │
 *	   └────────────────────────────────────────────────────┘
 *	     by exactly one of: http_wake(), park_tick() at the deadline, park_hangup(), park_stop()
 *
 * Whoever makes the last move takes the exchange out of every structure here (keys, deadlines, hang-up watch) in the
 * same critical section, and owns it from then on: it either hands it to the workers, or, on hang-up, resumes the
 * connection with PHASE_DROP. So a parked exchange has one next owner, however many of these coincide, and nothing in
 * this file points to it any more. What may still point to it is an event that epoll_wait() has already returned:
 * events therefore carry no pointer but a slot and its generation, which no longer match once the slot was freed.
 *
 * The descriptor stays open while the exchange is here, since the library does not touch suspended connections; it is
 * removed from our epoll before the connection is given back.
 *
 * A wake for a request that is SUBSCRIBED (its handler runs) sets `woken` and does not count towards http_wake()'s
 * maximum: the handler may already be past its look and about to answer with something else, and then the wake would
 * be lost for those who wait.
 *
 * Lock order: park.lock is innermost; queue.lock and http_server.lock are taken after it was released.
 */
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "http/internal.h"

struct park_key {
	struct park_key *next; /* in the bucket */
	struct subscription *head, *tail;
	uint64_t hash;
	char name[];
};

void park_init(struct park *p, int epoll_fd)
{
	p->first_free = PARK_NO_SLOT;
	p->epoll_fd = epoll_fd;
}

void park_done(struct park *p)
{
	BUG_ON(p->heap_len > 0);
	free(p->heap);
	free(p->slots);
}

/* --- keys --- */

static uint64_t hash_of(const char *key)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a */
	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * UINT64_C(1099511628211);
	return h;
}

static struct park_key **key_place(struct park *p, const char *name, uint64_t hash)
{
	struct park_key **k = &p->buckets[hash % PARK_BUCKETS];
	while (*k && ((*k)->hash != hash || strcmp((*k)->name, name) != 0))
		k = &(*k)->next;
	return k;
}

static void unsubscribe(struct park *p, struct subscription *sub)
{
	struct park_key *k = sub->key;
	if (sub->prev)
		sub->prev->next = sub->next;
	else
		k->head = sub->next;
	if (sub->next)
		sub->next->prev = sub->prev;
	else
		k->tail = sub->prev;
	if (!k->head) {
		struct park_key **place = key_place(p, k->name, k->hash);
		*place = k->next;
		free(k);
	}
}

static bool subscribe(struct park *p, struct exchange *x, const char *name)
{
	uint64_t hash = hash_of(name);
	struct park_key **place = key_place(p, name, hash);
	struct park_key *k = *place;
	for (int i = 0; k && i < x->sub_count; i++) {
		if (x->subs[i].key == k)
			return true;
	}
	BUG_ON(x->sub_count == PARK_KEYS_MAX);
	if (!k) {
		size_t n = strlen(name) + 1;
		k = calloc(1, sizeof(*k) + n);
		if (!k)
			return false;
		k->hash = hash;
		memcpy(k->name, name, n);
		*place = k;
	}
	struct subscription *sub = &x->subs[x->sub_count++];
	*sub = (struct subscription){ .x = x, .key = k, .prev = k->tail };
	if (k->tail)
		k->tail->next = sub;
	else
		k->head = sub;
	k->tail = sub;
	return true;
}

/* --- deadlines: a binary heap --- */

static void heap_put(struct park *p, size_t i, struct exchange *x)
{
	p->heap[i] = x;
	x->heap_index = i;
}

static void heap_settle(struct park *p, size_t i, struct exchange *x)
{
	int64_t due = x->rq.parked_until_us;
	while (i > 0 && p->heap[(i - 1) / 2]->rq.parked_until_us > due) {
		heap_put(p, i, p->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * i + 1;
		if (child + 1 < p->heap_len &&
		    p->heap[child + 1]->rq.parked_until_us < p->heap[child]->rq.parked_until_us)
			child++;
		if (child >= p->heap_len || p->heap[child]->rq.parked_until_us >= due)
			break;
		heap_put(p, i, p->heap[child]);
		i = child;
	}
	heap_put(p, i, x);
}

static bool heap_add(struct park *p, struct exchange *x)
{
	if (p->heap_len == p->heap_cap) {
		size_t cap = p->heap_cap ? p->heap_cap * 2 : 64;
		struct exchange **grown = realloc(p->heap, cap * sizeof(struct exchange *));
		if (!grown)
			return false;
		p->heap = grown;
		p->heap_cap = cap;
	}
	p->heap_len++;
	heap_settle(p, p->heap_len - 1, x);
	return true;
}

static void heap_remove(struct park *p, struct exchange *x)
{
	struct exchange *last = p->heap[--p->heap_len];
	if (last != x)
		heap_settle(p, x->heap_index, last);
}

/* --- slots: what an epoll event names --- */

static bool slot_take(struct park *p, struct exchange *x)
{
	if (p->first_free == PARK_NO_SLOT) {
		uint32_t count = p->slot_count ? p->slot_count * 2 : 64;
		struct park_slot *grown = realloc(p->slots, count * sizeof(*grown));
		if (!grown)
			return false;
		p->slots = grown;
		for (uint32_t i = count; i-- > p->slot_count;) {
			p->slots[i] = (struct park_slot){ .next_free = p->first_free };
			p->first_free = i;
		}
		p->slot_count = count;
	}
	x->slot = p->first_free;
	p->first_free = p->slots[x->slot].next_free;
	p->slots[x->slot].x = x;
	return true;
}

static void slot_free(struct park *p, uint32_t slot)
{
	p->slots[slot].x = NULL;
	p->slots[slot].generation++;
	p->slots[slot].next_free = p->first_free;
	p->first_free = slot;
}

/* --- moves --- */

/* To NONE, from either of the others. The caller holds the lock and owns the exchange from here on. */
static void leave(struct park *p, struct exchange *x)
{
	for (int i = 0; i < x->sub_count; i++)
		unsubscribe(p, &x->subs[i]);
	x->sub_count = 0;
	if (x->park_state == PARK_PARKED) {
		heap_remove(p, x);
		epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, x->fd, NULL);
		slot_free(p, x->slot);
	}
	x->park_state = PARK_NONE;
	x->woken = false;
}

static void push_all(struct exchange *list)
{
	while (list) {
		struct exchange *next = list->queue_next;
		worker_push(list, JOB_RUN);
		list = next;
	}
}

void http_park(struct request *r, const char *key, int64_t deadline_mono_us)
{
	struct exchange *x = exchange_of(r);
	struct park *p = &x->server->park;
	if (r->parked_until_us == 0)
		r->parked_until_us = deadline_mono_us > 0 ? deadline_mono_us : 1;
	pthread_mutex_lock(&p->lock);
	if (subscribe(p, x, key))
		x->park_state = PARK_SUBSCRIBED;
	else
		x->park_failed = true;
	pthread_mutex_unlock(&p->lock);
}

void http_unpark(struct request *r)
{
	park_end(exchange_of(r));
}

void park_begin(struct exchange *x)
{
	x->park_failed = false;
	x->final_run =
		request_stopping(&x->rq) || (x->rq.parked_until_us != 0 && clock_mono_us() >= x->rq.parked_until_us);
}

void park_end(struct exchange *x)
{
	struct park *p = &x->server->park;
	if (x->park_state == PARK_NONE) /* only its owner brings it there from SUBSCRIBED, and that is us */
		return;
	pthread_mutex_lock(&p->lock);
	leave(p, x);
	pthread_mutex_unlock(&p->lock);
}

bool park_commit(struct exchange *x)
{
	struct http_server *s = x->server; /* x is not ours any more in the end */
	struct park *p = &s->park;
	bool parked = false, kick = false;
	pthread_mutex_lock(&p->lock);
	if (x->woken || p->stopping) {
		leave(p, x);
	} else if (!slot_take(p, x)) {
		leave(p, x);
		x->park_failed = true;
	} else if (!heap_add(p, x)) {
		slot_free(p, x->slot);
		leave(p, x);
		x->park_failed = true;
	} else {
		x->park_state = PARK_PARKED;
		struct epoll_event ev = { .events = EPOLLRDHUP };
		ev.data.u64 = (uint64_t)p->slots[x->slot].generation << 32 | x->slot;
		/* Without a watch (no memory) a hang-up is noticed at the deadline. */
		epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, x->fd, &ev);
		parked = true;
		kick = x->heap_index == 0;
	}
	pthread_mutex_unlock(&p->lock);
	if (kick)
		loop_kick(s);
	return parked;
}

void http_wake(struct http_server *s, const char *key, int max)
{
	struct park *p = &s->park;
	struct exchange *list = NULL, **end = &list;
	int woken = 0;
	pthread_mutex_lock(&p->lock);
	struct park_key *k = *key_place(p, key, hash_of(key));
	for (struct subscription *sub = k ? k->head : NULL, *next; sub && (max <= 0 || woken < max); sub = next) {
		struct exchange *x = sub->x;
		next = sub->next;
		if (x->park_state == PARK_SUBSCRIBED) {
			x->woken = true;
			continue;
		}
		leave(p, x); /* frees k with the last one; next is NULL then */
		x->queue_next = NULL;
		*end = x;
		end = &x->queue_next;
		woken++;
	}
	pthread_mutex_unlock(&p->lock);
	push_all(list);
}

int park_tick(struct http_server *s)
{
	struct park *p = &s->park;
	struct exchange *list = NULL, **end = &list;
	int wait_ms = -1;
	pthread_mutex_lock(&p->lock);
	while (p->heap_len > 0) {
		struct exchange *x = p->heap[0];
		int64_t left_us = x->rq.parked_until_us - clock_mono_us();
		if (left_us > 0) {
			int64_t ms = (left_us + US_PER_MS - 1) / US_PER_MS;
			wait_ms = ms < INT_MAX ? (int)ms : INT_MAX;
			break;
		}
		leave(p, x);
		x->queue_next = NULL;
		*end = x;
		end = &x->queue_next;
	}
	pthread_mutex_unlock(&p->lock);
	push_all(list);
	return wait_ms;
}

void park_hangup(struct http_server *s, uint64_t token)
{
	struct park *p = &s->park;
	uint32_t slot = (uint32_t)token, generation = (uint32_t)(token >> 32);
	struct exchange *x = NULL;
	pthread_mutex_lock(&p->lock);
	if (slot < p->slot_count && p->slots[slot].x && p->slots[slot].generation == generation) {
		x = p->slots[slot].x;
		leave(p, x);
	}
	pthread_mutex_unlock(&p->lock);
	if (!x)
		return;
	x->phase = PHASE_DROP;
	server_resume(x);
}

void park_stop(struct http_server *s)
{
	struct park *p = &s->park;
	struct exchange *list = NULL, **end = &list;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	while (p->heap_len > 0) {
		struct exchange *x = p->heap[p->heap_len - 1];
		leave(p, x);
		x->queue_next = NULL;
		*end = x;
		end = &x->queue_next;
	}
	pthread_mutex_unlock(&p->lock);
	push_all(list);
}
