/*
 * maintenance.c: `slipway admin backup|restore|verify|export`: everything at once. A running server is asked over its control
 * socket; without one, the data directory is opened here.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/site_call.h"
#include "os/file.h"
#include "server/backup.h"
#include "server/server.h"

/* A backup takes as long as it takes. */
#define LONG_MS (24 * 3600 * 1000)
#define ANSWER_BYTES (64 * MIB)

static const char *absolute(struct invocation *in, const char *path)
{
	char cwd[4096];
	if (path[0] == '/')
		return path;
	return getcwd(cwd, sizeof(cwd)) ? arena_printf(in->arena, "%s/%s", cwd, path) : NULL;
}

/* Asks the running server, or runs `fn` on the opened directory. Both leave an answer in JSON. */
static int ask_or_open(struct invocation *in, const char *path, struct str body,
		       int (*fn)(struct app *app, const void *arg, struct json_writer *j, struct err *e),
		       const void *arg, struct json *ret, struct err *e)
{
	struct server *server;
	_cleanup_buf_ struct buf answer;
	struct json_writer j;
	buf_init(&answer, ANSWER_BYTES);
	int rc = site_call(in, "POST", path, body, LONG_MS, ret, e);
	if (rc != -ERR_UNAVAILABLE)
		return rc;
	err_reset(e);
	rc = server_open(&in->config, &server, e);
	if (rc < 0)
		return rc;
	jw_init(&j, &answer);
	rc = fn(server_app(server), arg, &j, e);
	server_free(server);
	const char *text = rc == 0 ? arena_strndup(in->arena, answer.data ? answer.data : "", answer.len) : NULL;
	if (rc == 0 && (buf_failed(&answer) || !text))
		rc = err_nomem(e);
	return rc < 0 ? rc : json_check(str_of(text), ret, e);
}

static int backup_here(struct app *app, const void *arg, struct json_writer *j, struct err *e)
{
	struct backup done;
	int rc = backup_write(app, arg, &done, e);
	if (rc < 0)
		return rc;
	jw_object(j);
	jw_kv_string(j, "file", arg);
	jw_kv_int(j, "bytes", done.bytes);
	jw_kv_int(j, "blobs", done.blobs);
	jw_object_end(j);
	return 0;
}

static void print_json(struct json answer)
{
	printf("%.*s\n", (int)answer.n, answer.p);
}

int command_backup(struct invocation *in, struct err *e)
{
	const char *file = absolute(in, in->args[0]);
	_cleanup_buf_ struct buf body;
	struct json_writer j;
	struct json answer;
	buf_init(&body, 64 * KIB);
	if (!file)
		return err_errno(e, "the current folder");
	jw_init(&j, &body);
	jw_object(&j);
	jw_kv_string(&j, "file", file);
	jw_object_end(&j);
	int rc = ask_or_open(in, "/api/site/backup", buf_str(&body), backup_here, file, &answer, e);
	if (rc < 0)
		return rc;
	if (in->config.json)
		print_json(answer);
	else
		puts(file);
	return 0;
}

int command_restore(struct invocation *in, struct err *e)
{
	struct backup done;
	int rc = backup_restore(in->args[0], in->config.data, &done, e);
	if (rc < 0)
		return rc;
	if (in->config.json)
		printf("{\"data\":\"%s\",\"bytes\":%lld,\"blobs\":%lld}\n", in->config.data, (long long)done.bytes,
		       (long long)done.blobs);
	else
		puts(in->config.data);
	return 0;
}

static int verify_here(struct app *app, const void *arg, struct json_writer *j, struct err *e)
{
	int64_t problems;
	return server_verify(app, j, &problems, e);
}

int command_verify(struct invocation *in, struct err *e)
{
	struct json answer, problem, key, value;
	struct str text;
	int64_t count = 0;
	int rc = ask_or_open(in, "/api/site/verify", STR("{}"), verify_here, NULL, &answer, e);
	if (rc < 0)
		return rc;
	json_int64(json_get(answer, "problemCount"), &count);
	if (in->config.json) {
		print_json(answer);
		return count ? 1 : 0;
	}
	json_foreach(problem, json_get(answer, "problems")) {
		if (json_string(problem, in->arena, &text))
			printf("%.*s\n", STR_ARG(text));
	}
	fprintf(stderr, "looked at:");
	struct json_iter it = json_iter_start(json_get(answer, "looked"));
	while (json_next(&it, &key, &value))
		if (json_string(key, in->arena, &text))
			fprintf(stderr, " %.*s %.*s,", (int)value.n, value.p, STR_ARG(text));
	fprintf(stderr, " %lld problem%s\n", (long long)count, count == 1 ? "" : "s");
	return count ? 1 : 0;
}

/* --- export --- */

static int export_one(struct invocation *in, struct http_client *client, const char *org, const char *project,
		      const char *stack, struct err *e)
{
	/* A state may be large; it goes when it is written. */
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	const char *folder = arena_printf(&a, "%s/%s/%s", in->args[0], org, project);
	const char *file = arena_printf(&a, "%s/%s.json", folder, stack);
	struct http_client_request rq = { .method = "GET",
					  .path = arena_printf(&a, "/api/stacks/%s/%s/%s/export", org, project, stack),
					  .timeout_ms = LONG_MS,
					  .max_response_bytes = HTTP_DOCUMENT_BODY_BYTES * 2 };
	struct http_client_response answer;
	if (arena_failed(&a))
		return err_nomem(e);
	int rc = http_client_send(client, &rq, &a, &answer, e);
	if (rc == 0 && answer.status >= 400)
		rc = http_client_refusal(&answer, &a, e);
	if (rc == 0)
		rc = file_mkdir_p(folder, 0700, e);
	if (rc == 0)
		rc = file_write_atomic(file, answer.body, 0600, e);
	if (rc < 0)
		return err_wrap(e, "stack %s/%s/%s", org, project, stack);
	puts(file);
	return 0;
}

static int export_page(struct invocation *in, struct http_client *client, struct json stacks, int64_t *count,
		       struct err *e)
{
	struct json s;
	json_foreach(s, stacks) {
		const char *org = json_cstr(json_get(s, "orgName"), in->arena);
		const char *project = json_cstr(json_get(s, "projectName"), in->arena);
		const char *stack = json_cstr(json_get(s, "stackName"), in->arena);
		if (!org || !project || !stack)
			return err_set(e, ERR_INTERNAL, "the server's list of stacks cannot be read");
		int rc = export_one(in, client, org, project, stack, e);
		if (rc < 0)
			return rc;
		++*count;
	}
	return 0;
}

int command_export(struct invocation *in, struct err *e)
{
	struct http_client *client;
	const char *token = NULL;
	int64_t count = 0;
	int rc = site_client(in, &client, e);
	if (rc < 0)
		return rc;
	do {
		struct json page;
		const char *path = token ? arena_printf(in->arena, "/api/user/stacks?continuationToken=%s", token)
					 : "/api/user/stacks";
		rc = path ? site_call(in, "GET", path, STR_NULL, 0, &page, e) : err_nomem(e);
		if (rc == 0)
			rc = export_page(in, client, json_get(page, "stacks"), &count, e);
		token = rc == 0 ? json_cstr(json_get(page, "continuationToken"), in->arena) : NULL;
	} while (token);
	http_client_free(client);
	if (rc == 0)
		fprintf(stderr, "%lld stack%s\n", (long long)count, count == 1 ? "" : "s");
	return rc;
}
