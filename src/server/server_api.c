/* The server itself, and what clients ask in passing (cli-protocol §1.5, §5). */
#include "identity/identity.h"
#include "server/openapi.h"
#include "server/server.h"

#include "base/limits.h"

#define ROUTE_FILE "routes_server.def"
#include "../api/declare.h"

int healthz(struct request *r, struct response *w, struct err *e)
{
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "status", "ok");
	jw_kv_string(j, "version", SLIPWAY_VERSION);
	jw_object_end(j);
	return 0;
}

int readyz(struct request *r, struct response *w, struct err *e)
{
	int rc = server_ready(app_of(r), e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "status", "ready");
	jw_object_end(j);
	return 0;
}

/* Smaller states are sent whole: finding what has changed costs more than sending it. */
#define DELTA_CUTOFF_BYTES (64 * KIB)

int capabilities_get(struct request *r, struct response *w, struct err *e)
{
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "capabilities");
	jw_array(j);
	jw_object(j);
	jw_kv_string(j, "capability", "batch-encrypt");
	jw_object_end(j);
	/* Without it `pulumi policy install` fails; with it, it asks and hears that there are none. */
	jw_object(j);
	jw_kv_string(j, "capability", "stack-policy-packs");
	jw_kv_int(j, "version", 1);
	jw_object_end(j);
	/* Without it the CLI relabels a version 4 state as 3 and drops its features. */
	jw_object(j);
	jw_kv_string(j, "capability", "deployment-schema-version");
	jw_kv_int(j, "version", 1);
	jw_key(j, "configuration");
	jw_object(j);
	jw_kv_int(j, "version", 4);
	jw_object_end(j);
	jw_object_end(j);
	/* For clients without a journal. The first name is that of older ones. */
	static const char *const deltas[] = { "delta-checkpoint-uploads", "delta-checkpoint-uploads-v2" };
	for (size_t i = 0; i < ARRAY_SIZE(deltas); i++) {
		jw_object(j);
		jw_kv_string(j, "capability", deltas[i]);
		jw_kv_int(j, "version", (int64_t)i + 1);
		jw_key(j, "configuration");
		jw_object(j);
		jw_kv_int(j, "checkpointCutoffSizeBytes", DELTA_CUTOFF_BYTES);
		jw_object_end(j);
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

int cli_version_get(struct request *r, struct response *w, struct err *e)
{
	/* Slipway does not say which CLI to use: a version that none is older than never makes the CLI warn. */
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "latestVersion", "v3.0.0");
	jw_kv_string(j, "latestDevVersion", "v3.0.0");
	jw_kv_string(j, "oldestWithoutWarning", "v3.0.0");
	jw_object_end(j);
	return 0;
}

int openapi_get(struct request *r, struct response *w, struct err *e)
{
	openapi_write(response_json(w), app_of(r)->public_url);
	return 0;
}
