/* Documents of the CLI's own backend in the shape of the service's API. */
#include "cli/move.h"

#include <inttypes.h>

#include "base/json.h"
#include "base/limits.h"

/* Older ones hold their resources otherwise; the CLI itself rewrites them at the next update. */
#define SCHEMA_MIN 3
#define CONFIG_BYTES (64 * MIB)

/* {"version":3,"features":[..],"checkpoint":{"stack":..,"config":..,"latest":DeploymentV3}} */
int move_checkpoint_read(struct str text, struct arena *a, struct str *ret, struct err *e)
{
	struct json root;
	int64_t version = 1; /* the first schema had no envelope */
	*ret = STR_NULL;
	int rc = json_check(text, &root, e);
	if (rc < 0)
		return rc;
	struct json latest = json_path(root, "checkpoint", "latest", NULL);
	struct json number = json_get(root, "version"), features = json_get(root, "features");
	if (json_type(root) != JSON_OBJECT || (number.p && !json_int64(number, &version)))
		return err_set(e, ERR_BAD_REQUEST, "is no checkpoint of a stack");
	if (version < SCHEMA_MIN)
		return err_set(e, ERR_BAD_REQUEST,
			       "has schema version %" PRId64 ", of an old CLI: an update with a newer one rewrites it",
			       version);
	if (json_is_null(latest))
		return 0;
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	buf_init(&b, 2 * HTTP_DOCUMENT_BODY_BYTES);
	jw_init(&j, &b);
	jw_object(&j);
	jw_kv_int(&j, "version", version);
	if (!json_is_null(features))
		jw_kv_raw(&j, "features", features);
	jw_kv_raw(&j, "deployment", latest);
	jw_object_end(&j);
	rc = buf_check(&b, "the state", e);
	*ret = (struct str){ rc == 0 ? arena_strndup(a, b.data, b.len) : NULL, b.len };
	return rc < 0 || ret->p ? rc : err_nomem(e);
}

static struct json secure_of(struct json v)
{
	struct json secure = json_get(v, "secure");
	return json_type(v) == JSON_OBJECT && json_count(v) == 1 && json_type(secure) == JSON_STRING ? secure
												     : JSON_ABSENT;
}

static bool has_secure(struct json v)
{
	struct json value;
	if (secure_of(v).p)
		return true;
	json_foreach(value, v)
		if (has_secure(value))
			return true;
	return false;
}

static void put_value(struct json_writer *j, struct json v)
{
	enum json_type type = json_type(v);
	struct json secure = secure_of(v);
	bool object = !secure.p && (type == JSON_OBJECT || type == JSON_ARRAY);
	jw_object(j);
	if (secure.p)
		jw_kv_raw(j, "string", secure);
	else if (type == JSON_STRING)
		jw_kv_raw(j, "string", v);
	else
		jw_kv_str(j, "string", json_text(v));
	jw_kv_bool(j, "secret", secure.p || (object && has_secure(v)));
	jw_kv_bool(j, "object", object);
	jw_object_end(j);
}

int move_config_read(struct json config, struct arena *a, struct json *ret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	struct json key, value;
	struct str name;
	buf_init(&b, CONFIG_BYTES);
	*ret = JSON_ABSENT;
	if (json_is_null(config))
		return 0;
	if (json_type(config) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "/config: must be an object");
	jw_init(&j, &b);
	jw_object(&j);
	struct json_iter it = json_iter_start(config);
	while (json_next(&it, &key, &value)) {
		if (!json_string(key, a, &name))
			return err_nomem(e);
		jw_key_str(&j, name);
		put_value(&j, value);
	}
	jw_object_end(&j);
	int rc = buf_check(&b, "the configuration", e);
	char *text = rc == 0 ? arena_strndup(a, b.data, b.len) : NULL;
	if (rc == 0 && !text)
		rc = err_nomem(e);
	if (rc == 0)
		*ret = (struct json){ text, b.len };
	return rc;
}
