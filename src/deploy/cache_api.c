/* The dependency cache over HTTP: who gives out URLs, and what they lead to. */
#include <unistd.h>

#include "base/limits.h"
#include "blob/blob.h"
#include "deploy/cache.h"
#include "deploy/job.h"
#include "identity/identity.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

struct cache_url {
	const char *method;
	const char *key;
};
const struct field cache_url_fields[] = {
	FIELD(struct cache_url, method, "method", FIELD_STRING, .doc = "PUT or GET"),
	FIELD(struct cache_url, key, "key", FIELD_STRING,
	      .doc = "which archive: up to 512 bytes, without slashes and control characters"),
	FIELD_END
};

/* It is never a path here, but a run makes a file name of it. */
static bool is_key(const char *key)
{
	size_t n = strlen(key);
	if (n > CACHE_KEY_MAX || streq(key, ".") || streq(key, ".."))
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)key[i] < 0x20 || key[i] == 0x7f || key[i] == '/' || key[i] == '\\')
			return false;
	return true;
}

struct cache_url_for_runner {
	struct cache_url url;
	int64_t attempt;
};
const struct field runner_cache_fields[] = {
	FIELD(struct cache_url_for_runner, attempt, "attempt", FIELD_INT, .required = true, .min = 0, .max = INT32_MAX),
	FIELD(struct cache_url_for_runner, url.method, "method", FIELD_STRING, .doc = "PUT or GET"),
	FIELD(struct cache_url_for_runner, url.key, "key", FIELD_STRING,
	      .doc = "which archive: up to 512 bytes, without slashes and control characters"),
	FIELD_END
};

/* Checks what was asked for; the URL is in the request's arena. */
static int make_url(struct request *r, const struct cache_url *asked, const char *org_id, const char *project,
		    const char **ret, struct err *e)
{
	struct app *app = app_of(r);
	struct cache_url body = *asked;
	const char *ticket, *origin = request_origin(r);
	bool put = body.method && streq(body.method, "PUT");
	/* In the hosted service's words (features §2.6). */
	if (!put && !(body.method && streq(body.method, "GET")))
		return err_set(e, ERR_BAD_REQUEST, "Invalid method. Must be PUT or GET.");
	if (!body.key || !body.key[0])
		return err_set(e, ERR_BAD_REQUEST, "Invalid key. Must be non-empty.");
	if (!is_key(body.key))
		return err_set(e, ERR_BAD_REQUEST,
			       "Invalid key. Must be at most %d bytes, without slashes and control characters.",
			       CACHE_KEY_MAX);
	struct cache_ticket t = { .put = put,
				  .expires_us = clock_now_us() + CACHE_TICKET_US,
				  .org_id = org_id,
				  .project = project,
				  .key = body.key };
	int rc = cache_ticket_write(app, r->arena, &t, &ticket, e);
	if (rc < 0)
		return rc;
	*ret = arena_printf(r->arena, "%s/api/cache/%s", origin ? origin : app->public_url, ticket);
	return *ret ? 0 : err_nomem(e);
}

int deploy_cache_url(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	struct cache_url body = { 0 };
	const char *url;
	int rc = request_decode(r, w, cache_url_fields, &body, e);
	if (rc == 0)
		rc = make_url(r, &body, access->org.id, access->stack_project, &url, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "url", url);
	jw_object_end(j);
	return 0;
}

struct job_of_runner {
	struct arena *arena;
	const char *id;
	int64_t attempt;
	struct deployment_get_row d;
};

static int job_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct job_of_runner *j = arg;
	return job_check(c, j->arena, j->id, j->attempt, &j->d, e);
}

/* A run needs no right on the stack for it: its project's cache is a part of how it runs. */
int runner_cache(struct request *r, struct response *w, struct err *e)
{
	struct cache_url_for_runner body = { 0 };
	struct job_of_runner job = { .arena = r->arena, .id = request_param(r, "deploymentId") };
	const char *url;
	int rc = request_decode(r, w, runner_cache_fields, &body, e);
	job.attempt = body.attempt;
	if (rc == 0 && body.attempt != request_access(r)->who.attempt)
		rc = err_set(e, ERR_CONFLICT, "lease lost");
	if (rc == 0)
		rc = db_read(app_of(r)->db, job_fn, &job, e);
	if (rc == 0)
		rc = make_url(r, &body.url, job.d.org_id, job.d.project, &url, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "url", url);
	jw_kv_int(j, "maxBytes", (int64_t)cache_entry_max(app_of(r)));
	jw_object_end(j);
	return 0;
}

int deploy_cache_clear(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	int rc = cache_clear(app_of(r), r->arena, access->org.id, access->stack_project, e);
	if (rc < 0)
		return rc;
	response_empty(w, 200);
	return 0;
}

int deploy_cache_admit(struct request *r, struct err *e)
{
	struct app *app = app_of(r);
	struct cache_ticket t;
	int rc = cache_ticket_read(app, r->arena, request_param(r, "ticket"), &t, e);
	/* Whoever reads a log gets no ticket out of it. */
	r->path = r->route->pattern;
	if (rc < 0)
		return rc;
	if (t.put != streq(r->method, "PUT"))
		return err_set(e, ERR_FORBIDDEN, "the URL is for %s", t.put ? "PUT" : "GET");
	if (t.expires_us <= clock_now_us())
		return err_set(e, ERR_FORBIDDEN, "the URL has expired");
	if (!t.put)
		return 0;
	r->body_limit_bytes = cache_entry_max(app);
	r->spool_dir = arena_printf(r->arena, "%s/cache/" BLOB_SPOOL, app->data_dir);
	return r->spool_dir ? 0 : err_nomem(e);
}

/* Admitted before the body came, which may have taken longer than the ticket is good for. */
int deploy_cache_put(struct request *r, struct response *w, struct err *e)
{
	struct cache_ticket t;
	int rc = cache_ticket_read(app_of(r), r->arena, request_param(r, "ticket"), &t, e);
	if (rc == 0)
		rc = cache_put(app_of(r), r->arena, &t, r->body, request_body_file(r), e);
	if (rc < 0)
		return rc;
	response_empty(w, 200);
	return 0;
}

int deploy_cache_get(struct request *r, struct response *w, struct err *e)
{
	struct cache_ticket t;
	int64_t bytes;
	int fd, rc = cache_ticket_read(app_of(r), r->arena, request_param(r, "ticket"), &t, e);
	if (rc == 0)
		rc = cache_get(app_of(r), r->arena, &t, streq(r->method, "HEAD"), &fd, &bytes, e);
	if (rc < 0)
		return rc;
	response_file(w, "application/octet-stream", fd, (size_t)bytes);
	return 0;
}
