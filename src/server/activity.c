/* The consumer "activity" of the outbox: a line per event in the server's log, for whoever reads along. The whole event is
 * to be had from GET /api/site/events. */
#include "base/limits.h"
#include "base/json.h"
#include "base/log.h"
#include "identity/identity.h"
#include "server/server.h"

/* Said in front of the line, or nothing to a reader of logs. */
static bool is_left_out(struct str name)
{
	static const char *const names[] = { "user",	    "organization", "organizationToken", "siteAdministrator",
					     "projectName", "stackName",    "updateUrl",	 "deploymentUrl",
					     "referenceUrl" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_is(name, names[i]))
			return true;
	return false;
}

static void add_text(struct buf *b, struct json v, struct arena *a)
{
	struct str s;
	if (json_string(v, a, &s))
		buf_add(b, s.p, s.n);
}

static void add_place(struct buf *b, struct json event, struct arena *a)
{
	add_text(b, json_path(event, "organization", "githubLogin", NULL), a);
	if (!json_get(event, "stackName").p)
		return;
	buf_addc(b, '/');
	add_text(b, json_get(event, "projectName"), a);
	buf_addc(b, '/');
	add_text(b, json_get(event, "stackName"), a);
}

static void add_actor(struct buf *b, struct json event, struct arena *a)
{
	struct json user = json_path(event, "user", "githubLogin", NULL), token = json_get(event, "organizationToken");
	if (!user.p && !token.p)
		return;
	buf_adds(b, user.p ? " by " : " by the organization's token ");
	add_text(b, user.p ? user : token, a);
}

static void add_members(struct buf *b, struct json event, struct arena *a)
{
	struct json_iter it = json_iter_start(event);
	struct json key, value;
	struct str name;
	while (json_next(&it, &key, &value)) {
		if (!json_string(key, a, &name) || is_left_out(name) || json_is_null(value))
			continue;
		buf_addc(b, ' ');
		buf_add(b, name.p, name.n);
		buf_addc(b, '=');
		buf_add(b, value.p, value.n);
	}
}

int activity_log(const struct outbox_event *event, void *arg, struct err *e)
{
	_cleanup_arena_ struct arena a;
	_cleanup_buf_ struct buf line;
	struct json root;
	arena_init(&a, 0);
	buf_init(&line, 128 * KIB);
	int rc = json_check(event->payload, &root, e);
	if (rc < 0)
		return rc;
	add_place(&line, root, &a);
	add_actor(&line, root, &a);
	add_members(&line, root, &a);
	rc = buf_check(&line, "the line of an event", e);
	if (rc == 0)
		log_info("activity", "%s %.*s", event->kind, STR_ARG(buf_str(&line)));
	return rc;
}
