#include <stdio.h>

#include "base/clock.h"
#include "executor/cache.h"
#include "executor/plan.h"

static const char *size_text(int64_t bytes, char text[32])
{
	if (bytes < 1000 * 1000)
		snprintf(text, 32, "%lld KB", (long long)(bytes + 999) / 1000);
	else
		snprintf(text, 32, "%lld.%lld MB", (long long)bytes / 1000000, (long long)bytes / 100000 % 10);
	return text;
}

/* The lines that both steps begin with. false: nothing is cached here. */
static bool choose(struct channel *c, const struct plan *plan, struct arena *a, struct cache_choice *ret)
{
	struct err e = { 0 };
	if (cache_choose(plan, a, ret, &e) < 0) {
		channel_line(c, "warning: nothing is cached: %s", e.message);
		return false;
	}
	if (ret->said) {
		channel_line(c, "%s", ret->said);
		return false;
	}
	channel_line(c, "Cached by %s, lock file %s", ret->manager, ret->lock);
	channel_line(c, "Key: %s", ret->key);
	return true;
}

/* Asks the agent. 1: yes, *ret_text is what it added; 0: no; negative: it failed, or we were told to stop. */
static int ask(struct channel *c, char type, const char *key, struct str *ret_text, struct err *e)
{
	char answer;
	channel_frame(c, type, str_of(key));
	int r = channel_receive(c, &answer, ret_text, e);
	if (r < 0)
		return r;
	if (answer != CONTROL_ANSWER || ret_text->n == 0)
		return err_set(e, ERR_INTERNAL, "an unexpected answer of the agent");
	char kind = ret_text->p[0];
	*ret_text = (struct str){ ret_text->p + 1, ret_text->n - 1 };
	if (kind == ANSWER_FAILED)
		return err_set(e, ERR_UNAVAILABLE, "%.*s", STR_ARG(*ret_text));
	return kind == ANSWER_YES;
}

/* All pieces of the archive are taken, also when they are of no use any more: something else follows them. */
static int receive(struct channel *c, struct cache_unpacker *u, struct err *e)
{
	int failed = 0;
	for (;;) {
		struct err ignored = { 0 };
		struct str bytes;
		char type;
		int r = channel_receive(c, &type, &bytes, failed ? &ignored : e);
		if (r < 0)
			return r;
		if (type == CONTROL_END && bytes.n == 1)
			return failed			  ? failed
			       : bytes.p[0] == ANSWER_YES ? 0
							  : err_set(e, ERR_UNAVAILABLE, "the transfer broke off");
		if (type != CONTROL_DATA)
			return err_set(e, ERR_INTERNAL, "an unexpected answer of the agent");
		if (!failed)
			failed = cache_unpacker_push(u, bytes, e);
	}
}

static int restore(struct channel *c, const struct cache_choice *choice, struct arena *a, struct cache_restored *ret,
		   struct err *e)
{
	struct str size;
	char text[32];
	int64_t bytes = 0, begun_us = clock_mono_us();
	int r = ask(c, FRAME_CACHE_GET, choice->key, &size, e);
	if (r < 0)
		return r;
	if (r == 0) {
		channel_line(c, "Nothing to restore: no archive has this key.");
		return 0;
	}
	str_to_int64(size, &bytes);
	channel_line(c, "Extracting %s.tar.zst (%s)", choice->key, size_text(bytes, text));
	struct cache_report report = { 0 };
	struct cache_unpacker *u = NULL;
	buf_init(&report.places, 4096);
	r = cache_unpacker_new(choice, &u, e);
	if (r == 0)
		r = receive(c, u, e);
	if (r == 0)
		r = cache_unpacker_finish(u, &report, e);
	cache_unpacker_free(u);
	if (r == 0 && report.places.len > 0)
		*ret = (struct cache_restored){ choice->key, choice->key, str_dup(a, buf_str(&report.places)) };
	if (r == 0 && !ret->places)
		ret->key = NULL;
	if (ret->key)
		channel_line(c, "Restored %.*s: %lld files, %s, in %.1f s", STR_ARG(buf_str(&report.places)),
			     (long long)report.files, size_text(report.bytes, text),
			     (double)(clock_mono_us() - begun_us) / 1e6);
	else if (r == 0)
		channel_line(c, "Nothing of it was restored: what it holds is there already.");
	buf_done(&report.places);
	return r;
}

void cache_restore(struct channel *c, const struct plan *plan, struct arena *a, struct cache_restored *ret)
{
	struct cache_choice choice;
	struct err e = { 0 };
	*ret = (struct cache_restored){ NULL, NULL, NULL };
	if (!choose(c, plan, a, &choice))
		return;
	ret->asked = choice.key;
	if (restore(c, &choice, a, ret, &e) < 0)
		channel_line(c, "warning: nothing was restored: %s. The run goes on without it.", e.message);
}

struct saving {
	struct channel *channel;
	int64_t bytes, max;
};

/* An archive goes in pieces no longer than a frame. */
static int send(void *arg, struct str bytes, struct err *e)
{
	struct saving *s = arg;
	s->bytes += (int64_t)bytes.n;
	if (s->bytes > s->max)
		return err_set(e, ERR_TOO_LARGE, "the archive becomes larger than %lld bytes", (long long)s->max);
	channel_frame(s->channel, FRAME_CACHE_DATA, bytes);
	channel_pump(s->channel);
	if (channel_full(s->channel))
		channel_flush(s->channel);
	return s->channel->dead || s->channel->cancelled ? err_set(e, ERR_CANCELLED, "the run is cancelled") : 0;
}

static int save(struct channel *c, const struct cache_choice *choice, struct err *e)
{
	struct str answer;
	struct saving s = { .channel = c };
	struct cache_report report = { 0 };
	char text[32], packed[32], type;
	int r = ask(c, FRAME_CACHE_PUT, choice->key, &answer, e);
	if (r <= 0) {
		if (r == 0)
			channel_line(c, "Already cached: an archive has this key.");
		return r;
	}
	str_to_int64(answer, &s.max);
	buf_init(&report.places, 4096);
	r = cache_pack(choice, send, &s, &report, e);
	const char end = r == 0 && report.places.len ? ANSWER_YES : ANSWER_NO;
	if (r == 0)
		channel_line(c, "Captured %.*s: %lld files, %s", STR_ARG(buf_str(&report.places)),
			     (long long)report.files, size_text(report.bytes, text));
	if (report.left_out)
		channel_line(c, "Left out: %lld files or links that could not be restored elsewhere",
			     (long long)report.left_out);
	bool any = report.places.len > 0;
	buf_done(&report.places);
	channel_frame(c, FRAME_CACHE_END, (struct str){ &end, 1 });
	if (r < 0)
		return r;
	if (!any) {
		channel_line(c, "There is nothing to cache.");
		return 0;
	}
	channel_line(c, "Compressed: %s", size_text(s.bytes, packed));
	r = channel_receive(c, &type, &answer, e);
	if (r < 0)
		return r;
	if (type != CONTROL_ANSWER || answer.n == 0 || answer.p[0] != ANSWER_YES)
		return err_set(e, ERR_UNAVAILABLE, "%.*s", answer.n ? (int)answer.n - 1 : 0,
			       answer.n ? answer.p + 1 : "");
	channel_line(c, "Uploaded as %s.tar.zst", choice->key);
	return 0;
}

void cache_save(struct channel *c, const struct plan *plan, const char *asked, struct arena *a)
{
	struct cache_choice choice;
	struct err e = { 0 };
	if (!choose(c, plan, a, &choice))
		return;
	if (!asked || !streq(choice.key, asked)) {
		channel_line(c, "Nothing is saved: the lock file is not the one that the run began with.");
		return;
	}
	if (save(c, &choice, &e) < 0)
		channel_line(c, "warning: nothing was saved: %s. The run goes on.", e.message);
}
