/* Tags over HTTP: all at once, as the CLI writes them, or one by one. */
#include "state/stack.h"

#include "db/queries_state.h"
#include "http/http.h"
#include "state/names.h"

#define ROUTE_FILE "routes_state.def"
#include "../api/declare.h"

struct tag {
	const char *name;
	const char *value;
};
const struct field stack_tag_fields[] = { FIELD(struct tag, name, "name", FIELD_STRING),
					  FIELD(struct tag, value, "value", FIELD_STRING, .required = true),
					  FIELD_END };

enum tag_change { TAG_ADD, TAG_CHANGE, TAG_REMOVE };

struct change {
	struct request *r;
	struct json all; /* replaces everything, when name is NULL */
	enum tag_change what;
	const char *name;
	const char *value;
};

/* The tags of the stack with the one change made, as JSON. */
static int change_one(struct change *p, const struct stack *s, struct json *ret, struct err *e)
{
	struct arena *a = p->r->arena;
	_cleanup_buf_ struct buf b;
	struct json_writer w;
	struct json now, key, value;
	bool found = false;
	buf_init(&b, HTTP_JSON_BODY_BYTES);
	int rc = json_check(str_of(s->tags), &now, e);
	if (rc < 0)
		return rc;
	jw_init(&w, &b);
	jw_object(&w);
	struct json_iter it = json_iter_start(now);
	while (json_next(&it, &key, &value)) {
		struct str text;
		if (!json_string(key, a, &text))
			return err_nomem(e);
		if (str_is(text, p->name)) {
			found = true;
			continue;
		}
		jw_key_str(&w, text);
		jw_raw(&w, value);
	}
	if (p->what == TAG_ADD && found)
		return err_set(e, ERR_BAD_REQUEST, "the tag '%s' already exists", p->name);
	if (p->what != TAG_ADD && !found)
		return err_set(e, ERR_NOT_FOUND, "tag '%s'", p->name);
	if (p->what != TAG_REMOVE)
		jw_kv_string(&w, p->name, p->value);
	jw_object_end(&w);
	rc = buf_check(&b, "tags", e);
	char *text = rc == 0 ? arena_strndup(a, b.data, b.len) : NULL;
	if (rc == 0 && !text)
		rc = err_nomem(e);
	*ret = (struct json){ text, b.len };
	return rc;
}

static int change_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct change *p = arg;
	struct arena *a = p->r->arena;
	struct json tags = p->all;
	if (p->name) {
		struct stack s;
		int rc = state_stack_by_id(c, a, request_access(p->r)->stack_id, &s, e);
		if (rc <= 0)
			return rc < 0 ? rc : stack_gone(e);
		rc = change_one(p, &s, &tags, e);
		if (rc == 0)
			rc = tags_check(tags, "/tags", a, e);
		if (rc < 0)
			return rc;
	}
	return stack_put_tags(c, a, request_access(p->r)->stack_id, tags, e);
}

static int change(struct request *r, struct change *p, struct response *w, struct err *e)
{
	int rc = db_write(app_of(r)->db, change_fn, p, e);
	if (rc == 0)
		response_empty(w, 204);
	return rc;
}

int stack_api_tags_set(struct request *r, struct response *w, struct err *e)
{
	struct change p = { .r = r };
	int rc = request_json(r, false, &p.all, e);
	if (rc < 0)
		return rc;
	/* Removing the last tag sends null (cli-protocol §7). */
	if (!json_is_null(p.all) && json_type(p.all) != JSON_OBJECT)
		return err_set(e, ERR_BAD_REQUEST, "the body must be a JSON object of strings");
	rc = tags_check(p.all, "the tags", r->arena, e);
	return rc < 0 ? rc : change(r, &p, w, e);
}

static int one_tag(struct request *r, struct response *w, enum tag_change what, const char *name, struct err *e)
{
	struct tag body = { 0 };
	int rc = request_decode(r, w, stack_tag_fields, &body, e);
	struct change p = { .r = r, .what = what, .name = name ? name : body.name, .value = body.value };
	if (rc == 0 && !p.name)
		rc = err_set(e, ERR_BAD_REQUEST, "/name: is required");
	if (rc == 0)
		rc = tag_check(str_of(p.name), str_of(p.value), "/name", e);
	return rc < 0 ? rc : change(r, &p, w, e);
}

int stack_api_tag_add(struct request *r, struct response *w, struct err *e)
{
	return one_tag(r, w, TAG_ADD, NULL, e);
}

int stack_api_tag_set(struct request *r, struct response *w, struct err *e)
{
	return one_tag(r, w, TAG_CHANGE, request_param(r, "tagName"), e);
}

int stack_api_tag_remove(struct request *r, struct response *w, struct err *e)
{
	struct change p = { .r = r, .what = TAG_REMOVE, .name = request_param(r, "tagName") };
	return change(r, &p, w, e);
}
