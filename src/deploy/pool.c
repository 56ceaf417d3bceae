#include "deploy/pool.h"

#include "base/clock.h"
#include "base/id.h"
#include "deploy/queue.h"
#include "deploy/settings_history.h"

struct pool_op {
	struct arena *arena;
	const char *id;
	const char *org_id;
	const char *name; /* NULL: stays */
	const char *description;
	const char *network; /* pool_network.h */
	int is_default;	     /* -1: stays */
	bool force;
	const struct principal *who;
	struct str token_hash;
	const char *token_id;
	int64_t now_us;
	bool found;
};

static int add_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct pool_op *p = arg;
	struct pool_insert_in in = { .id = p->id,
				     .org_id = p->org_id,
				     .name = p->name,
				     .description = p->description ? p->description : "",
				     .network = p->network ? p->network : "",
				     .now_us = p->now_us };
	int rc = q_pool_insert(c, &in, e);
	if (rc == 0)
		return err_set(e, ERR_CONFLICT, "an agent pool named '%s' already exists", p->name);
	if (rc < 0)
		return rc;
	struct token_row token = { .id = p->token_id,
				   .hash = p->token_hash,
				   .kind = "pool",
				   .description = p->name,
				   .org_id = p->org_id,
				   .pool_id = p->id,
				   .attempt = DB_NULL_INT,
				   .expires_us = DB_NULL_INT };
	return identity_token_insert(c, &token, e);
}

int deploy_pool_add(struct app *app, struct arena *a, const char *org_id, const char *name, const char *description,
		    const char *network, const char **ret_id, const char **ret_token, struct err *e)
{
	char *token = token_new(a, TOKEN_PREFIX_POOL);
	struct pool_op p = { .arena = a,
			     .id = id_new_arena(a),
			     .token_id = id_new_arena(a),
			     .org_id = org_id,
			     .name = name,
			     .description = description,
			     .network = network,
			     .now_us = clock_now_us() };
	if (!token || !p.id || !p.token_id)
		return err_nomem(e);
	p.token_hash = token_hash(a, str_of(token));
	int rc = db_write(app->db, add_fn, &p, e);
	if (rc < 0)
		return rc;
	*ret_id = p.id;
	*ret_token = token;
	return 0;
}

static int exists_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct pool_op *p = arg;
	struct pool_get_in in = { .id = p->id, .org_id = p->org_id };
	struct pool_get_row row;
	int rc = q_pool_get(c, p->arena, &in, &row, e);
	p->found = rc > 0;
	return rc < 0 ? rc : 0;
}

int pool_exists(struct app *app, struct arena *a, const char *org_id, const char *pool_id, bool *ret, struct err *e)
{
	struct pool_op p = { .arena = a, .id = pool_id, .org_id = org_id };
	int rc = db_read(app->db, exists_fn, &p, e);
	if (rc == 0)
		*ret = p.found;
	return rc;
}

static int rename_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct pool_op *p = arg;
	struct pool_get_in get = { .id = p->id, .org_id = p->org_id };
	struct pool_get_row row;
	int rc = q_pool_get(c, p->arena, &get, &row, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "AgentPool '%s' not found", p->id);
	if (row.shared && (p->name || p->description || p->network))
		return err_set(e, ERR_FORBIDDEN, "the pool is shared by the whole site");
	if (p->name) {
		struct pool_name_taken_in taken = { .id = p->id, .org_id = p->org_id, .name = p->name };
		struct pool_name_taken_row other;
		rc = q_pool_name_taken(c, p->arena, &taken, &other, e);
		if (rc != 0)
			return rc < 0 ? rc
				      : err_set(e, ERR_CONFLICT, "an agent pool named '%s' already exists", p->name);
	}
	struct pool_update_in in = { .id = p->id,
				     .org_id = p->org_id,
				     .name = p->name ? p->name : row.name,
				     .description = p->description ? p->description : row.description,
				     .network = p->network ? p->network : row.network };
	rc = q_pool_update(c, &in, e);
	if (rc < 0 || p->is_default < 0)
		return rc;
	if (p->is_default == 0)
		return q_pool_unset_default(c, &(struct pool_unset_default_in){ p->id, p->org_id }, e);
	return q_pool_make_default(c, &(struct pool_make_default_in){ p->id, p->org_id }, e);
}

int pool_rename(struct app *app, struct arena *a, const char *org_id, const char *pool_id, const char *name,
		const char *description, const char *network, int is_default, struct err *e)
{
	struct pool_op p = { .arena = a,
			     .id = pool_id,
			     .org_id = org_id,
			     .name = name,
			     .description = description,
			     .network = network,
			     .is_default = is_default };
	int rc = db_write(app->db, rename_fn, &p, e);
	if (rc < 0)
		return rc;
	if (is_default >= 0)
		queue_wake(app, a, org_id);
	return 0;
}

static int remove_fn(struct db_conn *c, void *arg, struct err *e)
{
	const struct pool_op *p = arg;
	struct pool_get_in get = { .id = p->id, .org_id = p->org_id };
	struct pool_in_use_in use = { .id = p->id };
	struct pool_get_row row;
	struct pool_in_use_row in_use;
	int rc = q_pool_get(c, p->arena, &get, &row, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "AgentPool '%s' not found", p->id);
	if (row.shared)
		return err_set(e, ERR_FORBIDDEN, "the pool is shared by the whole site");
	rc = q_pool_in_use(c, p->arena, &use, &in_use, e);
	if (rc < 0)
		return rc;
	if (!p->force && (in_use.stacks > 0 || in_use.waiting > 0))
		return err_set(e, ERR_BAD_REQUEST, "Agent pool is in use");
	struct pool_forget_settings_in settings = { .id = p->id };
	struct pool_forget_queue_in queue = { .id = p->id };
	struct pool_forget_default_in def = { .id = p->id };
	struct pool_delete_in del = { .id = p->id, .org_id = p->org_id };
	rc = settings_versions_without_pool(c, p->id, p->who, p->now_us, e);
	if (rc >= 0)
		rc = q_pool_forget_settings(c, &settings, e);
	if (rc >= 0)
		rc = q_pool_forget_queue(c, &queue, e);
	if (rc >= 0)
		rc = q_pool_forget_default(c, &def, e);
	if (rc >= 0)
		rc = identity_tokens_revoke_pool(c, p->id, e);
	if (rc >= 0)
		rc = q_pool_delete(c, &del, e);
	return rc < 0 ? rc : 0;
}

int pool_remove(struct app *app, struct arena *a, const struct access *access, const char *pool_id, bool force,
		struct err *e)
{
	struct pool_op p = { .arena = a,
			     .id = pool_id,
			     .org_id = access->org.id,
			     .force = force,
			     .who = &access->who,
			     .now_us = clock_now_us() };
	int rc = db_write(app->db, remove_fn, &p, e);
	if (rc < 0)
		return rc;
	queue_wake(app, a, p.org_id);
	return 0;
}
