-- Statements of src/deploy about the history of deployment settings.

-- name: settings_version_last :one
-- in: stack_id text
-- out: version int
SELECT COALESCE(MAX(version), 0) AS version FROM settings_versions WHERE stack_id = :stack_id;

-- name: settings_version_put :exec
-- in: stack_id text, version int, document text?, pool_id text?, source text, now_us int, token_kind text, user_name text, token_name text
INSERT INTO settings_versions (stack_id, version, document, pool_id, source, created_us, token_kind, user_name, token_name)
VALUES (:stack_id, :version, :document, :pool_id, :source, :now_us, :token_kind, :user_name, :token_name);

-- name: settings_version_trim :exec
-- in: stack_id text, version int
DELETE FROM settings_versions WHERE stack_id = :stack_id AND version <= :version;

-- name: settings_version_count :one
-- in: stack_id text
-- out: n int
SELECT COUNT(*) AS n FROM settings_versions WHERE stack_id = :stack_id;

-- name: settings_version_list :many
-- in: stack_id text, skip int, n int
-- out: version int, document text?, pool_id text?, source text, created_us int, token_kind text, user_name text, token_name text
SELECT version, document, pool_id, source, created_us, token_kind, user_name, token_name FROM settings_versions
WHERE stack_id = :stack_id ORDER BY version DESC LIMIT COALESCE(:n, 0) OFFSET COALESCE(:skip, 0);

-- name: settings_version_get :one
-- in: stack_id text, version int
-- out: document text?, pool_id text?, source text
SELECT document, pool_id, source FROM settings_versions WHERE stack_id = :stack_id AND version = :version;

-- name: settings_version_newest :one
-- The newest that is a document.
-- in: stack_id text
-- out: document text
SELECT document FROM settings_versions WHERE stack_id = :stack_id AND document IS NOT NULL ORDER BY version DESC LIMIT 1;

-- name: settings_version_poolless :exec
-- Before pool_forget_settings: what the settings that name the pool are without it.
-- in: pool_id text, now_us int, token_kind text, user_name text, token_name text
INSERT INTO settings_versions (stack_id, version, document, pool_id, source, created_us, token_kind, user_name, token_name)
SELECT stack_id, version + 1, document, NULL, 'api', :now_us, :token_kind, :user_name, :token_name
FROM deployment_settings WHERE pool_id = :pool_id;
