/* Secrets of a stack on its way: opened by the other service, sealed by this one. */
#include "cli/passage.h"

#include <inttypes.h>

#include "base/json.h"
#include "base/limits.h"
#include "cli/move_secrets.h"
#include "crypto/crypto.h"

/* Secrets per call of batch-encrypt and batch-decrypt. */
#define BATCH_COUNT 200
#define BATCH_BYTES (4 * MIB)

static int encrypt(struct passage *p, const struct str *plain, size_t count, struct arena *a, struct str *ret,
		   struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	struct json answer, value;
	buf_init(&b, HTTP_BATCH_BODY_BYTES);
	jw_init(&j, &b);
	jw_object(&j);
	jw_key(&j, "plaintexts");
	jw_array(&j);
	for (size_t i = 0; i < count; i++)
		jw_str(&j, plain[i]);
	jw_array_end(&j);
	jw_object_end(&j);
	const char *path = arena_printf(a, "%s/batch-encrypt", p->path);
	int rc = path ? buf_check(&b, "the batch of secrets", e) : err_nomem(e);
	if (rc == 0)
		rc = site_call(p->m->in, "POST", path, buf_str(&b), PASSAGE_CALL_MS, &answer, e);
	crypto_wipe(b.data, b.len);
	size_t n = 0;
	if (rc == 0)
		json_foreach(value, json_get(answer, "ciphertexts"))
			if (n < count && json_string(value, a, &ret[n]))
				n++;
	return rc == 0 && n != count ? err_set(e, ERR_INTERNAL, "the server has not encrypted every secret") : rc;
}

/* Decrypt there, encrypt here. */
static int reseal(void *arg, const struct str *old, size_t count, struct arena *a, struct str *ret_new, struct err *e)
{
	struct passage *p = arg;
	struct move_source *source = p->m->source;
	struct str plain[BATCH_COUNT];
	size_t n;
	for (size_t at = 0; at < count; at += n) {
		size_t bytes = 0;
		for (n = 0; n < BATCH_COUNT && at + n < count && (n == 0 || bytes < BATCH_BYTES); n++)
			bytes += old[at + n].n;
		int rc = source->decrypt(source, p->from, old + at, n, a, plain, e);
		if (rc == 0)
			rc = encrypt(p, plain, n, a, ret_new + at, e);
		for (size_t i = 0; rc == 0 && i < n; i++)
			crypto_wipe((void *)(uintptr_t)plain[i].p, plain[i].n);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* What the CLI opens the secrets of a state with. */
static int provider_state(struct passage *p, struct arena *a, struct str *ret, struct err *e)
{
	_cleanup_buf_ struct buf b;
	struct json_writer j;
	buf_init(&b, 64 * KIB);
	jw_init(&j, &b);
	jw_object(&j);
	jw_kv_string(&j, "url", p->m->public_url);
	jw_kv_string(&j, "owner", p->org);
	jw_kv_string(&j, "project", p->project);
	jw_kv_string(&j, "stack", p->stack);
	jw_object_end(&j);
	*ret = (struct str){ buf_failed(&b) ? NULL : arena_strndup(a, b.data, b.len), b.len };
	return ret->p ? 0 : err_nomem(e);
}

/* The state as it is to lie here. */
int passage_turn_state(struct passage *p, struct str text, struct arena *a, struct str *ret, struct err *e)
{
	struct json root;
	struct str state;
	int rc = json_check(text, &root, e);
	if (rc < 0)
		return rc;
	const char *provider = move_state_provider(root, a);
	*ret = json_text(root);
	if (provider && !streq(provider, "service"))
		passage_note(p,
			     arena_printf(p->a, "its secrets are sealed by the provider '%s', and stay so", provider));
	if (!streq(provider, "service") || !p->m->source->decrypt)
		return 0;
	rc = provider_state(p, a, &state, e);
	return rc < 0 ? rc : move_reseal_state(root, state, reseal, p, a, ret, e);
}

struct json passage_turn_config(struct passage *p, const struct move_update *u, struct arena *a)
{
	struct json config = u->config;
	size_t count = 0;
	struct err e = { 0 };
	if (!p->m->source->decrypt || !config.p)
		return config;
	if (move_reseal_config(config, reseal, p, a, &config, &count, &e) < 0) {
		passage_note(p, arena_printf(p->a, "the configuration of version %" PRId64 " keeps its old seal: %s",
					     u->version, e.message));
		return u->config;
	}
	if (count)
		passage_note(
			p,
			"secrets of the configuration: 'pulumi config refresh' writes them anew into Pulumi.STACK.yaml");
	return config;
}
