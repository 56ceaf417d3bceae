/* Documents in and out: export, import (cli-protocol §3.3). */
#include "state/stack.h"
#include "state/update.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "db/queries_state.h"
#include "http/http.h"
#include "state/deployment.h"
#include "state/import.h"
#include "state/secrets.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

#define JSON_TYPE "application/json"
/* A checkpoint may be replaced between its row and its blob; twice in a row is already unlikely. */
#define EXPORT_TRIES 4

struct export
{
	struct arena *a;
	const char *stack_id;
	int64_t version; /* DB_NULL_INT: the newest */
	/* What to serve: what a running update has saved, else the checkpoint, else nothing was ever there. */
	bool running;
	struct update u;
	bool has_checkpoint;
	bool forgotten; /* the retention of versions is over */
	struct checkpoint checkpoint;
};

static int export_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct export *p = arg;
	struct stack s;
	p->running = p->has_checkpoint = p->forgotten = false;
	int rc = state_stack_by_id(c, p->a, p->stack_id, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || s.deleted)
		return stack_gone(e);
	const char *checkpoint_id = s.checkpoint_id;
	const char *update_id = s.running_update_id;
	if (p->version != DB_NULL_INT) {
		struct update_by_version_row row;
		rc = q_update_by_version(c, p->a, &(struct update_by_version_in){ s.id, p->version }, &row, e);
		if (rc < 0)
			return rc;
		if (rc == 0)
			return err_set(e, ERR_NOT_FOUND, "version %lld of the stack", (long long)p->version);
		checkpoint_id = row.checkpoint_id;
		update_id = row.id;
	}
	if (update_id) {
		rc = update_find(c, p->a, update_id, &p->u, e);
		if (rc < 0)
			return rc;
		p->running = rc > 0 && update_is_open(&p->u) && (p->u.journal_version > 0 || p->u.saved_sequence > 0);
	}
	if (!checkpoint_id)
		return 0;
	rc = checkpoint_find(c, p->a, checkpoint_id, &p->checkpoint, e);
	p->has_checkpoint = rc > 0;
	p->forgotten = rc == 0 && p->version != DB_NULL_INT && !p->running;
	return rc < 0 ? rc : 0;
}

static int serve_checkpoint(struct request *r, struct response *w, const struct export *p, struct err *e)
{
	struct str gzip;
	if (!p->has_checkpoint) {
		response_body(w, JSON_TYPE, STR(DEPLOYMENT_EMPTY));
		return 0;
	}
	int rc = checkpoint_load(app_of(r), r->arena, &p->checkpoint, &gzip, e);
	if (rc == 0)
		response_body_gzip(w, JSON_TYPE, gzip);
	return rc;
}

/* The state so far of an update that keeps a journal or saves deltas. *ret_served: false, there are none yet. */
static int serve_journal(struct request *r, struct response *w, const struct export *p, bool *ret_served, struct err *e)
{
	_cleanup_buf_ struct buf text;
	int64_t resources, batches;
	buf_init(&text, HTTP_DOCUMENT_BODY_BYTES * 2);
	int rc = update_replay(app_of(r), r->arena, &p->u, &text, &resources, &batches, e);
	*ret_served = rc == 0 && batches > 0;
	if (*ret_served)
		response_body(w, JSON_TYPE, buf_str(&text));
	return rc;
}

static int serve(struct request *r, struct response *w, int64_t version, struct err *e)
{
	int rc = 0;
	for (int i = 0; i < EXPORT_TRIES; i++) {
		struct export p = { r->arena, request_access(r)->stack_id, version };
		bool served = false;
		rc = db_read(app_of(r)->db, export_fn, &p, e);
		if (rc < 0)
			return rc;
		if (p.forgotten)
			return err_set(e, ERR_NOT_FOUND, "the state of version %lld is no longer kept",
				       (long long)version);
		if (p.running)
			rc = serve_journal(r, w, &p, &served, e);
		if (rc == 0 && !served)
			rc = serve_checkpoint(r, w, &p, e);
		if (rc != -ERR_NOT_FOUND)
			return rc;
	}
	return err_set(e, ERR_INTERNAL, "the stored state is missing: %s", e ? e->message : "");
}

int state_api_export(struct request *r, struct response *w, struct err *e)
{
	return serve(r, w, DB_NULL_INT, e);
}

int state_api_export_version(struct request *r, struct response *w, struct err *e)
{
	int64_t version;
	if (!str_to_int64(str_of(request_param(r, "version")), &version) || version < 1)
		return err_set(e, ERR_BAD_REQUEST, "version: must be an integer of at least 1");
	return serve(r, w, version, e);
}

/* --- import --- */

int state_api_import(struct request *r, struct response *w, struct err *e)
{
	const struct access *access = request_access(r);
	struct json body;
	struct checkpoint checkpoint;
	struct sealer sealer = { 0 };
	int64_t resources;
	int rc = request_json(r, false, &body, e);
	if (rc == 0)
		rc = untyped_deployment_check(body, &resources, e);
	if (rc == 0)
		rc = sealer_init(&sealer, app_of(r), r->arena, access, e);
	if (rc == 0)
		rc = secrets_check(&sealer, json_get(body, "deployment"), e);
	sealer_done(&sealer);
	if (rc == 0)
		rc = checkpoint_prepare(app_of(r), r->arena, r->body, r->body_gzip, resources, &checkpoint, e);
	if (rc < 0)
		return rc;
	struct import n = { .stack_id = access->stack_id,
			    .message = "",
			    .requested_by = access->who.user_id,
			    .deployment_id = access->who.kind == PRINCIPAL_RUN ? access->who.deployment_id : NULL,
			    .checkpoint = &checkpoint };
	const char *id;
	int64_t version;
	rc = state_import(app_of(r), r->arena, &n, &id, &version, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "updateId", id);
	jw_object_end(j);
	return 0;
}
