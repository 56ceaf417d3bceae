#include <stdio.h>

#include "agent/docker_run.h"
#include "agent/docker_volume.h"
#include "base/limits.h"
#include "executor/plan.h"
#include "os/sandbox.h"

#define CPU_PERIOD_US 100000
/* Of /tmp and the home, where they are in memory. */
#define MEMORY_FILES_BYTES (1024 * (int64_t)MIB)

/* What the executor needs before it begins: to close the way to the metadata service, and to give up all of these. */
static const char *const capabilities[] = { "NET_ADMIN", "SETUID", "SETGID", "SETPCAP" };

static void put_list(struct json_writer *w, const char *key, const char *one)
{
	jw_key(w, key);
	jw_array(w);
	jw_string(w, one);
	jw_array_end(w);
}

static void put_limits(struct json_writer *w, const struct docker_engine *g, const struct limits *l, bool disk)
{
	if (g->limits_memory && l->memory_bytes) {
		jw_kv_int(w, "Memory", l->memory_bytes);
		if (g->limits_swap)
			jw_kv_int(w, "MemorySwap", l->memory_bytes);
	}
	if (g->limits_cpu && l->cpu_percent) {
		jw_kv_int(w, "CpuPeriod", CPU_PERIOD_US);
		jw_kv_int(w, "CpuQuota", l->cpu_percent * (CPU_PERIOD_US / 100));
	}
	if (g->limits_pids && l->pids)
		jw_kv_int(w, "PidsLimit", l->pids);
	if (disk) {
		char size[24];
		snprintf(size, sizeof(size), "%lld", (long long)l->disk_bytes);
		jw_key(w, "StorageOpt");
		jw_object(w);
		jw_kv_string(w, "size", size);
		jw_object_end(w);
	}
}

static void put_ulimit(struct json_writer *w, const char *name, int64_t n)
{
	jw_object(w);
	jw_kv_string(w, "Name", name);
	jw_kv_int(w, "Soft", n);
	jw_kv_int(w, "Hard", n);
	jw_object_end(w);
}

/* A root that nobody writes to: what a run writes lies in memory, but for its tree. */
static void put_read_only(struct json_writer *w, const struct docker_run *run)
{
	char options[128];
	snprintf(options, sizeof(options), "rw,nosuid,nodev,exec,mode=1777,size=%lld", (long long)MEMORY_FILES_BYTES);
	jw_kv_bool(w, "ReadonlyRootfs", true);
	jw_key(w, "Tmpfs");
	jw_object(w);
	jw_kv_string(w, "/tmp", options);
	jw_kv_string(w, run->home, options);
	jw_object_end(w);
}

static void put_host_config(struct json_writer *w, const struct docker_run *run, bool disk)
{
	const struct agent *agent = run->job->agent;
	const struct docker_engine *g = run->engine;
	jw_key(w, "HostConfig");
	jw_object(w);
	jw_kv_string(w, "NetworkMode", docker_network_name(agent, run->job->slot, &run->job->arena));
	put_list(w, "CapDrop", "ALL");
	jw_key(w, "CapAdd");
	jw_array(w);
	for (size_t i = agent->config->allow_metadata; i < ARRAY_SIZE(capabilities); i++)
		jw_string(w, capabilities[i]);
	jw_array_end(w);
	put_list(w, "SecurityOpt", "no-new-privileges");
	jw_kv_string(w, "IpcMode", "private");
	/* What comes out has not been masked: the engine must not keep it. */
	jw_key(w, "LogConfig");
	jw_object(w);
	jw_kv_string(w, "Type", "none");
	jw_object_end(w);
	jw_key(w, "Ulimits");
	jw_array(w);
	put_ulimit(w, "core", 0);
	jw_array_end(w);
	put_limits(w, g, &agent->limits, disk);
	if (agent->config->container_read_only)
		put_read_only(w, run);
	jw_key(w, "Mounts");
	jw_array(w);
	docker_mount(w, g->executor_volume, DOCKER_OURS_EXECUTOR, true);
	if (g->tools_volume)
		docker_mount(w, g->tools_volume, DOCKER_OURS_TOOLS, true);
	if (agent->config->container_read_only)
		docker_mount(w, "", DOCKER_TREE, false);
	jw_array_end(w);
	jw_object_end(w);
}

/* Nothing of the plan is in here: whoever may ask the engine may read it. */
static void put_container(struct json_writer *w, const struct docker_run *run, bool disk)
{
	jw_object(w);
	jw_kv_string(w, "Image", run->image.id);
	put_list(w, "Entrypoint", DOCKER_EXECUTOR);
	jw_key(w, "Cmd");
	jw_array(w);
	jw_string(w, PLAN_STREAM);
	if (!run->job->agent->config->allow_metadata)
		jw_string(w, "--close-metadata");
	jw_array_end(w);
	jw_kv_string(w, "User", "0:0");
	jw_kv_string(w, "WorkingDir", "/");
	jw_kv_string(w, "Hostname", SANDBOX_HOSTNAME);
	static const char *const streams[] = { "AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin",
					       "StdinOnce" };
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++)
		jw_kv_bool(w, streams[i], true);
	jw_kv_bool(w, "Tty", false);
	/* The image's own would be run beside the steps. */
	jw_key(w, "Healthcheck");
	jw_object(w);
	put_list(w, "Test", "NONE");
	jw_object_end(w);
	docker_labels(w, run->job->agent, run->job->order.id);
	put_host_config(w, run, disk);
	jw_object_end(w);
}

static int create(struct docker_run *run, bool disk, struct err *e)
{
	struct arena *a = &run->job->arena;
	_cleanup_buf_ struct buf body;
	struct json_writer w;
	struct json answer;
	buf_init(&body, 64 * KIB);
	jw_init(&w, &body);
	put_container(&w, run, disk);
	struct docker_query q = {
		.method = "POST",
		.path = arena_printf(a, "/containers/create?name=slipway-%s-%lld", run->job->order.id,
				     (long long)run->job->claim.attempt),
		.body = buf_str(&body),
	};
	int r = buf_check(&body, "a container", e);
	if (r == 0)
		r = q.path ? docker_send(&run->docker, &q, a, &answer, e) : err_nomem(e);
	if (r < 0)
		return r;
	run->container = json_cstr(json_get(answer, "Id"), a);
	return run->container ? 0 : err_set(e, ERR_UNAVAILABLE, "the container engine does not name the container");
}

int docker_create(struct docker_run *run, struct err *e)
{
	struct docker_engine *g = run->engine;
	bool disk = g->limits_disk && run->job->agent->limits.disk_bytes > 0;
	int r = create(run, disk, e);
	/* Only few storage drivers can, and they say so when asked for a container. */
	if (r < 0 && disk &&
	    (strstr(e->message, "storage-opt") || strstr(e->message, "StorageOpt") ||
	     strstr(e->message, "storage opt") || strstr(e->message, "size"))) {
		g->limits_disk = false;
		err_reset(e);
		r = create(run, false, e);
	}
	return r < 0 ? err_wrap(e, "cannot make the container") : 0;
}
