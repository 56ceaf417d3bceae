#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/metrics.h"
#include "agent/network.h"
#include "agent/source.h"
#include "agent/template.h"
#include "base/clock.h"
#include "base/log.h"
#include "executor/plan.h"
#include "os/file.h"

/* The claim is taken back after 15 s (runner-protocol "Work order"). */
#define ORDER_PATIENCE_US (12 * US_PER_S)
/* Beyond the ladder of a cancel: something is stuck. */
#define OVERTIME_US (35 * US_PER_S)
/* So long before the lease may be over a run is asked to stop, if the server was not reached meanwhile, and is killed:
 * parts of the lease, and at most. The server writes an extension of less than an eighth or 5 s late. */
#define CUT_OFF_PART 4
#define CUT_OFF_MAX_US (90 * US_PER_S)
#define CUT_OFF_KILL_PART 8
#define CUT_OFF_KILL_MAX_US (5 * US_PER_S)
#define KILLED_PATIENCE_MS 3000
/* A clone that is not through after this will not be. */
#define SOURCE_TIMEOUT_US (30 * US_PER_MINUTE)
#define SOURCE_RETRY_MS 1000
/* After the grace period of a stop and the cancel's ladder: a word to the server. */
#define STOP_PATIENCE_US (10 * US_PER_S)
#define HEARTBEAT_MAX_S 5

bool job_stop_is_kill(enum job_stop s)
{
	return s >= JOB_KILL_RUNNER;
}

static int64_t ladder_us(const struct agent *agent)
{
	return agent->config->patience_us + plan_kill_patience(agent->config->patience_us);
}

static bool is_cut_off(const struct job *j, int64_t part, int64_t max_us)
{
	int64_t margin_us = j->contact.lease_us / part;
	return contact_may_be_over(&j->contact, margin_us < max_us ? margin_us : max_us);
}

enum job_stop job_stop(struct job *j)
{
	const struct agent *agent = j->agent;
	enum upload_state upload = upload_state(j->upload, NULL);
	int64_t now = clock_mono_us();
	int stopping = agent->stopping;
	if (j->state.lost || upload == UPLOAD_LOST)
		return JOB_KILL_LOST;
	if (upload == UPLOAD_REFUSED)
		return JOB_KILL_REFUSED;
	if (stopping >= 2)
		return JOB_KILL_RUNNER;
	if (watch_finding(j->watch))
		return JOB_KILL_LIMIT;
	/* It would go on beside whoever is given the stack next. */
	if (is_cut_off(j, CUT_OFF_KILL_PART, CUT_OFF_KILL_MAX_US))
		return JOB_KILL_CUT_OFF;
	enum job_stop s = j->state.cancel				? JOB_CANCELLED
			  : now > j->deadline_us			? JOB_DEADLINE
			  : stopping && now > agent->stop_mono_us	? JOB_RUNNER_STOPS
			  : is_cut_off(j, CUT_OFF_PART, CUT_OFF_MAX_US) ? JOB_CUT_OFF
									: JOB_RUNS;
	if (s != JOB_RUNS && !j->stop_since_us)
		j->stop_since_us = now;
	int64_t overtime_us = ladder_us(agent) + OVERTIME_US;
	return j->stop_since_us && now > j->stop_since_us + overtime_us ? JOB_KILL_OVERTIME : s;
}

/* A stop explains a failure better than what it broke. */
static void explain_stop(struct job *j, struct err *e)
{
	enum job_stop s = job_stop(j);
	struct err why = { 0 };
	if (s == JOB_CANCELLED)
		err_set(e, ERR_CANCELLED, "the deployment was cancelled");
	else if (s == JOB_DEADLINE)
		err_set(e, ERR_TIMEOUT, "the deployment exceeded its time limit of %lld seconds",
			(long long)j->order.timeout_s);
	else if (s == JOB_RUNNER_STOPS || s == JOB_KILL_RUNNER)
		err_set(e, ERR_CANCELLED, "the runner was stopped while the deployment ran");
	else if (s == JOB_CUT_OFF || s == JOB_KILL_CUT_OFF)
		err_set(e, ERR_CANCELLED,
			"the runner could not reach the server for too long: its lease would have ended");
	else if (s == JOB_KILL_OVERTIME)
		err_set(e, ERR_TIMEOUT, "the deployment did not end when it was asked to, and was killed");
	else if (s == JOB_KILL_LIMIT) {
		char text[256];
		watch_explain(j->watch, text, sizeof(text));
		err_set(e, ERR_TOO_LARGE, "%s", text);
	} else if (s == JOB_KILL_REFUSED && upload_state(j->upload, &why) != UPLOAD_GOING)
		err_set(e, ERR_INTERNAL, "the server did not take the log: %s", why.message);
}

static bool is_agent_stopping(void *arg)
{
	const struct job *j = arg;
	return j->agent->stopping != 0;
}

static int fetch_order(struct job *j, struct err *e)
{
	int64_t until = clock_mono_us() + ORDER_PATIENCE_US;
	for (int pause_ms = 100;; pause_ms *= 2) {
		int r = api_order(&j->api, &j->arena, &j->order, e);
		if (r == 0 || !api_is_transient(r) || j->agent->stopping ||
		    clock_mono_us() + pause_ms * US_PER_MS > until)
			return r;
		poll(NULL, 0, pause_ms);
	}
}

static int make_dir(struct job *j, struct err *e)
{
	static const char *const parts[] = { "tree", "home", "tmp" };
	j->dir = arena_printf(&j->arena, "%s/%s-%lld", j->agent->jobs_dir, j->claim.deployment,
			      (long long)j->claim.attempt);
	int r = j->dir ? file_remove_tree(j->dir, e) : err_nomem(e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = file_mkdir_p(arena_printf(&j->arena, "%s/%s", j->dir, parts[i]), 0700, e);
	if (r == 0 && isolate_drops(j->agent))
		r = file_chown_tree(arena_printf(&j->arena, "%s/tree", j->dir), j->uid, j->gid, e);
	return r;
}

/* What was killed may take a moment to be gone, and to stop making files. */
static void remove_dir(struct job *j)
{
	struct err e = { 0 };
	int r = j->dir ? file_remove_tree(j->dir, &e) : 0;
	for (int tries = 0; r < 0 && tries < 50; tries++) {
		poll(NULL, 0, 20);
		r = file_remove_tree(j->dir, &e);
	}
	if (r < 0)
		log_warn("agent", "%s: %s", j->claim.deployment, e.message);
}

static int set_up(struct job *j, const struct buf *unmasked, struct err *e)
{
	const struct order *o = &j->order;
	job_line(j, "Preparing environment");
	job_line(j, "Stack %s/%s/%s, operation %s, deployment %lld%s%s", o->organization, o->project, o->stack,
		 o->operation, (long long)o->version, o->requested_by[0] ? ", asked for by " : "", o->requested_by);
	job_line(j, "Runner %s on %s, Slipway %s", j->agent->name, j->agent->hostname, SLIPWAY_VERSION);
	for (const char *const *t = j->agent->level->text(j->agent); *t; t++)
		job_line(j, "%s", *t);
	job_line(j, "Limits: %s.", j->agent->limits.text);
	if (unmasked->len)
		job_line(j, "warning: values shorter than %d bytes cannot be masked: %.*s", MASK_VALUE_MIN_BYTES,
			 (int)unmasked->len, unmasked->data);
	int r = network_start(j, e);
	if (r < 0)
		return r;
	network_say(j);
	const struct isolation *level = j->agent->level;
	if (o->image.reference && !level->prepare)
		return err_set(
			e, ERR_NOT_BUILT,
			"this deployment asks for the image %s, and this runner (isolation %s) runs no "
			"containers: remove executorImage from the settings, or use a runner with --isolation docker",
			o->image.reference, agent_isolation_name(level->id));
	const char *version = tools_pulumi_version(j->agent, &j->arena);
	if (!version && !level->prepare)
		return err_set(
			e, ERR_NOT_FOUND,
			"pulumi was not found on this runner: install it (tools/get-pulumi of Slipway's "
			"sources, or https://www.pulumi.com/docs/install/) and start the agent with it on its PATH, or "
			"with --tools FOLDER");
	if (version)
		job_line(j, "Pulumi %s%s", version,
			 level->prepare ? " of this runner, unless the image has its own" : "");
	return level->prepare ? level->prepare(j, e) : 0;
}

static bool is_stopped(void *arg)
{
	return job_stop(arg) != JOB_RUNS;
}

static void git_output(void *arg, struct str bytes)
{
	job_output(arg, bytes);
}

static void git_say(void *arg, const char *line)
{
	job_line(arg, "%s", line);
}

static int choose_template(struct job *j, struct err *e)
{
	struct template_url t;
	struct order_git *git = &j->order.git;
	int r = template_url_parse(j->order.template_url, &j->arena, &t, e);
	if (r < 0)
		return r;
	git->repo_url = t.repo_url;
	git->branch = t.branch;
	git->commit = t.commit;
	git->repo_dir = t.dir;
	return 0;
}

static int fill_template(struct job *j, struct err *e)
{
	const char *folder = arena_printf(&j->arena, "%s/tree/%s", j->dir, j->repo_dir);
	int r = folder ? template_fill(folder, j->order.project, e) : err_nomem(e);
	if (r == 0)
		job_line(j, "The template is the program of project %s now", j->order.project);
	return r;
}

static int get_source(struct job *j, struct err *e)
{
	if (j->order.unsupported && strcmp(j->order.unsupported, "none") == 0)
		return err_set(e, ERR_NOT_BUILT,
			       "no git repository is named: neither the stack's deployment settings nor the request "
			       "have a sourceContext.git.repoUrl");
	if (j->order.unsupported)
		return err_set(e, ERR_NOT_BUILT,
			       "sources of the kind '%s' cannot be fetched by this runner: use a git repository",
			       j->order.unsupported);
	if (j->order.template_url) {
		int r = choose_template(j, e);
		if (r < 0)
			return r;
	}
	int64_t limit_us = clock_mono_us() + SOURCE_TIMEOUT_US;
	struct source_config c = { .git = { .dir = j->dir,
					    .drop = isolate_drops(j->agent),
					    .uid = j->uid,
					    .gid = j->gid,
					    .insecure = j->agent->insecure,
					    .known_hosts = j->agent->known_hosts,
					    .deadline_us = limit_us < j->deadline_us ? limit_us : j->deadline_us,
					    .bytes_max = (uint64_t)j->agent->limits.disk_bytes,
					    .wake_fd = -1,
					    .stopped = is_stopped,
					    .output = git_output,
					    .arg = j },
				   .source = &j->order.git,
				   .mirrors = &j->agent->mirrors,
				   .retry_pause_ms = SOURCE_RETRY_MS,
				   .say = git_say };
	int r = source_fetch(&c, &j->arena, &j->repo_dir, e);
	return r == 0 && j->order.template_url ? fill_template(j, e) : r;
}

/* Agent and executor come together, so there is nothing to fetch; the step has its place in the order (features §2.1), and
 * says which program runs the others. */
static int get_executor(struct job *j, struct err *e)
{
	struct stat st;
	if (stat(j->agent->executor, &st) != 0)
		return err_errno(e, "the program slipway-executor is not there any more (%s)", j->agent->executor);
	job_line(j, "slipway-executor " SLIPWAY_VERSION " comes with this runner (%lld KiB): nothing to download",
		 (long long)st.st_size / 1024);
	return 0;
}

int job_run_step(struct job *j, const char *name, int (*fn)(struct job *j, struct err *e), struct err *e)
{
	job_step_begin(j, name);
	int r = fn(j, e);
	if (r < 0) {
		explain_stop(j, e);
		job_line(j, "Error: %s", e->message);
	}
	job_step_end(j, r == 0);
	return r;
}

/* From here on it is bounded. */
static int watch_over(struct job *j, struct err *e)
{
	int r = limits_group(j->agent, strrchr(j->dir, '/') + 1, &j->group, e);
	return r < 0 ? r : watch_start(j->dir, &j->agent->limits, &j->group, j->wake_fd, &j->watch, e);
}

static int run_steps(struct job *j, const struct buf *unmasked, struct err *e)
{
	job_step_begin(j, "Setup");
	int r = make_dir(j, e);
	if (r == 0)
		r = watch_over(j, e);
	if (r == 0)
		r = set_up(j, unmasked, e);
	if (r < 0)
		job_line(j, "Error: %s", e->message);
	job_step_end(j, r == 0);
	if (r == 0)
		r = job_run_step(j, "Download deployment executor", get_executor, e);
	if (r == 0)
		r = job_credentials(j, e);
	if (r == 0 && j->order.has_source)
		r = job_run_step(j, "Get source", get_source, e);
	if (r == 0)
		r = job_execute(j, e);
	if (r < 0)
		explain_stop(j, e);
	return r;
}

/* Whether a server that is away is no longer waited for. */
static bool in_hurry(void *arg)
{
	const struct job *j = arg;
	const struct agent *agent = j->agent;
	int stopping = agent->stopping;
	int64_t patience_us = ladder_us(agent) + STOP_PATIENCE_US;
	return stopping >= 2 || (stopping && clock_mono_us() > agent->stop_mono_us + patience_us);
}

/* The result must arrive: without it the deployment ends only when its lease does. */
static void finish(struct job *j, bool ok, const struct err *why)
{
	_cleanup_buf_ struct buf message;
	struct err e = { 0 };
	buf_init(&message, 8 * KIB);
	mask_text(j->mask, str_of(ok ? "" : why->message), &message);
	buf_addc(&message, '\0');
	for (int pause_ms = 100;; pause_ms = pause_ms < 3000 ? pause_ms * 2 : 3000) {
		int r = api_finish(&j->api, ok, message.len ? message.data : "", &e);
		if (r == 0)
			return;
		bool hurry = in_hurry(j);
		if (!api_is_transient(r) || contact_is_over(&j->contact) || j->state.lost ||
		    (hurry && pause_ms > 1000)) {
			log_warn("agent", "%s: the result could not be reported: %s", j->claim.deployment, e.message);
			return;
		}
		poll(NULL, 0, pause_ms);
	}
}

/* Should the report of its first step have got through after all, it cannot go back: then it ends here. */
static void hand_back(struct job *j)
{
	struct err e = { 0 };
	log_info("agent", "%s: goes back to the queue, nothing of it was begun", j->claim.deployment);
	if (agent_leave(j->agent) &&
	    api_finish(&j->api, false, "the runner was stopped before the deployment began", &e) == 0)
		log_warn("agent", "%s: it had begun for the server: failed", j->claim.deployment);
}

static int start_upload(struct job *j, struct err *e)
{
	struct upload_config c = { .server_url = j->agent->server_url,
				   .claim = &j->claim,
				   .contact = &j->contact,
				   .backlog_dir =
					   j->agent->jobs_dir, /* runs have no way to it; in j->dir they have one */
				   .backlog_max_bytes = j->agent->config->log_buffer_bytes,
				   .wake_fd = j->wake_fd,
				   .hurry = in_hurry,
				   .hurry_arg = j };
	return upload_start(&c, &j->upload, e);
}

static enum job_result run_ordered(struct job *j)
{
	struct err e = { 0 };
	_cleanup_buf_ struct buf unmasked;
	buf_init(&unmasked, 4 * KIB);
	j->deadline_us = clock_mono_us() + j->order.timeout_s * US_PER_S;
	j->contact.lease_us = j->order.lease_s * US_PER_S;
	int interval_s = j->order.heartbeat_s < HEARTBEAT_MAX_S ? (int)j->order.heartbeat_s : HEARTBEAT_MAX_S;
	int r = job_mask_init(j, &unmasked, &e);
	if (r == 0)
		r = start_upload(j, &e);
	if (r == 0)
		r = heart_start(j->agent->server_url, &j->claim, &j->contact, interval_s, j->wake_fd, &j->state,
				&j->heart, &e);
	bool begun = r == 0;
	if (r == 0)
		r = run_steps(j, &unmasked, &e);
	bool hurry = j->agent->stopping >= 2;
	bool lost = j->state.lost;
	if (j->upload) {
		upload_finish(j->upload, j->hand_back ? 0 : hurry || lost ? KILLED_PATIENCE_MS : -1);
		lost = lost || upload_state(j->upload, NULL) == UPLOAD_LOST;
	}
	heart_leave(j->heart);
	if (lost)
		log_warn("agent", "%s: the lease is lost, the run was killed", j->claim.deployment);
	else if (j->hand_back)
		hand_back(j);
	else if (begun || j->mask)
		finish(j, r == 0, &e);
	heart_stop(j->heart);
	upload_free(j->upload);
	if (j->hand_back)
		return JOB_NONE;
	metric_run(lost ? RESULT_LOST : r == 0 ? RESULT_SUCCEEDED : RESULT_FAILED);
	log_info("agent", "%s: %s%s%s", j->claim.deployment, r == 0 ? "succeeded" : "failed", r == 0 ? "" : ": ",
		 r == 0 ? "" : e.message);
	return r == 0 && !lost ? JOB_SUCCEEDED : JOB_FAILED;
}

enum job_result job_run(const struct agent *agent, int slot, const struct api_claim *claim)
{
	struct job j = { .agent = agent, .slot = slot, .claim = *claim, .step = -1, .cut_step = -1 };
	enum job_result result = JOB_NONE;
	struct err e = { 0 };
	j.uid = isolate_drops(agent) ? (uid_t)(SLOT_UID_FIRST + slot) : getuid();
	j.gid = isolate_drops(agent) ? (gid_t)(SLOT_UID_FIRST + slot) : getgid();
	arena_init(&j.arena, 256 * MIB);
	j.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = j.wake_fd < 0 ? err_errno(&e, "eventfd") : api_init(&j.api, agent->server_url, claim->token, &e);
	if (r == 0) {
		snprintf(j.api.deployment, sizeof(j.api.deployment), "%s", claim->deployment);
		j.api.attempt = claim->attempt;
		j.api.contact = &j.contact;
		j.api.cancelled = is_agent_stopping;
		j.api.cancelled_arg = &j;
		r = fetch_order(&j, &e);
		j.api.cancelled = NULL;
	}
	j.hand_back = agent->stopping && (r == 0 || r == -ERR_CANCELLED || api_is_transient(r));
	if (j.hand_back) {
		hand_back(&j);
	} else if (r == 0) {
		log_info("agent", "%s: %s of %s/%s/%s", claim->deployment, j.order.operation, j.order.organization,
			 j.order.project, j.order.stack);
		result = run_ordered(&j);
		network_stop(j.network);
		watch_stop(j.watch);
		cgroup_remove(&j.group);
		if (agent->level->dispose)
			agent->level->dispose(&j);
		remove_dir(&j);
	} else {
		log_warn("agent", "%s: no work order: %s", claim->deployment, e.message);
		/* An order that cannot be read would come again and again. */
		if (r == -ERR_BAD_REQUEST && api_finish(&j.api, false, e.message, NULL) < 0)
			log_warn("agent", "%s: the result could not be reported", claim->deployment);
	}
	mask_set_free(j.mask);
	api_done(&j.api);
	if (j.wake_fd >= 0)
		close(j.wake_fd);
	arena_done(&j.arena);
	return result;
}
