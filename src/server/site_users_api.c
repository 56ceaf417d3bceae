/* A user goes: what every room has of them ends (routes /api/site/). */
#include "deploy/deploy.h"
#include "identity/users.h"
#include "server/server.h"

#define ROUTE_FILE "routes_server.def"
#include "../api/declare.h"

int site_user_remove(struct request *r, struct response *w, struct err *e)
{
	struct user_removal gone;
	int64_t deployments;
	const char *login = request_param(r, "userLogin");
	int rc = identity_user_remove(app_of(r)->identity, r->arena, login, &request_access(r)->who, &gone, e);
	if (rc == 0)
		rc = deploy_cancel_of_user(app_of(r), r->arena, gone.user_id, login, &deployments, e);
	if (rc < 0)
		return rc;
	struct json_writer *j = response_json(w);
	jw_object(j);
	jw_kv_string(j, "id", gone.user_id);
	jw_kv_string(j, "name", login);
	jw_key(j, "organizations");
	jw_array(j);
	for (size_t i = 0; i < gone.organization_count; i++)
		jw_string(j, gone.organizations[i]);
	jw_array_end(j);
	jw_kv_int(j, "tokens", gone.tokens);
	jw_kv_int(j, "schedulesPaused", gone.schedules);
	jw_kv_int(j, "deploymentsCancelled", deployments);
	jw_kv_int(j, "ownStacks", gone.stacks);
	jw_object_end(j);
	return 0;
}
