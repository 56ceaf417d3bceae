#include "agent/credentials.h"
#include "agent/forward.h"
#include "agent/network.h"
#include "base/clock.h"
#include "executor/plan.h"
#include "os/sandbox.h"

/* Settings of the machine that a program needs to reach the network at all. Everything else of the agent's own
 * environment stays outside. */
static const char *const passed_on[] = {
	"HTTP_PROXY",	"http_proxy",	 "HTTPS_PROXY",		"https_proxy",
	"NO_PROXY",	"no_proxy",	 "ALL_PROXY",		"all_proxy",
	"SSL_CERT_DIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE",
};

struct writing {
	struct json_writer w;
	const struct order *o;
};

static bool is_overridden(const struct order *o, const char *name)
{
	for (size_t i = 0; i < o->variable_count; i++) {
		if (streq(o->variables[i].name, name))
			return true;
	}
	return false;
}

static void pair(struct json_writer *w, const char *name, struct str value)
{
	jw_array(w);
	jw_string(w, name);
	jw_str(w, value);
	jw_array_end(w);
}

/* A default: what the user has set under the same name counts (features §2.4). Absent values are left out. */
static void put(struct writing *g, const char *name, const char *value)
{
	if (value && !is_overridden(g->o, name))
		pair(&g->w, name, str_of(value));
}

static void put_ci(struct writing *g, struct arena *a)
{
	const struct order *o = g->o;
	const struct order_git *git = &o->git;
	struct str branch = str_of(o->has_source && git->branch ? git->branch : "");
	if (str_starts_with(branch, "refs/heads/"))
		branch = (struct str){ branch.p + 11, branch.n - 11 };
	put(g, "CI", "true");
	put(g, "PULUMI_CI_SYSTEM", "Pulumi Deployments");
	put(g, "PULUMI_CI_BUILD_ID", o->id);
	put(g, "PULUMI_CI_BUILD_NUMBER", arena_printf(a, "%lld", (long long)o->version));
	put(g, "PULUMI_CI_BUILD_URL", o->console_url);
	put(g, "PULUMI_CI_ORGANIZATION", o->organization);
	put(g, "PULUMI_CI_PROJECT", o->project);
	put(g, "PULUMI_CI_STACK", o->stack);
	put(g, "PULUMI_CI_OPERATION", o->operation);
	if (o->has_source && git->tag && git->tag[0]) {
		put(g, "PULUMI_CI_BRANCH_NAME", arena_printf(a, "refs/tags/%s", git->tag));
		put(g, "PULUMI_CI_TAG_NAME", git->tag);
	} else if (branch.n) {
		put(g, "PULUMI_CI_BRANCH_NAME", str_dup(a, branch));
	}
}

/* The last pair of a name counts: what the run cannot do without is written behind it. */
static void put_forwarded(void *arg, const char *name, const char *value, bool secret)
{
	put(arg, name, value);
}

/* A proxy of the machine's own is of no use in a network that cannot reach it. */
static void put_machine(struct writing *g, const struct network *n)
{
	const char *proxy = network_proxy(n);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++) {
		const char *name = passed_on[i];
		bool of_proxy = strcasestr(name, "_proxy") != NULL;
		const char *value = getenv(name);
		if (proxy && of_proxy)
			value = strcasestr(name, "no_proxy") ? network_proxy_exceptions(n) : proxy;
		put(g, name, value);
	}
	/* Node asks for a proxy only where this says so. */
	put(g, "NODE_USE_ENV_PROXY", proxy ? "1" : NULL);
}

static void put_environment(struct writing *g, struct job *j, const struct isolate_places *at, const char *env_file)
{
	struct arena *a = &j->arena;
	const struct order *o = g->o;
	/* First, so that what is ours replaces it. */
	for (size_t i = 0; at->env && at->env[i]; i++) {
		struct str value, name = str_cut(str_of(at->env[i]), '=', &value);
		if (name.n && value.p)
			put(g, str_dup(a, name), str_dup(a, value));
	}
	forward_each(j->agent->config->env_forward, put_forwarded, g);
	put(g, "PATH", at->path);
	put(g, "HOME", at->home);
	put(g, "USER", at->user ? at->user : SANDBOX_USER);
	put(g, "LOGNAME", at->user ? at->user : SANDBOX_USER);
	put(g, "LANG", "C.UTF-8");
	put(g, "TMPDIR", at->tmp);
	put(g, "PULUMI_HOME", arena_printf(a, "%s/.pulumi", at->home));
	put(g, "PULUMI_ACCESS_TOKEN", o->run_token);
	put(g, "PULUMI_BACKEND_URL", o->backend_url);
	put(g, "PULUMI_SERVICE_URL", arena_printf(a, "%s/api", o->backend_url));
	put(g, "PULUMI_SKIP_UPDATE_CHECK", "true");
	put(g, "PULUMI_CREDENTIAL_STORE", "plaintext"); /* there is no keyring, and nobody to ask */
	put(g, "PULUMI_ENV", env_file);
	put(g, "PULUMI_ENV_FILE", env_file);
	put_ci(g, a);
	for (size_t i = 0; j->credentials && i < j->credentials->variable_count; i++)
		put(g, j->credentials->variables[i].name, j->credentials->variables[i].value);
	put_machine(g, j->network);
	for (size_t i = 0; i < o->variable_count; i++)
		pair(&g->w, o->variables[i].name, o->variables[i].value);
}

static void put_files(struct json_writer *w, const struct credentials *c)
{
	jw_kv_bool(w, "filesRequired", c && c->required);
	jw_key(w, "files");
	jw_array(w);
	for (size_t i = 0; c && i < c->file_count; i++)
		pair(w, c->files[i].path, str_of(c->files[i].content));
	jw_array_end(w);
}

int plan_write(struct job *j, struct buf *out, struct err *e)
{
	struct arena *a = &j->arena;
	const struct order *o = &j->order;
	struct writing g = { .o = o };
	struct isolate_places at;
	int r = j->agent->level->places(j, &at, e);
	if (r < 0)
		return r;
	const char *env_file = arena_printf(a, "%s/PULUMI_ENV", streq(at.root, "/") ? "" : at.root);
	const char *dir = j->repo_dir && j->repo_dir[0] ? arena_printf(a, "%s/%s", at.tree, j->repo_dir) : at.tree;
	struct json_writer *w = &g.w;
	jw_init(w, out);
	jw_object(w);
	jw_kv_int(w, "version", PLAN_VERSION);
	jw_kv_string(w, "root", at.root);
	jw_kv_string(w, "tree", at.tree);
	jw_kv_string(w, "workDir", dir);
	jw_kv_string(w, "stack", arena_printf(a, "%s/%s/%s", o->organization, o->project, o->stack));
	jw_kv_string(w, "operation", o->operation);
	jw_kv_string(w, "shell", o->shell);
	jw_kv_int(w, "memoryBytes", limits_of_process(j->agent));
	jw_kv_int(w, "patienceMs", j->agent->config->patience_us / US_PER_MS);
	jw_kv_string(w, "home", at.home);
	jw_kv_bool(w, "fixedPaths", !str_starts_with(str_of(at.tree), j->dir));
	jw_kv_bool(w, "cache", o->cache);
	if (at.drop) {
		jw_kv_int(w, "uid", at.uid);
		jw_kv_int(w, "gid", at.gid);
	}
	jw_kv_bool(w, "skipInstallDependencies", o->skip_install_dependencies);
	jw_kv_bool(w, "deleteAfterDestroy", o->delete_after_destroy);
	jw_kv_bool(w, "remediateIfDriftDetected", o->remediate_if_drift_detected);
	jw_key(w, "preRunCommands");
	jw_array(w);
	for (size_t i = 0; o->pre_run[i]; i++)
		jw_string(w, o->pre_run[i]);
	jw_array_end(w);
	jw_key(w, "environment");
	jw_array(w);
	put_environment(&g, j, &at, env_file);
	jw_array_end(w);
	put_files(w, j->credentials);
	jw_object_end(w);
	if (arena_failed(a))
		return err_nomem(e);
	return buf_check(out, "the plan", e);
}
