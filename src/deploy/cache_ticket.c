#include "base/encode.h"
#include "base/json.h"
#include "deploy/cache.h"
#include "identity/identity.h"

#define PURPOSE "cache url"
#define TICKET_BYTES 4096

int cache_ticket_write(struct app *app, struct arena *a, const struct cache_ticket *t, const char **ret, struct err *e)
{
	_cleanup_buf_ struct buf plain, path;
	struct json_writer w;
	struct str sealed;
	buf_init(&plain, TICKET_BYTES);
	buf_init(&path, 2 * TICKET_BYTES);
	jw_init(&w, &plain);
	jw_object(&w);
	jw_kv_bool(&w, "put", t->put);
	jw_kv_int(&w, "expires", t->expires_us);
	jw_kv_string(&w, "org", t->org_id);
	jw_kv_string(&w, "project", t->project);
	jw_kv_string(&w, "key", t->key);
	jw_object_end(&w);
	int rc = buf_check(&plain, "cache ticket", e);
	if (rc == 0)
		rc = identity_seal(app->identity, PURPOSE, buf_str(&plain), a, &sealed, e);
	if (rc < 0)
		return rc;
	base64url_encode(&path, sealed);
	rc = buf_check(&path, "cache ticket", e);
	if (rc < 0)
		return rc;
	*ret = str_dup(a, buf_str(&path));
	return *ret ? 0 : err_nomem(e);
}

int cache_ticket_read(struct app *app, struct arena *a, const char *text, struct cache_ticket *ret, struct err *e)
{
	struct str sealed, plain;
	struct json v;
	if (!base64url_decode(a, str_of(text), &sealed) ||
	    identity_open(app->identity, PURPOSE, sealed, a, &plain, e) < 0 || json_check(plain, &v, e) < 0)
		return err_set(e, ERR_FORBIDDEN, "the URL was not given out by this server");
	*ret = (struct cache_ticket){ .put = json_is_true(json_get(v, "put")),
				      .org_id = json_cstr(json_get(v, "org"), a),
				      .project = json_cstr(json_get(v, "project"), a),
				      .key = json_cstr(json_get(v, "key"), a) };
	if (!ret->org_id || !ret->project || !ret->key || !json_int64(json_get(v, "expires"), &ret->expires_us))
		return err_nomem(e);
	return 0;
}
