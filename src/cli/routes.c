#include "cli/command.h"

#include <stdio.h>

#include "http/http.h"
#include "identity/identity.h"
#include "server/openapi.h"
#include "server/server.h"

static int print_openapi(struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	buf_init(&b, 64 * 1024 * 1024);
	jw_init(&j, &b);
	openapi_write(&j, NULL);
	int rc = buf_check(&b, "the document", e);
	if (rc == 0)
		puts(b.data);
	return rc;
}

int command_routes(struct invocation *in, struct err *e)
{
	if (in->config.openapi)
		return print_openapi(e);
	for (size_t i = 0; i < server_route_count; i++) {
		const struct route *row = &server_routes[i];
		printf("%-6s %s %s %s\n", row->method, row->pattern, route_auth_name(row->auth),
		       permission_name(row->permission));
	}
	return 0;
}
