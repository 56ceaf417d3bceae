/*
 * site_call.h: REST calls over the control socket of a server.
 */
#ifndef SLIPWAY_CLI_SITE_CALL_H
#define SLIPWAY_CLI_SITE_CALL_H

#include "base/json.h"
#include "cli/command.h"
#include "http/client.h"

/* ERR_UNAVAILABLE when no server answers there. timeout_ms 0: as http_client has it. */
int site_client(struct invocation *in, struct http_client **ret, struct err *e);
int site_call(struct invocation *in, const char *method, const char *path, struct str body, int timeout_ms,
	      struct json *ret, struct err *e);

/* A call whose answer's member `result` is printed (NULL: nothing); the whole answer with --json. Made by call_init, its body
 * is written with j, and call_run sends it. */
struct call {
	struct invocation *in;
	const char *method; /* POST unless changed */
	const char *path;
	const char *result;
	struct buf body;
	struct json_writer j;
};
void call_init(struct call *c, struct invocation *in, const char *path, const char *result);
/* A NULL value is left out. */
void call_set(struct call *c, const char *name, const char *value);
/* --expires, as the API has it. */
void call_set_expiry(struct call *c);
/* Names of levels, as Pulumi numbers them on the wire; deploy is read with a flag (identity/access_api.c). */
int64_t level_number(const char *level);
int call_run(struct call *c, struct err *e);
/* ERR_USAGE "--flag is missing". */
int call_need(const char *value, const char *flag, struct err *e);
/* Appends the path of an organization, with `rest` behind it. */
int call_org_path(struct buf *ret, const char *org, const char *rest, struct err *e);

/* A column of a list: a member of each row, or (sub) a member of that. */
struct list_column {
	const char *name;
	const char *sub;
};
/* Every page of a list, a line for each row; `columns` ends with a NULL name. */
int list_run(struct invocation *in, const char *path, const char *member, const struct list_column *columns,
	     struct err *e);

#endif
