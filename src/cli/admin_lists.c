/* `slipway admin ... list`: a line for each, its columns apart by tabs; --json prints the answers as they come, page by page. */
#include "cli/site_call.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/encode.h"

#define PATH_BYTES (16 * (size_t)1024)

static void print_time(struct invocation *in, int64_t unix_s)
{
	/* 0: never (features §8.5). */
	fputs(unix_s > 0 ? clock_rfc3339(in->arena, unix_s * US_PER_S) : "never", stdout);
}

static void print_organizations(struct invocation *in, struct json list)
{
	struct json org;
	const char *comma = "";
	json_foreach(org, list) {
		printf("%s%s (%s)", comma, json_cstr(json_get(org, "name"), in->arena),
		       json_cstr(json_get(org, "role"), in->arena));
		comma = ", ";
	}
}

/* A level is two members on the wire: Pulumi's number, and our flag. */
static void print_level(struct json row)
{
	static const char *const names[] = { "read", "write", "admin" };
	int64_t number = 0;
	json_int64(json_get(row, "permission"), &number);
	if (json_is_true(json_get(row, "deploy")))
		fputs("deploy", stdout);
	else
		fputs(number >= 101 && number <= 103 ? names[number - 101] : "none", stdout);
}

static void print_column(struct invocation *in, struct json row, const struct list_column *column)
{
	struct json v = json_get(row, column->name);
	int64_t number;
	if (column->sub)
		v = json_get(v, column->sub);
	if (streq(column->name, "level"))
		print_level(row);
	else if (streq(column->name, "organizations"))
		print_organizations(in, v);
	else if (streq(column->name, "lastUsed") || streq(column->name, "expires"))
		print_time(in, json_int64(v, &number) ? number : 0);
	else if (json_type(v) == JSON_BOOL)
		fputs(json_is_true(v) ? column->name : "", stdout);
	else if (json_int64(v, &number))
		printf("%" PRId64, number);
	else
		fputs(json_cstr(v, in->arena) ? json_cstr(v, in->arena) : "", stdout);
}

static void print_rows(struct invocation *in, struct json rows, const struct list_column *columns)
{
	struct json row;
	json_foreach(row, rows) {
		for (const struct list_column *c = columns; c->name; c++) {
			if (c != columns)
				putchar('\t');
			print_column(in, row, c);
		}
		putchar('\n');
	}
}

int list_run(struct invocation *in, const char *path, const char *member, const struct list_column *columns,
	     struct err *e)
{
	_cleanup_buf_ struct buf page;
	const char *token = "";
	buf_init(&page, PATH_BYTES);
	do {
		struct json answer;
		buf_reset(&page);
		buf_addf(&page, "%s?continuationToken=", path);
		url_escape(&page, str_of(token));
		int rc = buf_check(&page, "the path", e);
		if (rc == 0)
			rc = site_call(in, "GET", page.data, STR_NULL, 0, &answer, e);
		if (rc < 0)
			return rc;
		if (in->config.json)
			printf("%.*s\n", (int)answer.n, answer.p);
		else
			print_rows(in, json_get(answer, member), columns);
		token = json_cstr(json_get(answer, "continuationToken"), in->arena);
	} while (token && token[0]);
	return 0;
}

int command_user_list(struct invocation *in, struct err *e)
{
	static const struct list_column columns[] = {
		{ "name", NULL }, { "siteAdmin", NULL }, { "organizations", NULL }, { "lastUsed", NULL }, { NULL, NULL }
	};
	return list_run(in, "/api/site/users", "users", columns, e);
}

int command_org_list(struct invocation *in, struct err *e)
{
	static const struct list_column columns[] = { { "name", NULL },	  { "personal", NULL },	    { "members", NULL },
						      { "stacks", NULL }, { "defaultLevel", NULL }, { NULL, NULL } };
	return list_run(in, "/api/site/orgs", "organizations", columns, e);
}

int command_org_members(struct invocation *in, struct err *e)
{
	static const struct list_column columns[] = { { "user", "githubLogin" }, { "role", NULL }, { NULL, NULL } };
	_cleanup_buf_ struct buf path;
	buf_init(&path, PATH_BYTES);
	int rc = call_org_path(&path, in->args[0], "/members", e);
	return rc < 0 ? rc : list_run(in, path.data, "members", columns, e);
}

int command_oidc_keys(struct invocation *in, struct err *e)
{
	static const struct list_column columns[] = {
		{ "id", NULL }, { "state", NULL }, { "signsFrom", NULL }, { "neededUntil", NULL }, { NULL, NULL }
	};
	return list_run(in, "/api/site/oidc/keys", "keys", columns, e);
}
