#include "state/import.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_state.h"
#include "state/busy.h"
#include "state/stack.h"
#include "state/update_event.h"

struct importing {
	struct arena *a;
	const struct import *n;
	struct imported *ret;
};

static int import_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct importing *p = arg;
	const struct import *n = p->n;
	struct stack s;
	int64_t now = clock_now_us();
	int rc = state_stack_by_id(c, p->a, n->stack_id, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || s.deleted)
		return stack_gone(e);
	rc = busy_check(c, p->a, &s, &p->ret->holder, e);
	if (rc < 0)
		return rc;
	const char *id = p->ret->update_id;
	int64_t version = p->ret->version = s.version + 1;
	rc = q_update_insert(c,
			     &(struct update_insert_in){ .id = id,
							 .stack_id = s.id,
							 .kind = "import",
							 .status = "succeeded",
							 .version = version,
							 .message = n->message,
							 .environment = "{}",
							 .requested_by = n->requested_by,
							 .deployment_id = n->deployment_id,
							 .base_checkpoint_id = s.checkpoint_id,
							 .checkpoint_id = n->checkpoint->id,
							 .resource_count = n->checkpoint->resource_count,
							 .now_us = now,
							 .started_us = now,
							 .ended_us = now },
			     e);
	if (rc >= 0)
		rc = checkpoint_insert(c, n->checkpoint, s.id, id, version, now, e);
	if (rc >= 0)
		rc = q_stack_start_update(c, &(struct stack_start_update_in){ s.id, id, version, now }, e);
	if (rc >= 0)
		rc = q_stack_end_update(c, &(struct stack_end_update_in){ s.id, id, now }, e);
	if (rc >= 0)
		rc = q_stack_set_state(
			c, &(struct stack_set_state_in){ s.id, n->checkpoint->id, n->checkpoint->resource_count }, e);
	struct update_outcome outcome = { .id = id,
					  .org_id = s.org_id,
					  .stack_id = s.id,
					  .version = version,
					  .deployment_id = n->deployment_id,
					  .result = "succeeded" };
	return rc < 0 ? rc : update_event_put(c, p->a, &outcome, e);
}

int state_import(struct app *app, struct arena *a, const struct import *n, struct imported *ret, struct err *e)
{
	*ret = (struct imported){ .update_id = id_new_arena(a) };
	struct importing p = { .a = a, .n = n, .ret = ret };
	if (!ret->update_id)
		return err_nomem(e);
	int rc = db_write(app->db, import_fn, &p, e);
	checkpoint_settle(app, n->checkpoint, rc);
	if (rc < 0)
		return rc;
	/* Its resources are to be listed. */
	if (app->poke)
		app->poke(app);
	return 0;
}
