/* A stack gets another name. */
#include "state/stack.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "db/queries_state.h"
#include "identity/event.h"
#include "state/busy.h"
#include "state/rename.h"

struct rename_tx {
	struct arena *a;
	const struct access *access;
	const char *project, *name;
	const char *update_id;
	struct update *ret_holder;
	struct stack s;
	bool has_state;
	struct checkpoint old;
	const struct checkpoint *now; /* NULL: the stack has no state */
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct rename_tx *p = arg;
	p->has_state = false;
	int rc = state_stack_by_id(c, p->a, p->access->stack_id, &p->s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || p->s.deleted)
		return stack_gone(e);
	rc = busy_check(c, p->a, &p->s, p->ret_holder, e);
	if (rc < 0)
		return rc;
	if (!p->s.checkpoint_id)
		return 0;
	rc = checkpoint_find(c, p->a, p->s.checkpoint_id, &p->old, e);
	p->has_state = rc > 0;
	return rc < 0 ? rc : 0;
}

static int put_names(struct db_conn *c, struct rename_tx *p, const struct stack *s, struct err *e)
{
	struct stack_by_name_row other;
	int rc = q_stack_by_name(c, p->a, &(struct stack_by_name_in){ s->org_id, p->project, p->name }, &other, e);
	if (rc > 0)
		return err_set(e, ERR_CONFLICT, "stack '%s/%s/%s' already exists", p->access->org.name, p->project,
			       p->name);
	if (rc >= 0)
		rc = q_stack_former_name_remove(
			c, &(struct stack_former_name_remove_in){ s->org_id, p->project, p->name }, e);
	if (rc >= 0)
		rc = q_stack_set_name(c, &(struct stack_set_name_in){ s->id, p->project, p->name }, e);
	if (rc >= 0)
		rc = q_stack_former_name_put(
			c, &(struct stack_former_name_put_in){ s->org_id, s->project, s->name, s->id }, e);
	return rc;
}

static int rename_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct rename_tx *p = arg;
	struct stack s;
	int64_t now = clock_now_us();
	int rc = state_stack_by_id(c, p->a, p->access->stack_id, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || s.deleted)
		return stack_gone(e);
	rc = busy_check(c, p->a, &s, p->ret_holder, e);
	if (rc == 0 && !streq(s.checkpoint_id, p->s.checkpoint_id))
		rc = stack_is_busy(e);
	if (rc < 0)
		return rc;
	const char *checkpoint_id = p->now ? p->now->id : s.checkpoint_id;
	int64_t version = s.version + 1;
	rc = put_names(c, p, &s, e);
	if (rc >= 0)
		rc = q_update_insert(c,
				     &(struct update_insert_in){ .id = p->update_id,
								 .stack_id = s.id,
								 .kind = "rename",
								 .status = "succeeded",
								 .version = version,
								 .message = "",
								 .environment = "{}",
								 .requested_by = p->access->who.user_id,
								 .base_checkpoint_id = s.checkpoint_id,
								 .checkpoint_id = checkpoint_id,
								 .resource_count = s.resource_count,
								 .now_us = now,
								 .started_us = now,
								 .ended_us = now },
				     e);
	if (rc >= 0 && p->now)
		rc = checkpoint_insert(c, p->now, s.id, p->update_id, version, now, e);
	if (rc >= 0)
		rc = q_stack_start_update(c, &(struct stack_start_update_in){ s.id, p->update_id, version, now }, e);
	if (rc >= 0)
		rc = q_stack_end_update(c, &(struct stack_end_update_in){ s.id, p->update_id, now }, e);
	if (rc >= 0)
		rc = q_stack_set_state(c, &(struct stack_set_state_in){ s.id, checkpoint_id, s.resource_count }, e);
	struct event_subject subject = { .org_id = s.org_id, .stack_id = s.id, .who = &p->access->who };
	if (rc < 0)
		return rc;
	return event_put_simple(c, p->a, &subject, "stack.renamed", e, "formerProjectName", s.project,
				"formerStackName", s.name, NULL);
}

static int rewrite_state(struct app *app, struct rename_tx *p, struct checkpoint *ret, struct err *e)
{
	_cleanup_buf_ struct buf out;
	struct str gzip, text;
	struct rename_names names = { p->s.project, p->s.name, p->project, p->name };
	buf_init(&out, HTTP_DOCUMENT_BODY_BYTES * 2);
	int rc = checkpoint_load(app, p->a, &p->old, &gzip, e);
	if (rc == 0)
		rc = document_inflate(p->a, gzip, &text, e);
	if (rc < 0)
		return rc;
	text = str_trim(text);
	rc = rename_document((struct json){ text.p, text.n }, &names, p->a, &out, e);
	if (rc == 0)
		rc = checkpoint_prepare(app, p->a, buf_str(&out), STR_NULL, p->old.resource_count, ret, e);
	return rc;
}

int stack_rename(struct app *app, struct arena *a, const struct access *access, const char *project, const char *name,
		 const char **ret_update_id, struct update *ret_holder, struct err *e)
{
	struct rename_tx p = { .a = a,
			       .access = access,
			       .project = project,
			       .name = name,
			       .update_id = id_new_arena(a),
			       .ret_holder = ret_holder };
	*ret_holder = (struct update){ 0 };
	struct checkpoint now;
	int rc = p.update_id ? db_read(app->db, look_fn, &p, e) : err_nomem(e);
	if (rc < 0)
		return rc;
	if (streq(p.s.project, project) && streq(p.s.name, name))
		return err_set(e, ERR_BAD_REQUEST, "No rename to apply.");
	if (p.has_state) {
		rc = rewrite_state(app, &p, &now, e);
		p.now = rc == 0 ? &now : NULL;
	}
	if (rc == 0)
		rc = db_write(app->db, rename_fn, &p, e);
	if (p.now)
		checkpoint_settle(app, p.now, rc);
	/* Its resources are to be listed anew. */
	if (rc == 0 && app->poke)
		app->poke(app);
	if (rc == 0)
		*ret_update_id = p.update_id;
	return rc;
}
