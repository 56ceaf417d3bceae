-- What the pages of a browser follow.

-- name: news_after :many
-- Oldest first: events that the reader may see. What concerns the organization's members, tokens and rights is its
-- administrators'; of a stack that is gone those hear who see stacks by default.
-- in: after_id text, user_id text, n int
-- out: id text, kind text, payload text, created_us int
SELECT e.id, e.kind, e.payload, e.created_us
FROM recent_events e JOIN orgs o ON o.id = e.org_id JOIN org_members m ON m.org_id = e.org_id AND m.user_id = :user_id
WHERE e.id > :after_id AND CASE
	WHEN m.role = 'admin' THEN 1
	WHEN substr(e.kind, 1, 6) IN ('member', 'token.', 'grant.', 'user.r') THEN 0
	WHEN e.stack_id IS NULL THEN 1
	WHEN EXISTS (SELECT 1 FROM stack_readers v WHERE v.reader_id = :user_id AND v.stack_id = e.stack_id) THEN 1
	WHEN o.stack_permission <> 'none' AND NOT EXISTS (SELECT 1 FROM stacks s WHERE s.id = e.stack_id) THEN 1
	ELSE 0 END = 1
ORDER BY e.id LIMIT COALESCE(:n, 0);

-- name: news_bounds :one
-- The newest event, and the oldest one that is kept; NULL where there is none.
-- out: newest text?, oldest text?
SELECT (SELECT n.id FROM recent_events n ORDER BY n.id DESC LIMIT 1) AS newest,
	(SELECT f.id FROM recent_events f ORDER BY f.id LIMIT 1) AS oldest;

-- name: news_deployment :one
-- The deployment, if the reader may see it.
-- in: id text, user_id text
-- out: id text
SELECT d.id FROM deployments d WHERE d.id = :id
	AND EXISTS (SELECT 1 FROM stack_readers v WHERE v.reader_id = :user_id AND v.stack_id = d.stack_id);
