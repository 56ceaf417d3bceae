/*
 * Rules between members of the settings: what one of them says takes the place of another, inherited one. They are kept by
 * adding nulls to the patch that is being written, which the merge then obeys.
 */
#include "deploy/settings_reader.h"

static bool is_given(struct json v)
{
	return !json_is_null(v) && !json_string_is(v, "");
}

/* A commit takes the place of a stored branch or tag, and the other way round; two of them at once contradict. */
static int settle_revision(struct reader *r, struct json v)
{
	static const char *const names[] = { "branch", "commit", "tag" };
	bool commit = is_given(json_get(v, "commit")), branch = is_given(json_get(v, "branch"));
	if (commit && branch)
		return settings_refuse(r, "branch and commit cannot both be set");
	if (!commit && !branch && !is_given(json_get(v, "tag")))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!is_given(json_get(v, names[i])) && (r->mode == SETTINGS_CREATE || !json_get(v, names[i]).p)) {
			jw_key(&r->w, names[i]);
			jw_null(&r->w);
		}
	return 0;
}

static bool has_forge(struct json document)
{
	return is_given(json_path(document, "gitHub", "repository", NULL)) ||
	       is_given(json_path(document, "vcs", "repository", NULL));
}

static bool has_url(struct json document)
{
	struct json git = json_path(document, "sourceContext", "git", NULL);
	return is_given(json_get(git, "repoUrl")) || is_given(json_get(git, "repoURL"));
}

/* The repository is named in one place: by its URL, or by a forge. A run's own takes the place of an inherited one, at
 * whichever level the request stops to say anything. */
static void settle_repository(struct reader *r, const struct setting *table, struct json v)
{
	static const char *const forges[] = { "gitHub", "vcs" };
	if (table == settings_document && r->mode == SETTINGS_CREATE && has_url(v)) {
		for (size_t i = 0; i < ARRAY_SIZE(forges); i++)
			if (!json_get(v, forges[i]).p) {
				jw_key(&r->w, forges[i]);
				jw_null(&r->w);
			}
	}
	if (!r->by_forge || (table == settings_document && json_get(v, "sourceContext").p) ||
	    (table == settings_source && json_get(v, "git").p))
		return;
	if (table == settings_document) {
		jw_key(&r->w, "sourceContext");
		jw_object(&r->w);
	}
	if (table == settings_document || table == settings_source) {
		jw_key(&r->w, "git");
		jw_object(&r->w);
	}
	jw_key(&r->w, "repoUrl");
	jw_null(&r->w);
	if (table == settings_document || table == settings_source)
		jw_object_end(&r->w);
	if (table == settings_document)
		jw_object_end(&r->w);
}

static bool is_source(struct json v, const char *name)
{
	struct json s = json_get(v, name);
	return is_given(json_get(s, "repoUrl")) || is_given(json_get(s, "repoURL")) ||
	       is_given(json_get(s, "sourceUrl"));
}

/* One kind of source takes the place of another one. */
static int settle_source(struct reader *r, struct json v)
{
	static const char *const names[] = { "git", "hg", "template" };
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		n += is_source(v, names[i]);
	if (n > 1)
		return settings_refuse(r, "only one of git, hg and template can be set");
	for (size_t i = 0; n == 1 && i < ARRAY_SIZE(names); i++)
		if (!json_get(v, names[i]).p) {
			jw_key(&r->w, names[i]);
			jw_null(&r->w);
		}
	return 0;
}

int settings_settle_begin(struct reader *r, struct json in)
{
	if (has_url(in) && has_forge(in))
		return err_set(r->err, ERR_BAD_REQUEST, SETTINGS_TWO_REPOSITORIES);
	r->by_forge = r->mode == SETTINGS_CREATE && has_forge(in);
	return 0;
}

int settings_settle(struct reader *r, const struct setting *table, struct json v)
{
	int rc = table == settings_git ? settle_revision(r, v) : table == settings_source ? settle_source(r, v) : 0;
	if (table == settings_document || table == settings_source || table == settings_git)
		settle_repository(r, table, v);
	return rc;
}
