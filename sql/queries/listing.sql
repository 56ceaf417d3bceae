-- Lists of deployments. A bucket is a thousand numbers of an organization (0018_lists.sql).

-- name: counts_change :exec
-- Adds to the count that the deployment belongs to, with that status.
-- in: id text, status text, change int
INSERT INTO deployment_counts (org_id, bucket, status, n)
SELECT org_id, org_number / 1000, :status, :change FROM deployments WHERE id = :id
ON CONFLICT (org_id, bucket, status) DO UPDATE SET n = deployment_counts.n + excluded.n;

-- name: counts_of_stack :many
-- in: stack_id text
-- out: org_id text, bucket int, status text, n int
SELECT org_id, org_number / 1000 AS bucket, status, COUNT(*) AS n FROM deployments WHERE stack_id = :stack_id
GROUP BY org_id, org_number / 1000, status;

-- name: counts_take :exec
-- in: org_id text, bucket int, status text, n int
UPDATE deployment_counts SET n = n - :n WHERE org_id = :org_id AND bucket = :bucket AND status = :status;

-- name: counts_wrong :many
-- Where the counts are not those of the rows.
-- out: org_name text, bucket int, status text, too_many int
SELECT o.name AS org_name, c.bucket, c.status, SUM(c.n) AS too_many FROM (
	SELECT org_id, bucket, status, n FROM deployment_counts
	UNION ALL
	SELECT org_id, org_number / 1000 AS bucket, status, -COUNT(*) AS n FROM deployments
	GROUP BY org_id, org_number / 1000, status) c JOIN orgs o ON o.id = c.org_id
GROUP BY o.name, c.bucket, c.status HAVING SUM(c.n) <> 0 ORDER BY o.name, c.bucket, c.status LIMIT 100;

-- name: listing_counts :many
-- How many of each status in the organization.
-- in: org_id text
-- out: status text, n int
SELECT status, SUM(n) AS n FROM deployment_counts WHERE org_id = :org_id GROUP BY status;

-- name: listing_counts_of :many
-- Of the stacks that are hidden from a reader, or of those that are not.
-- in: org_id text, reader_id text, hidden bool
-- out: status text, n int
SELECT d.status, COUNT(*) AS n FROM deployments d WHERE d.stack_id IN (
	SELECT s.id FROM stacks s WHERE s.org_id = :org_id AND CASE WHEN s.id IN (
		SELECT v.stack_id FROM stack_readers v WHERE v.reader_id = :reader_id) THEN 0 ELSE 1 END = :hidden)
GROUP BY d.status;

-- name: listing_buckets :many
-- The buckets that have some, newest first.
-- in: org_id text, status text?
-- out: bucket int, n int
SELECT bucket, SUM(n) AS n FROM deployment_counts
WHERE org_id = :org_id AND n > 0 AND (:status IS NULL OR status = :status) GROUP BY bucket ORDER BY bucket DESC;

-- name: listing_org :many
-- Newest first, from below a number on.
-- in: org_id text, below int, skip int, n int
-- out: id text
SELECT id FROM deployments WHERE org_id = :org_id AND org_number < :below
ORDER BY org_number DESC LIMIT COALESCE(:n, 0) OFFSET COALESCE(:skip, 0);

-- name: listing_org_status :many
-- Likewise, of one status.
-- in: org_id text, status text, below int, skip int, n int
-- out: id text
SELECT id FROM deployments WHERE org_id = :org_id AND status = :status AND org_number < :below
ORDER BY org_number DESC LIMIT COALESCE(:n, 0) OFFSET COALESCE(:skip, 0);

-- name: listing_split :one
-- How many stacks of the organization are hidden from a reader, and how many not.
-- in: org_id text, reader_id text
-- out: hidden int, readable int
SELECT (SELECT COUNT(*) FROM stacks s WHERE s.org_id = :org_id) - COUNT(*) AS hidden, COUNT(*) AS readable
FROM stack_readers v JOIN stacks t ON t.id = v.stack_id WHERE v.reader_id = :reader_id AND t.org_id = :org_id;

-- name: listing_buckets_of :many
-- As listing_buckets, but counted from the rows: of the stacks that are hidden from a reader, or of those that are not.
-- in: org_id text, reader_id text, hidden bool, status text?
-- out: bucket int, n int
SELECT d.org_number / 1000 AS bucket, COUNT(*) AS n FROM deployments d WHERE d.stack_id IN (
	SELECT s.id FROM stacks s WHERE s.org_id = :org_id AND CASE WHEN s.id IN (
		SELECT v.stack_id FROM stack_readers v WHERE v.reader_id = :reader_id) THEN 0 ELSE 1 END = :hidden)
	AND (:status IS NULL OR d.status = :status)
GROUP BY d.org_number / 1000 ORDER BY bucket DESC;

-- name: listing_readable :many
-- Newest first, from below a number on, of the stacks that a reader may see. The CASE keeps the planner from collecting all of
-- those and sorting them.
-- in: org_id text, reader_id text, status text?, below int, skip int, n int
-- out: id text
SELECT d.id FROM deployments d WHERE d.org_id = :org_id AND d.org_number < :below
	AND (:status IS NULL OR d.status = :status)
	AND CASE WHEN d.stack_id IN (SELECT v.stack_id FROM stack_readers v WHERE v.reader_id = :reader_id) THEN 1 ELSE 0 END = 1
ORDER BY d.org_number DESC LIMIT COALESCE(:n, 0) OFFSET COALESCE(:skip, 0);

-- name: listing_stack :many
-- Newest first.
-- in: stack_id text, status text?, skip int, n int
-- out: id text
SELECT id FROM deployments WHERE stack_id = :stack_id AND (:status IS NULL OR status = :status)
ORDER BY version DESC LIMIT COALESCE(:n, 0) OFFSET COALESCE(:skip, 0);

-- name: listing_stack_count :one
-- in: stack_id text, status text?
-- out: n int
SELECT COUNT(*) AS n FROM deployments WHERE stack_id = :stack_id AND (:status IS NULL OR status = :status);
