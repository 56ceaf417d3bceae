/*
 * The work order: everything that a runner needs, secrets opened (docs/runner-protocol.md, job.h).
 */
#include "base/clock.h"
#include "base/id.h"
#include "deploy/job.h"
#include "deploy/oidc.h"
#include "deploy/pool_network.h"
#include "deploy/secrets.h"
#include "identity/limits.h"

#define HEARTBEAT_US (5 * US_PER_S)
/* The run token outlives the time limit by this at most, should everything that revokes it fail. */
#define RUN_TOKEN_SLACK_US (10 * US_PER_MINUTE)

struct order {
	struct app *app;
	struct arena *arena;
	const char *id;
	int64_t attempt;
	int64_t now_us;
	const char *token_id;
	struct str token_hash;
	struct deployment_get_row d;
	struct limits limits;
	const char *network; /* of the pool; pool_network.h */
};

static int order_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct order *o = arg;
	int rc = job_check(c, o->arena, o->id, o->attempt, &o->d, e);
	if (rc < 0)
		return rc;
	if (o->d.order_fetched_us == DB_NULL_INT) {
		struct deployment_set_ordered_in in = { .id = o->id,
							.now_us = o->now_us,
							.lease_us = o->now_us + o->app->options.runner_timeout_us };
		rc = q_deployment_set_ordered(c, &in, e);
		if (rc < 0)
			return rc;
	}
	rc = identity_limits(c, o->arena, o->app, o->d.org_id, &o->limits, e);
	if (rc < 0)
		return rc;
	struct deployment_org_token_in asked = { .id = o->id };
	struct deployment_org_token_row by;
	rc = q_deployment_org_token(c, o->arena, &asked, &by, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, ERR_INTERNAL, "the deployment is not there");
	struct pool_network_in pool = { .id = o->d.agent_pool_id };
	struct pool_network_row network = { .network = "" };
	rc = q_pool_network(c, o->arena, &pool, &network, e);
	if (rc < 0)
		return rc;
	o->network = network.network;
	struct token_row token = { .id = o->token_id,
				   .hash = o->token_hash,
				   .kind = "run",
				   .user_id = o->d.requested_by,
				   .parent_id = by.org_token,
				   .org_id = o->d.org_id,
				   .deployment_id = o->id,
				   .attempt = o->attempt,
				   .stack_id = o->d.stack_id,
				   .expires_us = o->now_us + o->limits.timeout_us + RUN_TOKEN_SLACK_US };
	return identity_token_insert(c, &token, e);
}

struct writing {
	struct order *o;
	const struct secrets_key *key;
	struct json settings;
	struct json_writer *w;
	struct err *err;
};

static int put_secret(struct writing *g, const char *name, struct json v)
{
	struct str s;
	int rc = secret_open(g->key, v, g->o->arena, &s, g->err);
	if (rc < 0)
		return err_wrap(g->err, "%s", name);
	if (s.p)
		jw_kv_str(g->w, name, s);
	return 0;
}

static bool is_given(struct json v)
{
	return !json_is_null(v) && !json_string_is(v, "");
}

static void put_text(struct writing *g, const char *name, struct json v)
{
	if (is_given(v))
		jw_kv_raw(g->w, name, v);
	else
		jw_kv_string(g->w, name, "");
}

/* ssh before access token before user and password (features §2.8). */
static int put_auth(struct writing *g, struct json auth)
{
	struct json ssh = json_get(auth, "sshAuth"), basic = json_get(auth, "basicAuth");
	int rc = 0;
	jw_key(g->w, "auth");
	if (is_given(json_get(ssh, "sshPrivateKey"))) {
		jw_object(g->w);
		rc = put_secret(g, "sshPrivateKey", json_get(ssh, "sshPrivateKey"));
		if (rc == 0)
			rc = put_secret(g, "sshPassword", json_get(ssh, "password"));
	} else if (is_given(json_get(auth, "accessToken"))) {
		jw_object(g->w);
		rc = put_secret(g, "accessToken", json_get(auth, "accessToken"));
	} else if (is_given(json_get(basic, "userName")) || is_given(json_get(basic, "password"))) {
		jw_object(g->w);
		rc = put_secret(g, "userName", json_get(basic, "userName"));
		if (rc == 0)
			rc = put_secret(g, "password", json_get(basic, "password"));
	} else {
		jw_null(g->w);
		return 0;
	}
	jw_object_end(g->w);
	return rc;
}

/* A repository that is only named by its forge: https, which needs no key. */
static const char *forge_url(struct writing *g)
{
	static const struct {
		const char *provider;
		const char *host;
	} forges[] = { { "github", "github.com" }, { "gitlab", "gitlab.com" }, { "bitbucket", "bitbucket.org" } };
	struct json github = json_path(g->settings, "gitHub", "repository", NULL);
	struct json vcs = json_get(g->settings, "vcs");
	struct json name = is_given(github) ? github : json_get(vcs, "repository");
	if (!is_given(name))
		return NULL;
	const char *repository = json_cstr(name, g->o->arena);
	const char *host = is_given(github) ? "github.com" : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(forges) && !host; i++)
		if (json_string_is(json_get(vcs, "provider"), forges[i].provider))
			host = forges[i].host;
	if (!repository)
		return NULL;
	/* Other forges name the repository by its whole URL. */
	return host && !strstr(repository, "://") ? arena_printf(g->o->arena, "https://%s/%s.git", host, repository)
						  : repository;
}

static struct json image_of(struct writing *g)
{
	struct json image = json_path(g->settings, "executorContext", "executorImage", NULL);
	return json_type(image) == JSON_OBJECT ? json_get(image, "reference") : image;
}

static int put_template(struct writing *g, struct json template_)
{
	jw_object(g->w);
	jw_key(g->w, "template");
	jw_object(g->w);
	put_text(g, "sourceUrl", json_get(template_, "sourceUrl"));
	int rc = put_auth(g, json_get(template_, "gitAuth"));
	jw_object_end(g->w);
	jw_object_end(g->w);
	return rc;
}

/* Always an object, in whichever shape it was set. */
static int put_image(struct writing *g)
{
	struct json reference = image_of(g);
	struct json credentials = json_path(g->settings, "executorContext", "executorImage", "credentials", NULL);
	int rc = 0;
	jw_key(g->w, "image");
	if (!is_given(reference)) {
		jw_null(g->w);
		return 0;
	}
	jw_object(g->w);
	jw_kv_raw(g->w, "reference", reference);
	if (is_given(json_get(credentials, "username")) || is_given(json_get(credentials, "password"))) {
		jw_key(g->w, "credentials");
		jw_object(g->w);
		put_text(g, "username", json_get(credentials, "username"));
		rc = put_secret(g, "password", json_get(credentials, "password"));
		jw_object_end(g->w);
	}
	jw_object_end(g->w);
	return rc;
}

static int put_source(struct writing *g)
{
	struct json source = json_get(g->settings, "sourceContext");
	struct json git = json_get(source, "git");
	const char *forge = is_given(json_get(git, "repoUrl")) ? NULL : forge_url(g);
	/* Without a source the program has to be in an image; without either there is nothing to run. */
	bool in_image = is_given(image_of(g));
	struct json template_url = json_path(source, "template", "sourceUrl", NULL);
	bool nowhere = !forge && !is_given(json_get(git, "repoUrl"));
	const char *unsupported = is_given(json_path(source, "hg", "repoUrl", NULL)) ? "hg"
				  : is_given(template_url)			     ? NULL
				  : nowhere && !in_image			     ? "none"
										     : NULL;
	jw_key(g->w, "source");
	if (!unsupported && is_given(template_url))
		return put_template(g, json_get(source, "template"));
	if (unsupported) {
		jw_object(g->w);
		jw_kv_string(g->w, "unsupported", unsupported);
		jw_object_end(g->w);
		return 0;
	}
	if (nowhere) {
		jw_null(g->w);
		return 0;
	}
	jw_object(g->w);
	jw_key(g->w, "git");
	jw_object(g->w);
	if (forge)
		jw_kv_string(g->w, "repoUrl", forge);
	else
		put_text(g, "repoUrl", json_get(git, "repoUrl"));
	put_text(g, "branch", json_get(git, "branch"));
	put_text(g, "commit", json_get(git, "commit"));
	put_text(g, "tag", json_get(git, "tag"));
	put_text(g, "repoDir", json_get(git, "repoDir"));
	int rc = put_auth(g, json_get(git, "gitAuth"));
	jw_object_end(g->w);
	jw_object_end(g->w);
	return rc;
}

static int put_environment(struct writing *g, struct json context)
{
	struct json_iter it;
	struct json key, value;
	jw_key(g->w, "environment");
	jw_array(g->w);
	json_iter_init(&it, json_get(context, "environmentVariables"));
	while (json_next(&it, &key, &value)) {
		struct str name;
		if (!json_string(key, g->o->arena, &name))
			return err_nomem(g->err);
		jw_object(g->w);
		jw_kv_str(g->w, "name", name);
		int rc = put_secret(g, "value", value);
		if (rc < 0)
			return rc;
		jw_kv_bool(g->w, "secret", secret_is_leaf(value));
		jw_object_end(g->w);
	}
	jw_array_end(g->w);
	return 0;
}

static void put_options(struct writing *g, struct json options)
{
	static const char *const names[] = { "skipInstallDependencies", "deleteAfterDestroy",
					     "remediateIfDriftDetected" };
	jw_key(g->w, "options");
	jw_object(g->w);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		jw_kv_bool(g->w, names[i], json_is_true(json_get(options, names[i])));
	struct json shell = json_get(options, "shell");
	jw_key(g->w, "shell");
	if (is_given(shell))
		jw_raw(g->w, shell);
	else
		jw_string(g->w, "bash");
	jw_object_end(g->w);
}

/* As the settings have them, which hold no secrets here; null without any. */
static void put_oidc(struct writing *g, struct json oidc)
{
	static const char *const clouds[] = { "aws", "azure", "gcp" };
	bool any = false;
	jw_key(g->w, "oidc");
	for (size_t i = 0; i < ARRAY_SIZE(clouds); i++) {
		struct json cloud = json_get(oidc, clouds[i]);
		if (!oidc_cloud_is_set(cloud))
			continue;
		if (!any)
			jw_object(g->w);
		any = true;
		jw_kv_raw(g->w, clouds[i], cloud);
	}
	if (any)
		jw_object_end(g->w);
	else
		jw_null(g->w);
}

static void put_deployment(struct writing *g)
{
	const struct deployment_get_row *d = &g->o->d;
	struct app *app = g->o->app;
	jw_key(g->w, "deployment");
	jw_object(g->w);
	jw_kv_string(g->w, "id", d->id);
	jw_kv_int(g->w, "version", d->version);
	jw_kv_string(g->w, "organization", d->org_name);
	jw_kv_string(g->w, "project", d->project);
	jw_kv_string(g->w, "stack", d->stack_name);
	jw_kv_string(g->w, "operation", d->operation);
	jw_kv_string(g->w, "consoleUrl",
		     deployment_url(app, g->o->arena, d->org_name, d->project, d->stack_name, d->version));
	jw_kv_string(g->w, "requestedBy", d->user_name ? d->user_name : "");
	jw_object_end(g->w);
}

static int64_t heartbeat_seconds(const struct app *app)
{
	int64_t us = app->options.runner_timeout_us / 4;
	us = us < HEARTBEAT_US ? us : HEARTBEAT_US;
	return us < US_PER_S ? 1 : us / US_PER_S;
}

static int put_order(struct writing *g, const char *run_token)
{
	struct app *app = g->o->app;
	struct json context = json_get(g->settings, "operationContext");
	struct json executor = json_get(g->settings, "executorContext");
	jw_object(g->w);
	put_deployment(g);
	jw_kv_int(g->w, "attempt", g->o->attempt);
	jw_kv_int(g->w, "timeoutSeconds", (g->o->limits.timeout_us + US_PER_S - 1) / US_PER_S);
	jw_kv_int(g->w, "heartbeatSeconds", heartbeat_seconds(app));
	jw_kv_int(g->w, "leaseSeconds", (app->options.runner_timeout_us + US_PER_S - 1) / US_PER_S);
	jw_kv_string(g->w, "backendUrl", app->public_url);
	jw_kv_string(g->w, "runToken", run_token);
	int rc = put_source(g);
	if (rc < 0)
		return rc;
	rc = put_image(g);
	if (rc < 0)
		return rc;
	struct json root = json_get(executor, "executorRootPath");
	jw_kv_raw(g->w, "executorRootPath", is_given(root) ? root : JSON_ABSENT);
	pool_network_put(g->w, g->o->network);
	struct json commands = json_get(context, "preRunCommands");
	jw_key(g->w, "preRunCommands");
	jw_raw_str(g->w, commands.p ? json_text(commands) : STR("[]"));
	rc = put_environment(g, context);
	if (rc < 0)
		return rc;
	put_options(g, json_get(context, "options"));
	put_oidc(g, json_get(context, "oidc"));
	jw_key(g->w, "cacheOptions");
	jw_object(g->w);
	jw_kv_bool(g->w, "enable", json_is_true(json_path(g->settings, "cacheOptions", "enable", NULL)));
	jw_object_end(g->w);
	jw_object_end(g->w);
	return 0;
}

int job_order(struct app *app, struct arena *a, const char *deployment_id, int64_t attempt, struct json_writer *w,
	      struct err *e)
{
	struct order o = { .app = app, .arena = a, .id = deployment_id, .attempt = attempt, .now_us = clock_now_us() };
	char *token = token_new(a, TOKEN_PREFIX_RUN);
	o.token_id = id_new_arena(a);
	if (!token || !o.token_id)
		return err_nomem(e);
	o.token_hash = token_hash(a, str_of(token));
	int rc = db_write(app->db, order_fn, &o, e);
	if (rc < 0)
		return rc;
	if (app->poke)
		app->poke(app);
	_cleanup_secrets_key_ struct secrets_key key;
	rc = secrets_key_load(app, a, o.d.stack_id, &key, e);
	if (rc < 0)
		return rc;
	struct writing g = { .o = &o, .key = &key, .w = w, .err = e };
	rc = json_check(str_of(o.d.settings), &g.settings, e);
	if (rc < 0)
		return err_wrap(e, "settings of deployment %s", deployment_id);
	return put_order(&g, token);
}
