#include "executor/plan.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/fields.h"
#include "executor/executor.h"
#include "os/file.h"

#define PATIENCE_DEFAULT_MS 30000

struct plan_text {
	int64_t version, patience_ms, memory_bytes;
	const char *root, *tree, *work_dir, *stack, *operation, *shell, *home;
	struct json pre_run, environment, files;
	bool skip, delete_after, remediate, fixed_paths, cache, files_required;
	int64_t uid, gid;
};

static const struct field plan_fields[] = {
	FIELD(struct plan_text, version, "version", FIELD_INT, .required = true),
	FIELD(struct plan_text, root, "root", FIELD_STRING, .required = true),
	FIELD(struct plan_text, tree, "tree", FIELD_STRING, .required = true),
	FIELD(struct plan_text, work_dir, "workDir", FIELD_STRING, .required = true),
	FIELD(struct plan_text, stack, "stack", FIELD_STRING, .required = true),
	FIELD(struct plan_text, operation, "operation", FIELD_STRING, .required = true),
	FIELD(struct plan_text, shell, "shell", FIELD_STRING),
	FIELD(struct plan_text, memory_bytes, "memoryBytes", FIELD_INT),
	FIELD(struct plan_text, patience_ms, "patienceMs", FIELD_INT, .min = 0, .max = 86400000),
	FIELD(struct plan_text, home, "home", FIELD_STRING),
	FIELD(struct plan_text, fixed_paths, "fixedPaths", FIELD_BOOL),
	FIELD(struct plan_text, cache, "cache", FIELD_BOOL),
	FIELD(struct plan_text, pre_run, "preRunCommands", FIELD_STRING_LIST),
	FIELD(struct plan_text, environment, "environment", FIELD_JSON_ARRAY, .required = true),
	FIELD(struct plan_text, uid, "uid", FIELD_INT, .min = 0, .max = UINT32_MAX - 1),
	FIELD(struct plan_text, gid, "gid", FIELD_INT, .min = 0, .max = UINT32_MAX - 1),
	FIELD(struct plan_text, files, "files", FIELD_JSON_ARRAY),
	FIELD(struct plan_text, files_required, "filesRequired", FIELD_BOOL),
	FIELD(struct plan_text, skip, "skipInstallDependencies", FIELD_BOOL),
	FIELD(struct plan_text, delete_after, "deleteAfterDestroy", FIELD_BOOL),
	FIELD(struct plan_text, remediate, "remediateIfDriftDetected", FIELD_BOOL),
	FIELD_END
};

static bool read_pair(struct json pair, struct arena *a, struct str *ret_one, struct str *ret_two)
{
	struct json_iter it = json_iter_start(pair);
	struct json one, two;
	return json_next(&it, NULL, &one) && json_next(&it, NULL, &two) && json_string(one, a, ret_one) &&
	       json_string(two, a, ret_two) && !str_has_nul(*ret_one) && !str_has_nul(*ret_two);
}

static int read_files(struct json list, struct arena *a, struct plan *ret, struct err *e)
{
	struct plan_file *files = arena_array(a, json_count(list) + 1, sizeof(*files));
	struct json pair;
	struct str path;
	size_t n = 0;
	if (!files)
		return err_nomem(e);
	json_foreach(pair, list) {
		if (!read_pair(pair, a, &path, &files[n].content))
			return err_set(e, ERR_BAD_REQUEST, "plan: /files: must be pairs of strings");
		files[n++].path = path.p;
	}
	ret->files = files;
	ret->file_count = n;
	return 0;
}

static int read_environment(struct json list, struct arena *a, struct env_set *env, struct err *e)
{
	struct json pair;
	json_foreach(pair, list) {
		struct str n, v;
		if (!read_pair(pair, a, &n, &v))
			return err_set(e, ERR_BAD_REQUEST, "plan: /environment: must be pairs of strings");
		if (!env_set_put(env, n, v))
			return err_nomem(e);
	}
	return 0;
}

int plan_parse(struct str text, struct arena *a, struct plan *ret, struct err *e)
{
	struct plan_text t = { .shell = "bash", .uid = -1, .gid = -1, .patience_ms = PATIENCE_DEFAULT_MS };
	struct json root;
	int r = json_check(text, &root, e);
	if (r == 0)
		r = fields_decode(root, plan_fields, &t, a, NULL, e);
	if (r < 0)
		return err_wrap(e, "plan");
	if (t.version != PLAN_VERSION)
		return err_set(e, ERR_BAD_REQUEST,
			       "the agent and the executor are of different versions (plan %d, known %d)",
			       (int)t.version, PLAN_VERSION);
	const char **pre_run = arena_array(a, json_count(t.pre_run) + 1, sizeof(*pre_run));
	struct env_set *env = env_set_new(a);
	if (!pre_run || !env)
		return err_nomem(e);
	size_t n = 0;
	struct json command;
	json_foreach(command, t.pre_run) {
		pre_run[n] = json_cstr(command, a);
		if (!pre_run[n++])
			return err_set(e, ERR_BAD_REQUEST, "plan: /preRunCommands: must be strings");
	}
	r = read_environment(t.environment, a, env, e);
	if (r < 0)
		return r;
	*ret = (struct plan){ .root = t.root,
			      .tree = t.tree,
			      .work_dir = t.work_dir,
			      .stack = t.stack,
			      .operation = t.operation,
			      .shell = t.shell,
			      .patience_ms = t.patience_ms,
			      .home = t.home,
			      .fixed_paths = t.fixed_paths,
			      .cache = t.cache,
			      .pre_run = pre_run,
			      .memory_bytes = t.memory_bytes,
			      .drop = t.uid >= 0 && t.gid >= 0,
			      .uid = t.uid,
			      .gid = t.gid,
			      .skip_install_dependencies = t.skip,
			      .delete_after_destroy = t.delete_after,
			      .remediate_if_drift_detected = t.remediate,
			      .files_required = t.files_required,
			      .env = env };
	return read_files(t.files, a, ret, e);
}

static int read_fd(int fd, struct buf *b, struct err *e)
{
	for (;;) {
		if (!buf_reserve(b, 65536))
			return buf_check(b, "the plan", e);
		ssize_t n = read(fd, b->data + b->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot read the plan");
		if (n == 0)
			return 0;
		b->len += (size_t)n;
	}
}

/* The plan at the head of a stream of which the rest is the control. */
static int read_head(int fd, struct buf *b, struct err *e)
{
	unsigned char n[4];
	size_t want = sizeof(n);
	bool known = false;
	while (b->len < want || !known) {
		if (!known && b->len == sizeof(n)) {
			memcpy(n, b->data, sizeof(n));
			want = (size_t)n[0] | (size_t)n[1] << 8 | (size_t)n[2] << 16 | (size_t)n[3] << 24;
			known = true;
			buf_reset(b);
			continue;
		}
		if (!buf_reserve(b, want - b->len))
			return buf_check(b, "the plan", e);
		ssize_t got = read(fd, b->data + b->len, want - b->len);
		if (got < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
			continue;
		}
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_errno(e, "cannot read the plan");
		if (got == 0)
			return err_set(e, ERR_CANCELLED, "the agent is gone");
		b->len += (size_t)got;
	}
	return 0;
}

static int load_stream(int fd, struct arena *a, struct plan *ret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, PLAN_MAX_BYTES);
	int r = read_head(fd, &b, e);
	return r < 0 ? r : plan_parse(buf_str(&b), a, ret, e);
}

int plan_load(const char *source, struct arena *a, struct plan *ret, struct err *e)
{
	int64_t fd;
	if (streq(source, PLAN_STREAM))
		return load_stream(STDIN_FILENO, a, ret, e);
	if (str_starts_with(str_of(source), "fd:") && str_to_int64(str_of(source + 3), &fd) && fd > FRAME_FD) {
		_cleanup_buf_ struct buf b;
		buf_init(&b, PLAN_MAX_BYTES);
		int r = read_fd((int)fd, &b, e);
		close((int)fd);
		return r < 0 ? r : plan_parse(buf_str(&b), a, ret, e);
	}
	struct str text;
	int r = file_read(a, source, PLAN_MAX_BYTES, &text, e);
	if (r < 0)
		return r;
	if (unlink(source) != 0)
		return err_errno(e, "cannot remove %s", source);
	return plan_parse(text, a, ret, e);
}
