/*
 * secrets.h: secret values of deployment settings, sealed with the stack's own key.
 *
 * Inside of a stored document a secret is {"$sealed":"<base64 of the sealed blob>"}; no name of ours and no name of an
 * environment variable can be "$sealed", so a leaf is known by its shape alone. On the wire (cli-protocol §4.1) it comes
 * as {"secret":v}, {"isSecret":true,"value":v} or {"ciphertext":c}, and goes out as {"secret":"[secret]","ciphertext":c}:
 * the provider compares the constant marker, never the ciphertext (clients §1.2).
 */
#ifndef SLIPWAY_DEPLOY_SECRETS_H
#define SLIPWAY_DEPLOY_SECRETS_H

#include "identity/app.h"
#include "state/state.h"

#define SECRET_LEAF "$sealed"
#define SECRET_MARKER "[secret]"

struct secrets_key {
	struct crypto_key key;
	const char *owner; /* "settings:<stack id>", the associated data */
};

/* The key of a stack, read in a transaction of its own. ERR_NOT_FOUND when the stack is gone. */
int secrets_key_load(struct app *app, struct arena *a, const char *stack_id, struct secrets_key *ret, struct err *e);
void secrets_key_done(struct secrets_key *k);
#define _cleanup_secrets_key_ __attribute__((cleanup(secrets_key_done)))

/* Whether v is a secret leaf of a stored document. */
bool secret_is_leaf(struct json v);
/* Seals plain text; *ret is the base64 text. */
int secret_seal(const struct secrets_key *k, struct str plain, struct arena *a, struct str *ret, struct err *e);
/* ERR_BAD_REQUEST when the text was not sealed by this server for this stack. */
int secret_open_text(const struct secrets_key *k, struct str base64, struct arena *a, struct str *ret, struct err *e);
/* The value of a leaf, or of a plain string. Absent and null are the absent string. */
int secret_open(const struct secrets_key *k, struct json v, struct arena *a, struct str *ret, struct err *e);

/* A null, or an object of nothing else: a request takes something away by it (also without having said so:
 * settings_settle.c). An empty object is none. */
bool secrets_is_nothing(struct json v);
/* Writes a stored document as clients may see it: every secret in its redacted shape, and what is nothing left out. */
void secrets_write_redacted(struct json_writer *w, struct json v, struct arena *a);
/* The same of an older document: what is a secret in the newer one is not shown either (may be absent). */
void secrets_write_hidden(struct json_writer *w, struct json v, struct json newer, struct arena *a);

/* Every secret value of a stored document, opened: what has to be masked in a log. */
struct secret_list {
	struct str *items;
	size_t count;
	size_t cap;
};
int secrets_collect(const struct secrets_key *k, struct json document, struct arena *a, struct secret_list *list,
		    struct err *e);

#endif
