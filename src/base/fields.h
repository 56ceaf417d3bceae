/*
 * fields.h: JSON bodies decoded by tables.
 *
 *	struct create_stack { const char *name; struct json tags; };
 *	static const struct field create_stack_fields[] = {
 *		FIELD(struct create_stack, name, "stackName", FIELD_STRING, .required = true, .max = 100),
 *		FIELD(struct create_stack, tags, "tags", FIELD_STRING_MAP),
 *		FIELD_END
 *	};
 *
 * Absent members, and members that are null, leave the destination as it was (zero, or the caller's default); with
 * `required` they are an error. The error names the JSON pointer: `/operationContext/options: must be an object`.
 * Members that no row knows are ignored and reported as JSON pointers through `struct ignored_fields` (the answer's
 * header Slipway-Ignored; architecture §4); rows of FIELD_JSON* swallow whatever is below them.
 */
#ifndef SLIPWAY_BASE_FIELDS_H
#define SLIPWAY_BASE_FIELDS_H

#include <stddef.h>

#include "base/json.h"

enum field_type {
	FIELD_STRING,	   /* const char *: unescaped, no NUL bytes inside */
	FIELD_BYTES,	   /* struct str: base64 text, decoded */
	FIELD_INT,	   /* int64_t, within [min, max] when max > min */
	FIELD_BOOL,	   /* bool */
	FIELD_TRISTATE,	   /* int: -1 stays for absent if the caller presets it; 0 or 1 */
	FIELD_JSON,	   /* struct json: any value but null */
	FIELD_JSON_OBJECT, /* struct json, must be an object */
	FIELD_JSON_ARRAY,  /* struct json, must be an array */
	FIELD_STRING_MAP,  /* struct json, must be an object whose values are all strings */
	FIELD_STRING_LIST, /* struct json, must be an array of strings */
	FIELD_OBJECT,	   /* embedded struct, described by `sub` */
};

struct field {
	const char *name; /* NULL ends the table */
	enum field_type type;
	size_t offset;
	bool required;
	int64_t min;		   /* FIELD_INT: value; FIELD_STRING, *_LIST, *_ARRAY: length */
	int64_t max;		   /* 0: no bound */
	const char *const *one_of; /* FIELD_STRING: NULL-terminated list of allowed values */
	const struct field *sub;
	const char *doc;   /* one line for the reference; may be NULL */
	const char *wrong; /* of a query: the message where Pulumi's API has one of its own; may be NULL */
	const char *shape; /* FIELD_JSON*: the type of it, for the reference (server/shape.h); may be NULL */
};

#define FIELD(type_, member_, name_, kind_, ...)                                                    \
	{                                                                                           \
		.name = (name_), .type = (kind_), .offset = offsetof(type_, member_), ##__VA_ARGS__ \
	}
#define FIELD_END            \
	{                    \
		.name = NULL \
	}

struct ignored_fields {
	struct buf names; /* comma separated JSON pointers */
	size_t count;
};

void ignored_fields_init(struct ignored_fields *ig);
void ignored_fields_done(struct ignored_fields *ig);
/* For decoders of their own (settings): notes one pointer. */
void ignored_fields_add(struct ignored_fields *ig, const char *pointer);

/* Strings are copied into the arena. `out` is written only as far as decoded: on error do not use it.
 * ig may be NULL. Errors: ERR_BAD_REQUEST naming the pointer. */
int fields_decode(struct json v, const struct field *table, void *out, struct arena *a, struct ignored_fields *ig,
		  struct err *e);

#endif
