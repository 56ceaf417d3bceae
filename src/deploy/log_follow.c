#include "deploy/log_follow.h"

#include <pthread.h>
#include <stdatomic.h>

#include "deploy/log_events.h"

#define BUCKETS 256
/* Pages kept for those who come a little later. */
#define PAGES_KEPT 4
/* Events that are sent at once: each follower who lags behind holds so much. A single line may be longer. */
#define NEWS_BYTES (128 * KIB)
#define NEWS_MAX_BYTES (32 * MIB)

struct page {
	struct log_follower from, to;
	uint64_t changes; /* counted before it was read */
	struct log_news news;
};

struct followed {
	struct followed *next; /* in the bucket */
	atomic_int followers;
	atomic_uint_fast64_t changes;
	pthread_mutex_t lock; /* of what follows; held while news for the edge are read */
	struct page pages[PAGES_KEPT];
	size_t oldest;
	/* Who was here when so much was counted had everything. */
	bool edge_known;
	struct log_follower edge;
	uint64_t edge_changes;
	char id[];
};

static struct {
	pthread_mutex_t lock; /* innermost */
	struct followed *buckets[BUCKETS];
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

const char *log_key(struct arena *a, const char *deployment_id)
{
	return arena_printf(a, "log:%s", deployment_id);
}

static struct followed **place_of(const char *id)
{
	unsigned h = 0;
	for (const char *p = id; *p; p++)
		h = h * 31 + (unsigned char)*p;
	struct followed **f = &all.buckets[h % BUCKETS];
	while (*f && !streq((*f)->id, id))
		f = &(*f)->next;
	return f;
}

void log_changed(struct app *app, struct arena *a, const char *deployment_id)
{
	const char *key = deployment_id ? log_key(a, deployment_id) : NULL;
	if (!key)
		return;
	pthread_mutex_lock(&all.lock);
	struct followed *f = *place_of(deployment_id);
	if (f)
		atomic_fetch_add(&f->changes, 1);
	pthread_mutex_unlock(&all.lock);
	if (app->http)
		http_wake(app->http, key, 0);
}

struct followed *followed_join(const char *deployment_id)
{
	pthread_mutex_lock(&all.lock);
	struct followed **place = place_of(deployment_id), *f = *place;
	if (!f) {
		size_t n = strlen(deployment_id) + 1;
		f = calloc(1, sizeof(*f) + n);
		if (f) {
			memcpy(f->id, deployment_id, n);
			pthread_mutex_init(&f->lock, NULL);
			*place = f;
		}
	}
	if (f)
		atomic_fetch_add(&f->followers, 1);
	pthread_mutex_unlock(&all.lock);
	return f;
}

void followed_leave(struct followed *f)
{
	pthread_mutex_lock(&all.lock);
	bool last = atomic_fetch_sub(&f->followers, 1) == 1;
	if (last)
		*place_of(f->id) = f->next;
	pthread_mutex_unlock(&all.lock);
	if (!last)
		return;
	for (size_t i = 0; i < PAGES_KEPT; i++)
		http_piece_unref(f->pages[i].news.piece);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static bool same(const struct log_follower *a, const struct log_follower *b)
{
	return a->place.step == b->place.step && a->place.offset == b->place.offset && a->told == b->told;
}

/* True: the answer is known. With the lock held. */
static bool is_known(struct followed *f, uint64_t changes, bool afresh, struct log_follower *at, struct log_news *ret)
{
	for (size_t i = 0; i < PAGES_KEPT; i++) {
		const struct page *p = &f->pages[i];
		if (!p->news.piece || !same(&p->from, at))
			continue;
		*ret = p->news;
		ret->piece = http_piece_ref(p->news.piece);
		ret->more = !p->news.end && (p->news.more || p->changes != changes);
		*at = p->to;
		return true;
	}
	*ret = (struct log_news){ 0 };
	return !afresh && f->edge_known && f->edge_changes == changes && same(&f->edge, at);
}

static int read_news(struct app *app, struct arena *a, const struct followed *f, struct page *p, struct err *e)
{
	struct log_page page;
	_cleanup_buf_ struct buf b;
	buf_init(&b, NEWS_MAX_BYTES);
	int rc = log_read_stream(app, a, f->id, p->from.place, LOG_PAGE_LINES, NEWS_BYTES, &page, e);
	if (rc == 0)
		rc = log_events_write(a, &page, &p->from, &b, &p->to, e);
	if (rc < 0)
		return rc;
	p->news = (struct log_news){ .more = page.full, .end = page.complete };
	if (b.len > 0) {
		p->news.piece = http_piece_new(buf_str(&b));
		return p->news.piece ? 0 : err_nomem(e);
	}
	return 0;
}

/* With the lock held. */
static void remember(struct followed *f, const struct page *p)
{
	if (p->news.more)
		return; /* of somebody who catches up: it would push out what the others are about to ask for */
	f->edge_known = true;
	f->edge = p->to;
	f->edge_changes = p->changes;
	if (!p->news.piece || atomic_load(&f->followers) < 2)
		return;
	struct page *kept = &f->pages[f->oldest++ % PAGES_KEPT];
	http_piece_unref(kept->news.piece);
	*kept = *p;
	http_piece_ref(kept->news.piece);
}

int followed_next(struct app *app, struct arena *a, struct followed *f, struct log_follower *at, bool afresh,
		  struct log_news *ret, struct err *e)
{
	/* Before the look: what changes from here on is news for the next time. */
	uint64_t changes = atomic_load(&f->changes);
	pthread_mutex_lock(&f->lock);
	if (is_known(f, changes, afresh, at, ret)) {
		pthread_mutex_unlock(&f->lock);
		return 0;
	}
	/* At the edge all want the same, so one reads and the others wait for it; elsewhere each reads for itself. */
	bool at_edge = f->edge_known && same(&f->edge, at);
	if (!at_edge)
		pthread_mutex_unlock(&f->lock);
	struct page p = { .from = *at, .changes = changes };
	int rc = read_news(app, a, f, &p, e);
	if (!at_edge)
		pthread_mutex_lock(&f->lock);
	if (rc == 0)
		remember(f, &p);
	pthread_mutex_unlock(&f->lock);
	if (rc < 0)
		return rc;
	*at = p.to;
	*ret = p.news;
	return 0;
}
