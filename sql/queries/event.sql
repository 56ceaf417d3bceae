-- The domain events: who and what they are about, and those of the last days.

-- name: event_names :one
-- in: org_id text, stack_id text?, user_id text?
-- out: org_name text, project text?, stack_name text?, user_name text?, user_display_name text?
SELECT o.name AS org_name, s.project, s.name AS stack_name, u.name AS user_name, u.display_name AS user_display_name
FROM orgs o LEFT JOIN stacks s ON s.id = :stack_id LEFT JOIN users u ON u.id = :user_id WHERE o.id = :org_id;

-- name: event_insert :exec
-- in: id text, kind text, org_id text, stack_id text?, payload text, now_us int
INSERT INTO recent_events (id, kind, org_id, stack_id, payload, created_us)
VALUES (:id, :kind, :org_id, :stack_id, :payload, :now_us);

-- name: event_list :many
-- Newest first, before the given one. kind: a prefix, "": all.
-- in: before_id text?, org text?, kind text, n int
-- out: id text, kind text, org_id text, stack_id text?, payload text, created_us int
SELECT e.id, e.kind, e.org_id, e.stack_id, e.payload, e.created_us
FROM recent_events e LEFT JOIN orgs o ON o.id = e.org_id
WHERE (:before_id IS NULL OR e.id < :before_id) AND (:org IS NULL OR o.name = :org)
	AND substr(e.kind, 1, length(:kind)) = :kind
ORDER BY e.id DESC LIMIT COALESCE(:n, 0);

-- name: event_trim :exec
-- A few at a time: those that are old, and those behind the newest `keep`.
-- in: before_us int, keep int, n int
DELETE FROM recent_events WHERE id IN (
	SELECT t.id FROM recent_events t WHERE t.created_us < :before_us
		OR t.id <= (SELECT k.id FROM recent_events k ORDER BY k.id DESC LIMIT 1 OFFSET COALESCE(:keep, 0))
	ORDER BY t.id LIMIT COALESCE(:n, 0));
