/* The table of all routes, made from api/routes.def. */
#include "server/server.h"

#include "identity/identity.h"

#define ROUTE_FILE "routes.def"
#include "../api/declare.h"

/* The last three columns: query, answers, operation; what a row leaves out is NULL. */
#define DESCRIBED(first, query_, answers_, operation_, ...) \
	.query = (query_), .answers = (answers_), .operation = (operation_)
#define ROUTE(method_, pattern_, handler_, auth_, permission_, body_, body_limit_, summary_, ...) \
	{ .method = (method_),                                                                    \
	  .pattern = (pattern_),                                                                  \
	  .handler = (handler_),                                                                  \
	  .name = #handler_,                                                                      \
	  .auth = (auth_),                                                                        \
	  .permission = (permission_),                                                            \
	  .body = (body_),                                                                        \
	  .body_limit_bytes = (body_limit_),                                                      \
	  .summary = (summary_),                                                                  \
	  .tag = ROUTE_TAG,                                                                       \
	  DESCRIBED(, ##__VA_ARGS__, NULL, NULL, NULL) },
const struct route server_routes[] = {
#include "../api/routes.def"
};
#undef ROUTE
#undef DESCRIBED
#undef ROUTE_TAG
const size_t server_route_count = ARRAY_SIZE(server_routes);
