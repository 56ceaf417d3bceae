/*
 * log_follow.h: those who wait for more of a log. They subscribe to its key (http_park) before they look, and whoever
 * changes what a log shows wakes them after the commit. A change that nobody told of (none is known) is found when the
 * wait is over.
 */
#ifndef SLIPWAY_DEPLOY_LOG_FOLLOW_H
#define SLIPWAY_DEPLOY_LOG_FOLLOW_H

#include "deploy/deployment.h"

/* NULL: out of memory. */
const char *log_key(struct arena *a, const char *deployment_id);
/* Lines were appended, a step moved, the deployment began or ended, an update of it was started. Any thread. */
void log_changed(struct app *app, struct arena *a, const char *deployment_id);

#endif
