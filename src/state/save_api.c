/* How an update saves state as it goes: entries of a journal, or whole checkpoints (cli-protocol §3.6). */
#include "state/update.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_state.h"
#include "http/http.h"
#include "state/deployment.h"
#include "state/journal_entry.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

static int wrong_way(struct err *e, const struct update *u)
{
	if (u->dry_run)
		return err_set(e, ERR_BAD_REQUEST, "a preview saves no state");
	return err_set(e, ERR_BAD_REQUEST, "this update was started to save its state by %s",
		       u->journal_version ? "journal" : "checkpoints");
}

/* --- journal --- */

struct append {
	struct arena *a;
	struct journal_insert_in row;
};

static int append_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct append *p = arg;
	struct update u;
	int rc = update_for_write(c, p->a, p->row.update_id, &u, e);
	if (rc < 0)
		return rc;
	if (u.dry_run || u.journal_version == 0)
		return wrong_way(e, &u);
	rc = q_journal_insert(c, &p->row, e);
	return rc < 0 ? rc : 0;
}

int save_api_journal(struct request *r, struct response *w, struct err *e)
{
	struct json body;
	struct append p = { .a = r->arena,
			    .row = { .update_id = request_param(r, "updateID"),
				     .id = id_new_arena(r->arena),
				     .body = r->body_gzip,
				     .now_us = clock_now_us() } };
	int rc = request_json(r, false, &body, e);
	if (rc == 0)
		rc = journal_body_check(body, &p.row.entry_count, e);
	if (rc == 0 && !p.row.id)
		rc = err_nomem(e);
	/* What came compressed lies as it came. */
	if (rc == 0 && !p.row.body.p)
		rc = document_deflate(r->arena, r->body, &p.row.body, e);
	if (rc == 0 && p.row.entry_count > 0)
		rc = db_write(app_of(r)->db, append_fn, &p, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}

/* --- checkpoints --- */

struct save {
	struct arena *a;
	const char *update_id;
	const struct checkpoint *checkpoint;
	const char *old_blob; /* of the update's former checkpoint, which this one replaces */
};

static int save_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct save *p = arg;
	struct update u;
	p->old_blob = NULL;
	int rc = update_for_write(c, p->a, p->update_id, &u, e);
	if (rc < 0)
		return rc;
	if (u.dry_run || u.journal_version != 0)
		return wrong_way(e, &u);
	rc = checkpoint_insert(c, p->checkpoint, u.stack_id, u.id, u.version, clock_now_us(), e);
	if (rc >= 0)
		rc = q_update_set_checkpoint(c, &(struct update_set_checkpoint_in){ u.id, p->checkpoint->id }, e);
	if (rc >= 0)
		rc = q_stack_set_state(
			c, &(struct stack_set_state_in){ u.stack_id, p->checkpoint->id, p->checkpoint->resource_count },
			e);
	if (rc >= 0 && u.checkpoint_id && !streq(u.checkpoint_id, u.base_checkpoint_id))
		rc = checkpoint_remove(c, p->a, u.checkpoint_id, &p->old_blob, e);
	return rc < 0 ? rc : 0;
}

int save_api_checkpoint(struct request *r, struct response *w, struct err *e)
{
	struct json body;
	struct checkpoint checkpoint;
	int64_t resources;
	int rc = request_json(r, false, &body, e);
	if (rc < 0)
		return rc;
	/* A client of old may say that its state is lost; nothing is done about that (cli-protocol §3.6.2). */
	if (json_is_true(json_get(body, "isInvalid")) && json_is_null(json_get(body, "deployment"))) {
		response_empty(w, 204);
		return 0;
	}
	rc = untyped_deployment_check(body, &resources, e);
	if (rc == 0)
		rc = checkpoint_prepare(app_of(r), r->arena, r->body, r->body_gzip, resources, &checkpoint, e);
	if (rc < 0)
		return rc;
	struct save p = { r->arena, request_param(r, "updateID"), &checkpoint, NULL };
	rc = db_write(app_of(r)->db, save_fn, &p, e);
	if (rc < 0)
		return rc;
	checkpoint_remove_blob(app_of(r), p.old_blob);
	response_empty(w, 204);
	return 0;
}
