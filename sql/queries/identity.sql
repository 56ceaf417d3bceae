-- Organizations, users, tokens, the outbox.

-- name: org_by_name :one
-- in: name text
-- out: id text, name text, kind text, data_key blob, stack_permission text, members_create_stacks bool, created_us int
SELECT id, name, kind, data_key, stack_permission, members_create_stacks, created_us FROM orgs WHERE name = :name;

-- name: org_by_id :one
-- in: id text
-- out: id text, name text, kind text, data_key blob
SELECT id, name, kind, data_key FROM orgs WHERE id = :id;

-- name: org_insert :exec
-- Nothing is changed when the name is taken.
-- in: id text, name text, kind text, data_key blob, created_us int
INSERT INTO orgs (id, name, kind, data_key, created_us) VALUES (:id, :name, :kind, :data_key, :created_us)
ON CONFLICT (name) DO NOTHING;

-- name: org_role :one
-- in: org_id text, user_id text
-- out: role text
SELECT role FROM org_members WHERE org_id = :org_id AND user_id = :user_id;

-- name: org_member_put :exec
-- A member who is one already gets the role.
-- in: org_id text, user_id text, role text, created_us int
INSERT INTO org_members (org_id, user_id, role, created_us) VALUES (:org_id, :user_id, :role, :created_us)
ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role;

-- name: org_members :many
-- By name, behind the given one.
-- in: org_id text, after_name text, n int
-- out: name text, display_name text, email text, role text, created_us int
SELECT u.name, u.display_name, u.email, m.role, m.created_us
FROM org_members m JOIN users u ON u.id = m.user_id WHERE m.org_id = :org_id AND u.name > :after_name
ORDER BY u.name LIMIT COALESCE(:n, 0);

-- name: org_member :one
-- in: org_id text, name text
-- out: user_id text, name text, display_name text, email text, role text, created_us int
SELECT u.id AS user_id, u.name, u.display_name, u.email, m.role, m.created_us
FROM users u JOIN org_members m ON m.user_id = u.id WHERE u.name = :name AND m.org_id = :org_id;

-- name: org_other_admin :one
-- in: org_id text, user_id text
-- out: user_id text
SELECT user_id FROM org_members WHERE org_id = :org_id AND role = 'admin' AND user_id <> :user_id LIMIT 1;

-- name: org_member_remove :exec
-- in: org_id text, user_id text
DELETE FROM org_members WHERE org_id = :org_id AND user_id = :user_id;

-- name: org_set_access :exec
-- in: id text, stack_permission text, members_create_stacks bool
UPDATE orgs SET stack_permission = :stack_permission, members_create_stacks = :members_create_stacks WHERE id = :id;

-- name: org_hides_stacks :one
-- Whether there may be stacks in it that the member or token does not see.
-- in: org_id text, reader_id text
-- out: hides int
SELECT 1 AS hides FROM orgs o WHERE o.id = :org_id AND (o.stack_permission = 'none' OR EXISTS (
	SELECT 1 FROM stack_grants g WHERE g.user_id = :reader_id AND g.org_id = :org_id AND g.permission = 'none'));

-- name: grant_get :one
-- in: stack_id text, user_id text
-- out: permission text
SELECT permission FROM stack_grants WHERE stack_id = :stack_id AND user_id = :user_id;

-- name: grant_put :exec
-- in: stack_id text, user_id text, org_id text, permission text, creator bool, created_us int
INSERT INTO stack_grants (stack_id, user_id, org_id, permission, creator, created_us)
VALUES (:stack_id, :user_id, :org_id, :permission, :creator, :created_us)
ON CONFLICT (stack_id, user_id) DO UPDATE SET permission = excluded.permission;

-- name: grant_remove :exec
-- in: stack_id text, user_id text
DELETE FROM stack_grants WHERE stack_id = :stack_id AND user_id = :user_id;

-- name: grants_remove_member :exec
-- in: org_id text, user_id text
DELETE FROM stack_grants WHERE user_id = :user_id AND org_id = :org_id;

-- name: grants_of_stack :many
-- in: stack_id text
-- out: name text, display_name text, permission text, creator bool
SELECT u.name, u.display_name, g.permission, g.creator FROM stack_grants g JOIN users u ON u.id = g.user_id
WHERE g.stack_id = :stack_id ORDER BY u.name;

-- name: user_orgs :many
-- The personal organization comes first.
-- in: user_id text
-- out: id text, name text, kind text, role text
SELECT o.id, o.name, o.kind, m.role FROM org_members m JOIN orgs o ON o.id = m.org_id
WHERE m.user_id = :user_id ORDER BY o.kind DESC, o.name;

-- name: user_by_id :one
-- in: id text
-- out: id text, name text, display_name text, email text, site_admin bool, default_org text?
SELECT id, name, display_name, email, site_admin, default_org FROM users WHERE id = :id;

-- name: user_by_name :one
-- in: name text
-- out: id text, name text, display_name text, email text, site_admin bool, default_org text?
SELECT id, name, display_name, email, site_admin, default_org FROM users WHERE name = :name AND removed_us IS NULL;

-- name: user_first :one
-- out: id text
SELECT id FROM users LIMIT 1;

-- name: user_insert :exec
-- in: id text, name text, display_name text, email text, site_admin bool, created_us int
INSERT INTO users (id, name, display_name, email, site_admin, created_us)
VALUES (:id, :name, :display_name, :email, :site_admin, :created_us);

-- name: user_set_default_org :exec
-- in: id text, default_org text
UPDATE users SET default_org = :default_org WHERE id = :id;

-- name: token_by_hash :one
-- The token with its user, if it has one, and with the token that its run is of.
-- in: hash blob
-- out: id text, kind text, name text, description text, admin bool, user_id text?, user_name text?, site_admin bool?, org_id text?, pool_id text?, deployment_id text?, attempt int?, stack_id text?, update_id text?, parent_id text?, parent_live_id text?, parent_name text?, parent_admin bool?, parent_expires_us int?, expires_us int?, last_used_us int?
SELECT t.id, t.kind, t.name, t.description, t.admin, t.user_id, u.name AS user_name, u.site_admin, t.org_id, t.pool_id,
	t.deployment_id, t.attempt, t.stack_id, t.update_id, t.parent_id, p.id AS parent_live_id, p.name AS parent_name,
	p.admin AS parent_admin, p.expires_us AS parent_expires_us, t.expires_us, t.last_used_us
FROM tokens t LEFT JOIN users u ON u.id = t.user_id LEFT JOIN tokens p ON p.id = t.parent_id WHERE t.hash = :hash;

-- name: token_insert :exec
-- in: id text, hash blob, kind text, name text, description text, admin bool, user_id text?, org_id text?, pool_id text?, deployment_id text?, attempt int?, stack_id text?, update_id text?, parent_id text?, created_by text, created_us int, expires_us int?
INSERT INTO tokens (id, hash, kind, name, description, admin, user_id, org_id, pool_id, deployment_id, attempt, stack_id,
	update_id, parent_id, created_by, created_us, expires_us)
VALUES (:id, :hash, :kind, :name, :description, :admin, :user_id, :org_id, :pool_id, :deployment_id, :attempt, :stack_id,
	:update_id, :parent_id, :created_by, :created_us, :expires_us);

-- name: org_token_name_put :exec
-- 0 rows: the name is, or was, that of another token.
-- in: org_id text, name text
INSERT INTO org_token_names (org_id, name) VALUES (:org_id, :name) ON CONFLICT DO NOTHING;

-- name: tokens_of_user :many
-- Newest first, before the given one. live: those that have not expired; expired: those that have.
-- in: user_id text, before_id text?, live bool, expired bool, now_us int, n int
-- out: id text, kind text, name text, description text, admin bool, created_by text, created_us int, expires_us int?, last_used_us int?
SELECT id, kind, name, description, admin, created_by, created_us, expires_us, last_used_us FROM tokens
WHERE user_id = :user_id AND kind = 'personal' AND (:before_id IS NULL OR id < :before_id)
	AND ((:live = 1 AND (expires_us IS NULL OR expires_us > :now_us)) OR (:expired = 1 AND expires_us <= :now_us))
ORDER BY id DESC LIMIT COALESCE(:n, 0);

-- name: tokens_of_org :many
-- Likewise.
-- in: org_id text, before_id text?, live bool, expired bool, now_us int, n int
-- out: id text, kind text, name text, description text, admin bool, created_by text, created_us int, expires_us int?, last_used_us int?
SELECT id, kind, name, description, admin, created_by, created_us, expires_us, last_used_us FROM tokens
WHERE org_id = :org_id AND kind = 'organization' AND (:before_id IS NULL OR id < :before_id)
	AND ((:live = 1 AND (expires_us IS NULL OR expires_us > :now_us)) OR (:expired = 1 AND expires_us <= :now_us))
ORDER BY id DESC LIMIT COALESCE(:n, 0);

-- name: token_delete_personal :exec
-- in: id text, user_id text
DELETE FROM tokens WHERE id = :id AND user_id = :user_id AND kind = 'personal';

-- name: token_delete_session :exec
-- in: id text
DELETE FROM tokens WHERE id = :id AND kind = 'session';

-- name: token_delete_org :exec
-- in: id text, org_id text
DELETE FROM tokens WHERE id = :id AND org_id = :org_id AND kind = 'organization';

-- name: token_touch :exec
-- in: id text, last_used_us int
UPDATE tokens SET last_used_us = :last_used_us WHERE id = :id;

-- name: tokens_delete_expired :exec
-- Expired tokens are refused by their time; this only clears them away.
-- in: before_us int
DELETE FROM tokens WHERE expires_us IS NOT NULL AND expires_us < :before_us;

-- name: tokens_delete_deployment :exec
-- in: deployment_id text
DELETE FROM tokens WHERE deployment_id = :deployment_id;

-- name: tokens_delete_update :exec
-- in: update_id text
DELETE FROM tokens WHERE update_id = :update_id;

-- name: tokens_delete_pool :exec
-- in: pool_id text
DELETE FROM tokens WHERE pool_id = :pool_id;

-- name: tokens_expire_lease :exec
-- in: update_id text, expires_us int
UPDATE tokens SET expires_us = :expires_us
WHERE update_id = :update_id AND kind = 'lease' AND (expires_us IS NULL OR expires_us > :expires_us);

-- name: outbox_insert :exec
-- in: id text, consumer text, kind text, org_id text, stack_id text?, payload text, now_us int
INSERT INTO outbox (id, consumer, kind, org_id, stack_id, payload, created_us, due_us)
VALUES (:id, :consumer, :kind, :org_id, :stack_id, :payload, :now_us, :now_us);

-- name: outbox_due :many
-- Rows that may be delivered now, oldest first: due, and no earlier event of the same stack waits for its turn.
-- in: consumer text, now_us int
-- out: id text, kind text, org_id text, stack_id text?, payload text, created_us int, attempts int
SELECT o.id, o.kind, o.org_id, o.stack_id, o.payload, o.created_us, o.attempts FROM outbox o
WHERE o.consumer = :consumer AND o.due_us <= :now_us AND NOT EXISTS (
	SELECT 1 FROM outbox p
	WHERE p.consumer = o.consumer AND p.stack_id = o.stack_id AND p.id < o.id AND p.due_us > :now_us)
ORDER BY o.id LIMIT 100;

-- name: outbox_claim :exec
-- Until due_us it is this server's; a server that dies leaves it to whoever looks after that.
-- in: id text, due_us int, attempts int
UPDATE outbox SET due_us = :due_us, attempts = :attempts + 1 WHERE id = :id AND attempts = :attempts;

-- name: outbox_retry :exec
-- in: id text, due_us int
UPDATE outbox SET due_us = :due_us WHERE id = :id;

-- name: outbox_delete :exec
-- in: id text
DELETE FROM outbox WHERE id = :id;

-- name: outbox_next :one
-- When the consumer has to be looked at again.
-- in: consumer text
-- out: due_us int?
SELECT min(due_us) AS due_us FROM outbox WHERE consumer = :consumer;

-- name: org_keys :many
-- out: id text, data_key blob
SELECT id, data_key FROM orgs ORDER BY id;

-- name: org_keys_few :many
-- in: n int
-- out: id text, data_key blob
SELECT id, data_key FROM orgs ORDER BY id LIMIT COALESCE(:n, 0);

-- name: org_set_key :exec
-- in: id text, data_key blob
UPDATE orgs SET data_key = :data_key WHERE id = :id;
