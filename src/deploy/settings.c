#include "deploy/settings.h"

#include "base/json_members.h"
#include "base/limits.h"

/* executorImage is a string or an object, and replaced as a whole (features §3.4). */
static bool merges(struct str name, struct json base, struct json patch)
{
	return json_type(patch) == JSON_OBJECT && json_type(base) == JSON_OBJECT && !secret_is_leaf(patch) &&
	       !secret_is_leaf(base) && !str_is(name, "executorImage");
}

static int merge_into(struct json_writer *w, struct json base, struct json patch, struct arena *a, struct err *e)
{
	struct json_members bases, patches;
	struct json_iter it;
	struct json key, value;
	struct str name;
	int rc = json_members_init(&bases, base, a, e);
	if (rc == 0)
		rc = json_members_init(&patches, patch, a, e);
	if (rc < 0)
		return rc;
	jw_object(w);
	json_iter_init(&it, base);
	while (json_next(&it, &key, &value)) {
		if (!json_string(key, a, &name))
			return err_nomem(e);
		if (json_members_get(&patches, name).p)
			continue;
		jw_key_str(w, name);
		jw_raw(w, value);
	}
	json_iter_init(&it, patch);
	while (json_next(&it, &key, &value)) {
		if (!json_string(key, a, &name))
			return err_nomem(e);
		if (json_is_null(value) || json_members_get(&patches, name).p != value.p)
			continue;
		jw_key_str(w, name);
		if (json_type(value) != JSON_OBJECT || secret_is_leaf(value)) {
			jw_raw(w, value);
			continue;
		}
		/* An object that is new is merged over nothing, which removes its nulls. */
		struct json old = json_members_get(&bases, name);
		rc = merge_into(w, merges(name, old, value) ? old : JSON_ABSENT, value, a, e);
		if (rc < 0)
			return rc;
	}
	jw_object_end(w);
	return 0;
}

int settings_merge(struct json base, struct json patch, struct arena *a, struct json *ret, struct err *e)
{
	_cleanup_buf_ struct buf out;
	buf_init(&out, 4 * HTTP_JSON_BODY_BYTES);
	struct json_writer w;
	jw_init(&w, &out);
	int rc = merge_into(&w, base, patch, a, e);
	if (rc == 0)
		rc = buf_check(&out, "deployment settings", e);
	if (rc < 0)
		return rc;
	const char *text = arena_strndup(a, out.data, out.len);
	if (!text)
		return err_nomem(e);
	*ret = (struct json){ text, out.len };
	return 0;
}

static bool is_given(struct json v)
{
	return !json_is_null(v) && !json_string_is(v, "");
}

int settings_check(struct json document, enum settings_mode mode, struct err *e)
{
	bool url = is_given(json_path(document, "sourceContext", "git", "repoUrl", NULL));
	if (mode == SETTINGS_SAVE && url &&
	    (is_given(json_path(document, "gitHub", "repository", NULL)) ||
	     is_given(json_path(document, "vcs", "repository", NULL))))
		return err_set(e, ERR_BAD_REQUEST, SETTINGS_TWO_REPOSITORIES);
	struct json template_ = json_path(document, "sourceContext", "template", NULL);
	if (template_.p && !is_given(json_get(template_, "sourceUrl")))
		return err_set(e, ERR_BAD_REQUEST,
			       "sourceContext.template.sourceUrl is required when using a template");
	if (json_get(document, "vcs").p && !is_given(json_path(document, "vcs", "provider", NULL)))
		return err_set(e, ERR_BAD_REQUEST, "/vcs/provider: is required");
	return 0;
}

bool settings_has_values(struct json patch)
{
	struct json_iter it;
	struct json key, value;
	if (json_type(patch) != JSON_OBJECT || secret_is_leaf(patch))
		return true;
	json_iter_init(&it, patch);
	while (json_next(&it, &key, &value))
		if (settings_has_values(value))
			return true;
	return false;
}

bool settings_has_source(struct json document)
{
	struct json source = json_get(document, "sourceContext");
	struct json image = json_path(document, "executorContext", "executorImage", NULL);
	return is_given(json_path(source, "git", "repoUrl", NULL)) ||
	       is_given(json_path(source, "hg", "repoUrl", NULL)) ||
	       is_given(json_path(source, "template", "sourceUrl", NULL)) ||
	       is_given(json_path(document, "gitHub", "repository", NULL)) ||
	       is_given(json_path(document, "vcs", "repository", NULL)) ||
	       is_given(json_type(image) == JSON_OBJECT ? json_get(image, "reference") : image);
}
