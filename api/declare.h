/*
 * declare.h: prototypes of the handlers and tables that a file of rows names. It may be included repeatedly:
 *
 *	#define ROUTE_FILE "routes_state.def"
 *	#include "../api/declare.h"
 */
#include "base/fields.h"
#include "base/limits.h"
#include "http/http.h"

/* A row without a body table says NULL, which would otherwise expand and make no declaration. */
#pragma push_macro("NULL")
#undef NULL
#define NULL route_no_body
#define ROUTE_QUERY(first, query, ...) query
#define ROUTE(method, pattern, handler, auth, permission, body, body_limit, summary, ...) \
	int handler(struct request *r, struct response *w, struct err *e);                \
	extern const struct field body[];                                                 \
	extern const struct field ROUTE_QUERY(, ##__VA_ARGS__, route_no_body)[];
#include ROUTE_FILE
#undef ROUTE
#undef ROUTE_QUERY
#undef ROUTE_TAG
#undef ROUTE_FILE
#pragma pop_macro("NULL")
