#include "identity/event.h"

#include <stdarg.h>

#include "base/clock.h"
#include "db/queries_event.h"

/* Of a message, a description and a summary of changes together. */
#define EVENT_BYTES ((size_t)64 * 1024)
/* A client's summary has about twenty numbers; one that is larger must not keep its update from ending. */
#define OBJECT_BYTES ((size_t)8 * 1024)
/* How long, and how many, events can be read (recent_events). */
#define KEEP_US (30 * US_PER_DAY)
#define KEEP_COUNT 100000
#define TRIM_BATCH 1000

static const char *public_url = "";

void event_set_public_url(const char *url)
{
	public_url = url;
}

static void put_person(struct json_writer *w, const char *key, const char *login, const char *name)
{
	jw_key(w, key);
	jw_object(w);
	jw_kv_string(w, "name", name && name[0] ? name : login);
	jw_kv_string(w, "githubLogin", login);
	jw_kv_string(w, "avatarUrl", "");
	jw_object_end(w);
}

static void put_actor(struct json_writer *w, const struct principal *who, const struct event_names_row *names)
{
	if (names->user_name)
		put_person(w, "user", names->user_name, names->user_display_name);
	else if (who && who->org_token)
		jw_kv_string(w, "organizationToken", who->user_name);
	else if (who && who->kind == PRINCIPAL_SOCKET)
		jw_kv_bool(w, "siteAdministrator", true);
}

int event_begin(struct db_conn *c, struct arena *a, const struct event_subject *s, struct event *ret, struct err *e)
{
	struct event_names_in in = { .org_id = s->org_id,
				     .stack_id = s->stack_id,
				     .user_id = s->who ? s->who->user_id : s->user_id };
	struct event_names_row names;
	int rc = q_event_names(c, a, &in, &names, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, ERR_INTERNAL, "an event of an organization that is not there");
	*ret = (struct event){ .org_id = s->org_id,
			       .stack_id = s->stack_id,
			       .org_name = names.org_name,
			       .project = names.project,
			       .stack_name = names.stack_name };
	buf_init(&ret->text, EVENT_BYTES);
	jw_init(&ret->w, &ret->text);
	jw_object(&ret->w);
	put_actor(&ret->w, s->who, &names);
	put_person(&ret->w, "organization", names.org_name, NULL);
	if (names.stack_name) {
		jw_kv_string(&ret->w, "projectName", names.project);
		jw_kv_string(&ret->w, "stackName", names.stack_name);
	}
	return 0;
}

void event_url(struct event *v, const char *name, struct arena *a, const char *tail)
{
	/* Out of memory: null, and the arena remembers. */
	jw_kv_string(&v->w, name,
		     tail ? arena_printf(a, "%s/%s/%s/%s/%s", public_url, v->org_name, v->project, v->stack_name, tail)
			  : NULL);
}

void event_object(struct event *v, const char *name, const char *text)
{
	jw_key(&v->w, name);
	jw_raw_str(&v->w, text && strlen(text) <= OBJECT_BYTES ? str_of(text) : STR("{}"));
}

int event_put(struct db_conn *c, struct event *v, const char *kind, struct err *e)
{
	jw_object_end(&v->w);
	int rc = buf_check(&v->text, "an event", e);
	if (rc >= 0)
		rc = outbox_put(c, kind, v->org_id, v->stack_id, buf_str(&v->text), e);
	buf_done(&v->text);
	return rc < 0 ? rc : 0;
}

int event_put_simple(struct db_conn *c, struct arena *a, const struct event_subject *s, const char *kind, struct err *e,
		     ...)
{
	struct event v;
	va_list list;
	int rc = event_begin(c, a, s, &v, e);
	if (rc < 0)
		return rc;
	va_start(list, e);
	for (const char *name; (name = va_arg(list, const char *));) {
		const char *value = va_arg(list, const char *);
		if (value)
			jw_kv_string(&v.w, name, value);
	}
	va_end(list);
	return event_put(c, &v, kind, e);
}

/* --- retention --- */

struct trim {
	int64_t before_us;
	int removed;
};

static int trim_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct trim *t = arg;
	t->removed = q_event_trim(
		c, &(struct event_trim_in){ .before_us = t->before_us, .keep = KEEP_COUNT, .n = TRIM_BATCH }, e);
	return t->removed < 0 ? t->removed : 0;
}

int event_tick(struct db *db, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	/* Only of the ticker's thread. */
	static int64_t next_us;
	int rc = 0;
	if (now_us >= next_us) {
		struct trim t = { .before_us = now_us - KEEP_US };
		rc = db_write(db, trim_fn, &t, e);
		/* More of them soon, but not at once: others write as well. */
		next_us = now_us + (t.removed == TRIM_BATCH ? US_PER_S : US_PER_HOUR);
	}
	*ret_next_us = next_us;
	return rc;
}
