/* What the administrator of the site does with everything at once: backup, verify (routes /api/site/). */
#include "server/backup.h"

#include "base/limits.h"
#include "deploy/deploy.h"
#include "identity/oidc.h"
#include "server/server.h"
#include "state/verify.h"

#define ROUTE_FILE "routes_server.def"
#include "../api/declare.h"

int site_get(struct request *r, struct response *w, struct err *e)
{
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "version", SLIPWAY_VERSION);
	jw_kv_string(j, "publicUrl", app_of(r)->public_url);
	jw_object_end(j);
	return 0;
}

#define PATH_MAX_BYTES 4000
/* More than that of one kind of damage tells nothing new. */
#define PROBLEMS_MAX 1000

struct backup_body {
	const char *file;
};
const struct field backup_fields[] = {
	FIELD(struct backup_body, file, "file", FIELD_STRING, .required = true, .max = PATH_MAX_BYTES,
	      .doc = "where the server writes it: an absolute path that is not there yet"),
	FIELD_END
};

int site_backup(struct request *r, struct response *w, struct err *e)
{
	struct backup_body b = { 0 };
	struct backup done;
	int rc = request_decode(r, w, backup_fields, &b, e);
	if (rc == 0)
		rc = backup_write(app_of(r), b.file, &done, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "file", b.file);
	jw_kv_int(j, "bytes", done.bytes);
	jw_kv_int(j, "blobs", done.blobs);
	jw_object_end(j);
	return 0;
}

struct telling {
	struct json_writer *j;
	int64_t told;
};

static void put_problem(void *arg, const char *text)
{
	struct telling *t = arg;
	if (t->told++ < PROBLEMS_MAX)
		jw_string(t->j, text);
}

static void oidc_problem(void *arg, const char *key_id, const char *what)
{
	verify_problem(arg, "the key %s of the OIDC issuer %s", key_id, what);
}

int server_verify(struct app *app, struct json_writer *j, int64_t *ret_problems, struct err *e)
{
	struct telling telling = { .j = j };
	struct verify v = { .problem = put_problem, .arg = &telling };
	jw_object(j);
	jw_key(j, "problems");
	jw_array(j);
	int rc = state_verify(app, &v, e);
	if (rc == 0)
		rc = deploy_verify(app, &v, e);
	if (rc == 0)
		rc = oidc_verify(app->identity, oidc_problem, &v, &v.oidc_keys, e);
	jw_array_end(j);
	jw_kv_int(j, "problemCount", v.problems);
	jw_key(j, "looked");
	jw_object(j);
	jw_kv_int(j, "organizations", v.organizations);
	jw_kv_int(j, "stacks", v.stacks);
	jw_kv_int(j, "states", v.states);
	jw_kv_int(j, "journals", v.journals);
	jw_kv_int(j, "events", v.events);
	jw_kv_int(j, "driftRuns", v.drift);
	jw_kv_int(j, "settings", v.settings);
	jw_kv_int(j, "logs", v.logs);
	jw_kv_int(j, "cacheEntries", v.cache_entries);
	jw_kv_int(j, "oidcKeys", v.oidc_keys);
	jw_object_end(j);
	jw_object_end(j);
	*ret_problems = v.problems;
	return rc;
}

int site_verify(struct request *r, struct response *w, struct err *e)
{
	int64_t problems;
	return server_verify(app_of(r), response_json(w), &problems, e);
}
