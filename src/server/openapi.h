/*
 * openapi.h: the API described by its own tables. The document is api/routes.def (a path per row), the tables of bodies and
 * queries that the rows name, and api/shapes.def.
 */
#ifndef SLIPWAY_SERVER_OPENAPI_H
#define SLIPWAY_SERVER_OPENAPI_H

#include "base/fields.h"

/* server_url: where the API is, or NULL. */
void openapi_write(struct json_writer *j, const char *server_url);

/* --- openapi_fields.c --- */
void openapi_write_body(struct json_writer *j, const struct field *table);
/* The elements of an array of parameters. */
void openapi_write_query(struct json_writer *j, const struct field *table);

#endif
