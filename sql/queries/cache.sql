-- Statements of src/deploy about the dependency cache.

-- name: cache_get :one
-- in: org_id text, project text, key text
-- out: id text, blob_key text, size_bytes int
SELECT id, blob_key, size_bytes FROM cache_entries WHERE org_id = :org_id AND project = :project AND key = :key;

-- name: cache_put :exec
-- in: id text, org_id text, project text, key text, blob_key text, size_bytes int, now_us int
INSERT INTO cache_entries (id, org_id, project, key, blob_key, size_bytes, created_us, read_us)
VALUES (:id, :org_id, :project, :key, :blob_key, :size_bytes, :now_us, :now_us)
ON CONFLICT (org_id, project, key) DO UPDATE SET id = excluded.id, blob_key = excluded.blob_key,
	size_bytes = excluded.size_bytes, created_us = excluded.created_us, read_us = excluded.read_us;

-- name: cache_touch :exec
-- in: id text, now_us int
UPDATE cache_entries SET read_us = :now_us WHERE id = :id;

-- name: cache_remove :exec
-- in: id text
DELETE FROM cache_entries WHERE id = :id;

-- name: cache_clear :many
-- in: org_id text, project text
-- out: blob_key text
DELETE FROM cache_entries WHERE org_id = :org_id AND project = :project RETURNING blob_key;

-- name: cache_total :one
-- in:
-- out: size_bytes int
SELECT COALESCE(SUM(size_bytes), 0) AS size_bytes FROM cache_entries;

-- name: cache_oldest :many
-- By the last time that somebody read it.
-- in: n int
-- out: id text, blob_key text, size_bytes int, read_us int
SELECT id, blob_key, size_bytes, read_us FROM cache_entries ORDER BY read_us, id LIMIT COALESCE(:n, 0);

-- name: cache_named :one
-- in: blob_key text
-- out: n int
SELECT COUNT(*) AS n FROM cache_entries WHERE blob_key = :blob_key;

-- name: cache_org :one
-- in: id text
-- out: id text
SELECT id FROM orgs WHERE id = :id;
