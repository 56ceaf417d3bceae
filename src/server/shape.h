/*
 * shape.h: what the API describes, in a short notation, as JSON Schema (api/shapes.def, the column `answers` of a route).
 *
 *	type     string int number bool null any object      as JSON has them; int has 64 bits
 *	         time                                        a string of RFC 3339
 *	         bytes                                       a string of base64
 *	         "word"                                      this string
 *	         Name                                        a shape of api/shapes.def
 *	         [type]  {type}                              an array; an object with any names
 *	         type | type                                 one or the other
 *	members  name: type; name?: type (what it means); "a.name": type; ...Name
 *	         `?`: may be absent; `...`: all members of that shape; `*: type`: any others
 *	shape    members of an object, or `= type` for anything else
 *	answers  STATUS [type][; STATUS [type]]              without a type: an empty body; of 400 and more, an Error
 *	         BODY -> answers                             BODY is the type of the request's body
 *	         a type with a `/` in it is that content type
 *
 * A slip in the notation is a bug: tests/unit/test_openapi.c reads every row.
 */
#ifndef SLIPWAY_SERVER_SHAPE_H
#define SLIPWAY_SERVER_SHAPE_H

#include "base/json.h"

struct shape {
	const char *name;		      /* NULL ends the table */
	const char *text;		      /* in the notation; or */
	const char *const *values;	      /* these strings; or */
	void (*write)(struct json_writer *j); /* whoever knows it writes the schema */
};
extern const struct shape server_shapes[];

/* The schema of a row. */
void shape_write(struct json_writer *j, const struct shape *s);
/* The schema of a type. Named shapes are only referred to. */
void shape_write_type(struct json_writer *j, struct str type);
/* Cuts at the first `sep` that stands outside of brackets, parentheses and quotes; as str_cut, trimmed. */
struct str shape_cut(struct str s, char sep, struct str *ret_rest);

#endif
