/*
 * resource.h: one resource of a deployment, as a span of the user's text with edits on top.
 *
 * The text is never printed again as a whole: resource_emit() copies the span, and replaces only the members that
 * were set. Numbers and strings of inputs and outputs therefore stay as they came (cli-protocol §7).
 */
#ifndef SLIPWAY_STATE_RESOURCE_H
#define SLIPWAY_STATE_RESOURCE_H

#include "base/json.h"

/* The members that the service reads or edits; names as in apitype.ResourceV3. */
#define RESOURCE_MEMBERS(X)                              \
	X(URN, "urn")                                    \
	X(PARENT, "parent")                              \
	X(PROVIDER, "provider")                          \
	X(DEPENDENCIES, "dependencies")                  \
	X(PROPERTY_DEPENDENCIES, "propertyDependencies") \
	X(DELETED_WITH, "deletedWith")                   \
	X(REPLACE_WITH, "replaceWith")                   \
	X(VIEW_OF, "viewOf")                             \
	X(ALIASES, "aliases")                            \
	X(DELETE, "delete")                              \
	X(PENDING_REPLACEMENT, "pendingReplacement")     \
	X(REFRESH_BEFORE_UPDATE, "refreshBeforeUpdate")  \
	X(RESOURCE_HOOKS, "resourceHooks")               \
	X(TAINT, "taint")                                \
	X(EXTENSION_REF, "extensionRef")                 \
	X(SNIPPET_ID, "snippetID")

enum resource_member {
#define RESOURCE_MEMBER_ENUM(name, key) RESOURCE_##name,
	RESOURCE_MEMBERS(RESOURCE_MEMBER_ENUM)
#undef RESOURCE_MEMBER_ENUM
		RESOURCE_MEMBER_COUNT
};

struct resource {
	struct json text;			   /* as it came */
	struct json member[RESOURCE_MEMBER_COUNT]; /* as it is now; absent: not there, or null */
	uint32_t changed;			   /* bit per member that differs from text */
};

void resource_parse(struct json text, struct resource *ret);
/* The same for the value that an iterator stands before (json_next_key), which goes over it. */
void resource_read(struct json_iter *at, struct resource *ret);
/* value absent: the member goes away. */
void resource_set(struct resource *r, enum resource_member m, struct json value);
void resource_emit(const struct resource *r, struct buf *out);

/* Features of apitype.UntypedDeployment that a resource needs; bits. Names in alphabetical order, as they are listed. */
#define DEPLOYMENT_FEATURES(X)                                     \
	X(BYTE_STRING, "byteString")                               \
	X(EXTENSION_PARAMETERIZATION, "extensionParameterization") \
	X(HOOKS, "hooks")                                          \
	X(REFRESH_BEFORE_UPDATE, "refreshBeforeUpdate")            \
	X(REPLACE_WITH, "replaceWith")                             \
	X(SNIPPETS, "snippets-prototype")                          \
	X(TAINT, "taint")                                          \
	X(VIEWS, "views")

enum deployment_feature {
#define DEPLOYMENT_FEATURE_ENUM(name, text) FEATURE_##name,
	DEPLOYMENT_FEATURES(DEPLOYMENT_FEATURE_ENUM)
#undef DEPLOYMENT_FEATURE_ENUM
		FEATURE_COUNT
};
extern const char *const deployment_feature_names[FEATURE_COUNT];

uint32_t resource_features(const struct resource *r);

/* The unescaped text of a string value; a view of the span where nothing is escaped. Anything but a string is "". */
struct str json_view(struct json v, struct arena *a);
/* A quoted JSON string in the arena; absent when out of memory. */
struct json json_quoted(struct arena *a, struct str s);

/* Rewrites a string: returns false to drop it (lists only); *ret differs from `in` only if it is to be replaced. */
typedef bool (*text_edit_fn)(void *arg, struct str in, struct str *ret);
/* The three shapes in which a resource refers to others. Unchanged values come back as they are. drop_empty: keys of
 * the map that have no elements (left) go away. */
struct json edit_string(struct json v, text_edit_fn fn, void *arg, struct arena *a);
struct json edit_list(struct json v, text_edit_fn fn, void *arg, struct arena *a);
struct json edit_map_of_lists(struct json v, bool drop_empty, text_edit_fn fn, void *arg, struct arena *a);

#endif
