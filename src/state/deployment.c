#include "state/deployment.h"

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

static int check_resources(struct json resources, const char *where, int64_t *ret_count, struct err *e)
{
	static const char *const names[] = { "urn" };
	long long n = 0;
	if (resources.p && json_type(resources) != JSON_ARRAY)
		return err_set(e, ERR_BAD_REQUEST, "%s/resources: must be an array", where);
	struct json resource;
	json_foreach(resource, resources) {
		struct json urn;
		if (json_type(resource) != JSON_OBJECT)
			return err_set(e, ERR_BAD_REQUEST, "%s/resources/%lld: must be an object", where, n);
		json_pick(resource, names, 1, &urn);
		if (json_type(urn) != JSON_STRING)
			return err_set(e, ERR_BAD_REQUEST, "%s/resources/%lld/urn: must be a string", where, n);
		n++;
	}
	*ret_count = n;
	return 0;
}

static int check_operations(struct json operations, const char *where, struct err *e)
{
	long long n = 0;
	if (operations.p && json_type(operations) != JSON_ARRAY)
		return err_set(e, ERR_BAD_REQUEST, "%s/pending_operations: must be an array", where);
	struct json operation;
	json_foreach(operation, operations) {
		if (json_type(json_get(operation, "resource")) != JSON_OBJECT)
			return err_set(e, ERR_BAD_REQUEST, "%s/pending_operations/%lld/resource: must be an object",
				       where, n);
		n++;
	}
	return 0;
}

int deployment_check(struct json deployment, const char *where, int64_t *ret_resources, struct err *e)
{
	static const char *const names[] = { "resources", "pending_operations" };
	struct json found[2];
	int64_t count = 0;
	if (json_type(deployment) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "%s: must be an object", where);
	json_pick(deployment, names, 2, found);
	int rc = check_resources(found[0], where, &count, e);
	if (rc == 0)
		rc = check_operations(found[1], where, e);
	if (rc == 0 && ret_resources)
		*ret_resources = count;
	return rc;
}

int untyped_deployment_check(struct json root, int64_t *ret_resources, struct err *e)
{
	static const char *const names[] = { "version", "features", "deployment" };
	struct json found[3];
	int64_t version;
	if (json_type(root) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "the body must be a JSON object");
	json_pick(root, names, 3, found);
	if (!json_int64(found[0], &version) || version < 1 || version > DEPLOYMENT_SCHEMA_MAX)
		return err_set(e, ERR_BAD_REQUEST, "/version: must be an integer from 1 to %d", DEPLOYMENT_SCHEMA_MAX);
	if (found[1].p && json_type(found[1]) != JSON_ARRAY)
		return err_set(e, ERR_BAD_REQUEST, "/features: must be an array");
	if (!found[2].p)
		return err_set(e, ERR_BAD_REQUEST, "/deployment: is required");
	return deployment_check(found[2], "/deployment", ret_resources, e);
}
