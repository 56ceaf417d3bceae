#include "agent/frames.h"

#define NAME_MAX_BYTES 100
#define KEY_MAX_BYTES 200

void frames_init(struct frames *f)
{
	*f = (struct frames){ 0 };
	buf_init(&f->b, 4 * FRAME_MAX_BYTES);
}

void frames_done(struct frames *f)
{
	buf_done(&f->b);
}

static int frame(struct frames *f, char type, struct str payload, const struct frame_handler *h, struct err *e)
{
	bool ok = payload.n > 0 && payload.p[0] == 1;
	struct str why = payload.n > 1 ? (struct str){ payload.p + 1, payload.n - 1 } : STR("");
	bool is_name = payload.n > 0 && payload.n <= NAME_MAX_BYTES;
	if (f->finished)
		return err_set(e, ERR_BAD_REQUEST, "a frame after the last one");
	switch (type) {
	case FRAME_STEP_BEGIN:
		if (f->in_step || !is_name)
			break;
		f->in_step = true;
		h->step_begin(h->arg, payload);
		return 0;
	case FRAME_OUTPUT:
		if (!f->in_step)
			break;
		h->output(h->arg, payload);
		return 0;
	case FRAME_CACHE_GET:
	case FRAME_CACHE_PUT:
		if (!f->in_step || payload.n == 0 || payload.n > KEY_MAX_BYTES || f->in_archive)
			break;
		f->in_archive = type == FRAME_CACHE_PUT;
		(f->in_archive ? h->cache_put : h->cache_get)(h->arg, payload);
		return 0;
	case FRAME_CACHE_DATA:
		if (!f->in_archive)
			break;
		h->cache_data(h->arg, payload);
		return 0;
	case FRAME_CACHE_END:
		if (!f->in_archive || payload.n != 1)
			break;
		f->in_archive = false;
		h->cache_end(h->arg, payload.p[0] == ANSWER_YES);
		return 0;
	case FRAME_STEP_END:
		/* An archive that was offered and not taken has no end. */
		f->in_archive = false;
		if (!f->in_step || payload.n == 0)
			break;
		f->in_step = false;
		h->step_end(h->arg, ok, why);
		return 0;
	case FRAME_STEP_SKIPPED:
		if (f->in_step || !is_name)
			break;
		h->step_skipped(h->arg, payload);
		return 0;
	case FRAME_FINISH:
		if (f->in_step || payload.n == 0)
			break;
		f->finished = true;
		h->finish(h->arg, ok, why);
		return 0;
	default:
		break;
	}
	return err_set(e, ERR_BAD_REQUEST, "an unexpected frame (type %d)", (unsigned char)type);
}

int frames_feed(struct frames *f, struct str bytes, const struct frame_handler *h, struct err *e)
{
	while (bytes.n) {
		size_t room = f->b.max - f->b.len;
		size_t take = bytes.n < room ? bytes.n : room;
		buf_add(&f->b, bytes.p, take);
		if (buf_failed(&f->b))
			return err_nomem(e);
		bytes.p += take;
		bytes.n -= take;
		size_t at = 0;
		while (f->b.len - at >= FRAME_HEADER_BYTES) {
			const unsigned char *p = (const unsigned char *)f->b.data + at;
			size_t n = (size_t)p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16 | (size_t)p[4] << 24;
			if (n > FRAME_MAX_BYTES)
				return err_set(e, ERR_BAD_REQUEST, "a frame of %zu bytes", n);
			if (f->b.len - at < FRAME_HEADER_BYTES + n)
				break;
			int r = frame(f, (char)p[0], (struct str){ (const char *)p + FRAME_HEADER_BYTES, n }, h, e);
			if (r < 0)
				return r;
			at += FRAME_HEADER_BYTES + n;
		}
		buf_consume(&f->b, at);
	}
	return 0;
}
