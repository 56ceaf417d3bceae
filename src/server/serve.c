#include "server/server.h"

#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "blob/blob.h"
#include "console/live.h"
#include "crypto/crypto.h"
#include "db/db.h"
#include "http/http.h"
#include "identity/event.h"
#include "identity/identity.h"
#include "identity/oidc.h"
#include "os/file.h"
#include "server/metrics.h"
#include "server/storage.h"
#include "server/ticker.h"
#include "state/state.h"
#include "deploy/deploy.h"

/* Events gather for so long before the outbox is looked at, so that a burst is one look. */
#define OUTBOX_DELAY_US (100 * US_PER_MS)

struct server {
	struct app app;
	struct identity identity;
	struct arena arena; /* paths and URLs, for the server's whole life */
	struct storage *storage;
	struct ticker *_Atomic ticker; /* pokes come from every thread, also while it is being started */
	int lock_fd;
	bool is_empty;
	atomic_bool started;
	atomic_bool stopping;
	const char *listen_url;
};

static int tick_outbox(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	return outbox_tick(app->db, now_us, ret_next_us, e);
}

static int tick_identity(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	return identity_tick(app->db, now_us, ret_next_us, e);
}

static int tick_oidc(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	return oidc_tick(app->identity, app->options.oidc_key_age_us, now_us, ret_next_us, e);
}

static int tick_events(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	return event_tick(app->db, now_us, ret_next_us, e);
}

static int tick_storage(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	struct server *s = app->server;
	return storage_tick(s->storage, now_us, ret_next_us, e);
}

static const struct tick ticks[] = {
	{ "storage", tick_storage },
	{ "identity", tick_identity },
	{ "oidc", tick_oidc },
	{ "events", tick_events },
	{ "state", state_tick },
	{ "resources", state_index_tick },
	{ "retention of states", state_retention_tick },
	{ "retention of events", state_event_tick },
	{ "blobs", state_blob_tick },
	{ "deploy", deploy_tick },
	{ "schedule", schedule_tick },
	{ "cache", cache_tick },
	/* Last: it delivers what the others have just put. */
	{ "outbox", tick_outbox },
};

static void poke(struct app *app)
{
	struct server *s = app->server;
	struct ticker *t = s->ticker;
	if (t)
		ticker_poke(t, 0);
}

static bool failed(struct app *app, const struct err *why)
{
	struct server *s = app->server;
	return storage_failed(s->storage, why);
}

static void log_failed_request(const struct request *r, const struct err *e)
{
	/* Whoever asks that gets the reason, and asks again soon. */
	if (r->route && r->route->handler == readyz)
		return;
	if (!failed(request_app(r), e))
		log_error("http", "%s %s: %s (request %s)", r->method, r->path,
			  e->code ? e->message : "answered so by its handler", r->id);
}

static void poke_outbox(void *arg)
{
	struct server *s = arg;
	struct ticker *t = s->ticker;
	if (t)
		ticker_poke(t, OUTBOX_DELAY_US);
}

int server_started(struct app *app, struct err *e)
{
	struct server *s = app->server;
	return atomic_load(&s->started) ? 0 : err_set(e, ERR_UNAVAILABLE, "the server is starting");
}

int server_ready(struct app *app, struct err *e)
{
	struct server *s = app->server;
	if (atomic_load(&s->stopping))
		return err_set(e, ERR_UNAVAILABLE, "the server is stopping");
	int rc = db_ping(app->db, e);
	return rc < 0 ? err_set(e, ERR_UNAVAILABLE, "the database does not answer") : storage_ready(s->storage, e);
}

static int open_directory(const char *data, struct err *e)
{
	int rc = file_mkdir_p(data, 0700, e);
	if (rc < 0)
		return rc;
	struct stat st;
	if (stat(data, &st) < 0)
		return err_errno(e, "cannot look at %s", data);
	if ((st.st_mode & 077) == 0)
		return 0;
	if (chmod(data, 0700) < 0)
		return err_errno(e, "%s holds secrets and is open to others", data);
	log_warn("server", "%s was open to others: it holds secrets, its mode is 0700 now", data);
	return 0;
}

/* Beside our own program in a build folder, else where `make install` puts it. The download route and the agent tell if
 * it is missing; a server without one still is a state backend. */
static const char *find_executor(struct arena *a)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return NULL;
	self[n] = '\0';
	char *slash = strrchr(self, '/');
	*slash = '\0';
	const char *beside = arena_printf(a, "%s/slipway-executor", self);
	const char *installed = arena_printf(a, "%s/../libexec/slipway/slipway-executor", self);
	return installed && file_exists(installed) && !(beside && file_exists(beside)) ? installed : beside;
}

static int open_storage(struct server *s, const struct config *config, struct err *e)
{
	struct arena *a = &s->arena;
	const char *lock = arena_printf(a, "%s/slipway.lock", config->data);
	const char *db = arena_printf(a, "%s/slipway.db", config->data);
	const char *blobs = arena_printf(a, "%s/blobs", config->data);
	const char *cache = arena_printf(a, "%s/cache", config->data);
	const char *key = arena_printf(a, "%s/master.key", config->data);
	s->app.data_dir = arena_strdup(a, config->data);
	if (arena_failed(a))
		return err_nomem(e);
	int rc = open_directory(config->data, e);
	if (rc < 0)
		return rc;
	rc = file_lock(lock, &s->lock_fd, e);
	if (rc == -ERR_CONFLICT)
		return err_set(e, ERR_CONFLICT, "another server uses the data directory %s", config->data);
	/* A key is only made together with the database: beside a database that was written with another key it would
	 * hide that the right one is missing. */
	bool is_new = !file_exists(db);
	if (rc == 0)
		rc = crypto_init(e);
	if (rc == 0)
		rc = identity_keys_load(&s->identity, key, is_new, e);
	if (rc == 0)
		rc = db_open(db, &s->app.db, e);
	if (rc == 0)
		rc = blob_open(blobs, &s->app.blobs, e);
	if (rc == 0)
		rc = blob_open(cache, &s->app.cache, e);
	s->identity.db = s->app.db;
	s->app.identity = &s->identity;
	if (rc == 0)
		rc = identity_keys_settle(&s->identity, e);
	if (rc == 0)
		rc = identity_is_empty(&s->identity, &s->is_empty, e);
	return rc;
}

static bool is_wildcard(const char *host)
{
	return streq(host, "0.0.0.0") || streq(host, "::") || streq(host, "*");
}

static int make_urls(struct server *s, const struct config *config, struct err *e)
{
	const char *host = config->listen.host;
	int port = http_server_port(s->app.http);
	if (is_wildcard(host))
		host = "127.0.0.1";
	s->listen_url = arena_printf(&s->arena, strchr(host, ':') ? "http://[%s]:%d" : "http://%s:%d", host, port);
	if (!s->listen_url)
		return err_nomem(e);
	if (!config->public_url) {
		s->app.public_url = s->listen_url;
		if (is_wildcard(config->listen.host))
			log_warn("server", "links will lead to %s; --public-url says how others reach this server",
				 s->listen_url);
		return 0;
	}
	return 0;
}

/* --public-url without slashes at its end. */
static int check_public_url(struct server *s, const struct config *config, struct err *e)
{
	struct str url = str_of(config->public_url);
	if (!url.p)
		return 0;
	if (!str_starts_with(url, "http://") && !str_starts_with(url, "https://"))
		return err_set(e, ERR_USAGE, "--public-url: must begin with http:// or https://");
	while (url.n > 0 && url.p[url.n - 1] == '/')
		url.n--;
	s->app.public_url = str_dup(&s->arena, url);
	return s->app.public_url ? 0 : err_nomem(e);
}

/* What clouds want of an issuer. Whoever tries the server on one machine has not asked for any. */
static void warn_of_issuer(const struct server *s, const struct config *config)
{
	if (config->public_url && str_starts_with(str_of(s->app.public_url), "http://"))
		log_warn(
			"server",
			"--public-url is plain http: AWS, Azure and Google take OIDC tokens of an https issuer alone, so "
			"deployments cannot use operationContext.oidc with them (docs/oidc.md)");
}

static int start_http(struct server *s, const struct config *config, struct err *e)
{
	const char *socket = arena_printf(&s->arena, "%s/slipway.sock", config->data);
	if (!socket)
		return err_nomem(e);
	struct http_config http = {
		.listen_host = config->listen.host,
		.listen_port = config->listen.port,
		.socket_path = socket,
		.workers = (int)config->workers,
		.body_max_bytes = (size_t)config->body_max_mib * MIB,
		.routes = server_routes,
		.route_count = server_route_count,
		.authorize = server_authorize,
		.app = &s->app,
		.failed = log_failed_request,
		.answered = metrics_answered,
		.public_url = s->app.public_url, /* NULL unless it was given */
		.access_log = config->access_log,
	};
	return http_server_start(&http, &s->app.http, e);
}

/* Behind the commit of each event: who looks at a page hears of it, and the log has a line. */
static int on_event(const struct outbox_event *event, void *app, struct err *e)
{
	live_changed(app);
	return activity_log(event, NULL, e);
}

static int start(struct server *s, const struct config *config, struct err *e)
{
	s->app.options = config->times;
	s->app.options.executor_path = find_executor(&s->arena);
	s->app.poke = poke;
	s->app.failed = failed;
	s->app.server = s;
	int rc = check_public_url(s, config, e);
	if (rc == 0)
		rc = open_storage(s, config, e);
	/* Not for a folder that is only looked at: `verify` says what is wrong with each key. */
	if (rc == 0)
		rc = identity_keys_check(&s->identity, e);
	if (rc == 0)
		rc = storage_new(&s->app, &s->storage, e);
	if (rc < 0)
		return rc;
	outbox_set_consumer("activity", on_event, &s->app);
	outbox_set_notify(poke_outbox, s);
	deploy_init();
	rc = start_http(s, config, e);
	if (rc == 0)
		rc = make_urls(s, config, e);
	struct ticker *ticker;
	if (rc == 0)
		event_set_public_url(s->app.public_url);
	if (rc == 0)
		rc = ticker_start(&s->app, ticks, ARRAY_SIZE(ticks), &ticker, e);
	if (rc < 0)
		return rc;
	warn_of_issuer(s, config);
	s->ticker = ticker;
	atomic_store(&s->started, true);
	return 0;
}

static int make(const struct config *config, int (*begin)(struct server *, const struct config *, struct err *),
		struct server **ret, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));
	if (!s)
		return err_nomem(e);
	arena_init(&s->arena, 0);
	s->lock_fd = -1;
	int rc = begin(s, config, e);
	if (rc < 0) {
		server_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int server_start(const struct config *config, struct server **ret, struct err *e)
{
	return make(config, start, ret, e);
}

static int open_only(struct server *s, const struct config *config, struct err *e)
{
	const char *db = arena_printf(&s->arena, "%s/slipway.db", config->data);
	s->app.options = config->times;
	s->app.server = s;
	if (!db)
		return err_nomem(e);
	/* Not to be made by looking for it. */
	if (!file_exists(db))
		return err_set(e, ERR_NOT_FOUND, "there is no data of a server in %s", config->data);
	return open_storage(s, config, e);
}

int server_open(const struct config *config, struct server **ret, struct err *e)
{
	return make(config, open_only, ret, e);
}

struct app *server_app(struct server *s)
{
	return &s->app;
}

const char *server_listen_url(const struct server *s)
{
	return s->listen_url;
}

bool server_is_empty(const struct server *s)
{
	return s->is_empty;
}

void server_stop(struct server *s)
{
	if (atomic_exchange(&s->stopping, true))
		return;
	if (s->app.http)
		http_server_stop(s->app.http);
}

void server_free(struct server *s)
{
	if (!s)
		return;
	server_stop(s);
	ticker_stop(atomic_exchange(&s->ticker, NULL));
	if (s->app.http)
		http_server_free(s->app.http);
	outbox_set_notify(NULL, NULL);
	event_set_public_url("");
	storage_free(s->storage);
	if (s->app.blobs)
		blob_close(s->app.blobs);
	blob_close(s->app.cache);
	db_close(s->app.db);
	identity_keys_done(&s->identity);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	arena_done(&s->arena);
	free(s);
}
