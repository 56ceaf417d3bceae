/* Agent pools (features §7.2). */
#include "base/clock.h"
#include "base/limits.h"
#include "deploy/pool.h"
#include "deploy/pool_network.h"

#define ROUTE_FILE "routes_deploy.def"
#include "../api/declare.h"

#define POOL_NAME_MAX 100
#define POOL_DESCRIPTION_MAX 1000

struct create_pool {
	const char *name;
	const char *description;
	struct pool_network network;
};
const struct field create_pool_fields[] = {
	FIELD(struct create_pool, name, "name", FIELD_STRING, .required = true, .min = 1, .max = POOL_NAME_MAX),
	FIELD(struct create_pool, description, "description", FIELD_STRING, .max = POOL_DESCRIPTION_MAX),
	FIELD(struct create_pool, network, "network", FIELD_OBJECT, .sub = pool_network_fields,
	      .doc = "Slipway's own: what its runs reach"),
	FIELD_END
};

struct patch_pool {
	const char *name;
	const char *description;
	int is_default; /* -1: stays */
	struct pool_network network;
};
const struct field patch_pool_fields[] = {
	FIELD(struct patch_pool, name, "name", FIELD_STRING, .min = 1, .max = POOL_NAME_MAX),
	FIELD(struct patch_pool, description, "description", FIELD_STRING, .max = POOL_DESCRIPTION_MAX),
	FIELD(struct patch_pool, is_default, "isDefault", FIELD_TRISTATE,
	      .doc = "true: deployments that name no pool go here; false: no longer"),
	FIELD(struct patch_pool, network, "network", FIELD_OBJECT, .sub = pool_network_fields,
	      .doc = "Slipway's own: what its runs reach; as a whole"),
	FIELD_END
};

const struct field pool_delete_query[] = { QUERY("force", FIELD_BOOL, .doc = "also when stacks use it"), FIELD_END };

struct pools {
	struct arena *arena;
	const char *org_id;
	const char *id;
	bool found;
	struct pool_list_row *list;
	size_t count;
	struct pool_get_row pool;
	struct agent_list_row *agents;
	size_t agent_count;
};

static const char *online(int64_t last_seen_us)
{
	return last_seen_us != DB_NULL_INT && last_seen_us + AGENT_ONLINE_US > clock_now_us() ? "online" : "offline";
}

static int64_t seconds(int64_t us)
{
	return us == DB_NULL_INT ? 0 : us / US_PER_S;
}

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct pools *p = arg;
	struct pool_list_in in = { .org_id = p->org_id };
	return q_pool_list(c, p->arena, &in, &p->list, &p->count, e);
}

int pools_list(struct request *r, struct response *w, struct err *e)
{
	struct pools p = { .arena = r->arena, .org_id = request_access(r)->org.id };
	int rc = db_read(app_of(r)->db, list_fn, &p, e);
	if (rc < 0)
		return rc;
	const char *default_id = NULL;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_key(j, "agentPools");
	jw_array(j);
	for (size_t i = 0; i < p.count; i++) {
		const struct pool_list_row *row = &p.list[i];
		if (row->is_default)
			default_id = row->id;
		jw_object(j);
		jw_kv_string(j, "id", row->id);
		jw_kv_string(j, "name", row->name);
		jw_kv_string(j, "description", row->description);
		jw_kv_int(j, "created", seconds(row->created_us));
		jw_kv_bool(j, "isDefault", row->is_default);
		jw_kv_int(j, "lastSeen", seconds(row->last_seen_us));
		if (row->last_deployment_us != DB_NULL_INT)
			jw_kv_int(j, "lastDeployment", seconds(row->last_deployment_us));
		jw_kv_string(j, "status", online(row->last_seen_us));
		jw_object_end(j);
	}
	jw_array_end(j);
	if (default_id)
		jw_kv_string(j, "defaultAgentPoolID", default_id);
	jw_object_end(j);
	return 0;
}

int pools_create(struct request *r, struct response *w, struct err *e)
{
	struct create_pool body = { 0 };
	const char *id, *token, *network = NULL;
	int rc = request_decode(r, w, create_pool_fields, &body, e);
	if (rc == 0)
		rc = pool_network_text(&body.network, r->arena, &network, e);
	if (rc == 0)
		rc = deploy_pool_add(app_of(r), r->arena, request_access(r)->org.id, body.name, body.description,
				     network, &id, &token, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", id);
	jw_kv_string(j, "tokenValue", token);
	jw_object_end(j);
	return 0;
}

static int get_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct pools *p = arg;
	struct pool_get_in in = { .id = p->id, .org_id = p->org_id };
	struct agent_list_in agents = { .pool_id = p->id };
	int rc = q_pool_get(c, p->arena, &in, &p->pool, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "AgentPool '%s' not found", p->id);
	return rc < 0 ? rc : q_agent_list(c, p->arena, &agents, &p->agents, &p->agent_count, e);
}

int pools_get(struct request *r, struct response *w, struct err *e)
{
	struct pools p = { .arena = r->arena, .org_id = request_access(r)->org.id, .id = request_param(r, "poolId") };
	int rc = db_read(app_of(r)->db, get_fn, &p, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", p.pool.id);
	jw_kv_string(j, "name", p.pool.name);
	jw_kv_string(j, "description", p.pool.description);
	jw_kv_int(j, "created", seconds(p.pool.created_us));
	jw_kv_bool(j, "isDefault", p.pool.is_default);
	pool_network_put(j, p.pool.network);
	jw_key(j, "agents");
	jw_array(j);
	for (size_t i = 0; i < p.agent_count; i++) {
		const struct agent_list_row *g = &p.agents[i];
		jw_object(j);
		jw_kv_string(j, "name", g->name);
		jw_kv_string(j, "hostname", g->hostname);
		jw_kv_string(j, "ip", g->ip);
		jw_kv_string(j, "pid", arena_printf(r->arena, "%lld", (long long)g->pid));
		jw_kv_string(j, "platform", g->platform);
		jw_kv_string(j, "version", g->version);
		jw_kv_string(j, "isolation", g->isolation);
		pool_networks_put(j, g->networks);
		jw_kv_int(j, "lastSeen", seconds(g->last_seen_us));
		jw_kv_string(j, "status", online(g->last_seen_us));
		jw_object_end(j);
	}
	jw_array_end(j);
	jw_object_end(j);
	return 0;
}

int pools_patch(struct request *r, struct response *w, struct err *e)
{
	struct patch_pool body = { .is_default = -1 };
	const char *network = NULL;
	struct pools p = { .arena = r->arena, .org_id = request_access(r)->org.id, .id = request_param(r, "poolId") };
	int rc = request_decode(r, w, patch_pool_fields, &body, e);
	if (rc == 0)
		rc = pool_network_text(&body.network, r->arena, &network, e);
	if (rc == 0)
		rc = pool_rename(app_of(r), r->arena, p.org_id, p.id, body.name, body.description, network,
				 body.is_default, e);
	if (rc == 0)
		rc = db_read(app_of(r)->db, get_fn, &p, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "name", p.pool.name);
	jw_kv_string(j, "description", p.pool.description);
	jw_object_end(j);
	return 0;
}

int pools_delete(struct request *r, struct response *w, struct err *e)
{
	bool force;
	int rc = request_query_bool(r, "force", false, &force, e);
	if (rc == 0)
		rc = pool_remove(app_of(r), r->arena, request_access(r), request_param(r, "poolId"), force, e);
	if (rc < 0)
		return rc;
	response_empty(w, 204);
	return 0;
}
