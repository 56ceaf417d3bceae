#include "state/deployment.h"

#include <inttypes.h>

/* The newest schema that the CLI reads (cli-protocol §3.3). */
#define DEPLOYMENT_SCHEMA_MAX 4

void json_pick(struct json object, const char *const *names, size_t count, struct json *ret_values)
{
	for (size_t i = 0; i < count; i++)
		ret_values[i] = JSON_ABSENT;
	struct json_iter it = json_iter_start(object);
	struct json key, value;
	while (json_next(&it, &key, &value)) {
		for (size_t i = 0; i < count; i++) {
			if (!json_string_is(key, names[i]))
				continue;
			ret_values[i] = json_is_null(value) ? JSON_ABSENT : value;
			break;
		}
	}
}

/* Each of these stands before the value (json_next_key), and goes over it. */

static int check_resource(struct json_iter *at, const char *where, int64_t n, struct err *e)
{
	struct json key, urn = JSON_ABSENT;
	if (json_here(at) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "%s/resources/%" PRId64 ": must be an object", where, n);
	struct json_iter members = json_into(at);
	while (json_next_key(&members, &key)) {
		struct json value = json_over(&members);
		if (json_string_is(key, "urn"))
			urn = value;
	}
	json_out(at, &members);
	if (json_type(urn) != JSON_STRING)
		return err_set(e, ERR_BAD_REQUEST, "%s/resources/%" PRId64 "/urn: must be a string", where, n);
	return 0;
}

static int check_operation(struct json_iter *at, const char *where, int64_t n, struct err *e)
{
	if (json_type(json_get(json_over(at), "resource")) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "%s/pending_operations/%" PRId64 "/resource: must be an object",
			       where, n);
	return 0;
}

static int check_list(struct json_iter *at, const char *name, const char *where,
		      int (*check)(struct json_iter *at, const char *where, int64_t n, struct err *e),
		      int64_t *ret_count, struct err *e)
{
	*ret_count = 0;
	if (json_here(at) != JSON_ARRAY && json_here(at) != JSON_NULL)
		return err_set(e, ERR_BAD_REQUEST, "%s/%s: must be an array", where, name);
	struct json_iter list = json_into(at);
	while (json_next_key(&list, NULL)) {
		int rc = check(&list, where, *ret_count, e);
		if (rc < 0)
			return rc;
		++*ret_count;
	}
	json_out(at, &list);
	return 0;
}

static int check_members(struct json_iter *members, const char *where, int64_t *ret_resources, struct err *e)
{
	struct json key;
	int64_t operations;
	int rc = 0;
	*ret_resources = 0;
	while (rc == 0 && json_next_key(members, &key)) {
		if (json_string_is(key, "resources"))
			rc = check_list(members, "resources", where, check_resource, ret_resources, e);
		else if (json_string_is(key, "pending_operations"))
			rc = check_list(members, "pending_operations", where, check_operation, &operations, e);
		else
			json_over(members);
	}
	return rc;
}

int deployment_check(struct json deployment, const char *where, struct err *e)
{
	int64_t resources;
	if (json_type(deployment) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "%s: must be an object", where);
	struct json_iter members = json_iter_start(deployment);
	return check_members(&members, where, &resources, e);
}

static int check_deployment(struct json_iter *at, int64_t *ret_resources, struct err *e)
{
	if (json_here(at) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "/deployment: must be an object");
	struct json_iter members = json_into(at);
	int rc = check_members(&members, "/deployment", ret_resources, e);
	if (rc == 0)
		json_out(at, &members);
	return rc;
}

int untyped_deployment_check(struct json root, int64_t *ret_resources, struct err *e)
{
	struct json key, number = JSON_ABSENT;
	int64_t version;
	bool has_deployment = false;
	int rc = 0;
	if (json_type(root) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "the body must be a JSON object");
	struct json_iter it = json_iter_start(root);
	while (rc == 0 && json_next_key(&it, &key)) {
		if (json_string_is(key, "deployment")) {
			has_deployment = json_here(&it) != JSON_NULL;
			if (has_deployment)
				rc = check_deployment(&it, ret_resources, e);
			else
				json_over(&it);
			continue;
		}
		struct json value = json_over(&it);
		if (json_string_is(key, "version"))
			number = value;
		else if (json_string_is(key, "features") && !json_is_null(value) && json_type(value) != JSON_ARRAY)
			rc = err_set(e, ERR_BAD_REQUEST, "/features: must be an array");
	}
	if (rc < 0)
		return rc;
	if (!json_int64(number, &version) || version < 1 || version > DEPLOYMENT_SCHEMA_MAX)
		return err_set(e, ERR_BAD_REQUEST, "/version: must be an integer from 1 to %d", DEPLOYMENT_SCHEMA_MAX);
	if (!has_deployment)
		return err_set(e, ERR_BAD_REQUEST, "/deployment: is required");
	return 0;
}
