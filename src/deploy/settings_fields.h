/*
 * settings_fields.h: every field that deployment settings have (features §3.2), as a table. A new field is a row in
 * settings_fields.c; settings_read.c walks the table.
 */
#ifndef SLIPWAY_DEPLOY_SETTINGS_FIELDS_H
#define SLIPWAY_DEPLOY_SETTINGS_FIELDS_H

#include <stdbool.h>

enum setting_kind {
	SET_STRING,
	SET_BOOL,
	SET_INT,
	SET_ID,		/* a string; a number is taken too, and becomes one */
	SET_STRINGS,	/* array of strings */
	SET_DURATION,	/* Go's notation: "1h30m", or "" */
	SET_PATH,	/* relative, stays inside */
	SET_OPERATION,	/* refused in a create: it belongs to the top level */
	SET_SECRET,	/* a string stays plain, an object is sealed */
	SET_CREDENTIAL, /* sealed in any shape */
	SET_VARIABLES,	/* map of name to SET_SECRET */
	SET_IMAGE,	/* a string or an object, one value either way */
	SET_ROLE,	/* whose rights a run has: there are no roles to choose from yet, so none may be named */
	SET_OBJECT,
	SET_POOL,
	SET_READ_ONLY, /* in what a client has read from us; dropped without a word */
};

struct setting {
	const char *name; /* NULL ends the table */
	enum setting_kind kind;
	const struct setting *sub;
	bool empty_inherits;   /* the CLI always sends it, empty when not given */
	const char *canonical; /* name to store it under, when it differs */
	const char *const *one_of;
};

/* The whole document, and two parts of it with rules between their members. */
extern const struct setting settings_document[];
extern const struct setting settings_source[];
extern const struct setting settings_git[];

#endif
