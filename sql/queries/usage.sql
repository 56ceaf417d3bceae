-- Statements of src/deploy about usage: made from the deployments themselves.

-- name: usage_buckets :many
-- Run time by the bucket of the start (bucket number = start / bucket_us); what runs still counts up to now.
-- in: org_id text, from_us int, bucket_us int, now_us int
-- out: bucket int, deployments int, run_us int
SELECT started_us / :bucket_us AS bucket, COUNT(*) AS deployments, SUM(COALESCE(ended_us, :now_us) - started_us) AS run_us
FROM deployments WHERE org_id = :org_id AND started_us IS NOT NULL AND started_us >= :from_us
GROUP BY started_us / :bucket_us ORDER BY 1;
