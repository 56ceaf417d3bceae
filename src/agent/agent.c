#include "agent/agent.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/forward.h"
#include "agent/health.h"
#include "agent/metrics.h"
#include "agent/network.h"
#include "base/clock.h"
#include "base/log.h"
#include "os/file.h"

#define POLL_WAIT_S 50
#define TOKEN_MAX_BYTES 4096
#define GRACE_DEFAULT_S 30

struct slot {
	struct agent *agent;
	int number;
	pthread_t thread;
};

static const struct {
	const char *name;
	enum agent_isolation value;
} isolations[] = {
	{ "auto", AGENT_ISOLATION_AUTO },
	{ "docker", AGENT_ISOLATION_DOCKER },
	{ "bubblewrap", AGENT_ISOLATION_BUBBLEWRAP },
	{ "process", AGENT_ISOLATION_PROCESS },
};

bool agent_isolation_parse(const char *text, enum agent_isolation *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(isolations); i++) {
		if (streq(text, isolations[i].name)) {
			*ret = isolations[i].value;
			return true;
		}
	}
	return false;
}

bool agent_pull_parse(const char *text, enum agent_pull *ret)
{
	static const char *const names[] = { "always", "missing", "never" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (streq(text, names[i])) {
			*ret = (enum agent_pull)i;
			return true;
		}
	}
	return false;
}

const char *agent_isolation_name(enum agent_isolation isolation)
{
	for (size_t i = 0; i < ARRAY_SIZE(isolations); i++) {
		if (isolations[i].value == isolation)
			return isolations[i].name;
	}
	return "unknown";
}

static const char *const networks[] = { "auto", "host", "isolated", "none" };

bool agent_network_parse(const char *text, enum agent_network *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
		if (streq(text, networks[i])) {
			*ret = (enum agent_network)i;
			return true;
		}
	}
	return false;
}

const char *agent_network_name(enum agent_network network)
{
	return networks[network];
}

static bool is_stopping(void *arg)
{
	const struct agent *agent = arg;
	return agent->stopping != 0;
}

static void pause_ms(struct agent *agent, int ms)
{
	for (int64_t until = clock_mono_us() + ms * US_PER_MS; !agent->stopping && clock_mono_us() < until;)
		poll(NULL, 0, ms < 100 ? ms : 100);
}

static void run_claimed(struct slot *s, const struct api_claim *claim)
{
	struct agent *agent = s->agent;
	metric_add(METRIC_CLAIMS, 1);
	metric_add(METRIC_RUNNING, 1);
	enum job_result result = job_run(agent, s->number, claim);
	metric_add(METRIC_RUNNING, -1);
	if (!agent->config->single_run || result == JOB_NONE)
		return;
	agent->single = result;
	agent->stopping = agent->stopping ? agent->stopping : 1;
	kill(getpid(), SIGTERM);
}

/* One claim, or none. Returns how long to wait before the next poll. */
static int poll_once(struct slot *s, struct api *api, const struct api_identity *identity, bool *first, int *faults)
{
	struct agent *agent = s->agent;
	struct api_claim claim;
	struct err e = { 0 };
	int retry_after_s = -1;
	int64_t began = clock_mono_us();
	bool held = !agent->config->polling_interval_override;
	int r = api_poll(api, identity, held ? POLL_WAIT_S : 0, &claim, &retry_after_s, &e);
	if (r == -ERR_CANCELLED)
		return 0;
	if (r < 0) {
		metric_add(METRIC_POLL_FAILURES, 1);
		if (!metric_get(METRIC_FAILING_SINCE))
			metric_set(METRIC_FAILING_SINCE, clock_now_us() / US_PER_S);
		if ((r == -ERR_UNAUTHORIZED || r == -ERR_FORBIDDEN) && *first) {
			agent->refused = true;
			kill(getpid(), SIGTERM);
			return 0;
		}
		if ((*faults)++ == 0)
			log_warn("agent", "slot %d: %s; trying on", s->number, e.message);
		return *faults < 6 ? 250 << *faults : 10000;
	}
	if (*faults)
		log_info("agent", "slot %d: the server is back", s->number);
	*faults = 0;
	*first = false;
	metric_add(METRIC_POLLS, 1);
	metric_set(METRIC_LAST_POLL, clock_now_us() / US_PER_S);
	metric_set(METRIC_FAILING_SINCE, 0);
	if (r == 1) {
		run_claimed(s, &claim);
		return 0;
	}
	/* The server held the request: it may be asked again at once. Else it says when. */
	if (held && clock_mono_us() - began > US_PER_S)
		return 0;
	if (held && retry_after_s > 0)
		return retry_after_s * 1000;
	return agent->config->polling_interval_us ? (int)(agent->config->polling_interval_us / US_PER_MS) : 1000;
}

static struct api_identity identity_of(const struct agent *agent)
{
	return (struct api_identity){ .name = agent->name,
				      .hostname = agent->hostname,
				      .isolation = agent->isolation,
				      .instance = agent->instance,
				      .life = agent->life };
}

/* Else it would wait for the claim time-out, or for our next life. */
bool agent_leave(const struct agent *agent)
{
	struct api_identity identity = identity_of(agent);
	struct api api;
	struct err e = { 0 };
	int r = api_init(&api, agent->server_url, agent->token, &e);
	if (r == 0) {
		r = api_leave(&api, &identity, &e);
		api_done(&api);
	}
	if (r < 0)
		log_warn("agent", "what was claimed last could not be given back: %s", e.message);
	return r == 0;
}

static void *slot_main(void *arg)
{
	struct slot *s = arg;
	struct agent *agent = s->agent;
	struct api_identity identity = identity_of(agent);
	char modes[64];
	network_modes_text(agent, modes, sizeof(modes));
	identity.networks = modes;
	struct api api;
	struct err e = { 0 };
	bool first = true;
	int faults = 0;
	if (api_init(&api, agent->server_url, agent->token, &e) < 0) {
		log_error("agent", "slot %d: %s", s->number, e.message);
		return NULL;
	}
	api.cancelled = is_stopping;
	api.cancelled_arg = agent;
	bool polled = false; /* at the end: an answer was perhaps on its way */
	while (!agent->stopping) {
		polled = true;
		int ms = poll_once(s, &api, &identity, &first, &faults);
		if (ms)
			pause_ms(agent, ms);
	}
	api_done(&api);
	if (polled && !agent->refused)
		agent_leave(agent);
	return NULL;
}

static int read_token(struct agent *agent, struct arena *a, struct err *e)
{
	const struct agent_config *c = agent->config;
	struct str text = c->token ? str_of(c->token) : STR_NULL;
	if (!text.p && !c->token_file)
		return err_set(e, ERR_USAGE,
			       "an agent needs a pool token: --token-file FILE (slipway admin pool create makes one)");
	if (!text.p) {
		int r = file_read(a, c->token_file, TOKEN_MAX_BYTES, &text, e);
		if (r < 0)
			return r;
	}
	text = str_trim(text);
	if (text.n == 0 || str_has_nul(text) || memchr(text.p, '\n', text.n) || memchr(text.p, '\r', text.n))
		return err_set(e, ERR_USAGE, "the pool token is empty or has several lines");
	agent->token = str_dup(a, text);
	return agent->token ? 0 : err_nomem(e);
}

/* A header's value, and a line of the log. */
static const char *clean_name(struct arena *a, const char *name)
{
	char *copy = arena_strdup(a, name);
	for (char *p = copy; p && *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7F)
			*p = '-';
	}
	return copy;
}

/* The id of the work folder: by it the server knows a later process of this agent, and that an earlier one is dead. */
static int read_instance(struct agent *agent, struct arena *a, struct err *e)
{
	const char *path = arena_printf(a, "%s/instance", agent->work_dir);
	struct str text;
	if (!path)
		return err_nomem(e);
	id_new(agent->life);
	if (file_read(a, path, 64, &text, NULL) == 0 && id_valid(str_trim(text))) {
		agent->instance = str_dup(a, str_trim(text));
		return agent->instance ? 0 : err_nomem(e);
	}
	agent->instance = id_new_arena(a);
	return agent->instance ? file_write_atomic(path, str_of(agent->instance), 0600, e) : err_nomem(e);
}

/* What a former life left: we hold its lock, so whatever works in its folder has lost its agent. Sandboxes die with it; this
 * is for processes without one. */
static int clear_jobs(const struct agent *agent, struct err *e)
{
	int left = process_kill_in(agent->jobs_dir);
	if (left)
		log_warn("agent", "%d processes of an earlier life of this agent were still there: killed", left);
	int r = file_remove_tree(agent->jobs_dir, e);
	for (int tries = 0; r < 0 && tries < 50; tries++) {
		poll(NULL, 0, 20);
		r = file_remove_tree(agent->jobs_dir, e);
	}
	return r;
}

/* The folder, its lock, and what a former life left. */
static int open_work_dir(struct agent *agent, struct arena *a, int *ret_lock, struct err *e)
{
	const char *dir = agent->config->work_dir ? agent->config->work_dir : "slipway-agent";
	char real[PATH_MAX];
	struct stat st;
	int r = file_mkdir_p(dir, 0700, e);
	if (r < 0)
		return r;
	if (!realpath(dir, real) || stat(real, &st) != 0)
		return err_errno(e, "work folder %s", dir);
	/* It will hold checkouts and, for moments, credentials of theirs. */
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return err_set(e, ERR_FORBIDDEN,
			       "the work folder %s belongs to somebody else, or others may write to it", real);
	agent->work_dir = arena_strdup(a, real);
	agent->jobs_dir = arena_printf(a, "%s/jobs", real);
	agent->known_hosts = arena_printf(a, "%s/known_hosts", real);
	const char *lock = arena_printf(a, "%s/lock", real);
	if (arena_failed(a))
		return err_nomem(e);
	r = file_lock(lock, ret_lock, e);
	if (r == -ERR_CONFLICT)
		return err_set(e, ERR_CONFLICT, "another agent uses the work folder %s", real);
	if (r == 0)
		r = clear_jobs(agent, e);
	if (r == 0)
		r = file_mkdir_p(agent->jobs_dir, 0700, e);
	return r == 0 ? read_instance(agent, a, e) : r;
}

static int open_mirrors(struct agent *agent, struct arena *a, struct err *e)
{
	agent->mirrors.dir = arena_printf(a, "%s/mirrors", agent->work_dir);
	agent->mirrors.salt = agent->instance;
	agent->mirrors.bytes_max = agent->config->git_cache_max_bytes;
	int r = agent->mirrors.dir ? file_mkdir_p(agent->mirrors.dir, 0700, e) : err_nomem(e);
	if (r == 0)
		mirror_sweep(&agent->mirrors);
	return r;
}

static int prepare(struct agent *agent, struct arena *a, int *ret_lock, struct err *e)
{
	const struct agent_config *c = agent->config;
	if (!c->server_url ||
	    !(str_starts_with(str_of(c->server_url), "http://") || str_starts_with(str_of(c->server_url), "https://")))
		return err_set(e, ERR_USAGE, "an agent needs the server's address: --server https://…");
	if (c->concurrency < 0 || c->concurrency > CONCURRENCY_MAX)
		return err_set(e, ERR_USAGE, "--concurrency: from 1 to %d", CONCURRENCY_MAX);
	if (forward_check(c->env_forward, e) < 0)
		return -ERR_USAGE;
	if (gethostname(agent->hostname, sizeof(agent->hostname) - 1) != 0)
		snprintf(agent->hostname, sizeof(agent->hostname), "unknown");
	agent->server_url = c->server_url;
	agent->name = clean_name(a, c->name && c->name[0] ? c->name : agent->hostname);
	agent->root = geteuid() == 0;
	agent->insecure = c->allow_insecure_sources || c->dev;
	limits_read(agent);
	int r = read_token(agent, a, e);
	if (r == 0)
		r = open_work_dir(agent, a, ret_lock, e);
	if (r == 0)
		r = open_mirrors(agent, a, e);
	if (r == 0)
		r = tools_find(agent, a, e);
	if (r == 0)
		r = limits_start(agent, a, e);
	if (r == 0)
		r = isolate_choose(agent, e);
	if (r == 0)
		r = network_probe(agent, e);
	if (r < 0)
		return r;
	if (limits_describe(agent, a, e) < 0)
		return -(int)e->code;
	agent->isolation = arena_printf(a, "%s; %s", agent_isolation_name(agent->level->id), agent->limits.text);
	if (!agent->isolation)
		return err_nomem(e);
	const char *version = tools_pulumi_version(agent, a);
	if (version)
		log_info("agent", "isolation %s, pulumi %s in %s", agent_isolation_name(agent->level->id), version,
			 agent->tools_dir);
	else
		log_warn("agent", "isolation %s; pulumi was not found: deployments will fail until it is installed",
			 agent_isolation_name(agent->level->id));
	return 0;
}

/* Waits for the signals; returns when a stop was asked for. */
static void wait_for_signal(struct agent *agent, const sigset_t *set)
{
	int grace_s = agent->config->grace_s ? agent->config->grace_s : GRACE_DEFAULT_S;
	int sig;
	while (sigwait(set, &sig) != 0)
		;
	agent->stop_mono_us = clock_mono_us() + grace_s * US_PER_S;
	/* A parent whose end is to be ours was the server: nobody is left to report to. (It may have asked for the signal
	 * itself, when it started us.) */
	int death_signal = 0;
	bool orphan =
		prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0) == 0 && death_signal && getppid() != agent->parent;
	agent->stopping = orphan ? 2 : 1;
	if (orphan)
		log_warn("agent", "the server has ended: stopping at once");
	else if (agent->single)
		log_info("agent", "the deployment of this single run has ended");
	else if (!agent->refused)
		log_info("agent", "stopping: nothing new is claimed, running deployments have %d s", grace_s);
}

struct watcher {
	struct agent *agent;
	sigset_t set;
	_Atomic bool done;
};

/* A second signal means: now. */
static void *watch_second_signal(void *arg)
{
	struct watcher *w = arg;
	while (!w->done) {
		struct timespec ts = { .tv_nsec = 100 * 1000 * 1000 };
		if (sigtimedwait(&w->set, NULL, &ts) > 0) {
			/* A slot whose token is refused sends it, and so does every thread of a parent that ends. */
			if (!w->agent->refused && !w->agent->single && w->agent->stopping < 2)
				log_warn("agent", "a second signal: stopping at once");
			w->agent->stopping = 2;
		}
	}
	return NULL;
}

static int start_health(struct agent *agent, int slots, struct health **ret, struct err *e)
{
	const struct agent_config *c = agent->config;
	metric_set(METRIC_SLOTS, slots);
	if (!c->health_host)
		return 0;
	struct health_config config = { .host = c->health_host,
					.port = c->health_port,
					.isolation = agent_isolation_name(agent->level->id),
					.threshold_us = c->health_threshold_us };
	int r = health_start(&config, ret, e);
	if (r == 0)
		log_info("agent", "/healthz and /metrics on http://%s:%d", c->health_host, health_port(*ret));
	return r;
}

static int run_slots(struct agent *agent, struct arena *a, struct err *e)
{
	int count = agent->config->concurrency && !agent->config->single_run ? agent->config->concurrency : 1;
	struct slot *slots = arena_array(a, (size_t)count, sizeof(*slots));
	struct watcher watcher = { .agent = agent };
	struct health *health = NULL;
	sigset_t before;
	pthread_t second;
	int started = 0;
	if (!slots)
		return err_nomem(e);
	sigemptyset(&watcher.set);
	sigaddset(&watcher.set, SIGTERM);
	sigaddset(&watcher.set, SIGINT);
	sigset_t blocked = watcher.set;
	sigaddset(&blocked, SIGPIPE);
	sigaddset(&blocked, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	agent->parent = getppid();
	if (agent->config->die_with_parent)
		prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	int r = start_health(agent, count, &health, e);
	if (r < 0)
		return r;
	for (; started < count; started++) {
		slots[started] = (struct slot){ .agent = agent, .number = started };
		if (pthread_create(&slots[started].thread, NULL, slot_main, &slots[started]) != 0)
			break;
	}
	if (started == 0) {
		health_stop(health);
		return err_set(e, ERR_NO_MEMORY, "cannot start a thread");
	}
	log_info("agent", "%s polls %s, %d at once", agent->name, agent->server_url, started);
	wait_for_signal(agent, &watcher.set);
	bool watching = pthread_create(&second, NULL, watch_second_signal, &watcher) == 0;
	for (int i = 0; i < started; i++)
		pthread_join(slots[i].thread, NULL);
	watcher.done = true;
	if (watching)
		pthread_join(second, NULL);
	health_stop(health);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (agent->level->sweep)
		agent->level->sweep(agent);
	if (agent->refused)
		return err_set(e, ERR_UNAUTHORIZED, "%s refuses the pool token", agent->server_url);
	return agent->single == JOB_FAILED ? 1 : 0;
}

int agent_main(const struct agent_config *config, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_close_ int lock = -1;
	struct agent agent = { .config = config };
	arena_init(&a, 4 * MIB);
	int r = prepare(&agent, &a, &lock, e);
	return r < 0 ? r : run_slots(&agent, &a, e);
}
