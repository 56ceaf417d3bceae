-- Statements of `slipway admin verify`: everything that is stored, page by page in the order of a key.

-- name: verify_orgs :many
-- in: after text, n int
-- out: id text, name text, data_key blob
SELECT id, name, data_key FROM orgs WHERE id > :after ORDER BY id LIMIT COALESCE(:n, 0);

-- name: verify_stacks :many
-- in: after text, n int
-- out: id text, org_id text, org text, org_key blob, project text, name text, data_key blob, lost_state bool
SELECT s.id AS id, s.org_id AS org_id, o.name AS org, o.data_key AS org_key, s.project AS project, s.name AS name,
	s.data_key AS data_key,
	CASE WHEN s.checkpoint_id IS NULL OR EXISTS (SELECT 1 FROM checkpoints c WHERE c.id = s.checkpoint_id)
		THEN 0 ELSE 1 END AS lost_state
FROM stacks s JOIN orgs o ON o.id = s.org_id WHERE s.id > :after ORDER BY s.id LIMIT COALESCE(:n, 0);

-- name: verify_states :many
-- in: after text, n int
-- out: id text, stack_id text, version int, body blob?, blob_key text?, size_bytes int, resource_count int, org_id text, org text, org_key blob, project text, name text, data_key blob
SELECT c.id AS id, c.stack_id AS stack_id, c.version AS version, c.body AS body, c.blob_key AS blob_key,
	c.size_bytes AS size_bytes, c.resource_count AS resource_count, s.org_id AS org_id, o.name AS org,
	o.data_key AS org_key, s.project AS project, s.name AS name, s.data_key AS data_key
FROM checkpoints c JOIN stacks s ON s.id = c.stack_id JOIN orgs o ON o.id = s.org_id
WHERE c.id > :after ORDER BY c.id LIMIT COALESCE(:n, 0);

-- name: verify_batches :many
-- in: after text, after_id text, n int
-- out: update_id text, id text, body blob
SELECT update_id, id, body FROM journal_batches WHERE (update_id, id) > (:after, :after_id)
ORDER BY update_id, id LIMIT COALESCE(:n, 0);

-- name: verify_deltas :many
-- in: after text, after_number int, n int
-- out: update_id text, sequence int, body blob
SELECT update_id, sequence, body FROM checkpoint_deltas WHERE (update_id, sequence) > (:after, :after_number)
ORDER BY update_id, sequence LIMIT COALESCE(:n, 0);

-- name: verify_events :many
-- in: after text, after_id text, n int
-- out: update_id text, id text, body blob
SELECT update_id, id, body FROM event_batches WHERE (update_id, id) > (:after, :after_id)
ORDER BY update_id, id LIMIT COALESCE(:n, 0);

-- name: verify_drift :many
-- in: after text, n int
-- out: id text, resources blob
SELECT id, resources FROM drift_runs WHERE resources IS NOT NULL AND id > :after ORDER BY id LIMIT COALESCE(:n, 0);

-- name: verify_open :many
-- in: after text, n int
-- out: id text, stack_id text, journal_version int, saved_sequence int, base_checkpoint_id text?, checkpoint_id text?
SELECT id, stack_id, journal_version, saved_sequence, base_checkpoint_id, checkpoint_id FROM updates
WHERE status = 'in-progress' AND dry_run = 0 AND id > :after ORDER BY id LIMIT COALESCE(:n, 0);

-- name: verify_settings :many
-- in: after text, n int
-- out: stack_id text, document text
SELECT stack_id, document FROM deployment_settings WHERE stack_id > :after ORDER BY stack_id LIMIT COALESCE(:n, 0);

-- name: verify_settings_versions :many
-- in: after text, after_version int, n int
-- out: stack_id text, version int, document text?
SELECT stack_id, version, document FROM settings_versions WHERE (stack_id, version) > (:after, :after_version)
ORDER BY stack_id, version LIMIT COALESCE(:n, 0);

-- name: verify_deployments :many
-- in: after text, n int
-- out: id text, stack_id text, settings text
SELECT id, stack_id, settings FROM deployments WHERE id > :after ORDER BY id LIMIT COALESCE(:n, 0);

-- name: verify_logs :many
-- in: after text, after_step int, after_line int, n int
-- out: deployment_id text, step int, first_line int, body blob
SELECT deployment_id, step, first_line, body FROM log_chunks
WHERE (deployment_id, step, first_line) > (:after, :after_step, :after_line)
ORDER BY deployment_id, step, first_line LIMIT COALESCE(:n, 0);

-- name: verify_cache :many
-- in: after text, n int
-- out: id text, org text, project text, key text, blob_key text, size_bytes int
SELECT e.id, o.name AS org, e.project, e.key, e.blob_key, e.size_bytes FROM cache_entries e JOIN orgs o ON o.id = e.org_id
WHERE e.id > :after ORDER BY e.id LIMIT COALESCE(:n, 0);
