#include "agent/docker_engine.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/limits.h"
#include "base/log.h"

/* The version that we speak, and that Debian 12's engine has; newer engines drop older ones some day. */
#define API_OURS "1.41"
#define NETWORK_ID_BYTES 12

static struct docker_engine the_engine; /* one agent per process */

/* "1.41" as 1041; 0: none. */
static int version_number(const char *text)
{
	int major, minor;
	return text && sscanf(text, "%d.%d", &major, &minor) == 2 ? major * 1000 + minor : 0;
}

static int negotiate(struct docker_engine *g, struct docker *d, struct err *e)
{
	struct json v;
	d->api = "";
	int r = docker_get(d, &g->arena, &v, e, "/version");
	if (r < 0)
		return r;
	const char *newest = json_cstr(json_get(v, "ApiVersion"), &g->arena);
	const char *oldest = json_cstr(json_get(v, "MinAPIVersion"), &g->arena);
	const char *version = json_cstr(json_get(v, "Version"), &g->arena);
	struct json_iter parts = json_iter_start(json_get(v, "Components"));
	struct json first = JSON_ABSENT;
	json_next(&parts, NULL, &first);
	const char *name = json_cstr(json_get(first, "Name"), &g->arena);
	if (version_number(newest) < version_number(API_OURS))
		return err_set(e, ERR_UNAVAILABLE, "it speaks API version %s, and " API_OURS " is needed",
			       newest ? newest : "unknown");
	const char *speak = version_number(oldest) > version_number(API_OURS) ? oldest : API_OURS;
	g->api = d->api = arena_printf(&g->arena, "/v%s", speak);
	g->version = arena_printf(&g->arena, "%s %s",
				  !name || streq(name, "Engine") ? "Docker"
				  : streq(name, "Podman Engine") ? "Podman"
								 : name,
				  version ? version : "");
	return arena_failed(&g->arena) ? err_nomem(e) : 0;
}

static int look(struct docker_engine *g, struct docker *d, struct err *e)
{
	struct json info;
	int r = docker_get(d, &g->arena, &info, e, "/info");
	if (r < 0)
		return r;
	const char *os = json_cstr(json_get(info, "OSType"), &g->arena);
	if (os && !streq(os, "linux"))
		return err_set(e, ERR_UNAVAILABLE, "it runs containers of %s, and executors are Linux programs", os);
	g->limits_memory = json_is_true(json_get(info, "MemoryLimit"));
	g->limits_swap = json_is_true(json_get(info, "SwapLimit"));
	g->limits_cpu = json_is_true(json_get(info, "CpuCfsQuota"));
	g->limits_pids = json_is_true(json_get(info, "PidsLimit"));
	/* Whether the storage driver can is only known when it was asked for a container. */
	g->limits_disk = true;
	return 0;
}

int docker_engine_open(struct agent *agent, struct docker_engine **ret, struct err *e)
{
	struct docker_engine *g = &the_engine;
	struct docker d;
	arena_init(&g->arena, 4 * MIB);
	int r = docker_address_parse(agent->config->docker_host, &g->arena, &g->at, e);
	if (r == 0)
		r = docker_open(&g->at, "", &d, e);
	if (r < 0)
		return r;
	r = negotiate(g, &d, e);
	if (r == 0)
		r = look(g, &d, e);
	docker_close(&d);
	if (r < 0)
		return r;
	*ret = g;
	return 0;
}

void docker_labels(struct json_writer *w, const struct agent *agent, const char *deployment)
{
	jw_key(w, "Labels");
	jw_object(w);
	jw_kv_string(w, DOCKER_LABEL_INSTANCE, agent->instance);
	if (deployment)
		jw_kv_string(w, DOCKER_LABEL_DEPLOYMENT, deployment);
	jw_object_end(w);
}

const char *docker_network_name(const struct agent *agent, int slot, struct arena *a)
{
	size_t n = strlen(agent->instance);
	return arena_printf(a, "slipway-%s-%d", agent->instance + (n > NETWORK_ID_BYTES ? n - NETWORK_ID_BYTES : 0),
			    slot);
}

int docker_network_make(const struct agent *agent, struct docker_engine *engine, struct docker *d, int slot,
			struct arena *a, struct err *e)
{
	_cleanup_buf_ struct buf body;
	struct json_writer w;
	buf_init(&body, 8 * KIB);
	if (engine->network_ready[slot])
		return 0;
	jw_init(&w, &body);
	jw_object(&w);
	jw_kv_string(&w, "Name", docker_network_name(agent, slot, a));
	jw_kv_string(&w, "Driver", "bridge");
	jw_kv_bool(&w, "CheckDuplicate", true);
	docker_labels(&w, agent, NULL);
	jw_object_end(&w);
	struct docker_query q = { .method = "POST", .path = "/networks/create", .body = buf_str(&body) };
	int r = buf_check(&body, "a network", e);
	if (r == 0)
		r = docker_send(d, &q, a, NULL, e);
	/* It has our name, and was swept at the start: it is ours. */
	if (r == -ERR_CONFLICT) {
		err_reset(e);
		r = 0;
	}
	if (r == 0)
		engine->network_ready[slot] = true;
	return r < 0 ? err_wrap(e, "cannot make a network for the run") : 0;
}

/* Each object of the list whose labels match is given to the path; a failure is only told. */
static void remove_all(struct docker *d, struct arena *a, struct json list, const char *key, const char *what,
		       const char *path, const char *end)
{
	struct json one;
	json_foreach(one, list) {
		struct err e = { 0 };
		const char *id = json_cstr(json_get(one, key), a);
		if (!id)
			continue;
		int r = docker_do(d, a, &e, "DELETE", "%s/%s%s", path, id, end);
		if (r == 0)
			log_info("agent", "removed a %s that an earlier life left: %.40s", what, id);
		else if (r != -ERR_NOT_FOUND)
			log_warn("agent", "cannot remove the %s %.40s: %s", what, id, e.message);
	}
}

/* Filters are JSON in a query: escaped. */
static int list(struct docker *d, struct arena *a, const char *path, const char *label, struct json *ret, struct err *e)
{
	_cleanup_buf_ struct buf filter;
	buf_init(&filter, 4 * KIB);
	url_escape(&filter, str_of(arena_printf(a, "{\"label\":[\"%s\"]}", label)));
	int r = buf_check(&filter, "a filter", e);
	return r < 0 ? r : docker_get(d, a, ret, e, "%sfilters=%s", path, filter.data);
}

/* Volumes of versions that are not ours; one that is mounted somewhere stays. */
static void sweep_volumes(struct docker_engine *g, struct docker *d, struct arena *a)
{
	struct json answer, one;
	struct err e = { 0 };
	if (list(d, a, "/volumes?", DOCKER_LABEL_VOLUME, &answer, &e) < 0)
		return;
	json_foreach(one, json_get(answer, "Volumes")) {
		const char *name = json_cstr(json_get(one, "Name"), a);
		if (!name || streq(name, g->executor_volume) || streq(name, g->tools_volume))
			continue;
		if (docker_do(d, a, &e, "DELETE", "/volumes/%s", name) == 0)
			log_info("agent", "removed a volume that is not needed any more: %s", name);
	}
}

void docker_engine_sweep(const struct agent *agent, struct docker_engine *engine)
{
	_cleanup_arena_ struct arena a;
	struct docker d;
	struct err e = { 0 };
	struct json found;
	arena_init(&a, 64 * MIB);
	int r = docker_open(&engine->at, engine->api, &d, &e);
	if (r < 0) {
		log_warn("agent", "%s", e.message);
		return;
	}
	const char *label = arena_printf(&a, DOCKER_LABEL_INSTANCE "=%s", agent->instance);
	r = list(&d, &a, "/containers/json?all=1&", label, &found, &e);
	if (r == 0) {
		remove_all(&d, &a, found, "Id", "container", "/containers", "?force=1&v=1");
		r = list(&d, &a, "/networks?", label, &found, &e);
	}
	if (r == 0)
		remove_all(&d, &a, found, "Id", "network", "/networks", "");
	if (r < 0)
		log_warn("agent", "cannot look for what an earlier life left: %s", e.message);
	sweep_volumes(engine, &d, &a);
	docker_close(&d);
}
