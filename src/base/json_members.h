/*
 * json_members.h: the members of one object by name, for whoever looks up as many as there are. json_get() reads the object
 * from its beginning each time: a body of a megabyte could keep us busy for minutes.
 */
#ifndef SLIPWAY_BASE_JSON_MEMBERS_H
#define SLIPWAY_BASE_JSON_MEMBERS_H

#include "base/json.h"

struct json_member {
	struct str name;
	struct json value;
};
/* By name; of a repeated one the last. */
struct json_members {
	struct json_member *items;
	size_t count;
};

/* In the arena. Anything but an object has no members. */
int json_members_init(struct json_members *m, struct json object, struct arena *a, struct err *e);
/* JSON_ABSENT if there is none. */
struct json json_members_get(const struct json_members *m, struct str name);

#endif
