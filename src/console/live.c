#include "console/live.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/id.h"
#include "console/session.h"
#include "db/queries_console.h"
#include "deploy/log_events.h"

#define ROUTE_FILE "routes_console.def"
#include "../api/declare.h"

#define EVENTS_KEY "console-events"
#define PAUSE_KEY "console-pause" /* nobody wakes it */
#define HEARTBEAT_S 15
#define HEARTBEAT_MAX_S 60
/* Several events come at once where something happens: one look for all of them. */
#define PAUSE_US (30 * US_PER_MS)
#define NEWS_ROWS 100
#define NEWS_MAX_BYTES (16 * MIB)
#define BEFORE_ALL "00000000-0000-0000-0000-000000000000"
#define HEARTBEAT_WORDS ":\n\n"

const struct field console_live_query[] = {
	QUERY("after", FIELD_STRING, .doc = "the last event that the page has; only new ones if absent"),
	QUERY("deployment", FIELD_STRING, .doc = "the id of one whose log is followed, too"),
	QUERY("logToken", FIELD_STRING, .doc = "the place in that log; its beginning if absent"),
	QUERY("heartbeat", FIELD_INT, .min = 1, .max = HEARTBEAT_MAX_S, .doc = "seconds; 15 if absent"), FIELD_END
};

static atomic_uint_fast64_t changes;

void live_changed(struct app *app)
{
	atomic_fetch_add(&changes, 1);
	if (app->http)
		http_wake(app->http, EVENTS_KEY, 0);
}

struct live {
	const char *user_id;
	char after[ID_SIZE];
	uint64_t seen; /* of `changes`, before the last look */
	bool behind;   /* more events are there than one look took */
	const char *deployment_id;
	struct followed *log; /* NULL: none, or it is over */
	struct log_follower at;
	const char *log_key;
	int64_t heartbeat_us;
	int64_t said_us, checked_us, looked_us; /* monotonic */
};

static void leave(void *state)
{
	struct live *l = state;
	if (l->log)
		followed_leave(l->log);
}

/* --- the database --- */

struct look {
	struct arena *a;
	const struct live *live;
	struct news_bounds_row bounds;
	struct news_after_row *rows;
	size_t count;
	bool may_read;
};

static int bounds_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *l = arg;
	int rc = q_news_bounds(c, l->a, &l->bounds, e);
	return rc < 0 ? rc : 0;
}

static int news_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *l = arg;
	struct news_after_in in = { .after_id = l->live->after, .user_id = l->live->user_id, .n = NEWS_ROWS };
	return q_news_after(c, l->a, &in, &l->rows, &l->count, e);
}

static int may_read_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *l = arg;
	struct news_deployment_in in = { .id = l->live->deployment_id, .user_id = l->live->user_id };
	struct news_deployment_row row;
	int rc = q_news_deployment(c, l->a, &in, &row, e);
	l->may_read = rc > 0;
	return rc < 0 ? rc : 0;
}

/* --- what is sent --- */

static void put_event(struct buf *b, struct arena *a, const struct news_after_row *row)
{
	buf_addf(b, "event: event\nid: %s\ndata: {\"kind\":\"%s\",\"created\":\"%s\",\"payload\":%s}\n\n", row->id,
		 row->kind, clock_rfc3339(a, row->created_us), row->payload);
}

static int piece_of(struct buf *b, struct http_piece **ret, struct err *e)
{
	int rc = buf_check(b, "the news", e);
	if (rc == 0 && !(*ret = http_piece_new(buf_str(b))))
		return err_nomem(e);
	return rc;
}

/* New events, if there are any; moves on. */
static int events_next(struct app *app, struct live *l, int64_t now_us, struct http_piece **ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf b;
	arena_init(&a, 0);
	buf_init(&b, NEWS_MAX_BYTES);
	struct look look = { .a = &a, .live = l };
	l->seen = atomic_load(&changes);
	l->looked_us = now_us;
	int rc = db_read(app->db, news_fn, &look, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < look.count; i++)
		put_event(&b, &a, &look.rows[i]);
	l->behind = look.count == NEWS_ROWS;
	if (look.count == 0)
		return 0;
	rc = piece_of(&b, ret, e);
	if (rc == 0)
		memcpy(l->after, look.rows[look.count - 1].id, ID_SIZE);
	return rc;
}

static void forget_log(struct live *l)
{
	followed_leave(l->log);
	l->log = NULL;
}

static int log_next(struct app *app, struct request *r, struct live *l, bool check, bool *ret_more,
		    struct http_piece **ret, struct err *e)
{
	struct log_news news;
	struct look look = { .a = r->arena, .live = l, .may_read = true };
	int rc = check ? db_read(app->db, may_read_fn, &look, e) : 0;
	if (rc == 0 && look.may_read)
		rc = followed_next(app, r->arena, l->log, &l->at, check, &news, e);
	/* The stack, and the log with it, may be gone meanwhile. */
	if (rc == -ERR_NOT_FOUND || (rc == 0 && !look.may_read)) {
		err_reset(e);
		forget_log(l);
		*ret = http_piece_new(STR("event: gone\ndata: {}\n\n"));
		return *ret ? 0 : err_nomem(e);
	}
	if (rc < 0)
		return rc;
	*ret = news.piece;
	*ret_more = news.more;
	if (news.end)
		forget_log(l);
	return 0;
}

/* --- the stream --- */

/* Where the events begin, and the first words. */
static int begin_events(struct request *r, struct live *l, struct buf *words, struct err *e)
{
	const char *after = request_query(r, "after");
	struct look look = { .a = r->arena, .live = l };
	if (after && after[0] && !id_valid(str_of(after)))
		return err_set(e, ERR_BAD_REQUEST, "query argument after: is the id of no event");
	l->seen = atomic_load(&changes);
	int rc = db_read(app_of(r)->db, bounds_fn, &look, e);
	if (rc < 0)
		return rc;
	const char *newest = look.bounds.newest ? look.bounds.newest : BEFORE_ALL;
	bool lost = after && after[0] && look.bounds.oldest && strcmp(after, look.bounds.oldest) < 0;
	memcpy(l->after, after && after[0] && !lost ? after : newest, ID_SIZE);
	l->behind = after && after[0] && !lost;
	buf_addf(words, "retry: 2000\n\nevent: hello\nid: %s\ndata: {\"version\":\"%s\"}\n\n", l->after,
		 SLIPWAY_VERSION);
	if (lost)
		buf_adds(words, "event: reset\ndata: {}\n\n");
	return 0;
}

static int begin_log(struct request *r, struct live *l, struct err *e)
{
	const char *id = request_query(r, "deployment"), *token = request_query(r, "logToken");
	struct look look = { .a = r->arena, .live = l };
	if (!id || !id[0])
		return 0;
	l->deployment_id = id;
	if (token && token[0] && !log_place_parse(token, &l->at.place))
		return err_set(e, ERR_BAD_REQUEST, "query argument logToken: is none of ours");
	int rc = db_read(app_of(r)->db, may_read_fn, &look, e);
	if (rc == 0 && !look.may_read)
		return err_set(e, ERR_NOT_FOUND, "deployment '%s'", id);
	if (rc < 0)
		return rc;
	l->log = followed_join(id);
	l->log_key = log_key(r->arena, id);
	return l->log && l->log_key ? 0 : err_nomem(e);
}

static int begin(struct request *r, struct response *w, struct err *e)
{
	_cleanup_buf_ struct buf words;
	struct http_piece *piece = NULL;
	int64_t heartbeat_s;
	buf_init(&words, KIB);
	int rc = request_query_int(r, "heartbeat", 1, HEARTBEAT_MAX_S, HEARTBEAT_S, &heartbeat_s, e);
	struct live *l = rc == 0 ? request_stream_state(r, sizeof(*l), leave) : NULL;
	if (rc < 0 || !l)
		return rc < 0 ? rc : err_nomem(e);
	l->user_id = request_access(r)->who.user_id;
	rc = begin_events(r, l, &words, e);
	if (rc == 0)
		rc = begin_log(r, l, e);
	if (rc == 0)
		rc = piece_of(&words, &piece, e);
	if (rc < 0)
		return rc;
	l->heartbeat_us = heartbeat_s * US_PER_S;
	l->said_us = l->checked_us = l->looked_us = clock_mono_us();
	response_stream(w, "text/event-stream");
	response_header(w, "Cache-Control", "no-store");
	response_header(w, "X-Accel-Buffering", "no"); /* nginx would keep events to itself */
	response_piece(w, piece);
	return HTTP_MORE;
}

int console_live(struct request *r, struct response *w, struct err *e)
{
	struct live *l = r->stream;
	if (!l)
		return begin(r, w, e);
	if (request_stopping(r))
		return 0;
	struct http_piece *piece = NULL;
	int64_t now_us = clock_mono_us(), due_us = l->said_us + l->heartbeat_us;
	/* What was allowed may be taken away; so often it is also looked whatever was told. */
	bool check = now_us >= l->checked_us + l->heartbeat_us, more = false;
	int rc = check ? request_authorize_again(r, e) : 0;
	bool news = l->behind || check || atomic_load(&changes) != l->seen;
	bool early = news && !l->behind && now_us < l->looked_us + PAUSE_US;
	int64_t until_us = early ? l->looked_us + PAUSE_US : now_us < due_us ? due_us : now_us + l->heartbeat_us;
	http_park(r, early ? PAUSE_KEY : EVENTS_KEY, until_us);
	if (l->log)
		http_park(r, l->log_key, until_us);
	if (rc == 0 && news && !early)
		rc = events_next(app_of(r), l, now_us, &piece, e);
	if (rc == 0 && !piece && l->log)
		rc = log_next(app_of(r), r, l, check, &more, &piece, e);
	if (rc < 0)
		return rc;
	if (check)
		l->checked_us = now_us;
	if (!piece && now_us >= due_us)
		piece = http_piece_new(STR(HEARTBEAT_WORDS));
	if (piece) {
		l->said_us = now_us;
		response_piece(w, piece);
	}
	/* Events went first: the log is looked at in the next run, at once. */
	if (more || l->behind || (piece && l->log))
		http_unpark(r);
	return HTTP_MORE;
}
