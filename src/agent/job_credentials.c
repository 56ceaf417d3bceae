/* The token of a job, and what it gets with it: the step, the masks, and new tokens while it runs. */
#include "agent/credentials.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/isolate.h"
#include "base/clock.h"
#include "base/log.h"

#define STEP_NAME "Fetch provider credentials via OIDC"
/* From the server, which may be away for a moment. */
#define MINT_PATIENCE_US (30 * US_PER_S)
/* Of a run that does not need one. */
#define SPARE_PATIENCE_US (2 * US_PER_S)
#define PAUSE_FIRST_MS 250
#define PAUSE_LAST_MS 4000
/* After a new token could not be had. */
#define RETRY_US (20 * US_PER_S)
/* How soon a wall clock that was set is noticed. */
#ifdef SLIPWAY_TEST_CLOCK_BUILD
#define LOOK_US (200 * US_PER_MS)
#else
#define LOOK_US (30 * US_PER_S)
#endif

/* --- masks --- */

/* A set with what is known by now takes the place of the one before. false: not now, the step is in the middle of something. */
static bool renew_masks(struct job *j, struct err *e)
{
	_cleanup_buf_ struct buf ignored; /* which names are short is in the log already */
	struct mask_set *before = j->mask;
	buf_init(&ignored, 4 * KIB);
	int r = job_mask_init(j, &ignored, e);
	if (r == 0 && j->step_open && !lines_remask(&j->lines, j->mask))
		r = err_set(e, ERR_CONFLICT, "the output may hold a part of a secret");
	if (r < 0) {
		mask_set_free(j->mask);
		j->mask = before;
		return false;
	}
	mask_set_free(before);
	return true;
}

/* --- the step --- */

static bool is_stopped(void *arg)
{
	return job_stop(arg) != JOB_RUNS;
}

static void say(void *arg, const char *line)
{
	job_line(arg, "%s", line);
}

static int mint(struct job *j, int64_t patience_us, struct api_oidc *ret, struct err *e)
{
	int64_t until = clock_mono_us() + patience_us;
	for (int pause_ms = PAUSE_FIRST_MS;; pause_ms = pause_ms < PAUSE_LAST_MS ? pause_ms * 2 : PAUSE_LAST_MS) {
		j->api.cancelled = is_stopped;
		j->api.cancelled_arg = j;
		int r = api_oidc(&j->api, &j->arena, ret, e);
		j->api.cancelled = NULL;
		if (r == 0 || !api_is_transient(r) || clock_mono_us() + pause_ms * US_PER_MS > until || is_stopped(j))
			return r;
		poll(NULL, 0, pause_ms);
	}
}

static int config_of(struct job *j, struct credentials_config *ret, struct err *e)
{
	struct isolate_places at;
	int r = j->agent->level->places(j, &at, e);
	if (r < 0)
		return r;
	*ret = (struct credentials_config){
		.arena = &j->arena,
		.order = &j->order,
		.clouds = &j->agent->config->clouds,
		.folder = arena_printf(&j->arena, "%s/" CREDENTIALS_FOLDER, streq(at.root, "/") ? "" : at.root),
		.say = say,
		.cancelled = is_stopped,
		.arg = j,
	};
	return ret->folder ? 0 : err_nomem(e);
}

static int get_token(struct job *j, const struct credentials_config *config, int64_t patience_us, struct api_oidc *ret,
		     struct err *e)
{
	struct credentials c;
	int r = mint(j, patience_us, ret, e);
	if (r < 0)
		return err_wrap(e, "no OIDC token");
	r = credentials_of_token(config, ret, &c, e);
	if (r < 0)
		return r;
	j->oidc_lifetime_us = ret->lifetime_s * US_PER_S;
	j->oidc_due_us = clock_now_us() + j->oidc_lifetime_us / 2;
	*j->credentials = c;
	return renew_masks(j, e) ? 0 : -(int)e->code;
}

static int fetch(struct job *j, struct err *e)
{
	struct credentials_config config;
	struct api_oidc token;
	int r = config_of(j, &config, e);
	if (r == 0)
		r = get_token(j, &config, MINT_PATIENCE_US, &token, e);
	if (r < 0)
		return r;
	job_line(j, "Token of %s", token.issuer);
	job_line(j, "  subject  %s", token.subject);
	job_line(j, "  audience %s", token.audience);
	r = credentials_ask(&config, &token, j->credentials, e);
	/* The session of AWS is a secret, too. */
	return r < 0 ? r : renew_masks(j, e) ? 0 : -(int)e->code;
}

/* The token alone, which some program may want to have: not worth failing for. */
static void fetch_spare(struct job *j)
{
	struct credentials_config config;
	struct api_oidc token;
	struct err e = { 0 };
	int r = config_of(j, &config, &e);
	if (r == 0)
		r = get_token(j, &config, SPARE_PATIENCE_US, &token, &e);
	if (r < 0)
		log_warn("agent", "%s: the run has no PULUMI_OIDC_TOKEN: %s", j->claim.deployment, e.message);
}

int job_credentials(struct job *j, struct err *e)
{
	j->credentials = arena_new(&j->arena, struct credentials);
	if (!j->credentials)
		return err_nomem(e);
	if (j->order.oidc.text)
		return job_run_step(j, STEP_NAME, fetch, e);
	fetch_spare(j);
	return 0;
}

int job_credentials_mask(struct job *j, struct err *e)
{
	const struct credentials *c = j->credentials;
	int r = 0;
	for (size_t i = 0; c && r >= 0 && i < c->variable_count; i++)
		if (c->variables[i].secret)
			r = mask_set_add(j->mask, str_of(c->variables[i].value), e);
	/* One that a newer one has followed is good for a while still. */
	for (const struct job_token *t = j->tokens; t && r >= 0; t = t->before)
		r = mask_set_add(j->mask, str_of(t->text), e);
	return r < 0 ? r : 0;
}

/* --- new tokens while it runs: by a thread of their own, since the server may let wait --- */

struct refresh {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct api api;
	struct arena arena;
	int64_t due_us;
	int wake_fd;
	_Atomic bool stop;
	const char *token; /* under lock: one that nobody has taken yet */
	int64_t lifetime_us;
};

static bool refresh_stopped(void *arg)
{
	struct refresh *f = arg;
	return f->stop;
}

static void get_another(struct refresh *f)
{
	struct err e = { 0 };
	struct api_oidc token;
	uint64_t one = 1;
	int r = api_oidc(&f->api, &f->arena, &token, &e);
	pthread_mutex_lock(&f->lock);
	if (r == 0) {
		f->token = token.token;
		f->lifetime_us = token.lifetime_s * US_PER_S;
		f->due_us = clock_now_us() + f->lifetime_us / 2;
	} else {
		f->due_us = clock_now_us() + RETRY_US;
	}
	pthread_mutex_unlock(&f->lock);
	if (r < 0 && !f->stop)
		log_warn("agent", "%s: no new OIDC token: %s", f->api.deployment, e.message);
	else if (r == 0 && write(f->wake_fd, &one, sizeof(one)) < 0)
		return; /* it is awake */
}

static void *refresh_main(void *arg)
{
	struct refresh *f = arg;
	while (!f->stop) {
		if (clock_now_us() >= f->due_us)
			get_another(f);
		int64_t left_us = f->due_us - clock_now_us();
		int64_t next = clock_mono_us() + (left_us < LOOK_US ? left_us < 0 ? 0 : left_us : LOOK_US);
		struct timespec ts = { .tv_sec = next / US_PER_S, .tv_nsec = next % US_PER_S * 1000 };
		pthread_mutex_lock(&f->lock);
		if (!f->stop)
			pthread_cond_timedwait(&f->changed, &f->lock, &ts);
		pthread_mutex_unlock(&f->lock);
	}
	return NULL;
}

void job_refresh_start(struct job *j)
{
	pthread_condattr_t attr;
	struct err e = { 0 };
	if (!j->credentials || !j->credentials->token)
		return;
	struct refresh *f = calloc(1, sizeof(*f));
	int r = f ? api_init(&f->api, j->agent->server_url, j->claim.token, &e) : err_nomem(&e);
	if (r < 0) {
		free(f);
		return;
	}
	snprintf(f->api.deployment, sizeof(f->api.deployment), "%s", j->claim.deployment);
	f->api.attempt = j->claim.attempt;
	f->api.cancelled = refresh_stopped;
	f->api.cancelled_arg = f;
	f->due_us = j->oidc_due_us;
	f->wake_fd = j->wake_fd;
	arena_init(&f->arena, 64 * MIB);
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&f->thread, NULL, refresh_main, f) != 0) {
		log_warn("agent", "%s: no thread for new OIDC tokens", j->claim.deployment);
		arena_done(&f->arena);
		api_done(&f->api);
		free(f);
		return;
	}
	j->refresh = f;
}

/* Behind a token whose masks are in force: only then may the run see it. */
static const char *take_token(struct job *j)
{
	struct refresh *f = j->refresh;
	struct err e = { 0 };
	pthread_mutex_lock(&f->lock);
	const char *token = f->token;
	f->token = NULL;
	pthread_mutex_unlock(&f->lock);
	if (token) {
		struct job_token *known = arena_new(&j->arena, struct job_token);
		const char *copy = arena_strdup(&j->arena, token);
		if (!known || !copy)
			return NULL;
		*known = (struct job_token){ copy, j->tokens };
		j->tokens = known;
		j->token_waits = true;
	}
	if (!j->token_waits || !renew_masks(j, &e))
		return NULL; /* the next turn will */
	j->token_waits = false;
	return j->tokens->text;
}

int job_refresh_turn(struct job *j, struct buf *ret_file, struct err *e)
{
	const char *token = j->refresh ? take_token(j) : NULL;
	if (!token)
		return 0;
	const char *path = j->credentials->files[0].path;
	buf_add(ret_file, path, strlen(path) + 1);
	buf_adds(ret_file, token);
	return buf_check(ret_file, "a new token", e);
}

void job_refresh_stop(struct job *j)
{
	struct refresh *f = j->refresh;
	j->refresh = NULL;
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	api_done(&f->api);
	arena_done(&f->arena);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
