#include "agent/docker_image.h"

#include <stdio.h>
#include <string.h>

#include "agent/docker_pull.h"
#include "base/encode.h"
#include "base/limits.h"

#define REFERENCE_MAX_BYTES 512
#define OURS "/slipway"

static bool is_registry(struct str first)
{
	return memchr(first.p, '.', first.n) || memchr(first.p, ':', first.n) || str_is(first, "localhost");
}

int docker_reference_parse(const char *text, struct docker_reference *ret, struct err *e)
{
	struct str s = str_of(text);
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7F || strchr("\"'\\?#%&", s.p[i]))
			return err_set(e, ERR_BAD_REQUEST, "'%s' is no name of an image", text);
	}
	if (s.n == 0 || s.n > REFERENCE_MAX_BYTES || s.p[0] == '/' || strstr(text, "://") || strstr(text, ".."))
		return err_set(e, ERR_BAD_REQUEST, "'%s' is no name of an image", text);
	struct docker_reference r = { 0 };
	r.name = str_cut(s, '@', &r.digest);
	if (r.digest.p && !str_starts_with(r.digest, "sha256:"))
		return err_set(e, ERR_BAD_REQUEST, "'%s': a digest begins with sha256:", text);
	/* A colon behind the last slash begins the tag; one before it, a port. */
	const char *slash = memrchr(r.name.p, '/', r.name.n);
	const char *after = slash ? slash + 1 : r.name.p;
	const char *colon = memchr(after, ':', (size_t)(r.name.p + r.name.n - after));
	if (colon) {
		r.tag = (struct str){ colon + 1, (size_t)(r.name.p + r.name.n - colon - 1) };
		r.name.n = (size_t)(colon - r.name.p);
	}
	if (r.digest.p)
		r.tag = STR("");
	else if (!colon)
		r.tag = STR("latest");
	if (r.name.n == 0 || (!r.digest.p && r.tag.n == 0))
		return err_set(e, ERR_BAD_REQUEST, "'%s' is no name of an image", text);
	struct str rest, first = str_cut(r.name, '/', &rest);
	if (rest.p && is_registry(first))
		r.registry = first;
	*ret = r;
	return 0;
}

/* How the engine's calls about an image name it. */
static const char *local_name(const struct docker_reference *r, struct arena *a)
{
	return r->digest.p ? arena_printf(a, "%.*s@%.*s", STR_ARG(r->name), STR_ARG(r->digest))
			   : arena_printf(a, "%.*s:%.*s", STR_ARG(r->name), STR_ARG(r->tag));
}

static bool covers_us(struct json volumes, struct arena *a)
{
	struct json_iter it;
	struct json key, ignored;
	json_iter_init(&it, volumes);
	while (json_next(&it, &key, &ignored)) {
		struct str path;
		if (json_string(key, a, &path) && str_starts_with(path, OURS))
			return true;
	}
	return false;
}

static int inspect(struct docker *d, const char *name, struct arena *a, struct docker_image *ret, struct err *e)
{
	struct json image, one;
	int r = docker_get(d, a, &image, e, "/images/%s/json", name);
	if (r < 0)
		return r;
	struct json config = json_get(image, "Config");
	struct json list = json_get(config, "Env");
	const char **env = arena_array(a, json_count(list) + 1, sizeof(*env));
	if (!env)
		return err_nomem(e);
	size_t n = 0;
	json_foreach(one, list) {
		env[n] = json_cstr(one, a);
		n += env[n] != NULL;
	}
	env[n] = NULL;
	const char *user = json_cstr(json_get(config, "User"), a);
	const char *work_dir = json_cstr(json_get(config, "WorkingDir"), a);
	struct json_iter digests = json_iter_start(json_get(image, "RepoDigests"));
	struct json digest = JSON_ABSENT;
	json_next(&digests, NULL, &digest);
	*ret = (struct docker_image){ .id = json_cstr(json_get(image, "Id"), a),
				      .digest = json_cstr(digest, a),
				      .user = user ? user : "",
				      .work_dir = work_dir && work_dir[0] ? work_dir : "/",
				      .env = env,
				      .volume_over_us = covers_us(json_get(config, "Volumes"), a) };
	if (arena_failed(a))
		return err_nomem(e);
	return ret->id ? 0
		       : err_set(e, ERR_UNAVAILABLE, "the container engine does not say what the image %s is", name);
}

static bool is_local(struct docker *d, const char *name, struct arena *a, struct docker_image *ret)
{
	struct err ignored = { 0 };
	return inspect(d, name, a, ret, &ignored) == 0;
}

/* A registry that says no is believed: what somebody else's credentials have brought here is not for everybody. */
static bool is_refusal(const char *message)
{
	static const char *const words[] = { "denied", "unauthorized", "authentication required", "no basic auth",
					     "forbidden" };
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasestr(message, words[i]))
			return true;
	}
	return false;
}

int docker_image_get(struct docker *d, const struct docker_image_request *rq, struct arena *a, struct docker_image *ret,
		     struct err *e)
{
	struct docker_reference ref;
	int r = docker_reference_parse(rq->reference, &ref, e);
	if (r < 0)
		return r;
	const char *name = local_name(&ref, a);
	if (!name)
		return err_nomem(e);
	bool have = is_local(d, name, a, ret);
	if (have && (ref.digest.p || rq->pull != AGENT_PULL_ALWAYS))
		return 0;
	if (rq->pull == AGENT_PULL_NEVER)
		return err_set(
			e, ERR_NOT_FOUND,
			"the image %s is not on the container engine, and this runner does not pull images (--pull)",
			name);
	r = docker_pull(d, rq, &ref, a, e);
	if (r == 0)
		return inspect(d, name, a, ret, e);
	if (r == -ERR_CANCELLED || !have || is_refusal(e->message))
		return err_wrap(e, "cannot pull the image %s", name);
	rq->say(rq->arg, arena_printf(a,
				      "warning: cannot pull the image %s (%s): the one that the container engine has "
				      "already is used",
				      name, e->message));
	err_reset(e);
	return 0;
}
