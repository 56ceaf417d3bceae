-- Statements of src/deploy: settings, pools and agents, the queue, jobs, steps, logs.

-- ---- settings ----

-- name: settings_get :one
-- in: stack_id text
-- out: version int, document text, pool_id text?, source text, paused bool, updated_us int
SELECT version, document, pool_id, source, paused, updated_us FROM deployment_settings WHERE stack_id = :stack_id;

-- name: settings_put :exec
-- in: stack_id text, version int, document text, pool_id text?, source text, now_us int, user_id text?
INSERT INTO deployment_settings (stack_id, version, document, pool_id, source, updated_us, updated_by)
VALUES (:stack_id, :version, :document, :pool_id, :source, :now_us, :user_id)
ON CONFLICT (stack_id) DO UPDATE SET version = excluded.version, document = excluded.document,
	pool_id = excluded.pool_id, source = excluded.source, updated_us = excluded.updated_us,
	updated_by = excluded.updated_by;

-- name: settings_delete :exec
-- in: stack_id text
DELETE FROM deployment_settings WHERE stack_id = :stack_id;

-- name: settings_pause :exec
-- in: stack_id text, paused bool
UPDATE deployment_settings SET paused = :paused WHERE stack_id = :stack_id;

-- ---- pools and agents ----

-- name: pool_insert :exec
-- 0 rows: the organization has a pool of that name.
-- in: id text, org_id text?, name text, description text, network text, now_us int
INSERT INTO agent_pools (id, org_id, name, description, network, created_us)
VALUES (:id, :org_id, :name, :description, :network, :now_us)
ON CONFLICT (org_id, name) DO NOTHING;

-- name: pool_get :one
-- A pool that the organization may use: its own, or a shared one.
-- in: id text, org_id text
-- out: id text, shared bool, name text, description text, network text, created_us int, is_default bool
SELECT p.id, CASE WHEN p.org_id IS NULL THEN 1 ELSE 0 END AS shared, p.name, p.description, p.network, p.created_us,
	CASE WHEN EXISTS (SELECT 1 FROM orgs o WHERE o.id = :org_id AND o.default_pool_id = p.id) THEN 1 ELSE 0 END
		AS is_default
FROM agent_pools p WHERE p.id = :id AND (p.org_id = :org_id OR p.org_id IS NULL);

-- name: pool_list :many
-- in: org_id text
-- out: id text, name text, description text, created_us int, is_default bool, last_seen_us int?, last_deployment_us int?
SELECT p.id, p.name, p.description, p.created_us,
	CASE WHEN EXISTS (SELECT 1 FROM orgs o WHERE o.id = :org_id AND o.default_pool_id = p.id) THEN 1 ELSE 0 END
		AS is_default,
	(SELECT MAX(a.last_seen_us) FROM agents a WHERE a.pool_id = p.id) AS last_seen_us,
	(SELECT MAX(d.claimed_us) FROM deployments d WHERE d.agent_pool_id = p.id)
		AS last_deployment_us
FROM agent_pools p WHERE p.org_id = :org_id OR p.org_id IS NULL ORDER BY p.name, p.id;

-- name: pool_update :exec
-- in: id text, org_id text, name text, description text, network text
UPDATE agent_pools SET name = :name, description = :description, network = :network WHERE id = :id AND org_id = :org_id;

-- name: pool_name_taken :one
-- in: id text, org_id text, name text
-- out: id text
SELECT id FROM agent_pools WHERE org_id = :org_id AND name = :name AND id <> :id;

-- name: pool_network :one
-- in: id text
-- out: network text
SELECT network FROM agent_pools WHERE id = :id;

-- name: pool_in_use :one
-- in: id text
-- out: stacks int, waiting int
SELECT (SELECT COUNT(*) FROM deployment_settings s WHERE s.pool_id = :id) AS stacks,
	(SELECT COUNT(*) FROM deployments d WHERE d.status IN ('not-started', 'accepted', 'running')
		AND (d.pool_id = :id OR d.agent_pool_id = :id)) AS waiting;

-- name: pool_forget_settings :exec
-- Behind settings_version_poolless, which has written the new version.
-- in: id text
UPDATE deployment_settings SET pool_id = NULL, version = version + 1 WHERE pool_id = :id;

-- name: pool_forget_queue :exec
-- in: id text
UPDATE deployments SET pool_id = NULL WHERE pool_id = :id AND status = 'not-started';

-- name: pool_forget_default :exec
-- in: id text
UPDATE orgs SET default_pool_id = NULL WHERE default_pool_id = :id;

-- name: pool_make_default :exec
-- in: id text, org_id text
UPDATE orgs SET default_pool_id = :id WHERE id = :org_id;

-- name: pool_unset_default :exec
-- Nothing when another one is the default.
-- in: id text, org_id text
UPDATE orgs SET default_pool_id = NULL WHERE id = :org_id AND default_pool_id = :id;

-- name: pool_delete :exec
-- in: id text, org_id text
DELETE FROM agent_pools WHERE id = :id AND org_id = :org_id;

-- name: agent_seen :exec
-- in: pool_id text, name text, hostname text, pid int, ip text, platform text, version text, isolation text, networks text, now_us int
INSERT INTO agents (pool_id, name, hostname, pid, ip, platform, version, isolation, networks, last_seen_us)
VALUES (:pool_id, :name, :hostname, :pid, :ip, :platform, :version, :isolation, :networks, :now_us)
ON CONFLICT (pool_id, name) DO UPDATE SET hostname = excluded.hostname, pid = excluded.pid, ip = excluded.ip,
	platform = excluded.platform, version = excluded.version, isolation = excluded.isolation,
	networks = excluded.networks, last_seen_us = excluded.last_seen_us;

-- name: agent_touch :exec
-- in: pool_id text, name text, now_us int
UPDATE agents SET last_seen_us = :now_us WHERE pool_id = :pool_id AND name = :name AND last_seen_us < :now_us;

-- name: agent_list :many
-- in: pool_id text
-- out: name text, hostname text, pid int, ip text, platform text, version text, isolation text, networks text, last_seen_us int
SELECT name, hostname, pid, ip, platform, version, isolation, networks, last_seen_us FROM agents WHERE pool_id = :pool_id
ORDER BY name;

-- name: agent_purge :exec
-- in: before_us int
DELETE FROM agents WHERE last_seen_us < :before_us;

-- ---- organizations ----

-- name: org_deployments_state :one
-- in: org_id text
-- out: paused bool, concurrency int
SELECT deployments_paused AS paused, deployment_limit AS concurrency FROM orgs WHERE id = :org_id;

-- name: org_deployments_pause :exec
-- in: org_id text, paused bool
UPDATE orgs SET deployments_paused = :paused WHERE id = :org_id;

-- name: org_paused_stacks :many
-- in: org_id text, reader_id text?
-- out: project text, name text
SELECT s.project, s.name FROM deployment_settings t JOIN stacks s ON s.id = t.stack_id
WHERE t.paused = 1 AND s.org_id = :org_id AND s.deleted_us IS NULL
	AND (:reader_id IS NULL OR s.id IN (
	SELECT v.stack_id FROM stack_readers v WHERE v.reader_id = :reader_id))
ORDER BY s.project, s.name;

-- ---- deployments ----

-- name: deployment_insert :one
-- The next version of its stack, the next number of its organization.
-- in: id text, org_id text, stack_id text, operation text, pool_id text?, settings text, inherit_settings bool, skip_intermediate bool, initiator text, user_id text?, org_token text?, now_us int
-- out: version int
INSERT INTO deployments (id, org_id, stack_id, version, org_number, operation, status, pool_id, settings,
	inherit_settings, skip_intermediate, initiator, requested_by, requested_by_token, created_us, modified_us)
VALUES (:id, :org_id, :stack_id,
	(SELECT COALESCE(MAX(d.version), 0) + 1 FROM deployments d WHERE d.stack_id = :stack_id),
	(SELECT COALESCE(MAX(d.org_number), 0) + 1 FROM deployments d WHERE d.org_id = :org_id),
	:operation, 'not-started', :pool_id, :settings, :inherit_settings, :skip_intermediate, :initiator, :user_id,
	:org_token, :now_us, :now_us)
RETURNING version;

-- name: deployment_get :one
-- in: id text
-- out: id text, org_id text, stack_id text, version int, operation text, status text, pool_id text?, settings text, inherit_settings bool, initiator text, requested_by text?, created_us int, modified_us int, attempt int, agent_pool_id text?, agent_name text?, runner_hash blob?, order_fetched_us int?, started_us int?, ended_us int?, lease_expires_us int?, deadline_us int?, cancel_requested_us int?, ending_status text?, message text, log_removed_us int?, project text, stack_name text, stack_deleted_us int?, org_name text, org_paused bool, stack_paused bool, user_name text?, user_display_name text?, shown_pool_id text?, shown_pool_name text?
SELECT id, org_id, stack_id, version, operation, status, pool_id, settings, inherit_settings, initiator, requested_by,
	created_us, modified_us, attempt, agent_pool_id, agent_name, runner_hash, order_fetched_us, started_us, ended_us,
	lease_expires_us, deadline_us, cancel_requested_us, ending_status, message, log_removed_us, project, stack_name,
	stack_deleted_us, org_name, org_paused, stack_paused, user_name, user_display_name, shown_pool_id, shown_pool_name
FROM deployment_rows WHERE id = :id;

-- name: deployments_of_user :many
-- That are not over.
-- in: user_id text
-- out: id text
SELECT id FROM deployments
WHERE requested_by = :user_id AND status IN ('not-started', 'accepted', 'running') ORDER BY id;

-- name: deployment_stack :one
-- in: id text
-- out: stack_id text
SELECT stack_id FROM deployments WHERE id = :id;

-- name: deployment_org_token :one
-- Of a token that asked for it; it may be gone.
-- in: id text
-- out: org_token text?
SELECT requested_by_token AS org_token FROM deployments WHERE id = :id;

-- name: deployment_by_version :one
-- in: stack_id text, version int
-- out: id text
SELECT id FROM deployments WHERE stack_id = :stack_id AND version = :version;

-- name: deployment_recent_stack :many
-- in: stack_id text, n int
-- out: org_name text, project text, stack_name text, version int, operation text, status text, created_us int, started_us int?, ended_us int?, user_name text?
SELECT org_name, project, stack_name, version, operation, status, created_us, started_us, ended_us, user_name
FROM deployment_rows WHERE stack_id = :stack_id ORDER BY version DESC LIMIT COALESCE(:n, 0);

-- name: deployment_recent_user :many
-- Of the stacks that a user may see.
-- in: user_id text, n int
-- out: org_name text, project text, stack_name text, version int, operation text, status text, created_us int, started_us int?, ended_us int?, user_name text?
SELECT org_name, project, stack_name, version, operation, status, created_us, started_us, ended_us, user_name
FROM deployment_rows WHERE stack_deleted_us IS NULL
	AND org_id IN (SELECT m.org_id FROM org_members m WHERE m.user_id = :user_id)
	AND EXISTS (SELECT 1 FROM stack_readers v
		WHERE v.reader_id = :user_id AND v.stack_id = deployment_rows.stack_id)
ORDER BY id DESC LIMIT COALESCE(:n, 0);

-- name: update_shown :one
-- One update of a stack for the console: by id, or (id NULL) by the stack's version.
-- in: stack_id text, id text?, version int
-- out: id text, kind text, dry_run bool, status text, version int, message text, resource_changes text?, created_us int, started_us int?, ended_us int?, user_name text?, deployment_version int?
SELECT p.id, CASE WHEN p.resource_import = 1 THEN 'import' ELSE p.kind END AS kind, p.dry_run, p.status, p.version, p.message, p.resource_changes, p.created_us, p.started_us,
	p.ended_us, u.name AS user_name, d.version AS deployment_version
FROM updates p LEFT JOIN users u ON u.id = p.requested_by LEFT JOIN deployments d ON d.id = p.deployment_id
WHERE p.stack_id = :stack_id
	AND ((:id IS NOT NULL AND p.id = :id) OR (:id IS NULL AND p.version = :version AND p.dry_run = 0))
ORDER BY p.created_us DESC LIMIT 1;

-- name: deployment_latest_version :one
-- in: stack_id text
-- out: version int
SELECT COALESCE(MAX(version), 0) AS version FROM deployments WHERE stack_id = :stack_id;

-- name: deployment_move :exec
-- Only deployment_move() of deployment.c calls it, with a pair out of the table of allowed moves.
-- in: id text, from_status text, to_status text, now_us int
UPDATE deployments SET status = :to_status, modified_us = :now_us WHERE id = :id AND status = :from_status;

-- name: deployment_set_claim :exec
-- in: id text, agent_pool_id text?, agent_name text?, agent_instance text?, agent_life text?, runner_hash blob, now_us int, lease_us int
UPDATE deployments SET attempt = attempt + 1, agent_pool_id = :agent_pool_id, agent_name = :agent_name,
	agent_instance = :agent_instance, agent_life = :agent_life, runner_hash = :runner_hash, claimed_us = :now_us, order_fetched_us = NULL, lease_expires_us = :lease_us
WHERE id = :id;

-- name: deployment_of_former_life :many
-- What an earlier process of the same agent had claimed.
-- in: pool_id text, instance text, life text
-- out: id text, attempt int, status text
SELECT id, attempt, status FROM deployments WHERE status IN ('accepted', 'running')
	AND agent_pool_id = :pool_id AND agent_instance = :instance AND agent_life <> :life;

-- name: deployment_of_life_unbegun :many
-- What a process that leaves had claimed, and has not begun.
-- in: pool_id text, instance text, life text
-- out: id text, attempt int
SELECT id, attempt FROM deployments WHERE status = 'accepted'
	AND agent_pool_id = :pool_id AND agent_instance = :instance AND agent_life = :life;

-- name: deployment_clear_claim :exec
-- in: id text
UPDATE deployments SET agent_pool_id = NULL, agent_name = NULL, runner_hash = NULL, claimed_us = NULL,
	order_fetched_us = NULL, lease_expires_us = NULL, cancel_requested_us = NULL WHERE id = :id;

-- name: deployment_set_ordered :exec
-- in: id text, now_us int, lease_us int
UPDATE deployments SET order_fetched_us = :now_us, lease_expires_us = :lease_us WHERE id = :id;

-- name: deployment_set_started :exec
-- in: id text, now_us int, deadline_us int
UPDATE deployments SET started_us = :now_us, deadline_us = :deadline_us WHERE id = :id;

-- name: deployment_extend :exec
-- A sign of life. Leaves the row alone when the lease would hardly move (`slack_us`): a log is appended often.
-- in: id text, lease_us int, slack_us int
UPDATE deployments SET lease_expires_us = :lease_us
WHERE id = :id AND status IN ('accepted', 'running') AND lease_expires_us < :lease_us - :slack_us;

-- name: deployment_set_cancel :exec
-- The lease shrinks: a runner that does not even answer a cancel is given up soon.
-- in: id text, now_us int, lease_us int, message text
UPDATE deployments SET cancel_requested_us = :now_us, message = :message, modified_us = :now_us,
	lease_expires_us = CASE WHEN lease_expires_us > :lease_us THEN :lease_us ELSE lease_expires_us END
WHERE id = :id AND cancel_requested_us IS NULL;

-- name: deployment_set_ending :exec
-- in: id text, ending_status text, message text
UPDATE deployments SET ending_status = :ending_status, message = :message WHERE id = :id AND ending_status IS NULL;

-- name: deployment_set_ended :exec
-- in: id text, message text, now_us int
UPDATE deployments SET ended_us = :now_us, message = :message, ending_status = NULL, lease_expires_us = NULL,
	deadline_us = NULL WHERE id = :id;

-- name: deployment_superseded :many
-- Queued ones for which a newer one of the same operation waits that wants intermediate ones skipped.
-- in: stack_id text
-- out: id text
SELECT q.id FROM deployments q WHERE q.stack_id = :stack_id AND q.status = 'not-started' AND EXISTS (
	SELECT 1 FROM deployments n WHERE n.stack_id = q.stack_id AND n.status = 'not-started'
		AND n.operation = q.operation AND n.version > q.version AND n.skip_intermediate = 1)
ORDER BY q.version;

-- name: deployments_queued_on_stack :many
-- in: stack_id text
-- out: id text
SELECT id FROM deployments WHERE stack_id = :stack_id AND status = 'not-started' ORDER BY version;

-- name: deployment_active_on_stack :one
-- in: stack_id text
-- out: n int
SELECT COUNT(*) AS n FROM deployments WHERE stack_id = :stack_id AND status IN ('accepted', 'running');

-- ---- the queue ----

-- name: queue_next :one
-- What a pool may run next. pool_org_id NULL: a shared pool. The oldest; but where more waits in an organization than its
-- limit has room for, the project comes first whose last claim is longest ago, and the oldest within it: so a project with
-- a thousand deployments does not hold up the others. The organization is the one whose head has waited longest.
-- The rule is that of the view claimable_deployments, said so that a long queue costs nothing: `queued` steps from stack to
-- stack, where the view walks over all that waits.
-- in: pool_id text, pool_org_id text?
-- out: id text
WITH RECURSIVE queued (stack_id) AS (
	SELECT MIN(d.stack_id) FROM deployments d WHERE d.status = 'not-started'
	UNION ALL
	SELECT (SELECT MIN(d.stack_id) FROM deployments d WHERE d.status = 'not-started' AND d.stack_id > q.stack_id)
	FROM queued q WHERE q.stack_id IS NOT NULL
), open_orgs (id, pool_id, room) AS (
	SELECT o.id, o.default_pool_id, o.deployment_limit - (SELECT COUNT(*) FROM deployments b
		WHERE b.org_id = o.id AND b.status IN ('accepted', 'running'))
	FROM orgs o WHERE o.deployments_paused = 0
), heads (id, org_id, project, room) AS (
	SELECT d.id, d.org_id, s.project, o.room
	FROM queued q JOIN stacks s ON s.id = q.stack_id JOIN open_orgs o ON o.id = s.org_id
		JOIN deployments d ON d.stack_id = q.stack_id AND d.version = (
			SELECT MIN(w.version) FROM deployments w WHERE w.stack_id = q.stack_id AND w.status = 'not-started')
	WHERE o.room > 0
		AND NOT EXISTS (SELECT 1 FROM deployments a WHERE a.stack_id = q.stack_id AND a.status IN ('accepted', 'running'))
		AND NOT EXISTS (SELECT 1 FROM deployment_settings t WHERE t.stack_id = q.stack_id AND t.paused = 1)
		AND (COALESCE(d.pool_id, o.pool_id) = :pool_id OR (COALESCE(d.pool_id, o.pool_id) IS NULL
			AND (:pool_org_id IS NULL OR d.org_id = :pool_org_id)))
)
SELECT f.id FROM (
	SELECT c.id, MIN(c.id) OVER (PARTITION BY c.org_id) AS oldest,
		ROW_NUMBER() OVER (PARTITION BY c.org_id
			ORDER BY CASE WHEN c.waiting > c.room THEN COALESCE(t.claimed_us, 0) ELSE 0 END, c.id) AS place
	FROM (SELECT h.id, h.org_id, h.project, h.room, COUNT(*) OVER (PARTITION BY h.org_id) AS waiting FROM heads h) c
		LEFT JOIN project_turns t ON t.org_id = c.org_id AND t.project = c.project
) f WHERE f.place = 1 ORDER BY f.oldest LIMIT 1;

-- name: queue_took_turn :exec
-- in: org_id text, project text, now_us int
INSERT INTO project_turns (org_id, project, claimed_us) VALUES (:org_id, :project, :now_us)
ON CONFLICT (org_id, project) DO UPDATE SET claimed_us = excluded.claimed_us;

-- name: waiting_in_front :one
-- What stands before a queued deployment on its own stack: the one that is active, and how many older ones wait, from a
-- version on.
-- in: stack_id text, from_version int, version int
-- out: ahead int, active_id text?, active_version int?, active_status text?
SELECT (SELECT COUNT(*) FROM deployments w WHERE w.stack_id = :stack_id AND w.status = 'not-started'
		AND w.version >= :from_version AND w.version < :version) AS ahead,
	(SELECT a.id FROM deployments a WHERE a.stack_id = :stack_id AND a.status IN ('accepted', 'running'))
		AS active_id,
	(SELECT a.version FROM deployments a WHERE a.stack_id = :stack_id AND a.status IN ('accepted', 'running'))
		AS active_version,
	(SELECT a.status FROM deployments a WHERE a.stack_id = :stack_id AND a.status IN ('accepted', 'running'))
		AS active_status;

-- name: waiting_limit :one
-- in: org_id text
-- out: active int, concurrency int
SELECT (SELECT COUNT(*) FROM deployments b WHERE b.org_id = o.id AND b.status IN ('accepted', 'running')) AS active,
	o.deployment_limit AS concurrency
FROM orgs o WHERE o.id = :org_id;

-- name: waiting_agents :one
-- How many agents that live may take it: of its pool, or (NULL) of any pool that serves the organization.
-- in: org_id text, pool_id text?, seen_after_us int
-- out: live int
SELECT COUNT(*) AS live FROM agents g JOIN agent_pools p ON p.id = g.pool_id
WHERE g.last_seen_us > :seen_after_us
	AND ((:pool_id IS NOT NULL AND p.id = :pool_id)
		OR (:pool_id IS NULL AND (p.org_id IS NULL OR p.org_id = :org_id)));

-- name: queue_claimable_stack :one
-- Whether one of the stack may run now, and in which pool; pool_id NULL: any.
-- in: stack_id text
-- out: pool_id text?, n int
SELECT c.pool_id, 1 AS n FROM claimable_deployments c WHERE c.stack_id = :stack_id;

-- name: queue_claimable :many
-- How many wait for each pool in one organization; pool_id NULL: any. Stepping over what waits as queue_next does.
-- in: org_id text
-- out: pool_id text?, n int
WITH RECURSIVE queued (stack_id) AS (
	SELECT MIN(d.stack_id) FROM deployments d WHERE d.status = 'not-started'
	UNION ALL
	SELECT (SELECT MIN(d.stack_id) FROM deployments d WHERE d.status = 'not-started' AND d.stack_id > q.stack_id)
	FROM queued q WHERE q.stack_id IS NOT NULL
)
SELECT COALESCE(d.pool_id, o.default_pool_id) AS pool_id, COUNT(*) AS n
FROM queued q JOIN stacks s ON s.id = q.stack_id AND s.org_id = :org_id JOIN orgs o ON o.id = s.org_id
	JOIN deployments d ON d.stack_id = q.stack_id AND d.version = (
		SELECT MIN(w.version) FROM deployments w WHERE w.stack_id = q.stack_id AND w.status = 'not-started')
WHERE o.deployments_paused = 0
	AND NOT EXISTS (SELECT 1 FROM deployments a WHERE a.stack_id = q.stack_id AND a.status IN ('accepted', 'running'))
	AND NOT EXISTS (SELECT 1 FROM deployment_settings t WHERE t.stack_id = q.stack_id AND t.paused = 1)
	AND (SELECT COUNT(*) FROM deployments b WHERE b.org_id = :org_id AND b.status IN ('accepted', 'running'))
		< o.deployment_limit
GROUP BY COALESCE(d.pool_id, o.default_pool_id);

-- name: queue_pools :many
-- The pools that serve deployments which name none.
-- in: org_id text
-- out: id text
SELECT id FROM agent_pools WHERE org_id = :org_id OR org_id IS NULL;

-- ---- steps ----

-- name: step_list :many
-- in: deployment_id text
-- out: step int, name text, status text, started_us int?, updated_us int, line_count int
SELECT step, name, status, started_us, updated_us, line_count FROM deployment_steps
WHERE deployment_id = :deployment_id ORDER BY step;

-- name: step_get :one
-- in: deployment_id text, step int
-- out: name text, status text, line_count int
SELECT name, status, line_count FROM deployment_steps WHERE deployment_id = :deployment_id AND step = :step;

-- name: step_put :exec
-- in: deployment_id text, step int, name text, status text, started_us int?, now_us int
INSERT INTO deployment_steps (deployment_id, step, name, status, started_us, updated_us)
VALUES (:deployment_id, :step, :name, :status, :started_us, :now_us)
ON CONFLICT (deployment_id, step) DO UPDATE SET status = excluded.status,
	started_us = COALESCE(deployment_steps.started_us, excluded.started_us), updated_us = excluded.updated_us;

-- name: step_count :one
-- in: deployment_id text
-- out: n int
SELECT COUNT(*) AS n FROM deployment_steps WHERE deployment_id = :deployment_id;

-- name: step_end_running :exec
-- in: deployment_id text, status text, now_us int
UPDATE deployment_steps SET status = :status, updated_us = :now_us
WHERE deployment_id = :deployment_id AND status = 'running';

-- name: step_forget :exec
-- in: deployment_id text
DELETE FROM deployment_steps WHERE deployment_id = :deployment_id;

-- ---- logs ----

-- name: log_append :exec
-- in: deployment_id text, step int, first_line int, line_count int, body blob, now_us int
INSERT INTO log_chunks (deployment_id, step, first_line, line_count, body, created_us)
VALUES (:deployment_id, :step, :first_line, :line_count, :body, :now_us);

-- name: log_advance :exec
-- 0 rows: somebody else appended in between.
-- in: deployment_id text, step int, first_line int, next_line int
UPDATE deployment_steps SET line_count = :next_line
WHERE deployment_id = :deployment_id AND step = :step AND line_count = :first_line;

-- name: log_chunk_at :many
-- Chunks from the one that holds the line on.
-- in: deployment_id text, step int, line int, n int
-- out: first_line int, line_count int, body blob
SELECT first_line, line_count, body FROM log_chunks
WHERE deployment_id = :deployment_id AND step = :step AND first_line >= (
	SELECT COALESCE(MAX(f.first_line), 0) FROM log_chunks f
	WHERE f.deployment_id = :deployment_id AND f.step = :step AND f.first_line <= :line)
ORDER BY first_line LIMIT COALESCE(:n, 0);

-- name: log_chunk_tail :many
-- The last chunks before a line, newest first.
-- in: deployment_id text, step int, before int, n int
-- out: first_line int, line_count int, body blob
SELECT first_line, line_count, body FROM log_chunks
WHERE deployment_id = :deployment_id AND step = :step AND first_line < :before
ORDER BY first_line DESC LIMIT COALESCE(:n, 0);

-- name: log_remove :exec
-- in: deployment_id text
DELETE FROM log_chunks WHERE deployment_id = :deployment_id;

-- name: log_set_removed :exec
-- in: deployment_id text, now_us int
UPDATE deployments SET log_removed_us = :now_us WHERE id = :deployment_id;

-- name: log_kept_of_tombstone :one
-- Whether the stack of the deployment is a tombstone, and how many logs of it are kept.
-- in: id text
-- out: stack_id text, n int
SELECT s.id AS stack_id, (SELECT COUNT(*) FROM deployments o
	WHERE o.stack_id = s.id AND o.log_removed_us IS NULL) AS n
FROM deployments d JOIN stacks s ON s.id = d.stack_id WHERE d.id = :id AND s.deleted_us IS NOT NULL;

-- ---- the ticker ----

-- name: tick_overdue :many
-- Active ones whose lease or deadline has passed, and those whose ending was interrupted.
-- in: now_us int
-- out: id text, attempt int, status text, started_us int?, lease_expires_us int?, deadline_us int?, cancel_requested_us int?, ending_status text?
SELECT id, attempt, status, started_us, lease_expires_us, deadline_us, cancel_requested_us, ending_status FROM deployments
WHERE status IN ('accepted', 'running')
	AND (lease_expires_us <= :now_us OR deadline_us <= :now_us OR ending_status IS NOT NULL)
LIMIT 1000;

-- name: tick_expired :many
-- in: created_before_us int
-- out: id text
SELECT id FROM deployments WHERE status = 'not-started' AND created_us <= :created_before_us
ORDER BY created_us LIMIT 1000;

-- name: tick_old_logs :many
-- in: ended_before_us int
-- out: id text
SELECT id FROM deployments WHERE log_removed_us IS NULL AND ended_us <= :ended_before_us ORDER BY ended_us LIMIT 100;

-- name: tick_next :one
-- in: grace_us int, now_us int
-- out: lease_us int?, deadline_us int?, created_us int?, ended_us int?, seen_us int?
SELECT (SELECT MIN(lease_expires_us) FROM deployments WHERE status IN ('accepted', 'running')) AS lease_us,
	(SELECT MIN(CASE WHEN deadline_us <= :now_us THEN deadline_us + :grace_us ELSE deadline_us END)
		FROM deployments WHERE status IN ('accepted', 'running')) AS deadline_us,
	(SELECT MIN(created_us) FROM deployments WHERE status = 'not-started') AS created_us,
	(SELECT MIN(ended_us) FROM deployments WHERE log_removed_us IS NULL) AS ended_us,
	(SELECT MIN(last_seen_us) FROM agents) AS seen_us;

-- What an operator wants to see, each from an index. A queue is short, or it is what they look for.
-- name: deploy_numbers :one
-- in: online_us int
-- out: queued int, accepted int, running int, claimable int, oldest_us int, agents int, pools int
SELECT
  (SELECT COUNT(*) FROM deployments WHERE status = 'not-started') AS queued,
  (SELECT COUNT(*) FROM deployments WHERE status IN ('accepted', 'running') AND status = 'accepted') AS accepted,
  (SELECT COUNT(*) FROM deployments WHERE status IN ('accepted', 'running') AND status = 'running') AS running,
  (SELECT COUNT(*) FROM claimable_deployments) AS claimable,
  COALESCE((SELECT MIN(created_us) FROM deployments WHERE status = 'not-started'), 0) AS oldest_us,
  (SELECT COUNT(*) FROM agents WHERE last_seen_us > :online_us) AS agents,
  (SELECT COUNT(*) FROM agent_pools) AS pools;
