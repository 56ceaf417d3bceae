#include <stdio.h>

#include "agent/api.h"
#include "base/limits.h"

/* Hours of a slow line; what stands still ends sooner. */
#define TRANSFER_TIMEOUT_MS (30 * 60 * 1000)
#define PATH_OF_URL "/api/cache/"

int api_cache_place(struct api *api, bool put, const char *key, struct arena *a, const char **ret_path,
		    int64_t *ret_max, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	struct json root = JSON_ABSENT;
	buf_init(&b, 4 * KIB);
	api_begin(api, &b, &w);
	jw_kv_string(&w, "method", put ? "PUT" : "GET");
	jw_kv_string(&w, "key", key);
	jw_object_end(&w);
	int r = api_post(api, "cache", &b, a, &root, e);
	if (r < 0)
		return r;
	const char *url = json_cstr(json_get(root, "url"), a);
	/* The server may have another name for itself than we have for it. */
	const char *path = url ? strstr(url, PATH_OF_URL) : NULL;
	if (!path || !json_int64(json_get(root, "maxBytes"), ret_max) || *ret_max < 0)
		return err_set(e, ERR_UNAVAILABLE, "the server's answer names no place for the archive");
	*ret_path = path;
	return 0;
}

/* What goes wrong is named by what was wanted: the path is a ticket, and no business of a log. */
static int transfer(struct api *api, struct http_client_request *rq, const char *what, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct http_client_response rs;
	arena_init(&a, MIB);
	rq->timeout_ms = TRANSFER_TIMEOUT_MS;
	int r = api_call(api, rq, &a, &rs, e);
	const char *behind = r < 0 && e ? strstr(e->message, PATH_OF_URL) : NULL;
	if (behind && (behind = strstr(behind, ": ")) != NULL) {
		char why[ERR_MESSAGE_MAX];
		snprintf(why, sizeof(why), "%s", behind + 2);
		return err_set(e, e->code, "%s: %s", what, why);
	}
	return r < 0 ? err_wrap(e, "%s", what) : r;
}

int api_cache_has(struct api *api, const char *path, struct err *e)
{
	struct http_client_request rq = { .method = "HEAD", .path = path };
	int r = transfer(api, &rq, "looking for the archive", e);
	return r == -ERR_NOT_FOUND ? 0 : r < 0 ? r : 1;
}

int api_cache_get(struct api *api, const char *path, int fd, int64_t max, int64_t *ret_bytes, struct err *e)
{
	struct http_client_file file = { fd, max };
	struct http_client_request rq = { .method = "GET", .path = path, .answer_file = &file };
	int r = transfer(api, &rq, "fetching the archive", e);
	*ret_bytes = file.bytes;
	return r == -ERR_NOT_FOUND ? 0 : r < 0 ? r : 1;
}

int api_cache_put(struct api *api, const char *path, int fd, int64_t bytes, struct err *e)
{
	const struct http_client_file file = { fd, bytes };
	struct http_client_request rq = {
		.method = "PUT", .path = path, .body_file = &file, .content_type = "application/octet-stream"
	};
	return transfer(api, &rq, "storing the archive", e);
}
