/*
 * app.h: the handles that every handler finds through request_app(): one per process, made by server/, never changed
 * while requests run. The structs belong to their rooms and are opaque to the others.
 */
#ifndef SLIPWAY_IDENTITY_APP_H
#define SLIPWAY_IDENTITY_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "http/http.h"

struct db;
struct blob_store;
struct identity;

/* Times in microseconds; the options of `serve` and `dev`. */
struct app_options {
	int64_t runner_timeout_us;	   /* --runner-timeout: a silent runner (10 min) */
	int64_t claim_timeout_us;	   /* --claim-timeout: from claim to work order (15 s) */
	int64_t queue_expiry_us;	   /* --queue-expiry (7 days) */
	int64_t deployment_timeout_us;	   /* --deployment-timeout (2 h), where the organization has none of its own */
	int64_t deployment_timeout_max_us; /* --max-deployment-timeout (24 h): what its administrators may set */
	int64_t concurrency_max;	   /* --max-deployments (100): likewise, how many at once */
	int64_t lease_us;	    /* --lease: of an update (5 min); the CLI asks for its own duration, this caps it */
	int64_t log_retention_us;   /* --log-retention (90 days) */
	int64_t state_versions;	    /* --state-versions: how many of a stack are kept; 0: all */
	int64_t state_retention_us; /* --state-retention: how long they are kept; 0: for ever */
	int64_t event_retention_us; /* --event-retention: how long engine events are kept; 0: for ever */
	int64_t cache_entry_mib;    /* --cache-entry-limit (5 GiB) */
	int64_t cache_mib;	    /* --cache-limit: of the whole dependency cache (50 GiB) */
	int64_t cache_retention_us; /* --cache-retention: unread for so long (30 days) */
	int64_t oidc_key_age_us;    /* --oidc-key-age: how long a key of the OIDC issuer signs (90 days) */
	const char *executor_path;  /* slipway-executor, for the download route */
};

struct app {
	struct db *db;
	struct blob_store *blobs;
	struct blob_store *cache; /* of the dependency cache: what may be lost */
	struct identity *identity;
	struct http_server *http; /* set after the server has started */
	struct app_options options;
	const char *data_dir;
	const char *public_url; /* "http://127.0.0.1:8420", no slash at the end; never NULL once requests run */
	/* Tells the ticker that something may be due earlier than it thinks. Any thread. */
	void (*poke)(struct app *app);
	/* For whoever works in the background and logs what failed: true if the disk is at fault and the log has it already. Any
	 * thread; NULL without a server. */
	bool (*failed)(struct app *app, const struct err *why);
	void *server; /* of server/ alone */
};

static inline bool app_log_has(struct app *app, const struct err *why)
{
	return app && why && app->failed && app->failed(app, why);
}

static inline struct app *app_of(const struct request *r)
{
	return request_app(r);
}

#endif
