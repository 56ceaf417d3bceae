#include <libdeflate.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "http/internal.h"

/* A buffer larger than this is not kept for the next request. */
#define KEEP_BYTES (16 * KIB)

void response_init(struct response *w, struct exchange *x)
{
	*w = (struct response){ .x = x, .status = 200, .file = -1 };
	w->headers_end = &w->headers;
	buf_init(&w->json, HTTP_RESPONSE_BYTES);
	buf_init(&w->copy, HTTP_RESPONSE_BYTES);
	spool_init(&w->plain, HTTP_SPOOL_MEMORY_BYTES);
}

static void drop_file(struct response *w)
{
	if (w->file >= 0)
		close(w->file);
	w->file = -1;
}

void response_done(struct response *w)
{
	drop_file(w);
	buf_done(&w->json);
	buf_done(&w->copy);
	spool_done(&w->plain);
}

static void buf_shed(struct buf *b)
{
	if (b->cap > KEEP_BYTES)
		buf_done(b);
	buf_reset(b);
}

void response_reset(struct response *w)
{
	buf_shed(&w->json);
	buf_shed(&w->copy);
	spool_reset(&w->plain);
	drop_file(w);
	w->status = 200;
	w->headers = NULL;
	w->headers_end = &w->headers;
	w->is_json = false;
	w->is_stream = false;
	w->content_type = NULL;
	w->body = STR_NULL;
	w->body_is_gzip = false;
}

void response_status(struct response *w, int status)
{
	w->status = status;
}

void response_header(struct response *w, const char *name, const char *value)
{
	if (!value || !value[0])
		return; /* the library refuses empty ones */
	struct arena *a = w->x->rq.arena;
	struct header *h = arena_new(a, struct header);
	if (!h)
		return; /* the arena remembers; response_finish() makes an error of it */
	h->name = arena_strdup(a, name);
	h->value = arena_strdup(a, value);
	if (!h->name || !h->value)
		return;
	/* Values may have come from outside: no line of ours ends where they want it. */
	for (char *p = h->value; *p; p++) {
		if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e)
			*p = '?';
	}
	*w->headers_end = h;
	w->headers_end = &h->next;
}

struct json_writer *response_json(struct response *w)
{
	buf_reset(&w->json);
	jw_init(&w->writer, &w->json);
	w->is_json = true;
	w->is_stream = false;
	return &w->writer;
}

static bool within(struct str outer, const char *p)
{
	return outer.p && p >= outer.p && p < outer.p + outer.n;
}

static struct str keep(struct response *w, struct str body)
{
	const struct request *r = &w->x->rq;
	if (body.n == 0)
		return STR("");
	if (within(r->body, body.p) || within(r->body_gzip, body.p) || arena_owns(r->arena, body.p) ||
	    arena_owns(&w->x->arena, body.p))
		return body;
	buf_reset(&w->copy);
	buf_add_str(&w->copy, body);
	return buf_str(&w->copy);
}

void response_body(struct response *w, const char *content_type, struct str body)
{
	w->is_json = false;
	w->is_stream = false;
	w->body_is_gzip = false;
	w->content_type = arena_strdup(w->x->rq.arena, content_type);
	w->body = keep(w, body);
}

void response_body_gzip(struct response *w, const char *content_type, struct str gzip)
{
	response_body(w, content_type, gzip);
	w->body_is_gzip = true;
}

void response_empty(struct response *w, int status)
{
	w->status = status;
	w->is_json = false;
	w->is_stream = false;
	w->body_is_gzip = false;
	w->content_type = NULL;
	w->body = STR("");
}

void response_file(struct response *w, const char *content_type, int fd, size_t bytes)
{
	response_body(w, content_type, STR(""));
	drop_file(w);
	w->file = fd;
	w->file_bytes = bytes;
}

void response_error(struct response *w, const struct err *e)
{
	response_reset(w);
	int status = err_http_status(e->code);
	struct json_writer *jw = response_json(w);
	jw_object(jw);
	jw_kv_int(jw, "code", status);
	jw_key(jw, "message");
	char message[ERR_MESSAGE_MAX + 64];
	snprintf(message, sizeof(message), "%s: %s", err_status_text(e->code), e->message);
	jw_string(jw, message);
	jw_object_end(jw);
	w->status = status;
	if (e->code == ERR_METHOD && w->x->match.allow[0])
		response_header(w, "Allow", w->x->match.allow);
}

static bool compressible(const char *content_type)
{
	static const char *const prefixes[] = {
		"text/",    "application/json", "application/x-yaml", "application/javascript", "application/yaml",
		"image/svg"
	};
	for (size_t i = 0; content_type && i < ARRAY_SIZE(prefixes); i++) {
		if (strncmp(content_type, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	return false;
}

/* Compresses in `copy`; a body that lies there already, or that does not shrink, stays as it is. */
static bool compress_body(struct response *w)
{
	struct worker *self = worker_self();
	if (!self || within(buf_str(&w->copy), w->body.p))
		return false;
	if (!self->deflater)
		self->deflater = libdeflate_alloc_compressor(1);
	if (!self->deflater)
		return false;
	buf_reset(&w->copy);
	if (!buf_reserve(&w->copy, w->body.n)) {
		buf_reset(&w->copy);
		return false;
	}
	size_t n = libdeflate_gzip_compress(self->deflater, w->body.p, w->body.n, w->copy.data, w->body.n);
	if (n == 0)
		return false;
	w->copy.len = n;
	w->body = buf_str(&w->copy);
	return true;
}

static bool inflate_body(struct response *w, struct err *e)
{
	struct worker *self = worker_self();
	struct exchange *x = w->x;
	spool_reset(&x->inflated);
	struct str plain;
	if (spool_inflate(&x->inflated, w->body, HTTP_RESPONSE_BYTES, x->server->spool_dir,
			  self ? self->inflater : NULL, &plain, e) < 0)
		return false;
	w->body = plain.p ? plain : STR("");
	return true;
}

/* Content-Encoding, or NULL. */
static const char *encode_body(struct response *w, bool *ret_varies)
{
	bool accepted = request_accepts_gzip(&w->x->rq);
	*ret_varies = w->body_is_gzip;
	if (w->body_is_gzip && accepted)
		return "gzip";
	if (w->body_is_gzip) {
		struct err e = { 0 };
		if (!inflate_body(w, &e)) {
			err_wrap(&e, "stored document");
			e.code = ERR_INTERNAL;
			response_error(w, &e);
			w->body = buf_str(&w->json);
		}
		return NULL;
	}
	if (w->body.n < COMPRESS_MIN_BYTES || !compressible(w->content_type))
		return NULL;
	*ret_varies = true;
	return accepted && compress_body(w) ? "gzip" : NULL;
}

static void check_memory(struct response *w)
{
	struct err e = { 0 };
	if (arena_failed(w->x->rq.arena))
		err_nomem(&e);
	else if (buf_failed(&w->copy) || (w->is_json && buf_failed(&w->json)))
		err_set(&e, ERR_NO_MEMORY, "the answer is too large");
	else
		return;
	response_error(w, &e);
}

/* The body stays where it is until on_completed(). A file goes out in pieces of 128 KiB, which the event thread has the
 * kernel send: it may wait for the disk that long. */
static struct MHD_Response *make_response(struct response *w)
{
	if (w->is_stream)
		return stream_response(w->x);
	if (w->file >= 0)
		return MHD_create_response_from_fd64(w->file_bytes, w->file);
	return MHD_create_response_from_buffer(w->body.n, (void *)(uintptr_t)w->body.p, MHD_RESPMEM_PERSISTENT);
}

bool response_finish(struct response *w)
{
	struct exchange *x = w->x;
	check_memory(w);
	if (w->is_json) {
		w->content_type = "application/json";
		w->body = buf_str(&w->json);
	}
	if (!w->body.p)
		w->body = STR("");
	bool varies = false;
	const char *encoding = w->body.n ? encode_body(w, &varies) : NULL;

	struct MHD_Response *m = make_response(w);
	if (!m)
		return false;
	w->file = -1; /* closed with the library's response */
	bool ok = MHD_add_response_header(m, "X-Pulumi-Request-ID", x->rq.id) == MHD_YES;
	if (w->content_type)
		ok &= MHD_add_response_header(m, "Content-Type", w->content_type) == MHD_YES;
	if (encoding)
		ok &= MHD_add_response_header(m, "Content-Encoding", encoding) == MHD_YES;
	if (varies)
		ok &= MHD_add_response_header(m, "Vary", "Accept-Encoding") == MHD_YES;
	if (request_stopping(&x->rq) || x->ambiguous_length)
		ok &= MHD_add_response_header(m, "Connection", "close") == MHD_YES;
	for (struct header *h = w->headers; h; h = h->next)
		ok &= MHD_add_response_header(m, h->name, h->value) == MHD_YES;
	if (!ok) {
		MHD_destroy_response(m);
		return false;
	}
	x->answer = m;
	x->streaming = w->is_stream;
	return true;
}
