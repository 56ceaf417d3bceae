/* What agents and runners call (docs/runner-protocol.md). */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "deploy/job.h"
#include "deploy/log_store.h"
#include "deploy/queue.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

/* Who does not wait polls; who does may come again at once. */
#define RETRY_AFTER_POLLING "5"
#define RETRY_AFTER_WAITING "0"
#define AGENT_TEXT_MAX 200
#define STEP_NAME_MAX 200
#define FINISH_MESSAGE_MAX 4000
#define EXECUTOR_MAX_BYTES (256 * MIB)
#define EXECUTOR_GZIP_LEVEL 6

static const char *const step_statuses[] = { "not-started", "running", "succeeded", "failed", NULL };
static const char *const finish_statuses[] = { "succeeded", "failed", NULL };

struct runner_body {
	int64_t attempt;
	int64_t step;
	const char *name;
	const char *status;
	const char *message;
	int64_t offset;
	struct json lines;
};

const struct field runner_attempt_fields[] = { FIELD(struct runner_body, attempt, "attempt", FIELD_INT,
						     .required = true, .min = 0, .max = INT32_MAX),
					       FIELD_END };
const struct field runner_step_fields[] = {
	FIELD(struct runner_body, attempt, "attempt", FIELD_INT, .required = true, .min = 0, .max = INT32_MAX),
	FIELD(struct runner_body, step, "step", FIELD_INT, .required = true, .min = 0, .max = 10000),
	FIELD(struct runner_body, name, "name", FIELD_STRING, .required = true, .min = 1, .max = STEP_NAME_MAX),
	FIELD(struct runner_body, status, "status", FIELD_STRING, .required = true, .one_of = step_statuses), FIELD_END
};
const struct field runner_log_fields[] = {
	FIELD(struct runner_body, attempt, "attempt", FIELD_INT, .required = true, .min = 0, .max = INT32_MAX),
	FIELD(struct runner_body, step, "step", FIELD_INT, .required = true, .min = 0, .max = 10000),
	FIELD(struct runner_body, offset, "offset", FIELD_INT, .required = true, .min = 0, .max = INT64_C(1) << 40),
	FIELD(struct runner_body, lines, "lines", FIELD_JSON_ARRAY, .required = true,
	      .doc = "[{\"t\": us, \"l\": text}]"),
	FIELD_END
};
const struct field runner_finish_fields[] = {
	FIELD(struct runner_body, attempt, "attempt", FIELD_INT, .required = true, .min = 0, .max = INT32_MAX),
	FIELD(struct runner_body, status, "status", FIELD_STRING, .required = true, .one_of = finish_statuses),
	FIELD(struct runner_body, message, "message", FIELD_STRING, .max = FINISH_MESSAGE_MAX), FIELD_END
};

const struct field runner_order_query[] = { QUERY("attempt", FIELD_INT, .min = 0, .max = INT32_MAX), FIELD_END };

/* --- poll --- */

static const char *short_header(struct request *r, const char *name)
{
	const char *v = request_header(r, name);
	return !v ? "" : arena_strndup(r->arena, v, strnlen(v, AGENT_TEXT_MAX));
}

static void read_agent(struct request *r, struct agent_info *g)
{
	int64_t pid;
	*g = (struct agent_info){ .name = short_header(r, "Slipway-Agent-Name"),
				  .hostname = short_header(r, "Slipway-Agent-Hostname"),
				  .ip = request_peer(r),
				  .platform = short_header(r, "Slipway-Agent-Platform"),
				  .version = short_header(r, "Slipway-Agent-Version"),
				  .isolation = short_header(r, "Slipway-Agent-Isolation"),
				  .networks = short_header(r, "Slipway-Agent-Networks"),
				  .instance = request_header(r, "Slipway-Agent-Instance"),
				  .life = request_header(r, "Slipway-Agent-Life") };
	if (str_to_int64(str_of(short_header(r, "Slipway-Agent-Pid")), &pid))
		g->pid = pid;
	if (!g->name || !g->name[0])
		g->name = g->ip ? g->ip : "unknown";
}

static int answer_claim(struct request *r, struct response *w, const struct claim *claim, struct err *e)
{
	/* The poller may have gone while it was being claimed for: then the deployment goes to the next one. */
	if (!request_alive(r)) {
		int rc = deployment_give_back(app_of(r), r->arena, claim->deployment_id, claim->attempt, e);
		if (rc < 0)
			return rc;
		response_empty(w, 204);
		return 0;
	}
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "jobID", claim->deployment_id);
	jw_kv_string(j, "runID", claim->deployment_id);
	jw_kv_string(j, "jobToken", claim->runner_token);
	jw_kv_string(j, "oidcToken", "");
	jw_kv_string(j, "typeSpecificID", claim->deployment_id);
	jw_kv_string(j, "deploymentID", claim->deployment_id);
	jw_kv_int(j, "attempt", claim->attempt);
	jw_object_end(j);
	return 0;
}

int runner_poll(struct request *r, struct response *w, struct err *e)
{
	const struct principal *who = &request_access(r)->who;
	int64_t wait_s = request_wait_s(r, 0);
	const char *key = queue_key(r->arena, who->pool_id);
	struct agent_info agent;
	struct claim claim;
	int rc = 0;
	if (!key)
		return err_nomem(e);
	read_agent(r, &agent);
	if (r->parked_until_us == 0)
		rc = queue_agent_seen(app_of(r), who->pool_id, &agent, e);
	if (rc >= 0 && r->parked_until_us == 0)
		rc = queue_end_former_life(app_of(r), r->arena, who->pool_id, &agent, e);
	if (rc < 0)
		return rc;
	http_park(r, key, clock_mono_us() + wait_s * US_PER_S);
	if (!request_stopping(r)) {
		rc = queue_claim(app_of(r), r->arena, who->pool_id, who->org_id, &agent, &claim, e);
		if (rc < 0)
			return rc;
		if (rc > 0)
			return answer_claim(r, w, &claim, e);
		if (clock_mono_us() < r->parked_until_us)
			return HTTP_PARKED;
	}
	response_header(w, "Retry-After",
			wait_s > 0 && !request_stopping(r) ? RETRY_AFTER_WAITING : RETRY_AFTER_POLLING);
	response_empty(w, 204);
	return 0;
}

int runner_leave(struct request *r, struct response *w, struct err *e)
{
	struct agent_info agent;
	read_agent(r, &agent);
	int rc = queue_leave(app_of(r), r->arena, request_access(r)->who.pool_id, &agent, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}

/* --- status, executor --- */

struct status {
	struct arena *arena;
	const char *id;
	const struct principal *who;
	const char *status;
};

static int status_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct status *s = arg;
	struct deployment_get_in in = { .id = s->id };
	struct deployment_get_row d;
	int rc = q_deployment_get(c, s->arena, &in, &d, e);
	if (rc < 0)
		return rc;
	/* A pool sees what it ran, or what waits for it. */
	bool visible = rc > 0 && (s->who->kind == PRINCIPAL_RUNNER || streq(d.agent_pool_id, s->who->pool_id) ||
				  streq(d.pool_id, s->who->pool_id));
	if (!visible)
		return err_set(e, ERR_NOT_FOUND, "deployment '%s'", s->id);
	s->status = d.status;
	return 0;
}

int runner_status(struct request *r, struct response *w, struct err *e)
{
	struct status s = { .arena = r->arena, .id = request_param(r, "deploymentId"), .who = &request_access(r)->who };
	int rc = db_read(app_of(r)->db, status_fn, &s, e);
	if (rc < 0)
		return rc;
	jw_string(response_json(w), s.status);
	return 0;
}

/* The file does not change while the server runs: compressed once, kept. */
static struct str executor_gzip(const char *path, struct err *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct buf gzip;
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *data = NULL;
	struct stat st;
	struct str ret = STR_NULL;
	pthread_mutex_lock(&lock);
	if (gzip.len > 0) {
		ret = buf_str(&gzip);
		goto out;
	}
	fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size > EXECUTOR_MAX_BYTES) {
		err_set(e, ERR_NOT_FOUND, "this server has no executor to give out");
		goto out;
	}
	data = malloc((size_t)st.st_size + 1);
	size_t n = 0;
	for (ssize_t got = 1; data && got > 0 && n<(size_t)st.st_size; n += got> 0 ? (size_t)got : 0)
		got = read(fd, data + n, (size_t)st.st_size - n);
	if (!data || n != (size_t)st.st_size) {
		err_set(e, data ? ERR_IO : ERR_NO_MEMORY, "reading the executor");
		goto out;
	}
	buf_init(&gzip, EXECUTOR_MAX_BYTES);
	if (gzip_compress((struct str){ data, n }, EXECUTOR_GZIP_LEVEL, &gzip, e) == 0)
		ret = buf_str(&gzip);
out:
	pthread_mutex_unlock(&lock);
	return ret;
}

int runner_executor(struct request *r, struct response *w, struct err *e)
{
	struct str gzip = executor_gzip(app_of(r)->options.executor_path, e);
	if (!gzip.p)
		return -(int)e->code;
	response_body(w, "application/octet-stream", gzip);
	return 0;
}

/* --- the job --- */

static int decode(struct request *r, struct response *w, const struct field *table, struct runner_body *ret,
		  struct err *e)
{
	int rc = request_decode(r, w, table, ret, e);
	if (rc == 0 && ret->attempt != request_access(r)->who.attempt)
		return err_set(e, ERR_CONFLICT, "lease lost");
	return rc;
}

int runner_order(struct request *r, struct response *w, struct err *e)
{
	int64_t attempt;
	int rc = request_query_int(r, "attempt", 0, INT32_MAX, request_access(r)->who.attempt, &attempt, e);
	if (rc < 0)
		return rc;
	if (attempt != request_access(r)->who.attempt)
		return err_set(e, ERR_CONFLICT, "lease lost");
	response_header(w, "Cache-Control", "no-store");
	return job_order(app_of(r), r->arena, request_param(r, "deploymentId"), attempt, response_json(w), e);
}

int runner_heartbeat(struct request *r, struct response *w, struct err *e)
{
	struct runner_body b = { 0 };
	bool cancel = false;
	const char *status = NULL;
	const char *id = request_param(r, "deploymentId"), *key = job_key(r->arena, id);
	int64_t wait_s = request_wait_s(r, 0);
	if (!key)
		return err_nomem(e);
	int rc = decode(r, w, runner_attempt_fields, &b, e);
	if (rc == 0 && wait_s > 0)
		http_park(r, key, clock_mono_us() + wait_s * US_PER_S);
	if (rc == 0)
		rc = job_heartbeat(app_of(r), r->arena, id, b.attempt, &cancel, &status, e);
	if (rc < 0)
		return rc;
	if (wait_s > 0 && !cancel && clock_mono_us() < r->parked_until_us && !request_stopping(r))
		return HTTP_PARKED;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_bool(j, "cancel", cancel);
	jw_kv_string(j, "status", status);
	jw_object_end(j);
	return 0;
}

int runner_step(struct request *r, struct response *w, struct err *e)
{
	struct runner_body b = { 0 };
	int rc = decode(r, w, runner_step_fields, &b, e);
	if (rc == 0)
		rc = job_step(app_of(r), r->arena, request_param(r, "deploymentId"), b.attempt, b.step, b.name,
			      b.status, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}

int runner_log(struct request *r, struct response *w, struct err *e)
{
	struct runner_body b = { 0 };
	int64_t next;
	int rc = decode(r, w, runner_log_fields, &b, e);
	if (rc == 0)
		rc = log_append(app_of(r), r->arena, request_param(r, "deploymentId"), b.attempt, b.step, b.offset,
				b.lines, &next, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_int(j, "next", next);
	jw_object_end(j);
	return 0;
}

struct finish {
	struct arena *arena;
	const char *id;
	struct str hash;
	bool known;
	struct deployment_get_row d;
};

static int finish_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct finish *f = arg;
	struct deployment_get_in in = { .id = f->id };
	int rc = q_deployment_get(c, f->arena, &in, &f->d, e);
	f->known = rc > 0 && f->d.runner_hash.p && crypto_equal(f->d.runner_hash, f->hash);
	return rc < 0 ? rc : 0;
}

int runner_finish(struct request *r, struct response *w, struct err *e)
{
	struct runner_body b = { 0 };
	struct finish f = { .arena = r->arena, .id = request_param(r, "deploymentId") };
	const char *header = request_header(r, "Authorization");
	int rc = 0;
	if (header && str_starts_with(str_of(header), "token ")) {
		f.hash = token_hash(r->arena, str_trim(str_of(header + strlen("token "))));
		rc = db_read(app_of(r)->db, finish_fn, &f, e);
	}
	if (rc < 0)
		return rc;
	if (!f.known)
		return err_set(e, ERR_UNAUTHORIZED, "No credentials provided or are invalid.");
	rc = request_decode(r, w, runner_finish_fields, &b, e);
	if (rc < 0)
		return rc;
	bool repeat = f.d.attempt == b.attempt && streq(f.d.status, b.status);
	if (!repeat && (f.d.attempt != b.attempt || deployment_is_over(f.d.status)))
		return err_set(e, ERR_CONFLICT, "lease lost");
	if (!repeat)
		rc = deployment_end(app_of(r), r->arena, f.id, b.attempt,
				    streq(b.status, "succeeded") ? DEPLOYMENT_SUCCEEDED : DEPLOYMENT_FAILED,
				    b.message ? b.message : "", e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}
