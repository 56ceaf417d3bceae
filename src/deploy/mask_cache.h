/*
 * mask_cache.h: the sets of secrets by which logs are masked, for the deployments that write logs now. A set costs some
 * milliseconds to make (opening the secrets, all forms of each), and an append may come every tenth of a second. The
 * settings of a deployment never change, so its id is the key. Any thread.
 */
#ifndef SLIPWAY_DEPLOY_MASK_CACHE_H
#define SLIPWAY_DEPLOY_MASK_CACHE_H

#include "base/mask.h"

/* A reference (mask_set_free ends it), or NULL. */
struct mask_set *mask_cache_get(const char *deployment_id);
/* Keeps a reference of its own. */
void mask_cache_put(const char *deployment_id, struct mask_set *set);
/* The deployment has ended: its secrets need not stay in memory. */
void mask_cache_forget(const char *deployment_id);

#endif
