/* Documents in and out: export, import (cli-protocol §3.3). */
#include "state/document.h"

#include "http/http.h"
#include "state/busy.h"
#include "state/deployment.h"
#include "state/import.h"
#include "state/secrets.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

#define JSON_TYPE "application/json"

static int serve(struct request *r, struct response *w, int64_t version, struct err *e)
{
	struct document d;
	const struct access *access = request_access(r);
	int rc = document_read(app_of(r), r->arena, access->stack_id, version, &d, e);
	/* A run calls us by the address that we gave it. Whoever else seems to call us by plain HTTP may do so through a
	 * proxy that we were not told about: an https:// that is there stays. */
	bool is_run = access->who.kind == PRINCIPAL_RUN;
	const char *url = is_run ? app_of(r)->public_url : request_origin(r);
	if (rc == 0 && url)
		rc = document_set_address(&d, url, !is_run && str_starts_with(str_of(url), "http://"), r->arena, e);
	if (rc < 0)
		return rc;
	if (d.text.p)
		response_body(w, JSON_TYPE, d.text);
	else
		response_body_gzip(w, JSON_TYPE, d.gzip);
	return 0;
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
	struct imported done;
	rc = state_import(app_of(r), r->arena, &n, &done, e);
	if (rc < 0)
		return busy_answer(w, rc, &done.holder, e);
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "updateId", done.update_id);
	jw_object_end(j);
	return 0;
}
