#include "deploy/settings_history.h"

#include "db/queries_settings.h"

struct author {
	const char *token_kind;
	const char *user_name;
	const char *token_name;
};

static struct author author_of(const struct principal *who)
{
	switch (who->kind) {
	case PRINCIPAL_ORG: /* whose name is the token's */
		return (struct author){ "organization", "", who->user_name };
	case PRINCIPAL_SOCKET:
		return (struct author){ "site", "", "" };
	default:
		return (struct author){ "personal", who->user_name ? who->user_name : "",
					who->token_description ? who->token_description : "" };
	}
}

int settings_version_next(struct db_conn *c, struct arena *a, const char *stack_id, int64_t *ret, struct err *e)
{
	struct settings_version_last_row last;
	int rc = q_settings_version_last(c, a, &(struct settings_version_last_in){ stack_id }, &last, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, ERR_INTERNAL, "no number for the settings");
	*ret = last.version + 1;
	return 0;
}

int settings_version_keep(struct db_conn *c, const char *stack_id, const struct settings_version *v,
			  const struct principal *who, int64_t now_us, struct err *e)
{
	struct author by = author_of(who);
	struct settings_version_put_in put = { .stack_id = stack_id,
					       .version = v->version,
					       .document = v->document,
					       .pool_id = v->pool_id,
					       .source = v->source,
					       .now_us = now_us,
					       .token_kind = by.token_kind,
					       .user_name = by.user_name,
					       .token_name = by.token_name };
	struct settings_version_trim_in trim = { .stack_id = stack_id, .version = v->version - SETTINGS_VERSIONS_MAX };
	int rc = q_settings_version_put(c, &put, e);
	if (rc >= 0)
		rc = q_settings_version_trim(c, &trim, e);
	return rc < 0 ? rc : 0;
}

int settings_versions_without_pool(struct db_conn *c, const char *pool_id, const struct principal *who, int64_t now_us,
				   struct err *e)
{
	struct author by = author_of(who);
	struct settings_version_poolless_in in = { .pool_id = pool_id,
						   .now_us = now_us,
						   .token_kind = by.token_kind,
						   .user_name = by.user_name,
						   .token_name = by.token_name };
	int rc = q_settings_version_poolless(c, &in, e);
	return rc < 0 ? rc : 0;
}

void settings_show(struct json_writer *w, const struct settings_shown *s, struct arena *a)
{
	struct json key, value;
	struct json_iter it;
	struct str name;
	jw_object(w);
	jw_kv_int(w, "version", s->version);
	json_iter_init(&it, s->document);
	while (json_next(&it, &key, &value)) {
		if (!json_string(key, a, &name)) /* out of memory: the arena says so */
			continue;
		jw_key_str(w, name);
		secrets_write_hidden(w, value, json_get(s->newest, name.p), a);
	}
	if (s->pool_id)
		jw_kv_string(w, "agentPoolID", s->pool_id);
	jw_kv_string(w, "source", s->source);
	jw_object_end(w);
}
