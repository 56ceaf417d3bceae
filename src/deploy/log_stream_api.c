/* The log as server-sent events (log_events.h), for as long as it grows. */
#include <inttypes.h>

#include "base/clock.h"
#include "deploy/deployments_api.h"
#include "deploy/log_events.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

/* Something is sent at least so often: proxies close what is silent for a minute or less, and a client that is gone is
 * only noticed when it is written to. */
#define HEARTBEAT_S 15
#define HEARTBEAT_MAX_S 60
/* A browser that lost the connection comes again after 2 s. */
#define FIRST_WORDS "retry: 2000\n\n"
#define HEARTBEAT_WORDS ":\n\n"
#define TAIL_MAX INT64_C(1000000000)

const struct field log_stream_query[] = {
	QUERY("continuationToken", FIELD_STRING, .doc = "the place in place of the header Last-Event-ID"),
	QUERY("tail", FIELD_INT, .min = 0, .max = TAIL_MAX, .doc = "without a place: only so many of the last lines"),
	QUERY("heartbeat", FIELD_INT, .min = 1, .max = HEARTBEAT_MAX_S, .doc = "seconds; 15 if absent"), FIELD_END
};

struct follow {
	struct followed *log;
	struct log_follower at;
	const char *key;
	int64_t heartbeat_us;
	int64_t said_us, checked_us; /* monotonic */
};

static void leave(void *state)
{
	struct follow *f = state;
	if (f->log)
		followed_leave(f->log);
}

/* Where it begins: behind what the client says that it has, else at the last lines that it wants, else in front. */
static int find_place(struct request *r, const char *id, struct log_place *ret, struct err *e)
{
	const char *last = request_header(r, "Last-Event-ID"), *token = request_query(r, "continuationToken");
	int64_t tail;
	int rc = request_query_int(r, "tail", 0, TAIL_MAX, -1, &tail, e);
	*ret = (struct log_place){ 0 };
	if (rc < 0)
		return rc;
	if (last && last[0])
		return log_place_parse(last, ret) ? 0 : err_set(e, ERR_BAD_REQUEST, "Last-Event-ID: is none of ours");
	if (token && token[0])
		return log_place_parse(token, ret) ? 0 : err_set(e, ERR_BAD_REQUEST, "continuationToken: is none");
	return tail < 0 ? 0 : log_tail_place(app_of(r), r->arena, id, tail, ret, e);
}

/* The first run: the head, and a first word, so that it is on its way. */
static int begin(struct request *r, struct response *w, struct err *e)
{
	const char *id, *last = request_header(r, "Last-Event-ID");
	struct log_place place;
	struct log_page page;
	int64_t heartbeat_s;
	/* The request's memory stays as long as the stream does. */
	_cleanup_arena_ struct arena scratch;
	arena_init(&scratch, 0);
	int rc = deploy_find(r, &id, e);
	if (rc == 0 && last && streq(last, LOG_EVENT_END)) {
		response_empty(w, 204); /* the one answer after which a browser does not come again */
		return 0;
	}
	if (rc == 0)
		rc = request_query_int(r, "heartbeat", 1, HEARTBEAT_MAX_S, HEARTBEAT_S, &heartbeat_s, e);
	if (rc == 0)
		rc = find_place(r, id, &place, e);
	/* A place that is none is refused now: later there is no status to say it with. */
	if (rc == 0)
		rc = log_read_stream(app_of(r), &scratch, id, place, 1, 1, &page, e);
	if (rc < 0)
		return rc;
	struct follow *f = request_stream_state(r, sizeof(*f), leave);
	if (!f || !(f->log = followed_join(id)) || !(f->key = log_key(r->arena, id)))
		return err_nomem(e);
	f->at.place = place;
	f->heartbeat_us = heartbeat_s * US_PER_S;
	f->said_us = f->checked_us = clock_mono_us();
	response_stream(w, "text/event-stream");
	response_header(w, "Cache-Control", "no-store");
	response_header(w, "X-Accel-Buffering", "no"); /* nginx would keep events to itself */
	response_piece(w, http_piece_new(STR(FIRST_WORDS)));
	return HTTP_MORE;
}

int deploy_log_stream(struct request *r, struct response *w, struct err *e)
{
	struct follow *f = r->stream;
	struct log_news news;
	if (!f)
		return begin(r, w, e);
	if (request_stopping(r))
		return 0;
	int64_t now_us = clock_mono_us(), due_us = f->said_us + f->heartbeat_us;
	/* What was allowed may be taken away. So often it is also looked at the log itself, whatever was told of it. */
	bool check = now_us >= f->checked_us + f->heartbeat_us;
	int rc = check ? request_authorize_again(r, e) : 0;
	http_park(r, f->key, now_us < due_us ? due_us : now_us + f->heartbeat_us);
	if (rc == 0)
		rc = followed_next(app_of(r), r->arena, f->log, &f->at, check, &news, e);
	if (rc < 0)
		return rc;
	if (check)
		f->checked_us = now_us;
	if (!news.piece && now_us >= due_us)
		news.piece = http_piece_new(STR(HEARTBEAT_WORDS));
	if (news.piece) {
		f->said_us = now_us;
		response_piece(w, news.piece);
	}
	if (news.end)
		return 0;
	if (news.more)
		http_unpark(r);
	return HTTP_MORE;
}
