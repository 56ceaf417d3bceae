#include "identity/limits.h"

#include <inttypes.h>

#include "base/clock.h"
#include "db/queries_limits.h"

void (*identity_limits_raised)(struct app *app, struct arena *a, const char *org_id);

static int get(struct db_conn *c, struct arena *a, const char *org_id, struct org_limits_row *ret, struct err *e)
{
	int rc = q_org_limits(c, a, &(struct org_limits_in){ .org_id = org_id }, ret, e);
	return rc == 0 ? err_set(e, ERR_NOT_FOUND, "the organization is not there") : rc;
}

static struct limits that_count(const struct app *app, const struct org_limits_row *row)
{
	return (struct limits){ .concurrency = row->concurrency,
				.timeout_us = row->timeout_us != DB_NULL_INT ? row->timeout_us
									     : app->options.deployment_timeout_us };
}

int identity_limits(struct db_conn *c, struct arena *a, const struct app *app, const char *org_id, struct limits *ret,
		    struct err *e)
{
	struct org_limits_row row;
	int rc = get(c, a, org_id, &row, e);
	if (rc < 0)
		return rc;
	*ret = that_count(app, &row);
	return 0;
}

int limits_check(const struct app *app, const struct principal *who, const struct limits_change *change, struct err *e)
{
	const struct app_options *o = &app->options;
	if (who->kind == PRINCIPAL_SOCKET || (who->kind == PRINCIPAL_USER && who->site_admin))
		return 0;
	if (change->concurrency > o->concurrency_max)
		return err_set(e, ERR_FORBIDDEN,
			       "/setDeploymentConcurrency: more than %" PRId64
			       " is for an administrator of the site to allow",
			       o->concurrency_max);
	if (change->timeout_s > o->deployment_timeout_max_us / US_PER_S)
		return err_set(e, ERR_FORBIDDEN,
			       "/setDeploymentTimeoutSeconds: more than %" PRId64
			       " is for an administrator of the site to allow",
			       o->deployment_timeout_max_us / US_PER_S);
	return 0;
}

int limits_set(struct db_conn *c, struct arena *a, const struct app *app, const char *org_id,
	       const struct limits_change *change, struct limits *ret, struct err *e)
{
	struct org_limits_row row;
	int rc = get(c, a, org_id, &row, e);
	if (rc < 0)
		return rc;
	if (change->concurrency >= 0)
		row.concurrency = change->concurrency;
	if (change->timeout_s >= 0)
		row.timeout_us = change->timeout_s > 0 ? change->timeout_s * US_PER_S : DB_NULL_INT;
	*ret = that_count(app, &row);
	if (change->concurrency < 0 && change->timeout_s < 0)
		return 0;
	struct org_set_limits_in in = { .org_id = org_id,
					.concurrency = row.concurrency,
					.timeout_us = row.timeout_us };
	rc = q_org_set_limits(c, &in, e);
	return rc < 0 ? rc : 0;
}
