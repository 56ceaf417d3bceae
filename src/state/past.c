#include "state/past.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_state.h"
#include "state/stack.h"
#include "state/update.h"

struct taking {
	struct arena *a;
	const struct past *n;
	const char *no_state; /* the id of a state that is nowhere, as after the retention of versions */
	struct past_result result;
};

static int check_unused(const struct stack *s, const struct past *n, struct err *e)
{
	if (s->running_update_id)
		return stack_is_busy(e);
	if (s->latest_update_id ? !id_is_derived(s->latest_update_id) : s->checkpoint_id != NULL)
		return err_set(e, ERR_CONFLICT, "the stack has been used here: version %lld was made here",
			       (long long)s->version);
	if (n->version != 0 && n->version <= s->version)
		return err_set(e, ERR_CONFLICT, "version %lld: the stack here has version %lld already",
			       (long long)n->version, (long long)s->version);
	return 0;
}

static int insert(struct db_conn *c, const struct taking *p, const struct stack *s, const char *user_id, struct err *e)
{
	const struct past *n = p->n;
	int64_t version = p->result.version;
	int rc = q_update_insert(c,
				 &(struct update_insert_in){
					 .id = n->update_id,
					 .stack_id = s->id,
					 .kind = n->kind,
					 .status = n->status,
					 .version = version,
					 .message = n->message,
					 .environment = n->environment,
					 .config = n->config,
					 .requested_by = user_id,
					 .base_checkpoint_id = s->checkpoint_id,
					 .checkpoint_id = n->checkpoint ? n->checkpoint->id : p->no_state,
					 .resource_count = n->resource_count,
					 .now_us = n->started_us,
					 .started_us = n->started_us,
					 .ended_us = n->ended_us,
				 },
				 e);
	if (rc >= 0 && n->changes)
		rc = q_update_set_changes(c, &(struct update_set_changes_in){ n->update_id, n->changes }, e);
	if (rc >= 0)
		rc = q_stack_start_update(
			c, &(struct stack_start_update_in){ s->id, n->update_id, version, n->ended_us }, e);
	if (rc >= 0)
		rc = q_stack_end_update(c, &(struct stack_end_update_in){ s->id, n->update_id, n->ended_us }, e);
	/* Its age is that of the version: the retention goes by it. */
	if (rc >= 0 && n->checkpoint)
		rc = checkpoint_insert(c, n->checkpoint, s->id, n->update_id, version, n->ended_us, e);
	if (rc >= 0 && n->checkpoint)
		rc = q_stack_set_state(
			c, &(struct stack_set_state_in){ s->id, n->checkpoint->id, n->checkpoint->resource_count }, e);
	return rc < 0 ? rc : 0;
}

static int take_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct taking *p = arg;
	const struct past *n = p->n;
	struct stack s;
	struct update there;
	struct user author;
	p->result = (struct past_result){ .taken = false };
	int rc = state_stack_by_id(c, p->a, n->stack_id, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || s.deleted)
		return stack_gone(e);
	rc = update_find(c, p->a, n->update_id, &there, e);
	if (rc < 0)
		return rc;
	if (rc > 0) {
		p->result.version = there.version;
		return streq(there.stack_id, s.id) ? 0 : err_set(e, ERR_CONFLICT, "the update is another stack's");
	}
	rc = check_unused(&s, n, e);
	if (rc == 0 && n->author)
		rc = identity_user_by_name(c, p->a, n->author, &author, e);
	if (rc < 0)
		return rc;
	p->result = (struct past_result){ n->version ? n->version : s.version + 1, true, rc > 0 };
	return insert(c, p, &s, rc > 0 ? author.id : NULL, e);
}

int past_take(struct app *app, struct arena *a, const struct past *n, struct past_result *ret, struct err *e)
{
	struct taking p = { .a = a, .n = n, .no_state = id_new_arena(a) };
	if (!p.no_state)
		return err_nomem(e);
	int rc = db_write(app->db, take_fn, &p, e);
	if (rc < 0)
		return rc;
	if (p.result.taken && n->checkpoint && app->poke)
		app->poke(app);
	*ret = p.result;
	return 0;
}
