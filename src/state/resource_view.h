/*
 * resource_view.h: what lists and the search show of a resource, and its values with the secrets left closed.
 *
 * A state may hold a URN more than once: what a replacement has left to delete stays in it under the same name. The
 * ordinal tells them apart: 0 is the live one, or the first of them if none is live.
 */
#ifndef SLIPWAY_STATE_RESOURCE_VIEW_H
#define SLIPWAY_STATE_RESOURCE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct resource_view {
	struct json text; /* of the resource; absent when it comes from the table */
	const char *urn;
	int64_t ordinal;
	const char *type;
	const char *id;			/* what the provider calls it; NULL: has none */
	const char *parent, *provider;	/* or NULL */
	const char *created, *modified; /* RFC 3339, or NULL */
	bool custom, external, protect, pending_delete;
};

/* Of an UntypedDeployment, in its order. A resource whose URN holds a NUL is left out: no list can name it. Views are in
 * the arena, and their text points into `root`. */
int resource_views_read(struct json root, struct arena *a, struct resource_view **ret, size_t *ret_count,
			struct err *e);
/* Whether a list shows the same for both; urn, ordinal and text are not looked at. */
bool resource_view_equal(const struct resource_view *x, const struct resource_view *y);

/* "urn:pulumi:<stack>::<project>::<type of the parent$type>::<name>": the parts of it; "" when it is no such URN. */
struct str urn_stack(struct str urn);
struct str urn_project(struct str urn);
struct str urn_name(struct str urn);
/* "aws:s3/bucket:Bucket": package "aws", module "s3/bucket". */
struct str type_package(struct str type);
struct str type_module(struct str type);

/* {"4dabf1...":"1b47...", "ciphertext": ...}: a value that is sealed, or that was told to be secret. */
bool json_is_secret(struct json v);
/* Whether it is one, or there is one somewhere in it; sooner once too often. */
bool json_has_secret(struct json v);
/* The value, with "[secret]" for each secret in it. */
void json_redact(struct json v, struct buf *out);

#endif
