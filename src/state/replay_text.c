/* The text of a replayed state. */
#include "state/replay_internal.h"

#include "base/clock.h"
#include "crypto/crypto.h"

static void write_manifest(struct replayer *r, struct json_writer *w, const char *engine_version, int64_t now_us)
{
	bool known = engine_version && engine_version[0];
	jw_key(w, "manifest");
	jw_object(w);
	jw_kv_string(w, "time", clock_rfc3339(r->a, now_us));
	/* The CLI checks that this is the hash of the version (cli-protocol §3.3). */
	jw_kv_string(w, "magic", known ? crypto_sha256_hex(r->a, str_of(engine_version)) : "");
	jw_kv_string(w, "version", known ? engine_version : "");
	jw_object_end(w);
}

static void write_list(struct json_writer *w, const char *key, const struct json *list, size_t count)
{
	if (count == 0)
		return;
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < count; i++)
		jw_raw(w, list[i]);
	jw_array_end(w);
}

static void write_resources(struct json_writer *w, const struct generated *g)
{
	if (g->count == 0)
		return;
	jw_key(w, "resources");
	jw_array(w);
	for (size_t i = 0; i < g->count; i++) {
		if (i > 0)
			buf_addc(w->b, ',');
		resource_emit(&g->resources[i], w->b);
	}
	jw_array_end(w);
}

/* Members of the base that no rule knows. */
static void write_others(struct json_writer *w, const struct base *b, struct arena *a)
{
	for (size_t i = 0; i < b->other_count; i++) {
		jw_key_str(w, json_view(b->others[i].key, a));
		jw_raw(w, b->others[i].value);
	}
}

static bool is_known_feature(struct json name)
{
	for (int f = 0; f < FEATURE_COUNT; f++)
		if (json_string_is(name, deployment_feature_names[f]))
			return true;
	return false;
}

static bool has_unknown_features(struct json features)
{
	struct json name;
	json_foreach(name, features)
		if (!is_known_feature(name))
			return true;
	return false;
}

/* Features of the resources at hand, and those that the base declared and we do not know: a newer engine needs them, and
 * an older one must go on refusing what it would corrupt. */
static void write_features(const struct generated *g, struct json base, struct json_writer *w)
{
	struct json name;
	jw_key(w, "features");
	jw_array(w);
	for (int f = 0; f < FEATURE_COUNT; f++)
		if (g->features & 1u << f)
			jw_string(w, deployment_feature_names[f]);
	json_foreach(name, base)
		if (!is_known_feature(name))
			jw_raw(w, name);
	jw_array_end(w);
}

static void write_document(struct replayer *r, const struct generated *g, const struct replay_input *in,
			   struct json_writer *w)
{
	struct json extensions = replay_extensions(r);
	jw_object(w);
	bool features = g->features || has_unknown_features(r->features);
	jw_kv_int(w, "version", features ? 4 : 3);
	if (features)
		write_features(g, r->features, w);
	jw_key(w, "deployment");
	jw_object(w);
	write_manifest(r, w, in->engine_version, in->now_us);
	if (r->base.secrets_providers.p)
		jw_kv_raw(w, "secrets_providers", r->base.secrets_providers);
	write_resources(w, g);
	write_list(w, "pending_operations", g->operations, g->operation_count);
	jw_key(w, "metadata");
	jw_raw_str(w, r->base.metadata.p ? json_text(r->base.metadata) : STR("{}"));
	if (json_count(g->snippets) > 0)
		jw_kv_raw(w, "snippets", g->snippets);
	if (json_count(extensions) > 0)
		jw_kv_raw(w, "extensions", extensions);
	write_others(w, &r->base, r->a);
	jw_object_end(w);
	jw_object_end(w);
}

int replay_write(struct replayer *r, const struct generated *g, const struct replay_input *in, struct buf *out,
		 struct err *e)
{
	struct json_writer w;
	jw_init(&w, out);
	/* About as much as there was, so that the text need not move as it grows. */
	buf_reserve(out, in->base.n);
	write_document(r, g, in, &w);
	int rc = buf_check(out, "the state", e);
	return rc == 0 && arena_failed(r->a) ? err_nomem(e) : rc;
}
