#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/docker_volume.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "os/file.h"
#include "os/tar.h"

/* What marks a volume as whole: the last entry of its archive. */
#define COMPLETE ".complete"
#define FILLER "slipway-fill-" /* name of the container that fills the volume of the name behind it */
#define FILL_US (120 * US_PER_S)
#define FILL_LOOK_US 200000
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* Enough to tell versions apart; nobody gains by a collision but an agent's own operator. */
static uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * FNV_PRIME;
	return h;
}

static uint64_t hash_file(uint64_t h, const char *name, const struct stat *st)
{
	const int64_t facts[] = { st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec };
	return hash(hash(h, name, strlen(name) + 1), facts, sizeof(facts));
}

static int is_pulumi(const struct dirent *d)
{
	return strncmp(d->d_name, "pulumi", 6) == 0;
}

static int put_program(int fd, const char *path, const char *name, struct err *e)
{
	const struct tar_owner root = { 0 };
	_cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return err_errno(e, "%s", path);
	return tar_put_program(fd, name, from, root, e);
}

/* The folder may be /usr/bin: only what belongs to pulumi. */
static int put_tools(int fd, const char *folder, struct err *e)
{
	struct dirent **list;
	char path[4096];
	int n = scandir(folder, &list, is_pulumi, alphasort);
	if (n < 0)
		return err_errno(e, "%s", folder);
	int r = 0;
	for (int i = 0; i < n; i++) {
		struct stat st;
		snprintf(path, sizeof(path), "%s/%s", folder, list[i]->d_name);
		if (r == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode))
			r = put_program(fd, path, list[i]->d_name, e);
		free(list[i]);
	}
	free(list);
	return r;
}

static const char *tools_name(const struct agent *agent, struct arena *a)
{
	struct dirent **list;
	uint64_t h = FNV_BASIS;
	int n = agent->tools_dir ? scandir(agent->tools_dir, &list, is_pulumi, alphasort) : -1;
	bool any = false;
	if (n < 0)
		return NULL;
	for (int i = 0; i < n; i++) {
		struct stat st;
		const char *path = arena_printf(a, "%s/%s", agent->tools_dir, list[i]->d_name);
		if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			h = hash_file(h, list[i]->d_name, &st);
			any = any || streq(list[i]->d_name, "pulumi");
		}
		free(list[i]);
	}
	free(list);
	const char *version = any ? tools_pulumi_version(agent, a) : NULL;
	return version ? arena_printf(a, "slipway-pulumi-%s-%016llx", version, (unsigned long long)h) : NULL;
}

int docker_volumes_name(const struct agent *agent, struct docker_engine *engine, struct err *e)
{
	struct stat st;
	if (stat(agent->executor, &st) != 0)
		return err_errno(e, "%s", agent->executor);
	engine->executor_volume = arena_printf(&engine->arena, "slipway-executor-" SLIPWAY_VERSION "-%016llx",
					       (unsigned long long)hash_file(FNV_BASIS, "executor", &st));
	engine->tools_volume = tools_name(agent, &engine->arena);
	return arena_failed(&engine->arena) ? err_nomem(e) : 0;
}

void docker_mount(struct json_writer *w, const char *volume, const char *target, bool read_only)
{
	jw_object(w);
	jw_kv_string(w, "Type", "volume");
	jw_kv_string(w, "Source", volume);
	jw_kv_string(w, "Target", target);
	jw_kv_bool(w, "ReadOnly", read_only);
	jw_key(w, "VolumeOptions");
	jw_object(w);
	/* What the image has there must not get into a volume that others trust. */
	jw_kv_bool(w, "NoCopy", true);
	jw_key(w, "Labels");
	jw_object(w);
	jw_kv_string(w, DOCKER_LABEL_VOLUME, volume);
	jw_object_end(w);
	jw_object_end(w);
	jw_object_end(w);
}

struct filling {
	const struct agent *agent;
	bool tools;
};

static int write_volume(void *arg, int fd, struct err *e)
{
	const struct filling *f = arg;
	const struct tar_owner root = { 0 };
	int r = f->tools ? put_tools(fd, f->agent->tools_dir, e)
			 : put_program(fd, f->agent->executor, "slipway-executor", e);
	if (r == 0)
		r = tar_put_text(fd, COMPLETE, STR(""), 0444, root, e);
	return r < 0 ? r : tar_end(fd, e);
}

/* A container that never starts: the archive call works on it all the same. Its name is the volume's lock: two agents
 * that unpacked into one volume at once would take the files from each other. ERR_CONFLICT: somebody else fills it. */
static int fill(const struct agent *agent, struct docker *d, const char *volume, const char *image, bool tools,
		struct arena *a, struct err *e)
{
	_cleanup_buf_ struct buf body;
	struct json_writer w;
	struct json answer;
	struct filling filling = { .agent = agent, .tools = tools };
	const char *target = tools ? DOCKER_OURS_TOOLS : DOCKER_OURS_EXECUTOR;
	log_info("agent", "filling the volume %s", volume);
	buf_init(&body, 16 * KIB);
	jw_init(&w, &body);
	jw_object(&w);
	jw_kv_string(&w, "Image", image);
	jw_key(&w, "Entrypoint");
	jw_array(&w);
	jw_string(&w, DOCKER_EXECUTOR);
	jw_array_end(&w);
	docker_labels(&w, agent, NULL);
	jw_key(&w, "HostConfig");
	jw_object(&w);
	jw_kv_string(&w, "NetworkMode", "none");
	jw_key(&w, "Mounts");
	jw_array(&w);
	docker_mount(&w, volume, target, false);
	jw_array_end(&w);
	jw_object_end(&w);
	jw_object_end(&w);
	const char *path = arena_printf(a, "/containers/create?name=" FILLER "%s", volume);
	struct docker_query q = { .method = "POST", .path = path, .body = buf_str(&body) };
	int r = path ? buf_check(&body, "a container", e) : err_nomem(e);
	if (r == 0)
		r = docker_send(d, &q, a, &answer, e);
	const char *id = r == 0 ? json_cstr(json_get(answer, "Id"), a) : NULL;
	if (r == 0 && !id)
		r = err_set(e, ERR_UNAVAILABLE, "the container engine does not name the container that it made");
	if (r < 0)
		return r;
	r = docker_put(d, id, target, write_volume, &filling, a, e);
	struct err ignored = { 0 };
	(void)docker_do(d, a, &ignored, "DELETE", "/containers/%s?force=1", id);
	return r;
}

static bool is_cancelled(const struct docker *d)
{
	return d->cancelled && d->cancelled(d->cancelled_arg);
}

static int try_fill(const struct agent *agent, struct docker *d, const char *container, const char *volume,
		    const char *image, bool tools, struct arena *a, struct err *e)
{
	int r = docker_do(d, a, e, "HEAD", "/containers/%s/archive?path=%s/" COMPLETE, container,
			  tools ? DOCKER_OURS_TOOLS : DOCKER_OURS_EXECUTOR);
	if (r != -ERR_NOT_FOUND)
		return r;
	err_reset(e);
	return fill(agent, d, volume, image, tools, a, e);
}

static int fill_if_needed(const struct agent *agent, struct docker *d, const char *container, const char *volume,
			  const char *image, bool tools, struct arena *a, struct err *e)
{
	struct err missing = { 0 };
	int64_t takes_over_us = clock_mono_us() + FILL_US;
	int r = try_fill(agent, d, container, volume, image, tools, a, &missing);
	while (r == -ERR_CONFLICT && !is_cancelled(d)) {
		/* Whoever fills it, or its agent, may have died. */
		if (clock_mono_us() > takes_over_us) {
			log_warn("agent", "another agent began to fill the volume %s and does not end: taking over",
				 volume);
			err_reset(&missing);
			(void)docker_do(d, a, &missing, "DELETE", "/containers/" FILLER "%s?force=1", volume);
			takes_over_us = clock_mono_us() + FILL_US;
		}
		usleep(FILL_LOOK_US);
		err_reset(&missing);
		r = try_fill(agent, d, container, volume, image, tools, a, &missing);
	}
	return r < 0 ? err_set(e, missing.code, "cannot bring %s to the container engine: %s",
			       tools ? "pulumi" : "the executor", missing.message)
		     : 0;
}

int docker_volumes_fill(const struct agent *agent, struct docker_engine *engine, struct docker *d,
			const char *container, const char *image, struct arena *a, struct err *e)
{
	int r = fill_if_needed(agent, d, container, engine->executor_volume, image, false, a, e);
	if (r == 0 && engine->tools_volume)
		r = fill_if_needed(agent, d, container, engine->tools_volume, image, true, a, e);
	return r;
}
