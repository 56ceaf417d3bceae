#include "agent/docker_pull.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/limits.h"

#define PULL_TIMEOUT_MS (60 * 60 * 1000)
#define LAYERS_MAX 128
#define LINE_MAX_BYTES (256 * KIB)
#define SAY_EVERY_US (2 * US_PER_S)
/* The name under which the default registry keeps its logins. */
#define DEFAULT_REGISTRY "https://index.docker.io/v1/"

struct layer {
	char id[16];
	int64_t current, total;
	bool done;
};

struct pull {
	const struct docker_image_request *rq;
	struct buf line; /* what came of a line so far */
	struct layer layers[LAYERS_MAX];
	size_t count;
	int64_t said_us;
	char error[ERR_MESSAGE_MAX];
};

static struct layer *layer_of(struct pull *p, const char *id)
{
	for (size_t i = 0; i < p->count; i++) {
		if (streq(p->layers[i].id, id))
			return &p->layers[i];
	}
	if (p->count == LAYERS_MAX)
		return NULL;
	struct layer *l = &p->layers[p->count++];
	snprintf(l->id, sizeof(l->id), "%s", id);
	return l;
}

static void say_progress(struct pull *p)
{
	char line[128];
	int64_t current = 0, total = 0;
	size_t done = 0;
	for (size_t i = 0; i < p->count; i++) {
		current += p->layers[i].current;
		total += p->layers[i].total;
		done += p->layers[i].done;
	}
	snprintf(line, sizeof(line), "Pulling: %zu of %zu layers, %lld of %lld MiB", done, p->count,
		 (long long)(current / (int64_t)MIB), (long long)(total / (int64_t)MIB));
	p->rq->say(p->rq->arg, line);
}

static void on_layer(struct pull *p, const char *id, const char *status, struct json detail)
{
	struct layer *l = layer_of(p, id);
	int64_t n;
	if (!l)
		return;
	/* Downloaded bytes; unpacking counts anew. */
	if (streq(status, "Downloading")) {
		if (json_int64(json_get(detail, "current"), &n))
			l->current = n;
		if (json_int64(json_get(detail, "total"), &n))
			l->total = n;
	}
	if (streq(status, "Download complete") || streq(status, "Pull complete"))
		l->current = l->total;
	if (streq(status, "Pull complete") || streq(status, "Already exists"))
		l->done = true;
	int64_t now = clock_mono_us();
	if (now < p->said_us + SAY_EVERY_US)
		return;
	p->said_us = now;
	say_progress(p);
}

static void on_line(struct pull *p, struct str text)
{
	_cleanup_arena_ struct arena a;
	struct json line;
	arena_init(&a, MIB);
	if (json_check(str_trim(text), &line, NULL) < 0)
		return;
	const char *error = json_cstr(json_get(line, "error"), &a);
	const char *status = json_cstr(json_get(line, "status"), &a);
	const char *id = json_cstr(json_get(line, "id"), &a);
	if (error)
		snprintf(p->error, sizeof(p->error), "%s", error);
	/* The first one names the tag as its id; layers are named by twelve digits of their digest. */
	else if (status && id && strlen(id) == 12 && strspn(id, "0123456789abcdef") == 12)
		on_layer(p, id, status, json_get(line, "progressDetail"));
	else if (status)
		p->rq->say(p->rq->arg, status);
}

static bool on_bytes(void *arg, struct str bytes)
{
	struct pull *p = arg;
	while (bytes.n) {
		struct str rest, line = str_cut(bytes, '\n', &rest);
		buf_add_str(&p->line, line);
		if (!rest.p)
			return !buf_failed(&p->line);
		on_line(p, buf_str(&p->line));
		buf_reset(&p->line);
		bytes = rest;
	}
	return true;
}

/* The header with the credentials, or NULL. */
static int auth_header(const struct docker_image_request *rq, const struct docker_reference *ref, struct arena *a,
		       const char **ret, struct err *e)
{
	_cleanup_buf_ struct buf json, header;
	struct json_writer w;
	*ret = NULL;
	buf_init(&json, 64 * KIB);
	buf_init(&header, 128 * KIB);
	if (!rq->username && !rq->password)
		return 0;
	jw_init(&w, &json);
	jw_object(&w);
	jw_kv_string(&w, "username", rq->username ? rq->username : "");
	jw_kv_string(&w, "password", rq->password ? rq->password : "");
	jw_key(&w, "serveraddress");
	jw_str(&w, ref->registry.n ? ref->registry : STR(DEFAULT_REGISTRY));
	jw_object_end(&w);
	buf_adds(&header, "X-Registry-Auth: ");
	base64url_encode(&header, buf_str(&json));
	/* The engine wants the padding. */
	while ((header.len - strlen("X-Registry-Auth: ")) % 4)
		buf_addc(&header, '=');
	int r = buf_check(&header, "the image's credentials", e);
	*ret = r == 0 ? str_dup(a, buf_str(&header)) : NULL;
	return r < 0 ? r : *ret ? 0 : err_nomem(e);
}

int docker_pull(struct docker *d, const struct docker_image_request *rq, const struct docker_reference *ref,
		struct arena *a, struct err *e)
{
	_cleanup_buf_ struct buf path;
	struct pull p = { .rq = rq, .said_us = clock_mono_us() };
	struct docker_query q = {
		.method = "POST", .timeout_ms = PULL_TIMEOUT_MS, .consume = on_bytes, .consume_arg = &p
	};
	buf_init(&path, 4 * KIB);
	buf_adds(&path, "/images/create?fromImage=");
	url_escape(&path, ref->name);
	buf_adds(&path, "&tag=");
	url_escape(&path, ref->digest.p ? ref->digest : ref->tag);
	int r = buf_check(&path, "the image's name", e);
	if (r == 0)
		r = auth_header(rq, ref, a, &q.header, e);
	if (r < 0)
		return r;
	q.path = path.data;
	buf_init(&p.line, LINE_MAX_BYTES);
	r = docker_send(d, &q, a, NULL, e);
	if (r == 0 && p.line.len)
		on_line(&p, buf_str(&p.line));
	buf_done(&p.line);
	if (r == 0 && p.error[0])
		return err_set(e, ERR_UNAVAILABLE, "%s", p.error);
	return r;
}
