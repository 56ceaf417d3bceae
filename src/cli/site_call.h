/*
 * site_call.h: REST calls over the control socket of a server.
 */
#ifndef SLIPWAY_CLI_SITE_CALL_H
#define SLIPWAY_CLI_SITE_CALL_H

#include "cli/command.h"
#include "http/client.h"

/* ERR_UNAVAILABLE when no server answers there. timeout_ms 0: as http_client has it. */
int site_client(struct invocation *in, struct http_client **ret, struct err *e);
int site_call(struct invocation *in, const char *method, const char *path, struct str body, int timeout_ms,
	      struct json *ret, struct err *e);

#endif
