-- Statements of src/state about the versions of a stack's state.

-- name: version_list :many
-- Newest first. size_bytes NULL: the state of that version is no longer kept, or there never was one.
-- in: stack_id text, before int, n int
-- out: version int, update_id text, kind text, status text, message text, started_us int?, ended_us int?, resource_count int?, resource_changes text?, deployment_id text?, author text?, size_bytes int?
SELECT u.version, u.id AS update_id, u.kind, u.status, u.message, u.started_us, u.ended_us, u.resource_count,
	u.resource_changes, u.deployment_id, w.name AS author, c.size_bytes
FROM updates u LEFT JOIN users w ON w.id = u.requested_by LEFT JOIN checkpoints c ON c.id = u.checkpoint_id
WHERE u.stack_id = :stack_id AND u.dry_run = 0 AND u.status <> 'not-started' AND u.version < :before
ORDER BY u.version DESC LIMIT COALESCE(:n, 0);

-- name: version_excess :many
-- States of versions beyond the newest `keep` of their stack that no kept version shares (an update that changed nothing
-- shares the one before it). before_us: those that ended earlier are not kept either; 0: age does not count.
-- in: keep int, before_us int, n int
-- out: id text
SELECT c.id FROM stacks s JOIN checkpoints c ON c.stack_id = s.id AND c.version <= s.version - :keep
WHERE (s.checkpoint_id IS NULL OR c.id <> s.checkpoint_id) AND NOT EXISTS (
	SELECT 1 FROM updates u WHERE u.checkpoint_id = c.id AND u.dry_run = 0
		AND (u.status = 'in-progress' OR (u.version > s.version - :keep AND u.ended_us >= :before_us)))
	AND NOT EXISTS (SELECT 1 FROM updates r WHERE r.id = s.running_update_id AND r.base_checkpoint_id = c.id)
LIMIT COALESCE(:n, 0);

-- name: version_old :many
-- The same for states by their age. keep 0: the number does not count.
-- in: keep int, before_us int, n int
-- out: id text
SELECT c.id FROM checkpoints c JOIN stacks s ON s.id = c.stack_id
WHERE c.created_us < :before_us AND (s.checkpoint_id IS NULL OR c.id <> s.checkpoint_id) AND NOT EXISTS (
	SELECT 1 FROM updates u WHERE u.checkpoint_id = c.id AND u.dry_run = 0
		AND (u.status = 'in-progress' OR ((:keep = 0 OR u.version > s.version - :keep) AND u.ended_us >= :before_us)))
	AND NOT EXISTS (SELECT 1 FROM updates r WHERE r.id = s.running_update_id AND r.base_checkpoint_id = c.id)
LIMIT COALESCE(:n, 0);
