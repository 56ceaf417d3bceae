/* The master key, and the organizations' data keys that it seals. (Those of the OIDC issuer: oidc_keys.c.) */
#include "base/log.h"
#include "db/queries_identity.h"
#include "identity/internal.h"
#include "identity/oidc.h"

void identity_keys_hold(struct identity *id)
{
	pthread_rwlock_rdlock(&id->keys_lock);
}

void identity_keys_release(struct identity *id)
{
	pthread_rwlock_unlock(&id->keys_lock);
}

/* The associated data of an organization's data key. */
static const char *org_owner(struct arena *a, const char *org_id)
{
	return arena_printf(a, "org:%s", org_id);
}

int identity_org_key(struct identity *id, const struct org *org, struct crypto_key *ret, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct str plain;
	const char *owner = org_owner(&a, org->id);
	if (!owner)
		return err_nomem(e);
	identity_keys_hold(id);
	int rc = crypto_keyring_open(&id->master, owner, org->data_key, &a, &plain, e);
	identity_keys_release(id);
	if (rc < 0)
		/* Whatever crypto calls it: a stored key that does not open is our fault, not the client's. */
		return err_set(e, ERR_INTERNAL, "the data key of organization %s does not open with the master key",
			       org->id);
	if (plain.n != CRYPTO_KEY_BYTES)
		return err_set(e, ERR_INTERNAL, "the data key of organization %s has %zu bytes", org->id, plain.n);
	ret->id = 1;
	memcpy(ret->bytes, plain.p, CRYPTO_KEY_BYTES);
	crypto_wipe((void *)(uintptr_t)plain.p, plain.n);
	return 0;
}

int identity_new_org_key(struct identity *id, struct arena *a, const char *org_id, struct str *ret, struct err *e)
{
	struct crypto_key key;
	const char *owner = org_owner(a, org_id);
	if (!owner)
		return err_nomem(e);
	crypto_key_new(&key, 1);
	int rc = crypto_seal(&id->master.keys[0], owner, (struct str){ (const char *)key.bytes, sizeof(key.bytes) }, a,
			     ret, e);
	crypto_wipe(&key, sizeof(key));
	return rc;
}

int identity_keys_load(struct identity *id, const char *path, bool create, struct err *e)
{
	pthread_rwlock_init(&id->keys_lock, NULL);
	id->key_path = path;
	return crypto_master_load(path, create, &id->master, e);
}

void identity_keys_done(struct identity *id)
{
	crypto_wipe(&id->master, sizeof(id->master));
}

int identity_seal(struct identity *id, const char *purpose, struct str plain, struct arena *a, struct str *ret,
		  struct err *e)
{
	identity_keys_hold(id);
	int rc = crypto_seal(&id->master.keys[0], purpose, plain, a, ret, e);
	identity_keys_release(id);
	return rc;
}

int identity_open(struct identity *id, const char *purpose, struct str sealed, struct arena *a, struct str *ret,
		  struct err *e)
{
	identity_keys_hold(id);
	int rc = crypto_keyring_open(&id->master, purpose, sealed, a, ret, e);
	identity_keys_release(id);
	return rc;
}

/* --- rotation --- */

struct sealing {
	struct arena *a;
	const struct crypto_keyring *ring;
	size_t orgs;
};

static int seal_one(struct db_conn *c, struct sealing *s, const struct org_keys_row *org, struct err *e)
{
	struct str plain, sealed;
	uint32_t key_id;
	const char *owner = org_owner(s->a, org->id);
	if (!owner)
		return err_nomem(e);
	if (crypto_sealed_key_id(org->data_key, &key_id) && key_id == s->ring->keys[0].id)
		return 0;
	int rc = crypto_keyring_open(s->ring, owner, org->data_key, s->a, &plain, e);
	if (rc < 0)
		return err_set(e, ERR_INTERNAL, "the data key of organization %s does not open with the master key",
			       org->id);
	rc = crypto_seal(&s->ring->keys[0], owner, plain, s->a, &sealed, e);
	crypto_wipe((void *)(uintptr_t)plain.p, plain.n);
	if (rc == 0)
		rc = q_org_set_key(c, &(struct org_set_key_in){ .id = org->id, .data_key = sealed }, e);
	return rc < 0 ? rc : 0;
}

/* All or none: one transaction. */
static int seal_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct sealing *s = arg;
	struct org_keys_row *rows;
	int rc = q_org_keys(c, s->a, &rows, &s->orgs, e);
	for (size_t i = 0; rc >= 0 && i < s->orgs; i++)
		rc = seal_one(c, s, &rows[i], e);
	return rc < 0 ? rc : oidc_keys_seal(c, s->a, s->ring, e);
}

/* With the lock for writing: the newest key seals everything, then the file holds it alone. */
static int settle(struct identity *id, int64_t *ret_orgs, struct err *e)
{
	_cleanup_arena_ struct arena a;
	arena_init(&a, 0);
	struct sealing s = { .a = &a, .ring = &id->master };
	struct crypto_keyring newest = { .keys = { id->master.keys[0] }, .count = 1 };
	int rc = db_write(id->db, seal_fn, &s, e);
	if (rc == 0)
		rc = crypto_master_save(id->key_path, &newest, e);
	crypto_wipe(&newest, sizeof(newest));
	if (rc == 0) {
		*ret_orgs = (int64_t)s.orgs;
		id->rotating = false;
	}
	return rc;
}

#define CHECKED_ORGS 8

struct checking {
	struct arena *a;
	struct org_keys_few_row *rows;
	size_t count;
};

static int check_fn(struct db_conn *c, void *arg, struct err *e)
{
	struct checking *p = arg;
	return q_org_keys_few(c, p->a, &(struct org_keys_few_in){ CHECKED_ORGS }, &p->rows, &p->count, e);
}

/* Whatever were sealed with another key from now on would be lost when the right one is back. A rotation seals all
 * organizations' keys in one transaction, so one that opens is enough; a single row that is damaged locks nobody out. */
int identity_keys_check(struct identity *id, struct err *e)
{
	_cleanup_arena_ struct arena a;
	struct checking p = { .a = &a };
	struct str plain;
	arena_init(&a, 0);
	int rc = db_read(id->db, check_fn, &p, e);
	for (size_t i = 0; rc >= 0 && i < p.count; i++) {
		const char *owner = org_owner(&a, p.rows[i].id);
		if (!owner)
			return err_nomem(e);
		if (crypto_keyring_open(&id->master, owner, p.rows[i].data_key, &a, &plain, NULL) == 0) {
			crypto_wipe((void *)(uintptr_t)plain.p, plain.n);
			return 0;
		}
	}
	if (rc < 0 || p.count == 0)
		return rc < 0 ? rc : 0;
	return err_set(e, ERR_IO, "%s is the master key of another database: this one's secrets do not open with it",
		       id->key_path);
}

int identity_keys_settle(struct identity *id, struct err *e)
{
	int64_t orgs;
	id->rotating = id->master.count > 1;
	if (!id->rotating)
		return 0;
	pthread_rwlock_wrlock(&id->keys_lock);
	int rc = settle(id, &orgs, e);
	pthread_rwlock_unlock(&id->keys_lock);
	if (rc == 0)
		log_info("identity", "a rotation of the master key that was interrupted has ended: key %u",
			 id->master.keys[0].id);
	return rc < 0 ? err_wrap(e, "ending the rotation of the master key") : 0;
}

/* The ring with a new key in front. Only as many old keys as the file may hold. */
static void add_key(const struct crypto_keyring *from, struct crypto_keyring *ret)
{
	ret->count = from->count < CRYPTO_KEYRING_MAX ? from->count + 1 : CRYPTO_KEYRING_MAX;
	memcpy(&ret->keys[1], &from->keys[0], (ret->count - 1) * sizeof(ret->keys[0]));
	crypto_key_new(&ret->keys[0], from->keys[0].id + 1);
}

int identity_keys_rotate(struct identity *id, uint32_t *ret_key_id, int64_t *ret_orgs, struct err *e)
{
	struct crypto_keyring ring, both;
	pthread_rwlock_wrlock(&id->keys_lock);
	int rc = id->rotating ? settle(id, ret_orgs, e) : 0;
	if (rc < 0) {
		pthread_rwlock_unlock(&id->keys_lock);
		return err_wrap(e, "ending the former rotation");
	}
	add_key(&id->master, &ring);
	/* Until nothing is sealed with it any more, the file has the old key, too. */
	both = ring;
	both.count = 2;
	rc = crypto_master_save(id->key_path, &both, e);
	if (rc == 0) {
		id->master = ring;
		id->rotating = true;
		rc = settle(id, ret_orgs, e);
		*ret_key_id = ring.keys[0].id;
	}
	pthread_rwlock_unlock(&id->keys_lock);
	crypto_wipe(&ring, sizeof(ring));
	crypto_wipe(&both, sizeof(both));
	return rc;
}
