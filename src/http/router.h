/*
 * router.h: finds the row of the routes table for a method and a path.
 *
 * The patterns become a tree of segments when the server starts; afterwards it is read only, from any thread. Static
 * segments win over {parameters}, segment by segment from the left; when the winner leads nowhere (or has no row for
 * the method), the parameter is tried. A parameter matches one whole segment that is not empty. HEAD finds GET's row
 * unless it has one of its own.
 */
#ifndef SLIPWAY_HTTP_ROUTER_H
#define SLIPWAY_HTTP_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct route;
struct router;

#define ROUTE_SEGMENTS_MAX 24
#define ROUTE_PARAMS_MAX 8

struct route_match {
	const struct route *route;	     /* NULL: nothing found */
	struct str params[ROUTE_PARAMS_MAX]; /* raw segments in the order of the pattern */
	size_t param_count;
	bool path_known; /* without a route: the path exists, for other methods */
	char allow[64];	 /* then these: "GET, HEAD, POST" */
};

/* The table must outlive the router. Two rows of the same method and shape are ERR_INTERNAL. */
int router_new(const struct route *routes, size_t count, struct router **ret, struct err *e);
void router_free(struct router *r);
void router_match(const struct router *r, const char *method, struct str path, struct route_match *ret);
/* Index of {name} among the parameters of the pattern, or -1. */
int route_param_index(const struct route *route, const char *name);

#endif
