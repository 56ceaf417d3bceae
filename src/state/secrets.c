#include "state/secrets.h"

#include "base/encode.h"
#include "state/stack.h"

/* {"<key>":"<secret>","ciphertext":".."} is a secret inside of inputs, outputs and the like (cli-protocol §7). */
#define SIGNATURE_KEY "4dabf18193072939515e22adb298388d"
#define SECRET_SIGNATURE "1b47061264138c4ac30d75fd1eb44270"

int sealer_init(struct sealer *s, struct app *app, struct arena *a, const struct access *access, struct err *e)
{
	*s = (struct sealer){ .owner = arena_printf(a, "state:%s", access->stack_id) };
	if (!s->owner)
		return err_nomem(e);
	return stack_key_by_id(app, a, access, &s->key, e);
}

void sealer_done(struct sealer *s)
{
	crypto_wipe(&s->key, sizeof(s->key));
}

int sealer_seal(const struct sealer *s, struct str plain, struct arena *a, struct str *ret_sealed, struct err *e)
{
	return crypto_seal(&s->key, s->owner, plain, a, ret_sealed, e);
}

int sealer_open(const struct sealer *s, struct str sealed, struct arena *a, const char *field, struct str *ret_plain,
		struct err *e)
{
	if (crypto_open(&s->key, s->owner, sealed, a, ret_plain, NULL) < 0)
		return err_set(e, ERR_BAD_REQUEST, "%s: was not encrypted for this stack, or was changed", field);
	return 0;
}

static int check_secret(const struct sealer *s, struct json ciphertext, struct err *e)
{
	/* Every value has an arena of its own: a state may hold many. */
	_cleanup_arena_ struct arena a;
	struct str text, sealed, plain;
	arena_init(&a, 0);
	if (json_string(ciphertext, &a, &text) && base64_decode(&a, text, &sealed) &&
	    sealer_open(s, sealed, &a, "ciphertext", &plain, NULL) == 0) {
		crypto_wipe((void *)(uintptr_t)plain.p, plain.n);
		return 0;
	}
	return err_set(e, ERR_BAD_REQUEST, "cannot import deployment with encrypted secrets from a different stack");
}

/* Depth is bounded by json_check. */
static int check_value(const struct sealer *s, struct json v, struct err *e)
{
	enum json_type type = json_type(v);
	if ((type != JSON_OBJECT && type != JSON_ARRAY) ||
	    !memmem(v.p, v.n, SECRET_SIGNATURE, sizeof(SECRET_SIGNATURE) - 1))
		return 0;
	if (json_string_is(json_get(v, SIGNATURE_KEY), SECRET_SIGNATURE)) {
		struct json ciphertext = json_get(v, "ciphertext");
		return json_is_null(ciphertext) ? 0 : check_secret(s, ciphertext, e);
	}
	struct json value;
	json_foreach(value, v) {
		int rc = check_value(s, value, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int secrets_check(const struct sealer *s, struct json deployment, struct err *e)
{
	if (!json_string_is(json_path(deployment, "secrets_providers", "type", NULL), "service"))
		return 0;
	int rc = check_value(s, json_get(deployment, "resources"), e);
	if (rc == 0)
		rc = check_value(s, json_get(deployment, "pending_operations"), e);
	return rc;
}
