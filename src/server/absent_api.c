/*
 * absent_api.c: what clients ask for that Slipway does not have: environments, policy packs, a registry, Insights. The
 * lists are there and empty, so that listing commands say that there is nothing; whatever else is asked about these things
 * is a 404, like everything that does not exist (cli-protocol §5, §6.3).
 */
#include "http/http.h"
#include "server/server.h"

#include "base/limits.h"
#include "identity/identity.h"

#define ROUTE_FILE "routes_absent.def"
#include "../api/declare.h"

/* One answer for each row of routes_absent.def: the shapes are those that the CLI decodes. */
#define ABSENT(handler, answer)                                           \
	int handler(struct request *r, struct response *w, struct err *e) \
	{                                                                 \
		(void)r;                                                  \
		(void)e;                                                  \
		response_body(w, "application/json", STR(answer));        \
		return 0;                                                 \
	}

ABSENT(absent_packages, "{\"packages\":[]}")
ABSENT(absent_templates, "{\"templates\":[]}")
/* Here the templates are an object of lists, by their source. */
ABSENT(absent_org_templates,
       "{\"templates\":{},\"orgHasTemplates\":false,\"hasAccessError\":false,\"hasUpstreamError\":false}")
ABSENT(absent_policy_packs, "{\"policyPacks\":[]}")
ABSENT(absent_policy_groups, "{\"policyGroups\":[]}")
ABSENT(absent_policy_issues, "{\"policyIssues\":[],\"rowCount\":0}")
ABSENT(absent_policy_compliance, "{\"columns\":[],\"rows\":[]}")
ABSENT(absent_environments, "{\"environments\":[]}")
ABSENT(absent_insights_accounts, "{\"accounts\":[]}")

/* Where a list answers GET, making one of its kind would be a 405, as if it were only asked for in the wrong way. */
int absent_policy_create(struct request *r, struct response *w, struct err *e)
{
	(void)r;
	(void)w;
	return err_set(e, ERR_NOT_FOUND, "this server has no policy packs");
}

int absent_environment_create(struct request *r, struct response *w, struct err *e)
{
	(void)r;
	(void)w;
	return err_set(e, ERR_NOT_FOUND, "this server has no environments");
}
