-- Statements of src/identity for the administrators of the site: all users and organizations, and users who go.

-- name: site_users :many
-- By name, behind the given one; without those who were removed. tokens: their own ones that are good now.
-- in: after_name text, now_us int, n int
-- out: id text, name text, display_name text, email text, site_admin bool, created_us int, tokens int, last_used_us int?
SELECT u.id, u.name, u.display_name, u.email, u.site_admin, u.created_us,
	(SELECT COUNT(*) FROM tokens t WHERE t.user_id = u.id AND t.kind = 'personal'
		AND (t.expires_us IS NULL OR t.expires_us > :now_us)) AS tokens,
	(SELECT MAX(t.last_used_us) FROM tokens t WHERE t.user_id = u.id AND t.kind = 'personal') AS last_used_us
FROM users u WHERE u.removed_us IS NULL AND u.name > :after_name ORDER BY u.name LIMIT COALESCE(:n, 0);

-- name: site_orgs :many
-- in: after_name text, n int
-- out: id text, name text, kind text, stack_permission text, created_us int, members int, stacks int
SELECT o.id, o.name, o.kind, o.stack_permission, o.created_us,
	(SELECT COUNT(*) FROM org_members m WHERE m.org_id = o.id) AS members,
	(SELECT COUNT(*) FROM stacks s WHERE s.org_id = o.id AND s.deleted_us IS NULL) AS stacks
FROM orgs o WHERE o.name > :after_name ORDER BY o.name LIMIT COALESCE(:n, 0);

-- name: site_stacks_of_org :one
-- in: org_id text
-- out: stacks int
SELECT COUNT(*) AS stacks FROM stacks WHERE org_id = :org_id AND deleted_us IS NULL;

-- name: site_other_admin :one
-- in: user_id text
-- out: id text
SELECT id FROM users WHERE site_admin = 1 AND removed_us IS NULL AND id <> :user_id LIMIT 1;

-- name: user_removed :one
-- Somebody who was here.
-- in: name text
-- out: id text
SELECT id FROM users WHERE name = :name AND removed_us IS NOT NULL;

-- name: user_bury :exec
-- in: id text, now_us int
UPDATE users SET removed_us = :now_us, site_admin = 0, default_org = NULL WHERE id = :id AND removed_us IS NULL;

-- name: user_revive :exec
-- in: id text, site_admin bool
UPDATE users SET removed_us = NULL, site_admin = :site_admin WHERE id = :id;

-- name: tokens_delete_user :exec
-- in: user_id text
DELETE FROM tokens WHERE user_id = :user_id;
