-- Statements of src/deploy about schedules.

-- name: schedule_insert :exec
-- in: id text, org_id text, stack_id text, kind text, cron text?, once_us int?, request text, next_us int, warn_us int?, now_us int, user_id text?
INSERT INTO schedules (id, org_id, stack_id, kind, status, cron, once_us, request, version, next_us, warn_us,
	created_us, modified_us, created_by)
VALUES (:id, :org_id, :stack_id, :kind, 'active', :cron, :once_us, :request, 1, :next_us, :warn_us, :now_us, :now_us,
	:user_id);

-- name: schedule_get :one
-- in: id text
-- out: id text, org_id text, stack_id text, kind text, status text, cron text?, once_us int?, request text, version int, next_us int?, warn_us int?, last_executed_us int?, created_us int, modified_us int, created_by text?
SELECT id, org_id, stack_id, kind, status, cron, once_us, request, version, next_us, warn_us, last_executed_us,
	created_us, modified_us, created_by
FROM schedules WHERE id = :id;

-- name: schedule_list :many
-- Those that have fired for good are no longer shown.
-- in: stack_id text
-- out: id text
SELECT id FROM schedules WHERE stack_id = :stack_id AND status <> 'fired' ORDER BY id;

-- name: schedules_of_user :many
-- Those that are active and run with the rights of that user.
-- in: user_id text
-- out: id text
SELECT id FROM schedules WHERE created_by = :user_id AND status = 'active' ORDER BY id;

-- name: schedule_count :one
-- in: stack_id text
-- out: n int
SELECT COUNT(*) AS n FROM schedules WHERE stack_id = :stack_id AND status <> 'fired';

-- name: schedule_change :exec
-- What somebody edits. A paused one stays paused.
-- in: id text, cron text?, once_us int?, request text, next_us int?, warn_us int?, now_us int, user_id text?
UPDATE schedules SET cron = :cron, once_us = :once_us, request = :request, next_us = :next_us, warn_us = :warn_us,
	version = version + 1, modified_us = :now_us, created_by = :user_id
WHERE id = :id;

-- name: schedule_move :exec
-- Only schedule_move() of schedule.c calls it, with a pair out of the table of allowed moves.
-- in: id text, from_status text, to_status text, next_us int?, warn_us int?, now_us int
UPDATE schedules SET status = :to_status, next_us = :next_us, warn_us = :warn_us, modified_us = :now_us
WHERE id = :id AND status = :from_status;

-- name: schedule_set_executed :exec
-- in: id text, next_us int?, now_us int
UPDATE schedules SET last_executed_us = :now_us, next_us = :next_us WHERE id = :id;

-- name: schedule_set_warn :exec
-- in: id text, warn_us int?
UPDATE schedules SET warn_us = :warn_us WHERE id = :id;

-- name: schedule_delete :exec
-- in: id text, stack_id text
DELETE FROM schedules WHERE id = :id AND stack_id = :stack_id;

-- name: schedules_remove :exec
-- in: stack_id text
DELETE FROM schedules WHERE stack_id = :stack_id;

-- name: schedule_due :many
-- in: now_us int
-- out: id text
SELECT id FROM schedules WHERE next_us <= :now_us ORDER BY next_us LIMIT 1000;

-- name: schedule_warn_due :many
-- in: now_us int
-- out: id text
SELECT id FROM schedules WHERE warn_us <= :now_us ORDER BY warn_us LIMIT 1000;

-- name: schedule_next :one
-- no parameters
-- out: next_us int?, warn_us int?
SELECT (SELECT MIN(next_us) FROM schedules WHERE next_us IS NOT NULL) AS next_us,
	(SELECT MIN(warn_us) FROM schedules WHERE warn_us IS NOT NULL) AS warn_us;

-- name: schedule_names :one
-- in: stack_id text
-- out: org_name text, project text, stack_name text, deleted bool
SELECT o.name AS org_name, s.project, s.name AS stack_name, CASE WHEN s.deleted_us IS NULL THEN 0 ELSE 1 END AS deleted
FROM stacks s JOIN orgs o ON o.id = s.org_id WHERE s.id = :stack_id;

-- name: schedule_run_insert :exec
-- in: schedule_id text, id text, now_us int, version int, deployment_id text?, message text
INSERT INTO schedule_runs (schedule_id, id, executed_us, version, deployment_id, message)
VALUES (:schedule_id, :id, :now_us, :version, :deployment_id, :message);

-- name: schedule_run_trim :exec
-- in: schedule_id text, keep int
DELETE FROM schedule_runs WHERE schedule_id = :schedule_id AND id NOT IN (
	SELECT r.id FROM schedule_runs r WHERE r.schedule_id = :schedule_id ORDER BY r.id DESC LIMIT COALESCE(:keep, 0));

-- name: schedule_run_list :many
-- Newest first.
-- in: schedule_id text
-- out: id text, executed_us int, version int, message text, deployment_id text?, deployment_version int?, status text?
SELECT r.id, r.executed_us, r.version, r.message, r.deployment_id, d.version AS deployment_version, d.status
FROM schedule_runs r LEFT JOIN deployments d ON d.id = r.deployment_id
WHERE r.schedule_id = :schedule_id ORDER BY r.id DESC;
