/*
 * names.h: what stacks, projects and tags may be called (cli-protocol §2.3). Each error names the field.
 */
#ifndef SLIPWAY_STATE_NAMES_H
#define SLIPWAY_STATE_NAMES_H

#include "base/json.h"

/* 1 to 100 of [a-zA-Z0-9-_.], but not "." or "..", which a URL cannot carry. */
int name_check(const char *name, const char *field, struct err *e);
int tag_check(struct str name, struct str value, const char *field, struct err *e);
/* An object of strings. */
int tags_check(struct json tags, const char *field, struct arena *a, struct err *e);

#endif
