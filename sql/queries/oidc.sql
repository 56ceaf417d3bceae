-- The keys of the OIDC issuer.

-- name: oidc_key_signing :one
-- The one that signs now. Where the clock went back behind all of them, the first that will.
-- in: now_us int
-- out: id text, private_key blob
SELECT id, private_key FROM oidc_keys
ORDER BY CASE WHEN signs_from_us <= :now_us THEN 0 ELSE 1 END,
	CASE WHEN signs_from_us <= :now_us THEN -signs_from_us ELSE signs_from_us END, id DESC LIMIT 1;

-- name: oidc_key_need :exec
-- A token of it is good until then.
-- in: id text, until_us int
UPDATE oidc_keys SET needed_until_us = :until_us WHERE id = :id AND needed_until_us < :until_us;

-- name: oidc_key_insert :exec
-- in: id text, private_key blob, public_n text, public_e text, created_us int, signs_from_us int
INSERT INTO oidc_keys (id, private_key, public_n, public_e, created_us, signs_from_us, needed_until_us)
VALUES (:id, :private_key, :public_n, :public_e, :created_us, :signs_from_us, 0);

-- name: oidc_keys :many
-- Newest first.
-- out: id text, private_key blob, public_n text, public_e text, created_us int, signs_from_us int, needed_until_us int
SELECT id, private_key, public_n, public_e, created_us, signs_from_us, needed_until_us FROM oidc_keys
ORDER BY signs_from_us DESC, id DESC;

-- name: oidc_key_seal :exec
-- in: id text, private_key blob
UPDATE oidc_keys SET private_key = :private_key WHERE id = :id;

-- name: oidc_keys_delete_waiting :exec
-- Those that have signed nothing yet.
-- in: now_us int
DELETE FROM oidc_keys WHERE signs_from_us > :now_us;

-- name: oidc_keys_delete_others :exec
-- in: id text
DELETE FROM oidc_keys WHERE id <> :id;

-- name: oidc_keys_delete_done :exec
-- Those that another one has taken over from, and whose last token expired before the given time.
-- in: before_us int
DELETE FROM oidc_keys WHERE needed_until_us < :before_us
	AND EXISTS (SELECT 1 FROM oidc_keys newer WHERE newer.signs_from_us <= :before_us
		AND (newer.signs_from_us > oidc_keys.signs_from_us
			OR (newer.signs_from_us = oidc_keys.signs_from_us AND newer.id > oidc_keys.id)));
