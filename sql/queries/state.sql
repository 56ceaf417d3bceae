-- Statements of src/state: stacks, checkpoints, updates, journals, events. Format: src/db/db.h.

-- name: stack_by_name :one
-- The live stack of that name.
-- in: org_id text, project text, name text
-- out: id text, org_id text, project text, name text, tags text, data_key blob, version int, checkpoint_id text?,
--      latest_update_id text?, running_update_id text?, resource_count int, last_update_us int?, deleted_us int?
SELECT id, org_id, project, name, tags, data_key, version, checkpoint_id, latest_update_id, running_update_id,
	resource_count, last_update_us, deleted_us
FROM stacks WHERE org_id = :org_id AND project = :project AND name = :name AND deleted_us IS NULL;

-- name: stack_by_former_name :one
-- The live stack that had that name before a rename.
-- in: org_id text, project text, name text
-- out: stack_id text
SELECT f.stack_id FROM stack_former_names f JOIN stacks s ON s.id = f.stack_id
WHERE f.org_id = :org_id AND f.project = :project AND f.name = :name AND s.deleted_us IS NULL;

-- name: stack_by_id :one
-- Also a tombstone.
-- in: id text
-- out: id text, org_id text, project text, name text, tags text, data_key blob, version int, checkpoint_id text?,
--      latest_update_id text?, running_update_id text?, resource_count int, last_update_us int?, deleted_us int?
SELECT id, org_id, project, name, tags, data_key, version, checkpoint_id, latest_update_id, running_update_id,
	resource_count, last_update_us, deleted_us
FROM stacks WHERE id = :id;

-- name: stack_org_by_id :one
-- in: id text
-- out: id text, name text, kind text, data_key blob
SELECT id, name, kind, data_key FROM orgs WHERE id = :id;

-- name: stack_insert :exec
-- 0 rows: a live stack has that name.
-- in: id text, org_id text, project text, name text, tags text, data_key blob, checkpoint_id text?,
--     resource_count int, now_us int
INSERT INTO stacks (id, org_id, project, name, tags, data_key, checkpoint_id, resource_count, created_us)
VALUES (:id, :org_id, :project, :name, :tags, :data_key, :checkpoint_id, :resource_count, :now_us)
ON CONFLICT DO NOTHING;

-- name: stack_project_exists :one
-- Whether it has a stack that who asks may see (reader_id NULL: any).
-- in: org_id text, project text, reader_id text?
-- out: found int
SELECT 1 AS found FROM stacks s WHERE s.org_id = :org_id AND s.project = :project AND s.deleted_us IS NULL
	AND (:reader_id IS NULL OR EXISTS (
	SELECT 1 FROM stack_readers v WHERE v.reader_id = :reader_id AND v.stack_id = s.id))
LIMIT 1;

-- name: stack_set_tags :exec
-- in: id text, tags text
UPDATE stacks SET tags = :tags WHERE id = :id AND deleted_us IS NULL;

-- name: stack_tags_clear :exec
-- in: stack_id text
DELETE FROM stack_tags WHERE stack_id = :stack_id;

-- name: stack_tag_insert :exec
-- in: stack_id text, name text, value text
INSERT INTO stack_tags (stack_id, name, value) VALUES (:stack_id, :name, :value)
ON CONFLICT (stack_id, name) DO UPDATE SET value = excluded.value;

-- name: stack_set_name :exec
-- in: id text, project text, name text
UPDATE stacks SET project = :project, name = :name WHERE id = :id;

-- name: stack_former_name_put :exec
-- in: org_id text, project text, name text, stack_id text
INSERT INTO stack_former_names (org_id, project, name, stack_id) VALUES (:org_id, :project, :name, :stack_id)
ON CONFLICT (org_id, project, name) DO UPDATE SET stack_id = excluded.stack_id;

-- name: stack_former_name_remove :exec
-- The name belongs to a live stack again.
-- in: org_id text, project text, name text
DELETE FROM stack_former_names WHERE org_id = :org_id AND project = :project AND name = :name;

-- name: stack_former_names_clear :exec
-- in: stack_id text
DELETE FROM stack_former_names WHERE stack_id = :stack_id;

-- name: stack_start_update :exec
-- The stack is taken by a new update. 0 rows: somebody else holds it.
-- in: id text, update_id text, version int, now_us int
UPDATE stacks SET version = :version, latest_update_id = :update_id, running_update_id = :update_id,
	last_update_us = :now_us
WHERE id = :id AND running_update_id IS NULL AND deleted_us IS NULL;

-- name: stack_set_state :exec
-- in: id text, checkpoint_id text?, resource_count int
UPDATE stacks SET checkpoint_id = :checkpoint_id, resource_count = :resource_count WHERE id = :id;

-- name: stack_end_update :exec
-- in: id text, update_id text, now_us int
UPDATE stacks SET running_update_id = NULL, last_update_us = :now_us
WHERE id = :id AND running_update_id = :update_id;

-- name: stack_remove :exec
-- in: id text
DELETE FROM stacks WHERE id = :id;

-- name: stack_bury :exec
-- Makes a tombstone of it.
-- in: id text, now_us int
UPDATE stacks SET deleted_us = :now_us, checkpoint_id = NULL, resource_count = 0 WHERE id = :id;

-- name: stack_bury_updates :exec
-- What is left of a tombstone are its deployments, with their updates.
-- in: stack_id text
DELETE FROM updates WHERE stack_id = :stack_id AND deployment_id IS NULL;

-- name: stack_bury_drift :exec
-- in: stack_id text
DELETE FROM drift_runs WHERE stack_id = :stack_id;

-- name: stack_buried_of :one
-- The tombstone that had the name, and has the deployment or the update.
-- in: org_id text, project text, name text, deployment_id text?, update_id text?
-- out: id text
SELECT s.id FROM stacks s WHERE s.id IN (SELECT d.stack_id FROM deployments d WHERE d.id = :deployment_id
	UNION ALL SELECT u.stack_id FROM updates u WHERE u.id = :update_id)
	AND s.org_id = :org_id AND s.project = :project AND s.name = :name AND s.deleted_us IS NOT NULL;

-- name: stack_list :many
-- What may be seen, by name, behind the given names. reader_id NULL: everything (limited by only_stack_id).
-- in: reader_id text?, only_stack_id text?, org text?, project text?, tag_name text?, tag_value text?,
--     after_org text, after_project text, after_name text, count int
-- out: id text, org text, project text, name text, last_update_us int?, running_update_id text?, version int,
--      resource_count int
SELECT s.id AS id, o.name AS org, s.project AS project, s.name AS name, s.last_update_us AS last_update_us,
	s.running_update_id AS running_update_id, s.version AS version, s.resource_count AS resource_count
FROM stacks s JOIN orgs o ON o.id = s.org_id
WHERE s.deleted_us IS NULL
	AND (:reader_id IS NULL OR EXISTS (
	SELECT 1 FROM stack_readers v WHERE v.reader_id = :reader_id AND v.stack_id = s.id))
	AND (:only_stack_id IS NULL OR s.id = :only_stack_id)
	AND (:org IS NULL OR o.name = :org)
	AND (:project IS NULL OR s.project = :project)
	AND (:tag_name IS NULL OR EXISTS (SELECT 1 FROM stack_tags t
		WHERE t.stack_id = s.id AND t.name = :tag_name AND (:tag_value IS NULL OR t.value = :tag_value)))
	AND (o.name, s.project, s.name) > (:after_org, :after_project, :after_name)
ORDER BY o.name, s.project, s.name LIMIT :count;

-- name: checkpoint_insert :exec
-- in: id text, stack_id text, version int, update_id text?, body blob?, blob_key text?, size_bytes int,
--     resource_count int, now_us int
INSERT INTO checkpoints (id, stack_id, version, update_id, body, blob_key, size_bytes, resource_count, created_us)
VALUES (:id, :stack_id, :version, :update_id, :body, :blob_key, :size_bytes, :resource_count, :now_us);

-- name: checkpoint_get :one
-- in: id text
-- out: body blob?, blob_key text?, size_bytes int, resource_count int
SELECT body, blob_key, size_bytes, resource_count FROM checkpoints WHERE id = :id;

-- name: checkpoint_remove :one
-- in: id text
-- out: blob_key text?
DELETE FROM checkpoints WHERE id = :id RETURNING blob_key;

-- name: checkpoints_remove_of_stack :many
-- in: stack_id text
-- out: blob_key text?
DELETE FROM checkpoints WHERE stack_id = :stack_id RETURNING blob_key;

-- name: update_insert :exec
-- in: id text, stack_id text, kind text, dry_run bool, status text, version int, message text, environment text,
--     config blob?, requested_by text?, deployment_id text?, base_checkpoint_id text?, checkpoint_id text?,
--     resource_count int?, resource_import bool, now_us int, started_us int?, ended_us int?
INSERT INTO updates (id, stack_id, kind, dry_run, status, version, message, environment, config, requested_by,
	deployment_id, base_checkpoint_id, checkpoint_id, resource_count, resource_import, created_us, started_us, ended_us)
VALUES (:id, :stack_id, :kind, :dry_run, :status, :version, :message, :environment, :config, :requested_by,
	:deployment_id, :base_checkpoint_id, :checkpoint_id, :resource_count, :resource_import, :now_us, :started_us,
	:ended_us);

-- name: update_get :one
-- in: id text
-- out: id text, stack_id text, kind text, dry_run bool, status text, version int, journal_version int,
--      deployment_id text?, base_checkpoint_id text?, checkpoint_id text?, lease_expires_us int?, started_us int?,
--      saved_sequence int, environment text, author text?
SELECT u.id AS id, u.stack_id AS stack_id, u.kind AS kind, u.dry_run AS dry_run, u.status AS status,
	u.version AS version, u.journal_version AS journal_version, u.deployment_id AS deployment_id,
	u.base_checkpoint_id AS base_checkpoint_id, u.checkpoint_id AS checkpoint_id,
	u.lease_expires_us AS lease_expires_us, u.started_us AS started_us, u.saved_sequence AS saved_sequence,
	u.environment AS environment, w.name AS author
FROM updates u LEFT JOIN users w ON w.id = u.requested_by WHERE u.id = :id;

-- name: update_by_version :one
-- The update that made this version of the stack.
-- in: stack_id text, version int
-- out: id text, status text, journal_version int, base_checkpoint_id text?, checkpoint_id text?
SELECT id, status, journal_version, base_checkpoint_id, checkpoint_id FROM updates
WHERE stack_id = :stack_id AND version = :version AND dry_run = 0 AND status <> 'not-started';

-- name: update_start :exec
-- in: id text, version int, journal_version int, base_checkpoint_id text?, lease_expires_us int, now_us int
UPDATE updates SET status = 'in-progress', version = :version, journal_version = :journal_version,
	base_checkpoint_id = :base_checkpoint_id, checkpoint_id = :base_checkpoint_id,
	lease_expires_us = :lease_expires_us, started_us = :now_us
WHERE id = :id AND status = 'not-started';

-- name: update_renew :exec
-- in: id text, lease_expires_us int
UPDATE updates SET lease_expires_us = :lease_expires_us WHERE id = :id AND status = 'in-progress';

-- name: update_fence :exec
-- The lease ends now: nothing more is written by its holder.
-- in: id text, now_us int
UPDATE updates SET lease_expires_us = :now_us
WHERE id = :id AND status = 'in-progress' AND lease_expires_us > :now_us;

-- name: update_set_checkpoint :exec
-- in: id text, checkpoint_id text?
UPDATE updates SET checkpoint_id = :checkpoint_id WHERE id = :id AND status = 'in-progress';

-- name: update_set_changes :exec
-- What the summary event said.
-- in: id text, resource_changes text
UPDATE updates SET resource_changes = :resource_changes WHERE id = :id;

-- name: update_stream :one
-- Where its events have come to; resource_changes NULL: no summary event came.
-- in: id text
-- out: last_sequence int?, resource_changes text?
SELECT (SELECT max(e.last_sequence) FROM event_batches e WHERE e.update_id = u.id) AS last_sequence, u.resource_changes
FROM updates u WHERE u.id = :id;

-- name: update_set_missing_changes :exec
-- What its events add up to, if no summary event came.
-- in: id text, resource_changes text
UPDATE updates SET resource_changes = :resource_changes WHERE id = :id AND resource_changes IS NULL;

-- name: update_end :exec
-- in: id text, status text, checkpoint_id text?, resource_count int?, now_us int
UPDATE updates SET status = :status, checkpoint_id = :checkpoint_id, resource_count = :resource_count,
	ended_us = :now_us, lease_expires_us = NULL
WHERE id = :id AND status IN ('not-started', 'in-progress');

-- name: update_history :many
-- Newest first. Previews and what never started are no history.
-- in: stack_id text, count int, skip int
-- out: id text, kind text, status text, version int, message text, environment text, config blob?,
--      resource_changes text?, resource_count int?, started_us int?, ended_us int?, deployment_id text?,
--      author text?, author_name text?, author_email text?
SELECT u.id AS id, CASE WHEN u.resource_import = 1 THEN 'resource-import' ELSE u.kind END AS kind, u.status AS status,
	u.version AS version, u.message AS message, u.environment AS environment, u.config AS config, u.resource_changes AS resource_changes,
	u.resource_count AS resource_count, u.started_us AS started_us, u.ended_us AS ended_us,
	u.deployment_id AS deployment_id, w.name AS author, w.display_name AS author_name, w.email AS author_email
FROM updates u LEFT JOIN users w ON w.id = u.requested_by
WHERE u.stack_id = :stack_id AND u.dry_run = 0 AND u.status <> 'not-started'
ORDER BY u.version DESC LIMIT :count OFFSET :skip;

-- name: update_history_one :one
-- in: stack_id text, version int
-- out: id text, kind text, status text, version int, message text, environment text, config blob?,
--      resource_changes text?, resource_count int?, started_us int?, ended_us int?, deployment_id text?,
--      author text?, author_name text?, author_email text?
SELECT u.id AS id, CASE WHEN u.resource_import = 1 THEN 'resource-import' ELSE u.kind END AS kind, u.status AS status,
	u.version AS version, u.message AS message, u.environment AS environment, u.config AS config, u.resource_changes AS resource_changes,
	u.resource_count AS resource_count, u.started_us AS started_us, u.ended_us AS ended_us,
	u.deployment_id AS deployment_id, w.name AS author, w.display_name AS author_name, w.email AS author_email
FROM updates u LEFT JOIN users w ON w.id = u.requested_by
WHERE u.stack_id = :stack_id AND u.dry_run = 0 AND u.status <> 'not-started' AND u.version = :version;

-- name: update_history_count :one
-- in: stack_id text
-- out: total int
SELECT count(*) AS total FROM updates WHERE stack_id = :stack_id AND dry_run = 0 AND status <> 'not-started';

-- name: update_previews :many
-- Previews that looked at the stack's present version.
-- in: stack_id text, version int, ascending int, count int, skip int
-- out: id text, kind text, status text, version int, message text, environment text, config blob?,
--      resource_changes text?, resource_count int?, started_us int?, ended_us int?, deployment_id text?,
--      author text?, author_name text?, author_email text?
SELECT u.id AS id, CASE WHEN u.resource_import = 1 THEN 'resource-import' ELSE u.kind END AS kind, u.status AS status,
	u.version AS version, u.message AS message, u.environment AS environment, u.config AS config, u.resource_changes AS resource_changes,
	u.resource_count AS resource_count, u.started_us AS started_us, u.ended_us AS ended_us,
	u.deployment_id AS deployment_id, w.name AS author, w.display_name AS author_name, w.email AS author_email
FROM updates u LEFT JOIN users w ON w.id = u.requested_by
WHERE u.stack_id = :stack_id AND u.dry_run = 1 AND u.status <> 'not-started' AND u.version = :version
ORDER BY CASE WHEN :ascending = 1 THEN u.id END ASC, u.id DESC LIMIT :count OFFSET :skip;

-- name: update_previews_count :one
-- in: stack_id text, version int
-- out: total int
SELECT count(*) AS total FROM updates
WHERE stack_id = :stack_id AND dry_run = 1 AND status <> 'not-started' AND version = :version;

-- name: updates_of_deployment :many
-- Of the deployment's own stack, oldest first: a run may have touched other stacks as well.
-- in: deployment_id text
-- out: id text, kind text, dry_run bool, status text, version int, message text, environment text,
--      started_us int?, ended_us int?
SELECT u.id AS id, CASE WHEN u.resource_import = 1 THEN 'import' ELSE u.kind END AS kind, u.dry_run AS dry_run,
	u.status AS status, u.version AS version, u.message AS message, u.environment AS environment, u.started_us AS started_us, u.ended_us AS ended_us
FROM updates u JOIN deployments d ON d.id = u.deployment_id AND d.stack_id = u.stack_id
WHERE u.deployment_id = :deployment_id ORDER BY u.id;

-- name: updates_open_of_deployment :many
-- Of any stack.
-- in: deployment_id text
-- out: id text
SELECT id FROM updates WHERE deployment_id = :deployment_id AND status IN ('not-started', 'in-progress') ORDER BY id;

-- name: updates_lease_due :many
-- in: now_us int, count int
-- out: id text
SELECT id FROM updates WHERE status = 'in-progress' AND lease_expires_us <= :now_us
ORDER BY lease_expires_us LIMIT :count;

-- name: updates_lease_next :one
-- out: lease_expires_us int
SELECT lease_expires_us FROM updates WHERE status = 'in-progress' AND lease_expires_us IS NOT NULL
ORDER BY lease_expires_us LIMIT 1;

-- name: journal_insert :exec
-- in: update_id text, id text, entry_count int, body blob, now_us int
INSERT INTO journal_batches (update_id, id, entry_count, body, created_us)
VALUES (:update_id, :id, :entry_count, :body, :now_us);

-- name: journal_count :one
-- in: update_id text
-- out: batches int
SELECT count(*) AS batches FROM journal_batches WHERE update_id = :update_id;

-- name: journal_read :many
-- in: update_id text
-- out: body blob
SELECT body FROM journal_batches WHERE update_id = :update_id ORDER BY id;

-- name: journal_clear :exec
-- in: update_id text
DELETE FROM journal_batches WHERE update_id = :update_id;

-- name: update_set_saved :exec
-- in: id text, saved_sequence int
UPDATE updates SET saved_sequence = :saved_sequence WHERE id = :id AND status = 'in-progress';

-- name: delta_insert :exec
-- in: update_id text, sequence int, body blob, now_us int
INSERT INTO checkpoint_deltas (update_id, sequence, body, created_us) VALUES (:update_id, :sequence, :body, :now_us);

-- name: delta_count :one
-- in: update_id text
-- out: deltas int
SELECT count(*) AS deltas FROM checkpoint_deltas WHERE update_id = :update_id;

-- name: delta_read :many
-- in: update_id text
-- out: body blob
SELECT body FROM checkpoint_deltas WHERE update_id = :update_id ORDER BY sequence;

-- name: delta_clear :exec
-- in: update_id text
DELETE FROM checkpoint_deltas WHERE update_id = :update_id;

-- name: events_insert :exec
-- in: update_id text, id text, first_sequence int, last_sequence int, event_count int, body blob, now_us int
INSERT INTO event_batches (update_id, id, first_sequence, last_sequence, event_count, body, created_us)
VALUES (:update_id, :id, :first_sequence, :last_sequence, :event_count, :body, :now_us);

-- name: event_batches :many
-- In the order of arrival.
-- in: update_id text, after text, count int
-- out: id text, body blob
SELECT id, body FROM event_batches WHERE update_id = :update_id AND id > :after ORDER BY id LIMIT :count;

-- name: events_read :many
-- Batches that may hold events from `sequence` on.
-- in: update_id text, sequence int, count int
-- out: first_sequence int, last_sequence int, created_us int, body blob
SELECT first_sequence, last_sequence, created_us, body FROM event_batches
WHERE update_id = :update_id AND last_sequence >= :sequence
ORDER BY first_sequence, last_sequence, id LIMIT :count;
