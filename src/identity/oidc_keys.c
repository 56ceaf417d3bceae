#include "identity/oidc.h"

#include "base/encode.h"
#include "base/id.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "crypto/rsa.h"
#include "db/queries_oidc.h"

#define PUBLIC_MAX_BYTES (4 * KIB)

/* The associated data of a sealed key. */
static const char *owner_of(struct arena *a, const char *key_id)
{
	return arena_printf(a, "oidc:%s", key_id);
}

static const char *base64url(struct arena *a, struct str bytes)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, PUBLIC_MAX_BYTES);
	base64url_encode(&b, bytes);
	return buf_failed(&b) ? NULL : str_dup(a, buf_str(&b));
}

struct adding {
	struct oidc_key_insert_in key;
	bool only_first; /* not if there is one */
	bool revoke;
	bool done;
};

static int add_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct adding *p = arg;
	_cleanup_arena_ struct arena a;
	struct oidc_key_signing_row signing;
	arena_init(&a, MIB);
	p->done = false;
	int rc = p->only_first
			 ? q_oidc_key_signing(c, &a, &(struct oidc_key_signing_in){ p->key.created_us }, &signing, e)
			 : 0;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	/* One that waits for its time must not take over from one that somebody asked for. */
	if (p->key.signs_from_us <= p->key.created_us)
		rc = q_oidc_keys_delete_waiting(c, &(struct oidc_keys_delete_waiting_in){ p->key.created_us }, e);
	if (rc >= 0)
		rc = q_oidc_key_insert(c, &p->key, e);
	if (rc >= 0 && p->revoke)
		rc = q_oidc_keys_delete_others(c, &(struct oidc_keys_delete_others_in){ p->key.id }, e);
	p->done = rc >= 0;
	return rc < 0 ? rc : 0;
}

/* Makes a key outside of the transaction, and stores it in one. From sealing it until it is committed the master key is held:
 * a rotation that came in between would not see it. */
static int add_key(struct identity *id, struct arena *a, struct adding *p, struct err *e)
{
	struct str private;
	struct rsa_public public;
	const char *uuid = id_new_arena(a);
	int rc = rsa_key_new(a, &private, e);
	if (rc < 0)
		return rc;
	p->key.id = uuid ? arena_printf(a, OIDC_KID_PREFIX "%s", uuid) : NULL;
	const char *owner = p->key.id ? owner_of(a, p->key.id) : NULL;
	rc = owner ? rsa_key_public(private, a, &public, e) : err_nomem(e);
	if (rc == 0) {
		p->key.public_n = base64url(a, public.n);
		p->key.public_e = base64url(a, public.e);
		rc = p->key.public_n && p->key.public_e ? 0 : err_nomem(e);
	}
	identity_keys_hold(id);
	if (rc == 0)
		rc = crypto_seal(&id->master.keys[0], owner, private, a, &p->key.private_key, e);
	crypto_wipe((void *)(uintptr_t) private.p, private.n);
	if (rc == 0)
		rc = db_write(id->db, add_fn, p, e);
	identity_keys_release(id);
	if (rc == 0 && p->done)
		log_info("oidc", "new signing key %s", p->key.id);
	return rc;
}

struct finding {
	struct arena *a;
	struct oidc_key_signing_in in;
	struct oidc_key_signing_row row;
};

static int find_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct finding *p = arg;
	return q_oidc_key_signing(c, p->a, &p->in, &p->row, e);
}

int oidc_key_ensure(struct identity *id, struct err *e)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	_cleanup_arena_ struct arena a;
	arena_init(&a, MIB);
	int64_t now_us = clock_now_us();
	struct finding p = { .a = &a, .in = { now_us } };
	struct adding add = { .key = { .created_us = now_us, .signs_from_us = now_us }, .only_first = true };
	int rc = db_read(id->db, find_fn, &p, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	/* Those who come at once do not all make one. */
	pthread_mutex_lock(&one_at_a_time);
	rc = db_read(id->db, find_fn, &p, e);
	if (rc == 0)
		rc = add_key(id, &a, &add, e);
	pthread_mutex_unlock(&one_at_a_time);
	return rc < 0 ? err_wrap(e, "the first key of the OIDC issuer") : 0;
}

int oidc_key_take(struct db_conn *c, struct arena *a, int64_t now_us, int64_t until_us, struct oidc_key *ret,
		  struct err *e)
{
	struct oidc_key_signing_row row;
	int rc = q_oidc_key_signing(c, a, &(struct oidc_key_signing_in){ now_us }, &row, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, ERR_UNAVAILABLE, "the OIDC issuer has no key");
	rc = q_oidc_key_need(c, &(struct oidc_key_need_in){ .id = row.id, .until_us = until_us }, e);
	if (rc < 0)
		return rc;
	*ret = (struct oidc_key){ row.id, row.private_key };
	return 0;
}

static void write_jose_header(struct buf *b, const char *kid)
{
	struct json_writer j;
	jw_init(&j, b);
	jw_object(&j);
	jw_kv_string(&j, "kid", kid); /* first: deploy/mask_tokens.c knows a token by it */
	jw_kv_string(&j, "alg", "RS256");
	jw_kv_string(&j, "typ", "JWT");
	jw_object_end(&j);
}

int oidc_sign(struct identity *id, const struct oidc_key *key, struct str claims, struct arena *a,
	      const char **ret_token, struct err *e)
{
	_cleanup_buf_ struct buf head;
	_cleanup_buf_ struct buf text;
	struct str private, signature;
	const char *owner = owner_of(a, key->id);
	buf_init(&head, KIB);
	buf_init(&text, MIB);
	if (!owner)
		return err_nomem(e);
	write_jose_header(&head, key->id);
	base64url_encode(&text, buf_str(&head));
	buf_addc(&text, '.');
	base64url_encode(&text, claims);
	int rc = buf_check(&text, "the token", e);
	if (rc == 0)
		rc = identity_open(id, owner, key->sealed, a, &private, e);
	if (rc < 0)
		return err_set(e, ERR_INTERNAL, "the key %s of the OIDC issuer does not open with the master key",
			       key->id);
	rc = rsa_sign(private, buf_str(&text), a, &signature, e);
	crypto_wipe((void *)(uintptr_t) private.p, private.n);
	if (rc < 0)
		return rc;
	buf_addc(&text, '.');
	base64url_encode(&text, signature);
	rc = buf_check(&text, "the token", e);
	*ret_token = rc == 0 ? str_dup(a, buf_str(&text)) : NULL;
	return rc < 0 ? rc : *ret_token ? 0 : err_nomem(e);
}

int oidc_rotate(struct identity *id, struct arena *a, bool revoke, const char **ret_id, struct err *e)
{
	int64_t now_us = clock_now_us();
	struct adding add = { .key = { .created_us = now_us, .signs_from_us = now_us }, .revoke = revoke };
	int rc = add_key(id, a, &add, e);
	if (rc < 0)
		return rc;
	*ret_id = add.key.id;
	return 0;
}

/* --- age --- */

struct listing {
	struct arena *a;
	struct oidc_keys_row *rows;
	size_t count;
};

static int list_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct listing *p = arg;
	return q_oidc_keys(c, p->a, &p->rows, &p->count, e);
}

static int clear_fn(struct db_conn *c, void *arg, struct err *e)
{
	int rc = q_oidc_keys_delete_done(c, arg, e);
	return rc < 0 ? rc : 0;
}

/* A key that another one has followed goes when its last token is over. */
static int64_t needed_until(const struct oidc_keys_row *key, const struct oidc_keys_row *next)
{
	int64_t us = key->needed_until_us > next->signs_from_us ? key->needed_until_us : next->signs_from_us;
	return us + OIDC_KEY_SLACK_US;
}

int oidc_tick(struct identity *id, int64_t age_us, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct listing keys = { .a = &a };
	arena_init(&a, 0);
	*ret_next_us = now_us + US_PER_DAY;
	int rc = db_read(id->db, list_fn, &keys, e);
	if (rc < 0 || keys.count == 0)
		return rc;
	int64_t publish_us = OIDC_PUBLISH_US < age_us / 2 ? OIDC_PUBLISH_US : age_us / 2;
	int64_t due_us = keys.rows[0].signs_from_us + age_us - publish_us;
	if (due_us <= now_us) {
		struct adding add = { .key = { .created_us = now_us, .signs_from_us = now_us + publish_us } };
		rc = add_key(id, &a, &add, e);
		due_us = now_us + age_us;
	}
	bool done = false;
	for (size_t i = 1; rc == 0 && i < keys.count; i++) {
		int64_t until_us = needed_until(&keys.rows[i], &keys.rows[i - 1]);
		done |= until_us < now_us;
		if (until_us >= now_us && until_us < *ret_next_us)
			*ret_next_us = until_us + 1;
	}
	if (rc == 0 && done)
		rc = db_write(id->db, clear_fn,
			      &(struct oidc_keys_delete_done_in){ .before_us = now_us - OIDC_KEY_SLACK_US }, e);
	if (due_us < *ret_next_us)
		*ret_next_us = due_us;
	return rc < 0 ? rc : 0;
}

/* --- the master key, verify --- */

int oidc_keys_seal(struct db_conn *c, struct arena *a, const struct crypto_keyring *ring, struct err *e)
{
	struct oidc_keys_row *rows;
	size_t count;
	struct str plain;
	uint32_t by;
	int rc = q_oidc_keys(c, a, &rows, &count, e);
	for (size_t i = 0; rc >= 0 && i < count; i++) {
		const char *owner = owner_of(a, rows[i].id);
		struct oidc_key_seal_in in = { .id = rows[i].id };
		if (!owner)
			return err_nomem(e);
		if (crypto_sealed_key_id(rows[i].private_key, &by) && by == ring->keys[0].id)
			continue;
		rc = crypto_keyring_open(ring, owner, rows[i].private_key, a, &plain, e);
		if (rc < 0)
			return err_set(e, ERR_INTERNAL,
				       "the key %s of the OIDC issuer does not open with the master key", rows[i].id);
		rc = crypto_seal(&ring->keys[0], owner, plain, a, &in.private_key, e);
		crypto_wipe((void *)(uintptr_t)plain.p, plain.n);
		if (rc == 0)
			rc = q_oidc_key_seal(c, &in, e);
	}
	return rc < 0 ? rc : 0;
}

static const char *look_at(struct identity *id, struct arena *a, const struct oidc_keys_row *key)
{
	struct str plain;
	struct rsa_public public;
	const char *owner = owner_of(a, key->id);
	if (!owner || identity_open(id, owner, key->private_key, a, &plain, NULL) < 0)
		return "does not open with the master key";
	int rc = rsa_key_public(plain, a, &public, NULL);
	crypto_wipe((void *)(uintptr_t)plain.p, plain.n);
	if (rc < 0)
		return "is no RSA key";
	if (!streq(base64url(a, public.n), key->public_n) || !streq(base64url(a, public.e), key->public_e))
		return "has a public half that is not its own";
	return NULL;
}

int oidc_verify(struct identity *id, void (*problem)(void *arg, const char *key_id, const char *what), void *arg,
		int64_t *ret_looked, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct listing keys = { .a = &a };
	arena_init(&a, 0);
	int rc = db_read(id->db, list_fn, &keys, e);
	for (size_t i = 0; rc >= 0 && i < keys.count; i++) {
		const char *what = look_at(id, &a, &keys.rows[i]);
		if (what)
			problem(arg, keys.rows[i].id, what);
	}
	*ret_looked = (int64_t)keys.count;
	return rc < 0 ? rc : 0;
}
