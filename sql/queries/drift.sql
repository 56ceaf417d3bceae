-- Statements of src/state about drift runs, and about what an update has found when it ends.

-- name: update_outcome :one
-- in: id text
-- out: kind text, resource_changes text?, requested_by text?
SELECT CASE WHEN resource_import = 1 THEN 'import' ELSE kind END AS kind, resource_changes, requested_by
FROM updates WHERE id = :id;

-- name: drift_deployment :one
-- The deployment of an update, if the update is of its own stack: a run may touch others as well.
-- in: id text, stack_id text
-- out: operation text, version int
SELECT operation, version FROM deployments WHERE id = :id AND stack_id = :stack_id;

-- name: drift_run_insert :exec
-- in: id text, stack_id text, deployment_id text?, detect_update_id text?, remediate_update_id text?, status text,
--     drift_detected bool, resources blob?, resource_count int, resources_cut bool, now_us int
INSERT INTO drift_runs (id, stack_id, deployment_id, detect_update_id, remediate_update_id, status, drift_detected,
	resources, resource_count, resources_cut, created_us)
VALUES (:id, :stack_id, :deployment_id, :detect_update_id, :remediate_update_id, :status, :drift_detected,
	:resources, :resource_count, :resources_cut, :now_us);

-- name: drift_run_trim :exec
-- in: stack_id text, keep int
DELETE FROM drift_runs WHERE stack_id = :stack_id AND id <= (
	SELECT r.id FROM drift_runs r WHERE r.stack_id = :stack_id ORDER BY r.id DESC LIMIT 1 OFFSET COALESCE(:keep, 0));

-- name: drift_run_newest :one
-- in: stack_id text
-- out: id text, deployment_id text?, drift_detected bool, remediate_update_id text?, remediate_status text?
SELECT r.id, r.deployment_id, r.drift_detected, r.remediate_update_id, u.status AS remediate_status
FROM drift_runs r LEFT JOIN updates u ON u.id = r.remediate_update_id
WHERE r.stack_id = :stack_id ORDER BY r.id DESC LIMIT 1;

-- name: drift_run_of_deployment :one
-- The newest that it made.
-- in: deployment_id text, stack_id text
-- out: id text, drift_detected bool
SELECT id, drift_detected FROM drift_runs WHERE deployment_id = :deployment_id AND stack_id = :stack_id
ORDER BY id DESC LIMIT 1;

-- name: drift_run_set_remediation :exec
-- in: id text, update_id text, status text
UPDATE drift_runs SET remediate_update_id = :update_id, status = :status WHERE id = :id;

-- name: drift_runs_of_deployment :one
-- Those it made, and the remediations that it made for runs of its own or of others.
-- in: deployment_id text
-- out: runs int, remediations int
SELECT (SELECT count(*) FROM drift_runs r WHERE r.deployment_id = :deployment_id) AS runs,
	(SELECT count(*) FROM drift_runs r JOIN updates u ON u.id = r.remediate_update_id
		WHERE u.deployment_id = :deployment_id) AS remediations;

-- name: drift_in_progress :one
-- Previews of a refresh that run, and deployments that look for drift.
-- in: stack_id text
-- out: previews int, deployments int
SELECT (SELECT count(*) FROM updates u WHERE u.stack_id = :stack_id AND u.status = 'in-progress' AND u.dry_run = 1
		AND u.kind = 'refresh') AS previews,
	(SELECT count(*) FROM deployments d WHERE d.stack_id = :stack_id AND d.status IN ('accepted', 'running')
		AND d.operation = 'detect-drift') AS deployments;

-- name: drift_run_list :many
-- Newest first. id: that one alone. While its deployment runs, the run does.
-- in: stack_id text, id text?, n int, skip int
-- out: id text, status text, drift_detected bool, created_us int, resource_count int, resources_cut bool, deployment_id text?,
--      deployment_version int?, detect_id text?, detect_status text?, detect_changes text?, detect_us int?,
--      remediate_id text?, remediate_status text?, remediate_changes text?, remediate_us int?
SELECT r.id, CASE WHEN d.status IN ('accepted', 'running') THEN 'running' ELSE r.status END AS status, r.drift_detected,
	r.created_us, r.resource_count, r.resources_cut, r.deployment_id, d.version AS deployment_version,
	u.id AS detect_id, u.status AS detect_status, u.resource_changes AS detect_changes,
	COALESCE(u.ended_us, u.created_us) AS detect_us,
	m.id AS remediate_id, m.status AS remediate_status, m.resource_changes AS remediate_changes,
	COALESCE(m.ended_us, m.created_us) AS remediate_us
FROM drift_runs r LEFT JOIN deployments d ON d.id = r.deployment_id
	LEFT JOIN updates u ON u.id = r.detect_update_id LEFT JOIN updates m ON m.id = r.remediate_update_id
WHERE r.stack_id = :stack_id AND (:id IS NULL OR r.id = :id)
ORDER BY r.id DESC LIMIT COALESCE(:n, 0) OFFSET COALESCE(:skip, 0);

-- name: drift_run_count :one
-- in: stack_id text
-- out: total int
SELECT count(*) AS total FROM drift_runs WHERE stack_id = :stack_id;

-- name: drift_run_resources :one
-- in: stack_id text, id text
-- out: resources blob?, resource_count int, resources_cut bool
SELECT resources, resource_count, resources_cut FROM drift_runs WHERE stack_id = :stack_id AND id = :id;
