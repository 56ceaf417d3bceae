#include "deploy/log_follow.h"

const char *log_key(struct arena *a, const char *deployment_id)
{
	return arena_printf(a, "log:%s", deployment_id);
}

void log_changed(struct app *app, struct arena *a, const char *deployment_id)
{
	const char *key = app->http && deployment_id ? log_key(a, deployment_id) : NULL;
	if (key)
		http_wake(app->http, key, 0);
}
