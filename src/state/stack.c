#include "state/stack.h"

#include "base/clock.h"
#include "base/id.h"
#include "db/queries_state.h"
#include "identity/event.h"
#include "state/busy.h"

int (*state_stack_burying)(struct db_conn *c, const char *stack_id, struct err *e);
int (*state_stack_is_deploying)(struct db_conn *c, const char *stack_id, bool *ret, struct err *e);
int (*state_stack_removing)(struct db_conn *c, const char *stack_id, struct err *e);

int stack_gone(struct err *e)
{
	return err_set(e, ERR_NOT_FOUND, "the stack does not exist");
}

int stack_is_busy(struct err *e)
{
	return err_set(e, ERR_CONFLICT, "Another update is currently in progress.");
}

/* --- lookups --- */

/* The rows of both queries have the same members. */
#define STACK_OF(row)                                                                                 \
	(struct stack)                                                                                \
	{                                                                                             \
		.id = (row).id, .org_id = (row).org_id, .project = (row).project, .name = (row).name, \
		.tags = (row).tags, .data_key = (row).data_key, .version = (row).version,             \
		.checkpoint_id = (row).checkpoint_id, .latest_update_id = (row).latest_update_id,     \
		.running_update_id = (row).running_update_id, .resource_count = (row).resource_count, \
		.deleted = (row).deleted_us != DB_NULL_INT,                                           \
	}

int state_stack_by_id(struct db_conn *c, struct arena *a, const char *stack_id, struct stack *ret, struct err *e)
{
	struct stack_by_id_row row;
	int rc = q_stack_by_id(c, a, &(struct stack_by_id_in){ stack_id }, &row, e);
	if (rc > 0)
		*ret = STACK_OF(row);
	return rc;
}

int state_stack_by_name(struct db_conn *c, struct arena *a, const char *org_id, const char *project, const char *name,
			struct stack *ret, struct err *e)
{
	struct stack_by_name_row row;
	int rc = q_stack_by_name(c, a, &(struct stack_by_name_in){ org_id, project, name }, &row, e);
	if (rc > 0)
		*ret = STACK_OF(row);
	if (rc != 0)
		return rc;
	struct stack_by_former_name_row former;
	rc = q_stack_by_former_name(c, a, &(struct stack_by_former_name_in){ org_id, project, name }, &former, e);
	return rc <= 0 ? rc : state_stack_by_id(c, a, former.stack_id, ret, e);
}

int state_org_of_stack(struct db_conn *c, struct arena *a, const char *org_id, struct org *ret, struct err *e)
{
	struct stack_org_by_id_row row;
	int rc = q_stack_org_by_id(c, a, &(struct stack_org_by_id_in){ org_id }, &row, e);
	if (rc > 0)
		*ret = (struct org){ .id = row.id,
				     .name = row.name,
				     .personal = streq(row.kind, "personal"),
				     .data_key = row.data_key };
	return rc;
}

/* --- keys --- */

static const char *key_owner(struct arena *a, const char *stack_id)
{
	return arena_printf(a, "stack:%s", stack_id);
}

int state_stack_key(struct identity *id, const struct org *org, const struct stack *s, struct crypto_key *ret,
		    struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct crypto_key org_key;
	struct str plain;
	const char *owner = key_owner(&a, s->id);
	int rc = identity_org_key(id, org, &org_key, e);
	if (rc < 0)
		return rc;
	rc = owner ? crypto_open(&org_key, owner, s->data_key, &a, &plain, e) : err_nomem(e);
	crypto_wipe(&org_key, sizeof(org_key));
	if (rc < 0 || plain.n != CRYPTO_KEY_BYTES)
		return err_set(e, ERR_INTERNAL, "the key of stack %s does not open", s->id);
	*ret = (struct crypto_key){ .id = 1 };
	memcpy(ret->bytes, plain.p, CRYPTO_KEY_BYTES);
	crypto_wipe((void *)(uintptr_t)plain.p, plain.n);
	return 0;
}

/* A new stack's key, sealed by the organization's. */
static int seal_new_key(struct app *app, struct arena *a, const struct org *org, const char *stack_id,
			struct str *ret_sealed, struct err *e)
{
	struct crypto_key org_key, key;
	const char *owner = key_owner(a, stack_id);
	int rc = identity_org_key(app->identity, org, &org_key, e);
	if (rc < 0)
		return rc;
	crypto_key_new(&key, 1);
	rc = owner ? crypto_seal(&org_key, owner, (struct str){ (char *)key.bytes, CRYPTO_KEY_BYTES }, a, ret_sealed, e)
		   : err_nomem(e);
	crypto_wipe(&org_key, sizeof(org_key));
	crypto_wipe(&key, sizeof(key));
	return rc;
}

struct find_stack {
	struct arena *a;
	const char *id;
	struct stack stack;
	int found;
};

static int find_stack_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct find_stack *f = arg;
	f->found = state_stack_by_id(c, f->a, f->id, &f->stack, e);
	return f->found < 0 ? f->found : 0;
}

int stack_key_by_id(struct app *app, struct arena *a, const struct access *access, struct crypto_key *ret,
		    struct err *e)
{
	struct find_stack f = { a, access->stack_id };
	int rc = db_read(app->db, find_stack_fn, &f, e);
	if (rc < 0)
		return rc;
	if (f.found == 0)
		return stack_gone(e);
	return state_stack_key(app->identity, &access->org, &f.stack, ret, e);
}

/* --- making --- */

int stack_put_tags(struct db_conn *c, struct arena *a, const char *stack_id, struct json tags, struct err *e)
{
	const char *text = json_is_null(tags) ? "{}" : arena_strndup(a, tags.p, tags.n);
	if (!text)
		return err_nomem(e);
	int rc = q_stack_set_tags(c, &(struct stack_set_tags_in){ stack_id, text }, e);
	if (rc >= 0)
		rc = q_stack_tags_clear(c, &(struct stack_tags_clear_in){ stack_id }, e);
	struct json_iter it = json_iter_start(tags);
	struct json key, value;
	while (rc >= 0 && json_next(&it, &key, &value)) {
		struct stack_tag_insert_in in = { stack_id, json_cstr(key, a), json_cstr(value, a) };
		if (!in.name || !in.value)
			return err_nomem(e);
		rc = q_stack_tag_insert(c, &in, e);
	}
	return rc < 0 ? rc : 0;
}

struct create {
	struct arena *a;
	const struct new_stack *n;
	struct stack_insert_in row;
};

static int create_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct create *p = arg;
	const struct new_stack *n = p->n;
	int rc = q_stack_insert(c, &p->row, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "stack '%s/%s/%s' already exists", n->access->org.name, n->project,
			       n->name);
	/* From here on the name means this stack, not the one that had it before a rename. */
	rc = q_stack_former_name_remove(
		c, &(struct stack_former_name_remove_in){ n->access->org.id, n->project, n->name }, e);
	if (rc >= 0)
		rc = stack_put_tags(c, p->a, p->row.id, n->tags, e);
	if (rc >= 0)
		rc = identity_grant_creator(c, n->access, p->row.id, e);
	if (rc >= 0 && n->checkpoint)
		rc = checkpoint_insert(c, n->checkpoint, p->row.id, NULL, 0, p->row.now_us, e);
	struct event_subject subject = { .org_id = n->access->org.id, .stack_id = p->row.id, .who = &n->access->who };
	return rc < 0 ? rc : event_put_simple(c, p->a, &subject, "stack.created", e, "action", "created", NULL);
}

int stack_create(struct app *app, struct arena *a, const struct new_stack *n, struct err *e)
{
	struct create p = { .a = a,
			    .n = n,
			    .row = { .id = id_new_arena(a),
				     .org_id = n->access->org.id,
				     .project = n->project,
				     .name = n->name,
				     .tags = "{}",
				     .checkpoint_id = n->checkpoint ? n->checkpoint->id : NULL,
				     .resource_count = n->checkpoint ? n->checkpoint->resource_count : 0,
				     .now_us = clock_now_us() } };
	if (!p.row.id)
		return err_nomem(e);
	int rc = seal_new_key(app, a, &n->access->org, p.row.id, &p.row.data_key, e);
	if (rc == 0)
		rc = db_write(app->db, create_fn, &p, e);
	/* The resources of its first state are to be listed. */
	if (rc == 0 && n->checkpoint && app->poke)
		app->poke(app);
	return rc;
}

/* --- removing --- */

struct removal {
	struct arena *a;
	const struct access *access;
	const char *stack_id;
	bool force;
	struct update *ret_holder;
	struct checkpoints_remove_of_stack_row *blobs;
	size_t blob_count;
};

static int remove_row(struct db_conn *c, const char *stack_id, struct err *e)
{
	int rc = state_stack_removing ? state_stack_removing(c, stack_id, e) : 0;
	if (rc >= 0)
		rc = q_stack_remove(c, &(struct stack_remove_in){ stack_id }, e);
	return rc < 0 ? rc : 0;
}

static int bury(struct db_conn *c, const char *stack_id, struct err *e)
{
	int rc = state_stack_burying ? state_stack_burying(c, stack_id, e) : 0;
	if (rc >= 0)
		rc = q_stack_bury_updates(c, &(struct stack_bury_updates_in){ stack_id }, e);
	if (rc >= 0)
		rc = q_stack_bury_drift(c, &(struct stack_bury_drift_in){ stack_id }, e);
	if (rc >= 0)
		rc = q_stack_tags_clear(c, &(struct stack_tags_clear_in){ stack_id }, e);
	if (rc >= 0)
		rc = q_stack_bury(c, &(struct stack_bury_in){ stack_id, clock_now_us() }, e);
	return rc < 0 ? rc : 0;
}

static int delete_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct removal *p = arg;
	struct stack s;
	bool deploying = false;
	p->blob_count = 0;
	int rc = state_stack_by_id(c, p->a, p->stack_id, &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || s.deleted)
		return stack_gone(e);
	rc = busy_check(c, p->a, &s, p->ret_holder, e);
	if (rc < 0)
		return rc;
	if (s.resource_count > 0 && !p->force)
		return err_set(e, ERR_BAD_REQUEST, "Stack still contains resources.");
	if (state_stack_is_deploying)
		rc = state_stack_is_deploying(c, p->stack_id, &deploying, e);
	if (rc >= 0)
		rc = q_checkpoints_remove_of_stack(c, p->a, &(struct checkpoints_remove_of_stack_in){ p->stack_id },
						   &p->blobs, &p->blob_count, e);
	if (rc >= 0)
		rc = q_stack_former_names_clear(c, &(struct stack_former_names_clear_in){ p->stack_id }, e);
	struct event_subject subject = { .org_id = s.org_id, .stack_id = s.id, .who = &p->access->who };
	if (rc >= 0)
		rc = event_put_simple(c, p->a, &subject, "stack.deleted", e, "action", "deleted", NULL);
	if (rc < 0)
		return rc;
	return deploying ? bury(c, p->stack_id, e) : remove_row(c, p->stack_id, e);
}

int stack_delete(struct app *app, struct arena *a, const struct access *access, bool force, struct update *ret_holder,
		 struct err *e)
{
	struct removal p = {
		.a = a, .access = access, .stack_id = access->stack_id, .force = force, .ret_holder = ret_holder
	};
	*ret_holder = (struct update){ 0 };
	int rc = db_write(app->db, delete_fn, &p, e);
	for (size_t i = 0; rc == 0 && i < p.blob_count; i++)
		checkpoint_remove_blob(app, p.blobs[i].blob_key);
	return rc;
}

int state_stack_buried(struct db_conn *c, struct arena *a, const char *org_id, const char *project, const char *name,
		       const char *deployment_id, const char *update_id, struct stack *ret, struct err *e)
{
	struct stack_buried_of_in in = { org_id, project, name, deployment_id, update_id };
	struct stack_buried_of_row row;
	int rc = q_stack_buried_of(c, a, &in, &row, e);
	return rc <= 0 ? rc : state_stack_by_id(c, a, row.id, ret, e);
}

int state_stack_forget(struct db_conn *c, const char *stack_id, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct stack s;
	arena_init(&a, 0);
	int rc = state_stack_by_id(c, &a, stack_id, &s, e);
	if (rc > 0 && s.deleted)
		rc = remove_row(c, stack_id, e);
	return rc < 0 ? rc : 0;
}
