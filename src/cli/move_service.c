/* Another Pulumi service: stacks, history and states by its API (cli-protocol §3), with a user's token. */
#include "cli/move.h"

#include <inttypes.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/limits.h"
#include "http/client.h"

#define PAGE 100
/* A refusal that is not for ever (429, 5xx, no connection) is tried again, a second later, then two, four ... */
#define TRIES 5
#define WAIT_MAX_S 60
#define TIMEOUT_MS (10 * 60 * 1000)

struct service {
	struct move_source source;
	struct http_client *client;
};

static struct service *service_of(struct move_source *s)
{
	return (struct service *)s;
}

static bool is_temporary(int rc, const struct http_client_response *answer)
{
	if (rc < 0)
		return rc == -ERR_UNAVAILABLE || rc == -ERR_TIMEOUT;
	return answer->status == 429 || answer->status >= 500;
}

/* ERR_NOT_FOUND and other refusals as they come. */
static int call(struct service *s, const char *method, const char *path, struct str body, struct arena *a,
		struct str *ret, struct err *e)
{
	static const char *const headers[] = { "Accept: application/vnd.pulumi+8", NULL };
	struct http_client_request rq = { .method = method,
					  .path = path,
					  .body = body,
					  .headers = headers,
					  .timeout_ms = TIMEOUT_MS,
					  .max_response_bytes = HTTP_DOCUMENT_BODY_BYTES };
	struct http_client_response answer = { 0 };
	int rc = 0;
	if (!path)
		return err_nomem(e);
	for (int i = 0; i < TRIES; i++) {
		if (e)
			err_reset(e);
		rc = http_client_send(s->client, &rq, a, &answer, e);
		if (!is_temporary(rc, &answer) || i == TRIES - 1)
			break;
		int wait = rc == 0 && answer.retry_after_s >= 0 ? answer.retry_after_s : 1 << i;
		sleep((unsigned)(wait < WAIT_MAX_S ? wait : WAIT_MAX_S));
	}
	if (rc == 0 && answer.status >= 400)
		rc = http_client_refusal(&answer, a, e);
	if (rc == 0)
		*ret = answer.body;
	return rc;
}

static int call_json(struct service *s, const char *method, const char *path, struct str body, struct arena *a,
		     struct json *ret, struct err *e)
{
	struct str text;
	int rc = call(s, method, path, body, a, &text, e);
	if (rc == 0)
		rc = json_check(text, ret, e);
	return rc;
}

static const char *escaped(struct arena *a, const char *text)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 64 * KIB);
	url_escape(&b, str_of(text));
	return buf_failed(&b) ? NULL : arena_strndup(a, b.data ? b.data : "", b.len);
}

static const char *stack_path(const struct move_stack *s, const char *rest, struct arena *a)
{
	const char *org = escaped(a, s->org), *project = escaped(a, s->project), *name = escaped(a, s->name);
	return org && project && name ? arena_printf(a, "/api/stacks/%s/%s/%s%s", org, project, name, rest) : NULL;
}

/* --- stacks --- */

struct listing {
	struct move_stack *list;
	size_t count, cap;
};

static int add_page(struct listing *l, struct json stacks, struct arena *a, struct err *e)
{
	struct json v;
	json_foreach(v, stacks) {
		struct move_stack s = { .org = json_cstr(json_get(v, "orgName"), a),
					.project = json_cstr(json_get(v, "projectName"), a),
					.name = json_cstr(json_get(v, "stackName"), a) };
		if (!s.org || !s.project || !s.name)
			return err_set(e, ERR_BAD_REQUEST, "the other service's list of stacks cannot be read");
		s.key = arena_printf(a, "%s/%s/%s", s.org, s.project, s.name);
		if (l->count == l->cap) {
			l->cap = l->cap ? 2 * l->cap : 64;
			struct move_stack *more = arena_array(a, l->cap, sizeof(*more));
			if (more && l->count)
				memcpy(more, l->list, l->count * sizeof(*more));
			l->list = more;
		}
		if (!l->list || !s.key)
			return err_nomem(e);
		l->list[l->count++] = s;
	}
	return 0;
}

static int service_list(struct move_source *source, struct arena *a, struct move_stack **ret, size_t *ret_count,
			struct err *e)
{
	struct service *s = service_of(source);
	struct listing l = { 0 };
	const char *token = NULL;
	int rc;
	do {
		struct json page;
		const char *path = token ? arena_printf(a, "/api/user/stacks?continuationToken=%s", escaped(a, token))
					 : "/api/user/stacks";
		rc = call_json(s, "GET", path, STR_NULL, a, &page, e);
		if (rc == 0)
			rc = add_page(&l, json_get(page, "stacks"), a, e);
		token = rc == 0 ? json_cstr(json_get(page, "continuationToken"), a) : NULL;
	} while (token && token[0]);
	*ret = l.list;
	*ret_count = l.count;
	return rc;
}

static int service_look(struct move_source *source, struct move_stack *stack, struct arena *a, struct err *e)
{
	struct service *s = service_of(source);
	struct json v;
	struct str text;
	int rc = call_json(s, "GET", stack_path(stack, "", a), STR_NULL, a, &v, e);
	if (rc < 0)
		return rc;
	stack->tags = json_get(v, "tags");
	if (!json_is_null(json_get(v, "currentOperation")))
		stack->note = "an update is running there: what it has not finished is missing here";
	if (call(s, "GET", stack_path(stack, "/deployments/settings", a), STR_NULL, a, &text, NULL) == 0)
		stack->left = "its deployment settings are not taken: their secrets do not leave the other service";
	return 0;
}

/* --- history --- */

static int read_update(struct json v, struct arena *a, struct move_update *ret, struct err *e)
{
	struct json info = json_get(v, "info");
	const char *kind = json_cstr(json_get(info, "kind"), a), *result = json_cstr(json_get(info, "result"), a);
	const char *message = json_cstr(json_get(info, "message"), a), *id = json_cstr(json_get(v, "updateID"), a);
	*ret = (struct move_update){ .kind = kind ? kind : "update",
				     .result = result ? result : "",
				     .message = message ? message : "",
				     .environment = json_get(info, "environment"),
				     .config = json_get(info, "config"),
				     .changes = json_get(info, "resourceChanges"),
				     .resource_count = -1,
				     .author = json_cstr(json_path(v, "requestedBy", "githubLogin", NULL), a) };
	json_int64(json_get(info, "startTime"), &ret->start_s);
	json_int64(json_get(info, "endTime"), &ret->end_s);
	json_int64(json_get(info, "resourceCount"), &ret->resource_count);
	if (!json_int64(json_get(v, "version"), &ret->version))
		json_int64(json_get(info, "version"), &ret->version);
	ret->key = id ? id : arena_printf(a, "version %" PRId64, ret->version);
	return ret->key ? 0 : err_nomem(e);
}

static int by_version(const void *x, const void *y)
{
	const struct move_update *a = x, *b = y;
	return a->version < b->version ? -1 : a->version > b->version;
}

static int service_history(struct move_source *source, const struct move_stack *stack, struct arena *a,
			   struct move_update **ret, size_t *ret_count, struct err *e)
{
	struct service *s = service_of(source);
	struct move_update *list = NULL;
	size_t count = 0, cap = 0, got = PAGE;
	for (int page = 1; got == PAGE; page++) {
		struct json answer, v;
		const char *query = arena_printf(a, "/updates?output-type=service&pageSize=%d&page=%d", PAGE, page);
		int rc = query ? call_json(s, "GET", stack_path(stack, query, a), STR_NULL, a, &answer, e)
			       : err_nomem(e);
		if (rc < 0)
			return rc;
		struct json updates = json_get(answer, "updates");
		got = json_count(updates);
		if (count + got > cap) {
			cap = 2 * (count + got);
			struct move_update *more = arena_array(a, cap, sizeof(*more));
			if (!more)
				return err_nomem(e);
			if (count)
				memcpy(more, list, count * sizeof(*more));
			list = more;
		}
		json_foreach(v, updates) {
			rc = read_update(v, a, &list[count], e);
			if (rc < 0)
				return rc;
			count += !streq(list[count].kind, "preview");
		}
	}
	if (count)
		qsort(list, count, sizeof(*list), by_version);
	/* An update that began while the pages were read shows one of them twice. */
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || !streq(list[kept - 1].key, list[i].key))
			list[kept++] = list[i];
	*ret = list;
	*ret_count = kept;
	return 0;
}

static int service_state(struct move_source *source, const struct move_stack *stack, const struct move_update *u,
			 struct arena *a, struct str *ret, struct err *e)
{
	const char *rest = u ? arena_printf(a, "/export/%" PRId64, u->version) : "/export";
	int rc = rest ? call(service_of(source), "GET", stack_path(stack, rest, a), STR_NULL, a, ret, e) : err_nomem(e);
	if (!u || (rc != -ERR_NOT_FOUND && rc != -ERR_BAD_REQUEST))
		return rc;
	err_reset(e);
	*ret = STR_NULL;
	return 0;
}

static int service_decrypt(struct move_source *source, const struct move_stack *stack, const struct str *ciphertexts,
			   size_t count, struct arena *a, struct str *ret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	struct json answer, key, value;
	buf_init(&b, HTTP_BATCH_BODY_BYTES);
	jw_init(&j, &b);
	jw_object(&j);
	jw_key(&j, "ciphertexts");
	jw_array(&j);
	for (size_t i = 0; i < count; i++)
		jw_str(&j, ciphertexts[i]);
	jw_array_end(&j);
	jw_object_end(&j);
	int rc = buf_check(&b, "the batch of secrets", e);
	if (rc == 0)
		rc = call_json(service_of(source), "POST", stack_path(stack, "/batch-decrypt", a), buf_str(&b), a,
			       &answer, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++)
		ret[i] = STR_NULL;
	/* A map, in any order. */
	struct json_iter it = json_iter_start(json_get(answer, "plaintexts"));
	while (json_next(&it, &key, &value)) {
		struct str name, plain;
		if (!json_string(key, a, &name) || !json_string(value, a, &plain))
			return err_set(e, ERR_BAD_REQUEST,
				       "the other service's answer to batch-decrypt cannot be read");
		for (size_t i = 0; i < count; i++)
			if (str_eq(ciphertexts[i], name))
				ret[i] = plain;
	}
	for (size_t i = 0; i < count; i++)
		if (!ret[i].p)
			return err_set(e, ERR_BAD_REQUEST, "the other service has not decrypted every secret");
	return 0;
}

static void service_free(struct move_source *s)
{
	http_client_free(service_of(s)->client);
}

int move_service_open(const char *url, const char *token, struct arena *a, struct move_source **ret, struct err *e)
{
	struct service *s = arena_new(a, struct service);
	struct http_client_config config = { .base_url = url, .token = token, .user_agent = "slipway-import" };
	if (!s)
		return err_nomem(e);
	s->source = (struct move_source){ .url = url,
					  .list = service_list,
					  .look = service_look,
					  .history = service_history,
					  .state = service_state,
					  .decrypt = service_decrypt,
					  .left = "previews, engine events, deployments, schedules, webhooks, "
						  "members and their rights",
					  .free = service_free };
	int rc = http_client_new(&config, &s->client, e);
	if (rc == 0)
		*ret = &s->source;
	return rc;
}
