#include "deploy/deploy.h"
#include "deploy/deployment.h"
#include "deploy/pool.h"

struct look {
	struct arena *arena;
	int64_t now_us;
	struct deploy_numbers_row row;
};

static int look_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct look *l = arg;
	struct deploy_numbers_in in = { .online_us = l->now_us - AGENT_ONLINE_US };
	int rc = q_deploy_numbers(c, l->arena, &in, &l->row, e);
	return rc < 0 ? rc : 0;
}

int deploy_numbers(struct app *app, struct arena *a, int64_t now_us, struct deploy_numbers *ret, struct err *e)
{
	struct look l = { .arena = a, .now_us = now_us };
	int rc = db_read(app->db, look_fn, &l, e);
	if (rc < 0)
		return rc;
	*ret = (struct deploy_numbers){ .queued = l.row.queued,
					.accepted = l.row.accepted,
					.running = l.row.running,
					.claimable = l.row.claimable,
					.oldest_us = l.row.oldest_us,
					.agents = l.row.agents,
					.pools = l.row.pools };
	return 0;
}
