-- Limits of an organization's deployments.

-- name: org_limits :one
-- timeout_us NULL: the server's.
-- in: org_id text
-- out: concurrency int, timeout_us int?
SELECT deployment_limit AS concurrency, deployment_timeout_us AS timeout_us FROM orgs WHERE id = :org_id;

-- name: org_set_limits :exec
-- in: org_id text, concurrency int, timeout_us int?
UPDATE orgs SET deployment_limit = :concurrency, deployment_timeout_us = :timeout_us WHERE id = :org_id;
