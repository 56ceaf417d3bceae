#include "deploy/waiting.h"

#include <inttypes.h>

#include "deploy/pool.h"

static const char *const kinds[WAITING_REASON_COUNT] = {
	[WAITING_ORGANIZATION_PAUSED] = "organization-paused",
	[WAITING_STACK_PAUSED] = "stack-paused",
	[WAITING_STACK_BUSY] = "stack-busy",
	[WAITING_IN_QUEUE] = "queue",
	[WAITING_LIMIT] = "organization-limit",
	[WAITING_NO_AGENT] = "no-agent",
	[WAITING_FOR_AGENT] = "agents-busy",
};

/* --- what it follows from --- */

static int read_limit(struct db_conn *c, struct arena *a, const char *org_id, struct waiting_memo *m, struct err *e)
{
	struct waiting_limit_row row = { 0 };
	if (m->org_id && streq(m->org_id, org_id))
		return 0;
	int rc = q_waiting_limit(c, a, &(struct waiting_limit_in){ org_id }, &row, e);
	if (rc < 0)
		return rc;
	m->org_id = org_id;
	m->active = row.active;
	m->limit = row.concurrency;
	return 0;
}

static int read_agents(struct db_conn *c, struct arena *a, const char *org_id, const char *pool_id, int64_t now_us,
		       struct waiting_memo *m, int64_t *ret_live, struct err *e)
{
	struct waiting_agents_row row = { 0 };
	for (size_t i = 0; i < m->pool_count; i++)
		if (m->pools[i].pool_id == pool_id ||
		    (pool_id && m->pools[i].pool_id && streq(m->pools[i].pool_id, pool_id))) {
			*ret_live = m->pools[i].live;
			return 0;
		}
	int rc = q_waiting_agents(c, a, &(struct waiting_agents_in){ org_id, pool_id, now_us - AGENT_ONLINE_US }, &row,
				  e);
	if (rc < 0)
		return rc;
	if (m->pool_count < WAITING_MEMO)
		m->pools[m->pool_count++] = (struct waiting_memo_pool){ pool_id, row.live };
	*ret_live = row.live;
	return 0;
}

static struct waiting_memo_stack *find_stack(struct waiting_memo *m, const char *stack_id)
{
	for (size_t i = 0; i < m->stack_count; i++)
		if (streq(m->stacks[i].stack_id, stack_id))
			return &m->stacks[i];
	return NULL;
}

/* With a neighbour known, only those between the two are counted: a queue may be long. */
static int read_front(struct db_conn *c, struct arena *a, const struct deployment_get_row *d, struct waiting_memo *m,
		      struct waiting_memo_stack *ret, struct err *e)
{
	struct waiting_memo_stack *known = find_stack(m, d->stack_id);
	bool behind = known && known->version <= d->version;
	struct waiting_in_front_in in = { .stack_id = d->stack_id,
					  .from_version = known ? (behind ? known->version : d->version) : 0,
					  .version = known && !behind ? known->version : d->version };
	struct waiting_in_front_row row;
	int rc = q_waiting_in_front(c, a, &in, &row, e);
	if (rc < 0)
		return rc;
	*ret = (struct waiting_memo_stack){ .stack_id = d->stack_id,
					    .version = d->version,
					    .ahead = !known   ? row.ahead
						     : behind ? known->ahead + row.ahead
							      : known->ahead - row.ahead,
					    .front_id = row.active_id,
					    .front_version = row.active_version,
					    .front_status = row.active_status };
	if (!known && m->stack_count < WAITING_MEMO)
		known = &m->stacks[m->stack_count++];
	if (known)
		*known = *ret;
	return 0;
}

int waiting_read(struct db_conn *c, struct arena *a, const struct deployment_get_row *d, int64_t now_us,
		 struct waiting_memo *memo, struct waiting *ret, struct err *e)
{
	struct waiting_memo own = { 0 };
	struct waiting_memo_stack front;
	struct waiting_memo *m = memo ? memo : &own;
	int64_t live;
	/* The pool that is shown is the one that it names, or the organization's default. */
	const char *pool_id = d->shown_pool_id;
	int rc = read_front(c, a, d, m, &front, e);
	if (rc == 0)
		rc = read_limit(c, a, d->org_id, m, e);
	if (rc == 0)
		rc = read_agents(c, a, d->org_id, pool_id, now_us, m, &live, e);
	if (rc < 0)
		return rc;
	struct waiting w = { .position = front.ahead + 1,
			     .front_id = front.front_id,
			     .front_version = front.front_version,
			     .front_status = front.front_status,
			     .active = m->active,
			     .limit = m->limit,
			     .pool_id = pool_id,
			     .pool_name = d->shown_pool_name,
			     .live_agents = live };
	w.holds[WAITING_ORGANIZATION_PAUSED] = d->org_paused;
	w.holds[WAITING_STACK_PAUSED] = d->stack_paused;
	w.holds[WAITING_STACK_BUSY] = w.front_id != NULL;
	w.holds[WAITING_IN_QUEUE] = front.ahead > 0;
	w.holds[WAITING_LIMIT] = w.active >= w.limit;
	w.holds[WAITING_NO_AGENT] = w.live_agents == 0;
	bool any = false;
	for (unsigned i = 0; i < WAITING_FOR_AGENT; i++)
		any |= w.holds[i];
	w.holds[WAITING_FOR_AGENT] = !any;
	*ret = w;
	return 0;
}

/* --- how it is told --- */

static const char *text_of(const struct waiting *w, enum waiting_reason r, struct arena *a)
{
	const char *s = w->position == 2 ? "" : "s";
	switch (r) {
	case WAITING_ORGANIZATION_PAUSED:
		return "deployments of the organization are paused";
	case WAITING_STACK_PAUSED:
		return "deployments of the stack are paused";
	case WAITING_STACK_BUSY:
		return arena_printf(a, "deployment %" PRId64 " of the stack is %s", w->front_version, w->front_status);
	case WAITING_IN_QUEUE:
		return arena_printf(a, "%" PRId64 " older deployment%s of the stack wait%s before it", w->position - 1,
				    s, *s ? "" : "s");
	case WAITING_LIMIT:
		return arena_printf(
			a, "the organization runs %" PRId64 " deployment%s, and its limit is %" PRId64 " at once",
			w->active, w->active == 1 ? "" : "s", w->limit);
	case WAITING_NO_AGENT:
		return w->pool_id ? arena_printf(a, "the agent pool '%s' has no agent that lives", w->pool_name)
				  : "no agent that lives serves the organization";
	case WAITING_FOR_AGENT:
		return "it is next on its stack: an agent that is free takes it when its turn has come";
	case WAITING_REASON_COUNT:
		break;
	}
	return "";
}

static void put_data(struct json_writer *j, const struct waiting *w, enum waiting_reason r)
{
	if (r == WAITING_STACK_BUSY) {
		jw_key(j, "deployment");
		jw_object(j);
		jw_kv_string(j, "id", w->front_id);
		jw_kv_int(j, "version", w->front_version);
		jw_kv_string(j, "status", w->front_status);
		jw_object_end(j);
	}
	if (r == WAITING_IN_QUEUE)
		jw_kv_int(j, "ahead", w->position - 1);
	if (r == WAITING_LIMIT) {
		jw_kv_int(j, "active", w->active);
		jw_kv_int(j, "limit", w->limit);
	}
	if (r == WAITING_NO_AGENT && w->pool_id) {
		jw_key(j, "agentPool");
		jw_object(j);
		jw_kv_string(j, "id", w->pool_id);
		jw_kv_string(j, "name", w->pool_name);
		jw_object_end(j);
	}
}

void waiting_write(struct json_writer *j, struct arena *a, const struct waiting *w)
{
	const char *sentence = NULL;
	jw_object(j);
	jw_kv_int(j, "position", w->position);
	jw_kv_int(j, "liveAgents", w->live_agents);
	jw_key(j, "reasons");
	jw_array(j);
	for (unsigned i = 0; i < WAITING_REASON_COUNT; i++) {
		if (!w->holds[i])
			continue;
		const char *text = text_of(w, i, a);
		jw_object(j);
		jw_kv_string(j, "kind", kinds[i]);
		jw_kv_string(j, "text", text);
		put_data(j, w, i);
		jw_object_end(j);
		sentence = sentence ? arena_printf(a, "%s; %s", sentence, text) : text;
	}
	jw_array_end(j);
	jw_kv_string(j, "text", sentence);
	jw_object_end(j);
}
