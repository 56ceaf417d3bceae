/* How an update saves state as it goes: entries of a journal, or whole checkpoints (cli-protocol §3.6). Verbatim and delta
 * checkpoints are in save_delta_api.c. */
#include "state/save.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_state.h"
#include "http/http.h"
#include "state/delta_text.h"
#include "state/deployment.h"
#include "state/journal_entry.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

int save_check_way(const struct update *u, bool journal, struct err *e)
{
	if (u->dry_run)
		return err_set(e, ERR_BAD_REQUEST, "a preview saves no state");
	if ((u->journal_version != 0) == journal)
		return 0;
	return err_set(e, ERR_BAD_REQUEST, "this update was started to save its state by %s",
		       u->journal_version ? "journal" : "checkpoints");
}

int save_check_former(const struct update *u, int64_t former, struct err *e)
{
	if (former == SAVE_ANY || u->saved_sequence == former)
		return 0;
	return err_set(e, ERR_BAD_REQUEST, "the delta does not follow what was saved last, number %" PRId64,
		       u->saved_sequence);
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
	if (rc == 0)
		rc = save_check_way(&u, true, e);
	if (rc == 0)
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
	int64_t sequence, former;
	bool taken;
	const char *old_blob; /* of the update's former checkpoint, which this one replaces */
};

/* What was saved before is not needed any more. */
static int replace(struct db_conn *c, struct save *p, const struct update *u, struct err *e)
{
	int rc = 0;
	if (u->checkpoint_id && !streq(u->checkpoint_id, u->base_checkpoint_id))
		rc = checkpoint_remove(c, p->a, u->checkpoint_id, &p->old_blob, e);
	if (rc >= 0 && u->saved_sequence > 0)
		rc = q_delta_clear(c, &(struct delta_clear_in){ u->id }, e);
	if (rc >= 0 && p->sequence > 0)
		rc = q_update_set_saved(c, &(struct update_set_saved_in){ u->id, p->sequence }, e);
	return rc < 0 ? rc : 0;
}

static int save_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct save *p = arg;
	struct update u;
	p->old_blob = NULL;
	p->taken = false;
	int rc = update_for_write(c, p->a, p->update_id, &u, e);
	if (rc == 0)
		rc = save_check_way(&u, false, e);
	if (rc < 0 || (p->sequence > 0 && u.saved_sequence > p->sequence))
		return rc;
	rc = save_check_former(&u, p->former, e);
	if (rc < 0)
		return rc;
	rc = checkpoint_insert(c, p->checkpoint, u.stack_id, u.id, u.version, clock_now_us(), e);
	if (rc >= 0)
		rc = q_update_set_checkpoint(c, &(struct update_set_checkpoint_in){ u.id, p->checkpoint->id }, e);
	if (rc >= 0)
		rc = q_stack_set_state(
			c, &(struct stack_set_state_in){ u.stack_id, p->checkpoint->id, p->checkpoint->resource_count },
			e);
	if (rc >= 0)
		rc = replace(c, p, &u, e);
	p->taken = rc >= 0;
	return rc < 0 ? rc : 0;
}

int save_whole(struct app *app, struct arena *a, const char *update_id, const struct checkpoint *checkpoint,
	       int64_t sequence, int64_t former, struct err *e)
{
	struct save p = {
		.a = a, .update_id = update_id, .checkpoint = checkpoint, .sequence = sequence, .former = former
	};
	int rc = db_write(app->db, save_fn, &p, e);
	checkpoint_settle(app, checkpoint, rc);
	if (rc < 0)
		return rc;
	if (!p.taken)
		checkpoint_discard(app, checkpoint);
	checkpoint_remove_blob(app, p.old_blob);
	/* Not what the next delta changes. */
	delta_text_forget(update_id);
	return 0;
}

int save_api_checkpoint(struct request *r, struct response *w, struct err *e)
{
	struct json body;
	struct checkpoint checkpoint;
	int64_t resources;
	int rc = request_json(r, false, &body, e);
	if (rc < 0)
		return rc;
	rc = untyped_deployment_check(body, &resources, e);
	/* A client of old may say that its state is lost; nothing is done about that (cli-protocol §3.6.2). */
	if (rc < 0 && json_is_true(json_get(body, "isInvalid")) && json_is_null(json_get(body, "deployment"))) {
		response_empty(w, 204);
		return 0;
	}
	if (rc == 0)
		rc = checkpoint_prepare(app_of(r), r->arena, r->body, r->body_gzip, resources, &checkpoint, e);
	if (rc < 0)
		return rc;
	rc = save_whole(app_of(r), r->arena, request_param(r, "updateID"), &checkpoint, 0, SAVE_ANY, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}
